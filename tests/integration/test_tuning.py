"""Tuning: what a process of ours sets at its start does what it is for."""

import subprocess
import sys

LOAD = """
import os
from benchmarks.machine import resident
from entrypoints.tuning import tune_malloc

tune_malloc()
large, kept = 10 * 2**20, []
bytes(large)  # freed at once: untuned, glibc would take such blocks from its heap from now on
before = resident(os.getpid())
for _ in range(3):
    table = bytearray(large)
    kept.append(bytearray(100_000))  # lies behind it
    del table
print(resident(os.getpid()) - before)
"""


def test_a_large_table_that_is_gone_leaves_no_hole_behind() -> None:
    grown = subprocess.check_output([sys.executable, "-c", LOAD], text=True)
    assert int(grown) < 2**20
