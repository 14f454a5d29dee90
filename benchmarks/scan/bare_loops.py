"""The bare work of a scan in loops: on all cores, on one, and on each core at once."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common.processes import python_process

#: Runs so many loops at once on so many threads each, and returns the numbers of each loop.
RunLoops = Callable[[int, int], list[dict[str, Any]]]


@contextmanager
def bare_loops(scan: bytes, count: int, seconds: float) -> Iterator[RunLoops]:
    """Run ``count`` processes of :mod:`benchmarks.common.bare`; yield what runs them."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(scan)
        processes = [
            stack.enter_context(
                python_process(
                    ["-m", "benchmarks.common.bare", str(path)],
                    Path(folder) / f"{number}.log",
                    {},
                    pipes=subprocess.PIPE,
                )
            )
            for number in range(count)
        ]
        for process in processes:
            _line(process)

        def run_loops(loops: int, threads: int) -> list[dict[str, Any]]:
            for process in processes[:loops]:
                if process.stdin is not None:
                    process.stdin.write(json.dumps({"threads": threads, "seconds": seconds}) + "\n")
                    process.stdin.flush()
            return [dict(json.loads(_line(process))) for process in processes[:loops]]

        yield run_loops


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError("the bare work ended before it printed its numbers; see above")
    return line


def bare_numbers(scan: bytes, cores: int, seconds: float) -> dict[str, Any]:
    """Return what the bare work costs: on all cores, on one, and on each core at once."""
    with bare_loops(scan, cores, seconds) as run_loops:
        (all_threads,), (one_thread,) = run_loops(1, cores), run_loops(1, 1)
        side_by_side = run_loops(cores, 1)
    return {
        "all_threads": all_threads,
        "one_thread": one_thread,
        # the loops share caches and memory
        "side_by_side_scans_per_s": sum(loop["scans_per_s"] for loop in side_by_side),
        "can_do_scans_per_s": cores / one_thread["core_s"],
    }
