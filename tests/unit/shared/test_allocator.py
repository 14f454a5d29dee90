"""Whether a process reuses the memory of large volumes."""

import subprocess
import sys
from pathlib import Path

import pytest

#: Allocates and frees 64 MiB, and prints the page faults of the second allocation.
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


def printed_number(script: str, *arguments: str, env: dict[str, str]) -> int:
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
    """Return the page faults of a second large array in a process of its own."""
    return printed_number(SCRIPT, how, env=env)


def test_a_large_volume_reuses_its_pages() -> None:
    """A second large array uses the pages of the first; without the setting, new pages."""
    assert faults("keep", {}) < faults("leave", {}) / 10


def test_a_threshold_of_the_user_stays() -> None:
    """A threshold in the environment is kept: large arrays are returned to the system."""
    low = {"MALLOC_MMAP_THRESHOLD_": "1048576"}
    assert faults("keep", low) > 10 * max(1, faults("keep", {}))


def test_holes_are_given_back_after_a_while() -> None:
    """Free memory between used blocks is returned to the system."""
    assert printed_number(HOLES, env={}) >= 48
