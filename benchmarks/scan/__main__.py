"""What a whole scan costs, end to end: ``python -m benchmarks.scan`` (or ``make bench-scan``).

One 256x256x128 int16 ``.nii.gz``, the default model, all cores of this machine or ``--cores``. In
one run: the bare work in one process; `POST /predict` of ``voxelq up`` with one worker, one client
at a time and four in a loop; and the same of peers built from stock parts
(:mod:`benchmarks.common.peers`). What the cores can do is cores / core-seconds that a scan's whole
work takes in a plain loop on one thread. API, Redis and clients run on the same cores: who took how
much is told.

For measure, on two cores and the same kind of work, of what the cores can do: BentoML 1.4.39
0.70, Ray Serve 2.60 0.70, LitServe 0.2.19 0.46.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common.core_time import peak_memory_mb, use_cores
from benchmarks.common.load import Load, measure
from benchmarks.common.machine import write_json
from benchmarks.common.sample_scan import sample_scan
from benchmarks.common.services import Service, child, fastapi_rq, fastapi_threads, voxelq
from benchmarks.scan.report import plot, print_report

SHAPE, QUICK_SHAPE = (256, 256, 128), (64, 64, 32)
CLIENTS, QUICK_CLIENTS = 4, 2

#: Answers one request: how many processes loop at once, on how many threads each.
Bare = Callable[[int, int], list[dict[str, Any]]]


@dataclass(frozen=True)
class System:
    """Something that serves scans, and what to ask of it with one client and with several."""

    name: str
    service: Callable[[], AbstractContextManager[Service]]
    alone: str = ""
    crowded: str = ""


def systems(cores: int) -> list[System]:
    """Return VoxelQ and its peers; those get the threads that suit them best."""
    whole, one = f"?threads={cores}", "?threads=1"
    found = [
        System("VoxelQ", lambda: voxelq(1)),
        System("FastAPI, model in threads", fastapi_threads, whole, one),
        System("FastAPI + RQ, one SimpleWorker", lambda: fastapi_rq(1), whole, whole),
    ]
    if cores > 1:
        crew = f"FastAPI + RQ, {cores} SimpleWorkers"
        found.append(System(crew, lambda: fastapi_rq(cores), whole, one))
    return found


@contextmanager
def bare_loops(scan: bytes, count: int, seconds: float) -> Iterator[Bare]:
    """Run ``count`` processes of :mod:`benchmarks.common.bare`; yield what asks some of them."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(scan)
        processes = [
            stack.enter_context(
                child(
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

        def ask(asked: int, threads: int) -> list[dict[str, Any]]:
            for process in processes[:asked]:
                if process.stdin is not None:
                    process.stdin.write(json.dumps({"threads": threads, "seconds": seconds}) + "\n")
                    process.stdin.flush()
            return [dict(json.loads(_line(process))) for process in processes[:asked]]

        yield ask


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError("the bare work ended before it answered; see above")
    return line


def bare_numbers(scan: bytes, cores: int, seconds: float) -> dict[str, Any]:
    """Return what the bare work costs: on all cores, on one, and on each core at once."""
    with bare_loops(scan, cores, seconds) as ask:
        (whole,), (plain,), together = ask(1, cores), ask(1, 1), ask(cores, 1)
    return {
        "all_threads": whole,
        "one_thread": plain,
        # what loops on all cores reach at once, sharing caches and memory
        "side_by_side_scans_per_s": sum(one["scans_per_s"] for one in together),
        "can_do_scans_per_s": cores / plain["core_s"],
    }


def load_numbers(load: Load) -> dict[str, Any]:
    """Return what is written of a load; core times are for one scan."""
    scans = len(load.answers)
    return {
        "scans": scans,
        "scans_per_s": load.scans_per_s,
        "p50_s": load.latency_s(50),
        "p95_s": load.latency_s(95),
        "volume_ml": load.answers[0].volume_ml,  # of one scan all make the same
        "stages_s": load.stages_s(),
        "core_s": {name: seconds / scans for name, seconds in load.core_time.parts.items()},
        "core_shares": load.core_time.shares(),
    }


def served(
    system: System, scan: bytes, *, clients: int, seconds: float, warm_s: float
) -> dict[str, Any]:
    """Return what clients of a system see, alone and crowded."""
    with system.service() as service:
        alone, crowded = (
            replace(service, url=service.url + q) for q in (system.alone, system.crowded)
        )
        idle = measure(alone, scan, clients=1, warm_s=warm_s / 2, seconds=seconds / 2)
        load = measure(crowded, scan, clients=clients, warm_s=warm_s, seconds=seconds)
        memory = peak_memory_mb(service.parts)
    return {
        "name": system.name,
        "arithmetic": service.arithmetic,
        "idle": load_numbers(idle),
        "load": load_numbers(load),
        "peak_mb": memory,
    }


def ratios(bare: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Return what the aims are about: one client's wait, and the share of what the cores can do."""
    stages = bare["all_threads"]["stages_s"]
    p50_s = ours["idle"]["p50_s"]
    return {
        "idle_p50_s": p50_s,
        "idle_over_bare": p50_s / stages["total"],
        "idle_over_read_network_write": p50_s
        / (stages["load"] + stages["inference"] + stages["store"]),
        "load_over_can_do": ours["load"]["scans_per_s"] / bare["can_do_scans_per_s"],
        "load_over_side_by_side": ours["load"]["scans_per_s"] / bare["side_by_side_scans_per_s"],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cores", type=int, default=0, help="cores to use; 0: all")
    parser.add_argument("--seconds", type=float, default=30.0, help="window of each load")
    parser.add_argument("--quick", action="store_true", help="a small scan and short windows")
    parser.add_argument("--output", type=Path, default=None, help="folder for JSON and plot")
    options = parser.parse_args()
    try:
        cores = use_cores(options.cores)
    except ValueError as error:
        parser.error(str(error))
    os.environ["VOXELQ_DEVICE"] = "cpu"
    seconds, warm_s = (1.0, 0.2) if options.quick else (options.seconds, 5.0)
    shape = QUICK_SHAPE if options.quick else SHAPE
    scan = sample_scan(shape)
    bare = bare_numbers(scan, cores, seconds / 3)
    clients = QUICK_CLIENTS if options.quick else CLIENTS
    rows = [
        served(one, scan, clients=clients, seconds=seconds, warm_s=warm_s) for one in systems(cores)
    ]
    numbers: dict[str, Any] = {
        "cores": cores,
        "clients": clients,
        "seconds": seconds,
        "scan": {"shape": shape, "bytes": len(scan)},
        "settings": {k: v for k, v in os.environ.items() if k.startswith("VOXELQ_")},
        "bare": bare,
        "systems": rows,
        "ratios": ratios(bare, rows[0]),
    }
    console = Console()
    print_report(console, numbers)
    written = write_json("scan", numbers, *([options.output] if options.output else []))
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
