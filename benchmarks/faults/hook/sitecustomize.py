"""Imported by Python at the start of a command of the campaign: counts what it does to files in the folder of the trial, and kills it before one of these acts."""

import os
import signal
import sys

PLACE, AT, COUNT = (os.environ.get(f"FAULTS_{name}", "") for name in ("PLACE", "AT", "COUNT"))
_acts = 0


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    global _acts
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"):
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike) or not os.path.abspath(os.fsdecode(path)).startswith(PLACE):  # noqa: PTH100
        return
    _acts += 1
    if COUNT:
        with open(COUNT, "w") as file:  # noqa: PTH123 - itself no act: it lies elsewhere
            file.write(str(_acts))
    if str(_acts) == AT:
        os.kill(os.getpid(), signal.SIGKILL)


if PLACE:
    sys.addaudithook(_watch)
