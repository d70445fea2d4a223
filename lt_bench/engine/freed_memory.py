"""Memory that one step frees and the next one asks for again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MiB that were freed, instead of handing them back to the system and asking for them anew at every step.

    New pages have to be filled with zeros and mapped, which costs several times what is computed on them. Elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return
    mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most it takes; larger blocks are the system's at once
    mallopt(_TRIM_THRESHOLD, 256 << 20)
