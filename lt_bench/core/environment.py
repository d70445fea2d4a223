"""Environment of a run: versions, commit, hardware, threads, determinism. Imports no torch; asks a torch that is already loaded."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lt_bench.core.resources import usable_cores
from lt_bench.core.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]


def environment(device: str = "cpu", devices: int = 1, threads: int | None = None, deterministic: bool | None = None) -> dict[str, Any]:
    """The `environment` field of a record.

    Args:
        device: "cpu", or what the accelerator calls itself ("NVIDIA H200").
        devices: how many took part.
        threads: CPU threads of one process; by default those of the loaded torch, else the cores that this process may use.
        deterministic: whether only deterministic algorithms were allowed; by default what the loaded torch says, else True (numpy alone).
    """
    torch = sys.modules.get("torch")
    if threads is None:
        threads = int(torch.get_num_threads()) if torch else usable_cores()
    if deterministic is None:
        deterministic = bool(torch.are_deterministic_algorithms_enabled()) if torch else True
    commit, dirty = _commit()
    return {
        "lt_bench": __version__,
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "lightning", "torchmetrics", "numpy")},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "device": device,
        "devices": devices,
        "threads": threads,
        "deterministic": deterministic,
    }


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def _cpu() -> str:
    """The processor's model name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    """Commit and whether the package differs from it; (None, None) where the package does not sit in a checkout of its own."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() / "lt_bench" != PACKAGE:
        return None, None
    changes = _git("status", "--porcelain", "--", ".")
    return _git("rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
