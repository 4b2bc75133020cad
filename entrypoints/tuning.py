"""Process tuning: what every long-running process of ours sets once at its start."""

import ctypes
import gc

YOUNG = 100_000
"""After so many new objects the collector looks at them: by then most of a batch are gone."""

YOUNG_OF_SERVERS = 10_000
"""Where somebody waits for each answer. What a cold process loads stays, so each look finds nothing
to collect and holds up every answer: 3 ms for so many objects, ten times that for the above."""

_OLD = 2_000_000
"""After so many, what stayed is looked at again."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""The names of these settings for mallopt, from malloc.h."""

_LARGE_BYTES = 2**20
_FREE_BYTES_MAX = 8 * 2**20
"""So much may lie free at the end of a heap before it is given back."""


def tune(young: int = YOUNG) -> None:
    """Make the garbage collector rare: our state is plain data and almost never cyclic.

    The default thresholds walk every cached balance and reservation many times a second, which
    costs throughput and makes the slowest answers slower.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, _OLD // young, 50)


def tune_malloc() -> None:
    """Have the C library give large blocks back to the system whenever they are free.

    By itself glibc keeps the room of blocks like the largest that was ever freed. Where a large
    table is laid out anew again and again, one more such hole stays each time for a while.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # other C libraries have none, nor that habit
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _FREE_BYTES_MAX)
