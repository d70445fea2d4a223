"""What the control groups of this process (of a job, a container) leave it of cores and memory. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

QUOTA, OLD_QUOTA = "cpu.max", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
PROCESS, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
VERSION_1, VERSION_2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


def quota() -> float:
    """Cores that they leave (``docker --cpus``), infinite without a limit; torch counts those of the machine."""
    return max(1.0, min((_cores(group) for group, _ in _groups("cpu")), default=float("inf")))


def memory_left() -> int:
    """Bytes under the tightest limit of this process's group and those around it, each of which binds."""
    return min((_left(group, names) for group, names in _groups("memory")), default=1 << 62)


def _cores(group: Path) -> float:
    with suppress(OSError, ValueError):
        given = (group / QUOTA).read_text(encoding="ascii").split()
        return int(given[0]) / int(given[1])
    with suppress(OSError, ValueError):
        time, period = (int((group / name).read_text(encoding="ascii")) for name in OLD_QUOTA)
        return time / period if time > 0 else float("inf")
    return float("inf")


def _groups(controller: str) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Folders of the control groups for ``cpu`` or ``memory``, version 1 or 2, and what limit and use of memory are called there."""
    with suppress(OSError):
        for line in PROCESS.read_text(encoding="ascii").splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top, names = (MOUNTED, VERSION_2) if not controllers else (MOUNTED / controllers, VERSION_1)
            own = top / name.lstrip("/")
            yield from ((group, names) for group in (own, *own.parents) if group.is_relative_to(top))


def _left(group: Path, names: tuple[str, str]) -> int:
    with suppress(OSError, ValueError):
        limit, used = (int((group / name).read_text(encoding="ascii")) for name in names)
        return max(0, limit - used + _cached_files(group))
    return 1 << 62


def _cached_files(group: Path) -> int:
    """Bytes of the use that are copies of files not read lately, which the kernel gives up before it refuses memory; version 1 counts groups within apart."""
    lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    found = dict(line.split() for line in lines)
    return int(found.get("total_inactive_file", found.get("inactive_file", "0")))
