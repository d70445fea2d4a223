"""Commands of the suite as processes: forked from this one, which has imported the libraries and nothing of the suite, so that one costs what its verb costs."""

from __future__ import annotations

import atexit
import fcntl
import importlib
import os
import pickle
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
HOOK = Path(__file__).parent / "hook"
PATIENCE = 1200.0
"""Seconds after which a command is killed, and counted as one that hangs."""
LIBRARIES = ("numpy", "torch", "torchvision", "lightning.pytorch", "torchmetrics", "pandas", "pyarrow.parquet", "safetensors.torch", "PIL.Image", "rich.console", "jsonargparse", "yaml", "timm")  # fmt: skip
SUITE = ("lt_bench", "tests")


def import_libraries() -> None:
    """Import what the suite imports, once, before anything is forked."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    assert not any(name.split(".")[0] in SUITE for name in sys.modules), "a copy of the suite has to be found by the commands"


def environment(place: Path, source: Path = ROOT, **more: str) -> dict[str, str]:
    """Variables of a command: its caches in ``place``; ``source`` is the folder of the package."""
    paths = os.pathsep.join(filter(None, (str(HOOK), str(source), os.environ.get("PYTHONPATH"))))
    own = {
        "LT_BENCH_HOME": str(place / "home"),
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    return os.environ | own | more


def begin(place: Path, words: tuple[str, ...], *, cwd: Path | None = None, source: Path = ROOT, variables: dict[str, str] | None = None,
          before: Callable[[], object] = lambda: None) -> tuple[int, tuple[int, int]]:  # fmt: skip
    """Start a command in ``cwd``, by default ``place``.

    Args:
        place: its folder.
        words: of its command line.
        cwd: the current folder.
        source: the folder that the package is imported from.
        variables: of its environment.
        before: called in it before anything of the suite runs.

    Returns:
        its number, and the pipes of what it says, which hold a megabyte: files could be those that may not grow.
    """
    (out, to_out), (errors, to_errors) = os.pipe(), os.pipe()
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        _be(words, cwd or place, environment(place, source, **(variables or {})), (to_out, to_errors), source, before)
    for pipe in (out, errors):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)
    os.close(to_out)
    os.close(to_errors)
    return number, (out, errors)


def end(number: int, said: tuple[int, int]) -> subprocess.CompletedProcess[str]:
    """Wait for a command."""
    until, hung = time.monotonic() + PATIENCE, ""
    while not (ended := os.waitpid(number, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(number, signal.SIGKILL)
            hung = f"Traceback: no end after {PATIENCE:.0f} s\n"
        time.sleep(0.01)
    out, errors = (_read(pipe) for pipe in said)
    return subprocess.CompletedProcess("lt-bench", os.waitstatus_to_exitcode(ended[1]), out, errors + hung)


def _read(pipe: int) -> str:
    """The bytes in a pipe now; workers of a killed command may hold its other end for some seconds."""
    os.set_blocking(pipe, False)
    with os.fdopen(pipe, "rb") as file:
        return (file.read() or b"").decode(errors="replace")


def call(place: Path, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``how`` is for ``begin``."""
    return end(*begin(place, words, **how))


def apart(do: Callable[[], T]) -> T:
    """The result of a call in a process of its own, whose mounts and imports are not ours."""
    path = Path(tempfile.mkdtemp(prefix="lt-bench-apart-")) / "result"
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        code = 1
        try:
            result = do()
            path.write_bytes(pickle.dumps(result))
            code = 0
        except BaseException:  # noqa: BLE001 - said, and told by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    assert status == 0, status
    result = pickle.loads(path.read_bytes())
    shutil.rmtree(path.parent)
    return result


def _be(
    words: tuple[str, ...], cwd: Path, variables: dict[str, str], said: tuple[int, int], source: Path, before: Callable[[], object]
) -> NoReturn:
    """The life of a command: ``python -m lt_bench`` from where Python would begin with it."""
    code = 1
    try:
        os.setsid()
        with suppress(OSError):  # Linux weighs a session as a whole: a new one is as nice as the campaign
            Path("/proc/self/autogroup").write_text(str(os.nice(0)))
        os.chdir(cwd)
        for pipe, descriptor in zip(said, (1, 2), strict=True):
            os.dup2(pipe, descriptor)
            os.close(pipe)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", encoding="utf-8", buffering=1) for descriptor in (1, 2))
        for name in [name for name in sys.modules if name.split(".")[0] in (*SUITE, "benchmarks")]:
            del sys.modules[name]
        sys.path[:] = [str(HOOK), str(source), *(path for path in sys.path if path not in ("", str(ROOT), str(cwd)))]
        sys.argv = ["lt-bench", *words]
        before()
        runpy.run_path(str(HOOK / "sitecustomize.py"))
        runpy.run_module("lt_bench", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as Python says what nobody caught
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()
        os._exit(code)
