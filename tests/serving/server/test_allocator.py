"""Each in a process of its own: what `malloc` is told holds to the end of a process."""

import os
import subprocess
import sys

import pytest

from kflare.serving.server import allocator

pytestmark = pytest.mark.skipif(allocator._glibc() is None, reason="this C library is not glibc")

# Eight threads that hold memory of their own at the same time; then the arenas that malloc made for them.
ARENAS = """
import ctypes, sys, threading
from kflare.serving.server.allocator import use_one_arena
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "one":
    use_one_arena()
together = threading.Barrier(8)
def hold():
    together.wait()
    assert libc.malloc(5000)
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
# 400 blocks of 100 kB, all but the last freed: the last keeps the arena from shrinking by itself.
FREED = """
import ctypes
from pathlib import Path
from kflare.serving.server.allocator import give_back, use_one_arena
use_one_arena()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
blocks = [libc.malloc(100_000) for _ in range(400)]
for block in blocks: ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]: libc.free(ctypes.c_void_p(block))
before = resident()
give_back()
print(before - resident())
"""


def run(code, *arguments, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_one_arena():
    assert run(ARENAS, "one").count("<heap nr=") == 1
    assert run(ARENAS, "as it is").count("<heap nr=") > 1


def test_the_operators_own_settings_stay():
    assert run(ARENAS, "one", MALLOC_ARENA_MAX="4").count("<heap nr=") > 1


def test_freed_memory_is_given_back():
    assert int(run(FREED)) > 35e6


def test_a_server_that_has_grown_gives_back_and_one_that_has_not_does_not():
    grown = FREED.replace("import give_back,", "import give_back_if_grown,").replace(
        "give_back()\nprint(before - resident())",
        "print(before - give_back_if_grown(before - 35 * 2**20, idle=True))\n"
        "print(give_back_if_grown(before - 35 * 2**20, idle=False) - before)",
    )
    returned, busy = map(int, run(grown).split())
    assert returned > 35e6
    assert busy == -35 * 2**20  # as it was told: it keeps what the next batches need
