"""A first step that does not end, as of a network that is being compiled: it is said, and SIGTERM and SIGINT end it."""

import os
import signal
import subprocess
import sys
import threading
import time

from lt_bench.engine.compiling import WatchCompilation

PROGRAM = """
import os, signal, sys, time
from lt_bench.core.lean_import import import_torchmetrics_alone
import_torchmetrics_alone()
from lt_bench.engine import compiling
compiling.EVERY, compiling.GRACE = 0.2, 0.2

def hang(seed):
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: None)  # as Lightning does, which looks at it after the step
    watch = compiling.WatchCompilation(f"resnet, seed {seed}")
    watch.begin()
    while True:
        time.sleep(0.05)

children = [os.fork() or hang(seed) for seed in (0, 1)]  # the imports are paid once
print(*children, flush=True)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_a_signal_ends_it_and_a_line_says_what_it_does():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    children = [int(word) for word in process.stdout.readline().split()]
    waiting = {f"lt-bench: resnet, seed {seed}: compiling, 0 s in the first epoch" for seed in (0, 1)}
    while waiting:
        line = process.stderr.readline()
        assert line.startswith("lt-bench: resnet, seed ")
        waiting = {one for one in waiting if not line.startswith(one)}
    for child, sent in zip(children, (signal.SIGTERM, signal.SIGINT), strict=True):
        os.kill(child, sent)
    out, rest = process.communicate(timeout=30)
    assert out.split() == [str(128 + signal.SIGTERM), str(128 + signal.SIGINT)]
    assert rest.count("interrupted while the network was compiled") == 2


def test_after_the_first_epoch_nothing_is_watched(capsys):
    before = threading.active_count()
    watch = WatchCompilation("x")
    watch.begin()
    assert threading.active_count() == before + 1
    watch.end()
    watch.begin()
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1
    assert capsys.readouterr().err == ""
