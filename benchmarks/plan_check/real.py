"""A load on a real service, and the calibrations before and after it."""

import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks.components.load import Endpoint, RestEndpoint, Round, measure, service_facts
from benchmarks.plan_check.figures import Figures
from planning.cost import MAX_BATCH

#: Clients that may wait at once. A load that needs more is above what the workers can do.
_CLIENTS = 64


def submit_scans(endpoint: Endpoint, due_s: Sequence[float]) -> Figures:
    """Submit a scan at each of these times; return the figures.

    Response times count from when a scan was due, so that a late submit counts as a wait.

    Raises:
        NotMeasured: A scan failed or was refused.
    """
    connections = [endpoint.connect() for _ in range(min(_CLIENTS, len(due_s)))]
    free = list(connections)
    start_s = time.perf_counter()

    def predict(due: float) -> tuple[float, int]:
        connection = free.pop()
        try:
            size = connection.predict().batch_size
        finally:
            free.append(connection)
        bar.advance(task)
        return time.perf_counter() - start_s - due, size

    try:
        with Progress(transient=True) as bar, ThreadPoolExecutor(len(connections)) as pool:
            task = bar.add_task("a load", total=len(due_s))
            submitted = []
            for due in due_s:
                time.sleep(max(0.0, start_s + due - time.perf_counter()))
                submitted.append(pool.submit(predict, due))
            results = [future.result() for future in submitted]
    finally:
        for connection in connections:
            connection.close()
    response_s = np.array([waited_s for waited_s, _ in results])
    batches = sum(1 / size for _, size in results)
    return Figures.of(np.array(due_s), response_s, len(results) / batches)


def run_load(endpoint: Endpoint, *, load: float, rate: float, seconds: float) -> dict[str, Any]:
    """Submit scans at ``rate`` a second, at independent times; return times and figures."""
    count = max(10, round(rate * seconds))
    rng = random.Random(load)
    due_s = sorted(rng.uniform(0, count / rate) for _ in range(count))
    return {"load": load, "rate": rate, "due_s": due_s, "real": submit_scans(endpoint, due_s)}


def calibrate(endpoint: RestEndpoint, *, requests: int) -> list[Round]:
    """Measure one client, two scans for each lane, and enough clients for the largest batches."""
    alone = measure(endpoint, requests=requests, clients=1)
    facts = service_facts(endpoint.url)
    max_batch = int(os.environ.get("VOXELQ_MAX_BATCH_SIZE", MAX_BATCH))
    busy = 2 * facts["lanes"] * facts["workers"]
    counts = sorted({busy, busy * max_batch})
    return [alone, *(measure(endpoint, requests=requests, clients=count) for count in counts)]
