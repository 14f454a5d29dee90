"""Whether a process keeps the memory of large volumes."""

import subprocess
import sys
from pathlib import Path

import pytest

#: Takes and gives back 64 MiB, and prints how many pages were faulted in the second time.
SCRIPT = """
import resource, sys
from shared.allocator import keep_memory
import numpy as np
if sys.argv[1] == "keep" and not keep_memory():
    sys.exit("no glibc")
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
#: Frees 64 MiB between small pieces that stay, and prints the resident MiB before and after.
HOLES = """
import sys, time
from shared import allocator
import psutil
allocator.KEEP_S = 0.5
if not allocator.keep_memory():
    sys.exit("no glibc")
pieces = [bytes(size) for _ in range(1024) for size in (65_536, 600)]
del pieces[::2]
resident = lambda: psutil.Process().memory_info().rss // 2**20
kept, ends = resident(), time.monotonic() + 30
while resident() > kept - 48 and time.monotonic() < ends:
    time.sleep(0.05)
print(kept - resident())
"""


def said(script: str, *arguments: str, env: dict[str, str]) -> int:
    """Return the number that a script prints in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if "no glibc" in ran.stderr:
        pytest.skip("this libc is not glibc")
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


def faults(how: str, env: dict[str, str]) -> int:
    """Page faults of one more large array in a process of its own."""
    return said(SCRIPT, how, env=env)


def test_a_large_volume_is_not_faulted_in_anew() -> None:
    """The second of two large arrays takes the pages of the first; without it, pages of its own."""
    assert faults("keep", {}) < faults("leave", {}) / 10


def test_what_a_user_sets_stays() -> None:
    """A threshold in the environment counts: large arrays are given back as it says."""
    low = {"MALLOC_MMAP_THRESHOLD_": "1048576"}
    assert faults("keep", low) > 10 * max(1, faults("keep", {}))


def test_holes_are_given_back_after_a_while() -> None:
    """Free memory between used memory is returned to the system while the rest stays in use."""
    assert said(HOLES, env={}) >= 48
