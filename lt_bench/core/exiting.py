"""Fast exit of a process that has imported torch."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def exit_at_once() -> Iterator[None]:
    """End the process right after its exit handlers; the block has to be all that the process does.

    After the handlers, the destructors of C++ libraries would run: those of torch and torchvision spend seconds in the allocator, after every command and
    every Ctrl-C. Handlers that are registered within the block, W&B's and multiprocessing's among them, run before the exit.
    """
    codes = [1]  # exit code of an uncaught error

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(codes[-1])

    atexit.register(leave)
    try:
        yield
        codes.append(0)
    except SystemExit as ended:
        codes.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
