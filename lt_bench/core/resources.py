"""Cores and memory that this process may use: those of the machine within the limits of its control groups (a job's, a container's). Free of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

UNLIMITED = 1 << 62
QUOTA, QUOTA_VERSION_1 = "cpu.max", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
PROCESS, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
VERSION_1, VERSION_2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


def usable_cores() -> int:
    """Cores on which this process may run, at least one."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(min(processors, core_quota()))


def core_quota() -> float:
    """Cores that the control groups leave (``docker --cpus``), at least one, infinite without a limit; torch counts those of the machine."""
    return max(1.0, min((_cores(group) for group, _ in _groups("cpu")), default=float("inf")))


def free_memory() -> int:
    """Bytes of this machine's memory that this process may still take."""
    return min(_available(), min((_left(group, names) for group, names in _groups("memory")), default=UNLIMITED))


def _available() -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(controller: str) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Folders of this process's control group for ``cpu`` or ``memory`` and of its parents, all of whose limits apply, with the names of the files for limit and use of memory."""
    with suppress(OSError):
        for line in PROCESS.read_text(encoding="ascii").splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top, names = (MOUNTED, VERSION_2) if not controllers else (MOUNTED / controllers, VERSION_1)
            own = top / name.lstrip("/")
            yield from ((group, names) for group in (own, *own.parents) if group.is_relative_to(top))


def _cores(group: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = (group / QUOTA).read_text(encoding="ascii").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = _numbers(group, QUOTA_VERSION_1)
        return quota / period if quota > 0 else float("inf")
    return float("inf")


def _left(group: Path, names: tuple[str, str]) -> int:
    with suppress(OSError, ValueError):
        limit, used = _numbers(group, names)
        return max(0, limit - used + _cached_files(group))
    return UNLIMITED


def _numbers(group: Path, names: tuple[str, str]) -> tuple[int, int]:
    first, second = (int((group / name).read_text(encoding="ascii")) for name in names)
    return first, second


def _cached_files(group: Path) -> int:
    """Bytes of the use that are copies of files not read lately, which the kernel gives up before it refuses memory; version 1 counts groups within apart."""
    statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    return int(statistics.get("total_inactive_file", statistics.get("inactive_file", "0")))
