"""The whole check: calibrate, load and calibrate again, then simulate and compare."""

from collections.abc import Sequence
from typing import Any

from benchmarks.common.services import voxelq
from benchmarks.components.load import RestEndpoint, service_facts
from benchmarks.plan_check.real import calibrate, run_load
from benchmarks.plan_check.report import worst
from benchmarks.plan_check.simulated import compared, cost_of


def run(
    scan: bytes, *, workers: int, requests: int, loads: Sequence[float], seconds: float
) -> dict[str, Any]:
    """Check plans for the given loads; return the numbers that are written.

    Raises:
        NotMeasured: A scan failed or was refused.
    """
    with voxelq(workers) as service:
        endpoint = RestEndpoint(service.base, scan)
        rounds = [calibrate(endpoint, requests=requests)]
        facts = service_facts(endpoint.url)
        done = []
        for load in loads:
            rate = load * workers * cost_of(rounds[-1:], facts).scans_per_s
            done.append(run_load(endpoint, load=load, rate=rate, seconds=seconds))
            rounds.append(calibrate(endpoint, requests=requests))
    rows = [
        compared(load, cost_of(rounds[number : number + 2], facts), workers)
        for number, load in enumerate(done)
    ]
    return {
        "workers": workers,
        "seconds": seconds,
        "scan": {"bytes": len(scan), "shape": rounds[0][0].shape},
        "service": facts,
        "loads": rows,
        "worst": worst(rows),
    }
