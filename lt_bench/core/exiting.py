"""The end of a process that has torch in it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def exit_at_once() -> Iterator[None]:
    """End the process that the block is all of right after its exit handlers.

    What would come after them is the C++ libraries taking themselves apart: for torch and torchvision seconds in the allocator, after every command and for
    every Ctrl-C. Handlers that are registered within the block, W&B's and multiprocessing's among them, run before.
    """
    codes = [1]  # of an error that nobody caught

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
