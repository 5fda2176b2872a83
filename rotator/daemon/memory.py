"""How the C library shares memory out among threads."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # mallopt(3)


def shared() -> None:
    """From now on all threads take memory from one arena, where the C library can be told so (glibc's can).

    By itself it makes one for each of many threads, and what one has given back is of no use to the others: in a
    process that lives for months, twice what it needs. Python's lock lets one thread allocate at a time anyway. May be
    repeated.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_ARENA_MAX, 1)
