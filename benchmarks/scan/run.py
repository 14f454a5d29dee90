"""VoxelQ and its peers under one client and under several, beside the bare work."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.common.core_time import peak_memory_mb
from benchmarks.common.load import LoadResult, measure
from benchmarks.common.machine import voxelq_settings
from benchmarks.common.sample_scan import FULL_SHAPE, QUICK_SHAPE, sample_scan
from benchmarks.common.services import Service, fastapi_rq, fastapi_threads, voxelq
from benchmarks.scan.bare_loops import bare_numbers

CLIENTS, QUICK_CLIENTS = 4, 2


@dataclass(frozen=True)
class System:
    """A service, and the queries of its requests with one client and with several."""

    name: str
    service: Callable[[], AbstractContextManager[Service]]
    idle_query: str = ""
    load_query: str = ""


def systems(cores: int) -> list[System]:
    """Return VoxelQ and its peers, each peer with the number of threads that is best for it."""
    all_threads, one_thread = f"?threads={cores}", "?threads=1"
    measured = [
        System("VoxelQ", lambda: voxelq(1)),
        System("FastAPI, model in threads", fastapi_threads, all_threads, one_thread),
        System("FastAPI + RQ, one SimpleWorker", lambda: fastapi_rq(1), all_threads, all_threads),
    ]
    if cores > 1:
        name = f"FastAPI + RQ, {cores} SimpleWorkers"
        measured.append(System(name, lambda: fastapi_rq(cores), all_threads, one_thread))
    return measured


def load_numbers(load: LoadResult) -> dict[str, Any]:
    """Return the numbers of a load that are written; core times are for one scan."""
    scans = len(load.scans)
    return {
        "scans": scans,
        "scans_per_s": load.scans_per_s,
        "p50_s": load.latency_s(50),
        "p95_s": load.latency_s(95),
        "volume_ml": load.scans[0].volume_ml,  # every scan is the same
        "stages_s": load.stages_s(),
        "core_s": {name: seconds / scans for name, seconds in load.core_time.parts.items()},
        "core_shares": load.core_time.shares(),
    }


def measure_system(
    system: System, scan: bytes, *, clients: int, seconds: float, warm_s: float
) -> dict[str, Any]:
    """Return what one client measures at a system, and what several measure."""
    with system.service() as service:
        for_one = replace(service, query=system.idle_query)
        for_many = replace(service, query=system.load_query)
        idle = measure(for_one, scan, clients=1, warm_s=warm_s / 2, seconds=seconds / 2)
        load = measure(for_many, scan, clients=clients, warm_s=warm_s, seconds=seconds)
        memory = peak_memory_mb(service.parts)
    return {
        "name": system.name,
        "arithmetic": service.arithmetic,
        "idle": load_numbers(idle),
        "load": load_numbers(load),
        "peak_mb": memory,
    }


def ratios(bare: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Return the wait of one client, and the throughput as a share of what the cores can do."""
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


def run(*, cores: int, seconds: float, quick: bool) -> dict[str, Any]:
    """Measure the bare work and every system; return the numbers that are written."""
    if quick:
        seconds, warm_s, shape, clients = 1.0, 0.2, QUICK_SHAPE, QUICK_CLIENTS
    else:
        warm_s, shape, clients = 5.0, FULL_SHAPE, CLIENTS
    scan = sample_scan(shape)
    bare = bare_numbers(scan, cores, seconds / 3)
    rows = [
        measure_system(system, scan, clients=clients, seconds=seconds, warm_s=warm_s)
        for system in systems(cores)
    ]
    return {
        "cores": cores,
        "clients": clients,
        "seconds": seconds,
        "scan": {"shape": shape, "bytes": len(scan)},
        "settings": voxelq_settings(),
        "bare": bare,
        "systems": rows,
        "ratios": ratios(bare, rows[0]),
    }
