"""How the GNU C library's `malloc` keeps memory in a server that loads and unloads versions for months.

By default each thread allocates from one of many arenas, and every version that comes and goes leaves holes in some of
them. The settings here are for one process that is a server, so its command makes them, not the class `Server`. Another
allocator (jemalloc, musl's) or the operator's own settings (`MALLOC_...`, `GLIBC_TUNABLES`) stay as they are.
"""

import ctypes
import os
from pathlib import Path
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # DEFAULT_MMAP_THRESHOLD_MAX; what malloc comes to by itself under load
_GROWN_IDLE, _GROWN = 32 * 2**20, 320 * 2**20  # bytes more than after the last time that are given back
_KEPT = 256 * 2**20  # free bytes at the end of the arena that are kept for the next batch


def use_one_arena() -> None:
    """Allocate from one arena, and keep what a batch needs for the next one; to be called before threads are started.

    To map a batch's memory anew each time (a threshold of 1 MiB) took 40 % of the throughput of a mix of requests.
    """
    libc = _glibc()
    if libc is None or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    for setting, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, _KEPT)):
        libc.mallopt(setting, value)


def give_back() -> None:
    """Return the pages of what was freed to the system: some tens of milliseconds, for after a version has gone."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def give_back_if_grown(settled: int, *, idle: bool) -> int:
    """`give_back` where the process has grown beyond `settled` bytes; returns what it has settled at.

    By 32 MiB when it is `idle`, else by what the next batches need again.
    """
    if _resident() <= settled + (_GROWN_IDLE if idle else _GROWN):
        return settled
    give_back()
    return _resident()


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no Linux
        return 0


def _glibc() -> Any:
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
