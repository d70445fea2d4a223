"""The queue at work: one training at a time, at the lowest priority; after any kill the next call goes on."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.evidence.trainings import HEADS, Training, heads
from lt_bench.core.errors import UserError
from lt_bench.core.files import write_text

PROGRAM = [sys.executable, "-m", "lt_bench"]
PAUSE, RUNNING = "PAUSE", "running"  # files of the home: stop the training in place; locked while a queue works, with the training's name
PR_SET_PDEATHSIG = 1
NICE = 19


def command(training: Training, number: int, home: Path, data: Path) -> list[str]:
    """The words of one of a training's commands, with its places."""
    folder, results = home / training.name, home / "results"
    return [word.format(data=data, home=home, folder=folder, results=results) for word in training.commands[number].split()]


def work(queue: Sequence[Training], home: Path, data: Path) -> list[str]:
    """Work the queue off in a folder, in which no other works, and print a line when a training begins and ends; the names of those that failed.

    A training that fails keeps no other from running, and is tried again by the next call.

    Raises:
        UserError: no such folder of images; a queue that works in ``home`` already.
    """
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; name the folder of the images with --data-dir")
    failed = []
    home.mkdir(parents=True, exist_ok=True)
    with (home / RUNNING).open("a+") as lock:  # trainings inherit it: it is held as long as one lives
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{home}: a queue works here already; --status says at what") from None
        for position, training in enumerate(queue, 1):
            if (home / f"{training.name}.done").exists():
                continue
            place, output = f"{position} of {len(queue)}, {training.name}", home / f"{training.name}.log"
            print(f"{place}: begins, output in {output}", flush=True)
            lock.truncate(0)
            lock.write(training.name)
            lock.flush()
            began = time.monotonic()
            code = _run(training, home, data, lock.fileno())
            output.with_suffix(".failed").unlink(missing_ok=True)
            state, said = "failed" if code else "done", f"{time.monotonic() - began:.0f} s since the last start, exit code {code}"
            write_text(output.with_suffix(f".{state}"), f"{said}\n")
            print(f"{place}: {state}, {said}", *_last_line(output) if code else (), sep="\n    ", flush=True)
            if code:
                failed.append(training.name)
        lock.truncate(0)
    return failed


def _run(training: Training, home: Path, data: Path, lock: int) -> int:
    """Exit code of the first command that fails, 0 where none does."""
    (home / training.name).mkdir(exist_ok=True)
    if HEADS in training.commands:
        suite = json.dumps(heads(str(home / training.name / "cache")), indent=1)  # JSON is YAML
        write_text(home / f"{training.name}.heads.yaml", suite)  # beside the folder, which stage 1 has for itself
    with (home / f"{training.name}.log").open("a") as log:
        for number in range(len(training.commands)):
            words = [*PROGRAM, *command(training, number, home, data)]
            job = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=(lock,), preexec_fn=_last_of_all)  # fmt: skip
            if code := _wait(job, home / PAUSE):
                return code
    return 0


def _last_of_all() -> None:
    """Give way to everything else, also where Linux groups processes by session; end with the queue, stopped or not."""
    os.nice(NICE)
    with suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/autogroup").write_text(str(NICE))


def _wait(job: subprocess.Popen[bytes], pause: Path) -> int:
    """The exit code; meanwhile the pause is kept, and an interrupt ends the training."""
    stopped = False
    try:
        while job.poll() is None:
            if pause.exists() != stopped:
                stopped = not stopped
                os.killpg(job.pid, signal.SIGSTOP if stopped else signal.SIGCONT)
            time.sleep(0.2)
    except BaseException:
        os.killpg(job.pid, signal.SIGCONT)
        job.terminate()
        job.wait()
        raise
    return job.returncode


def running(home: Path) -> str | None:
    """The name of the training that runs; None where no queue works."""
    if not (home / RUNNING).exists():
        return None
    with (home / RUNNING).open() as lock:
        try:
            return fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return lock.read() or "begins"


def _last_line(path: Path) -> list[str]:
    """The last line that is whole, where a file has one."""
    return path.read_text(errors="replace").split("\n")[-2:-1]


def status(queue: Sequence[Training], home: Path) -> list[str]:
    """A line on the queue, then one for each training: place, name, state, and the last line of its log of epochs, else of its output."""
    now = running(home)
    lines = [f"{home}: {'no queue works' if now is None else 'paused' if (home / PAUSE).exists() else f'runs {now}'}"]
    for position, training in enumerate(queue, 1):
        output = home / f"{training.name}.log"
        states = {"runs": now == training.name} | {name: output.with_suffix(f".{end}").exists() for name, end in (("done", "done"), ("failed", "failed"), ("begun", "log"))}  # fmt: skip
        said = next(iter(sorted((home / training.name).glob("**/log.csv"))), output)
        last = _last_line(said) if said.is_file() else []
        lines.append(f"{position:3} {training.name:18} {next((name for name, is_so in states.items() if is_so), 'waits'):6} {' '.join(last)[:100]}".rstrip())  # fmt: skip
    return lines
