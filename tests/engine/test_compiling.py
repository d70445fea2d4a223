"""A first step that does not end, as of a network that is being compiled: it is said, and SIGTERM and SIGINT end it."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lt_bench.engine.compiling import WatchCompilation

PROGRAM = """
import signal, time
from lt_bench.engine import compiling
compiling.EVERY, compiling.GRACE = 0.2, 0.2
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, lambda *_: None)  # as Lightning does, which looks at it after the step
watch = compiling.WatchCompilation("resnet, seed 0")
watch.begin()
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_a_line_says_what_it_does(sent):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("lt-bench: resnet, seed 0: compiling, 0 s in the first epoch")
    process.send_signal(sent)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 128 + sent
    assert "interrupted while the network was compiled" in rest.splitlines()[-1]


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
