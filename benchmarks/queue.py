"""What the queue costs: ``python -m benchmarks.queue`` (or ``make bench-queue``).

In one run, side by side, on an embedded server with its append-only file on: jobs a second of a
stock RQ SimpleWorker, of MicroBatchWorker and of the bare Redis commands; the time from submit
to answer over HTTP with a network that does nothing; what submit and status cost as the queue
grows.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from nibabel.nifti1 import Nifti1Image
from redis import Redis
from rich.console import Console
from rich.table import Table
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from ulid import ULID

from benchmarks.common.machine import machine, write_json
from benchmarks.common.noop_worker import MODEL, DrainEngine, build, noop
from shared.jobs import Priority, Submission
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.telemetry import configure_logging
from voxelq.local.valkey import EmbeddedServer, free_port

console = Console()


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run an embedded server and yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedServer(Path(folder))
        process = subprocess.Popen(embedded.prepare(), stdout=subprocess.DEVNULL)
        try:
            asyncio.run(embedded.answers())
            yield embedded.url
        finally:
            process.terminate()
            process.wait()


def submission() -> Submission:
    """Return a submission for the network that does nothing."""
    name, version = MODEL.split("@")
    return Submission(
        id=str(ULID()),
        model=name,
        version=version,
        priority=Priority.ROUTINE,
        scans={"scan": "none"},
        sha256="0" * 64,
        created_at=datetime.now(UTC),
    )


async def fill(settings: Settings, count: int) -> None:
    """Queue ``count`` jobs, some at a time."""
    async with JobQueue(settings) as queue:
        for start in range(0, count, 500):
            await asyncio.gather(
                *(queue.submit(submission()) for _ in range(min(500, count - start)))
            )


def simple_worker_rate(url: str, jobs: int) -> float:
    """Return jobs/s of a stock SimpleWorker."""
    with Redis.from_url(url) as client:
        client.flushall()
        queue = Queue("stock", connection=client, serializer=JSONSerializer)
        for number in range(jobs):
            queue.enqueue(noop, str(number))
        worker = SimpleWorker([queue], connection=client, serializer=JSONSerializer)
        worker.log_job_description = False
        began = time.perf_counter()
        worker.work(burst=True, logging_level="CRITICAL")
        return jobs / (time.perf_counter() - began)


def micro_batch_rate(url: str, jobs: int, batch_size: int) -> float:
    """Return jobs/s of a MicroBatchWorker."""
    with Redis.from_url(url) as client:
        client.flushall()
    settings = Settings(redis_url=url, max_batch_size=batch_size, max_queued=jobs)
    asyncio.run(fill(settings, jobs))
    engine = DrainEngine()
    worker = build(engine, settings)
    began = time.perf_counter()
    worker.work()
    return jobs / (engine.drained_at - began)


def floor_rate(url: str, jobs: int) -> float:
    """Return jobs/s of bare commands: BRPOP one id, SET its result, one at a time."""
    with Redis.from_url(url) as client:
        client.flushall()
        for number in range(jobs):
            client.lpush("floor", number)
        began = time.perf_counter()
        for _ in range(jobs):
            popped: Any = client.brpop(["floor"], timeout=1)
            with client.pipeline(transaction=False) as pipe:
                pipe.set(f"result:{popped[1].decode()}", "{}", ex=60)
                pipe.execute()
        return jobs / (time.perf_counter() - began)


async def flat_costs(url: str, depths: list[int], samples: int) -> list[dict[str, float]]:
    """Return the median milliseconds of submit and of status at each depth of the queue."""
    rows = []
    with Redis.from_url(url) as client:
        client.flushall()
    settings = Settings(redis_url=url, max_queued=10 * max(depths))
    queued = 0
    async with JobQueue(settings) as queue:
        for depth in depths:
            await fill(settings, depth - queued)
            submits, statuses = [], []
            for _ in range(samples):
                one = submission()
                began = time.perf_counter()
                await queue.submit(one)
                submitted = time.perf_counter()
                await queue.get(one.id)
                statuses.append(time.perf_counter() - submitted)
                submits.append(submitted - began)
            queued = depth + samples
            rows.append(
                {
                    "queued": depth,
                    "submit_ms": 1000 * statistics.median(submits),
                    "status_ms": 1000 * statistics.median(statuses),
                }
            )
    return rows


def http_latency(url: str, requests: int) -> dict[str, float]:
    """Return p50 and p99 milliseconds of `POST /predict` with an idle no-op worker behind."""
    with Redis.from_url(url) as client:
        client.flushall()
    port = free_port()
    voxels = np.arange(16**3, dtype=np.int16).reshape(16, 16, 16)
    scan = Nifti1Image(voxels, np.eye(4)).to_bytes()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "REDIS_URL": url,
            "VOXELQ_STORE_URL": f"file://{folder}/store",
            "VOXELQ_MODELS_DIR": str(_noop_bundle(Path(folder) / "models")),
            "VOXELQ_DEFAULT_MODEL": MODEL.partition("@")[0],
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stderr=subprocess.DEVNULL
            )
            for command in (["api", "--port", str(port)], ["benchmarks.common.noop_worker"])
        ]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                _until(lambda: client.get("/readyz").status_code == 200)
                seconds = []
                for _ in range(requests + 20):
                    began = time.perf_counter()
                    answer = client.post(
                        "/predict",
                        content=scan,
                        headers={"Content-Type": "application/octet-stream"},
                    )
                    seconds.append(time.perf_counter() - began)
                    if answer.status_code != 200:
                        raise RuntimeError(f"/predict answered {answer.status_code}")
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait()
    cuts = statistics.quantiles(seconds[20:], n=100)
    return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}


def _noop_bundle(root: Path) -> Path:
    name, version = MODEL.split("@")
    configs = root / name / version / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(
        f'{{"name": "{name}", "version": "{version}", "description": "does nothing",'
        ' "inputs": [{"name": "scan", "modality": "any"}], "labels": [],'
        ' "license": "Apache-2.0", "intended_use": "measuring the queue"}'
    )
    weights = root / name / version / "models" / "model.pt"
    weights.parent.mkdir()
    zipfile.ZipFile(weights, "w").close()
    return root


def _until(ready: Any, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if ready():
                return
        time.sleep(0.02)
    raise TimeoutError("a process did not come up")


def print_report(numbers: dict[str, Any]) -> None:
    """Print the tables."""
    facts = machine()
    console.print(f"[bold]{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    stock = numbers["jobs_per_s"]["SimpleWorker"]
    table = Table("queue, no-op jobs", "jobs/s", "x SimpleWorker", title="Throughput, one worker")
    for name, rate in numbers["jobs_per_s"].items():
        table.add_row(name, f"{rate:.0f}", f"{rate / stock:.1f}")
    console.print(table)
    http = numbers["http"]
    console.print(
        f"idle submit-to-answer over HTTP, no-op network: "
        f"p50 {http['p50_ms']:.1f} ms, p99 {http['p99_ms']:.1f} ms"
    )
    table = Table("queued", "submit ms", "status ms", title="Cost as the queue grows (median)")
    for row in numbers["depth"]:
        table.add_row(f"{row['queued']:,}", f"{row['submit_ms']:.2f}", f"{row['status_ms']:.2f}")
    console.print(table)


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw throughput, and cost against depth."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    rates = numbers["jobs_per_s"]
    bars = left.barh(list(rates), list(rates.values()), color="#4878a8")
    left.bar_label(bars, fmt="%.0f", padding=3)
    left.invert_yaxis()
    left.margins(x=0.15)
    left.set(title="no-op jobs through one worker", xlabel="jobs/s")
    depths = [row["queued"] for row in numbers["depth"]]
    for cost in ("submit_ms", "status_ms"):
        right.plot(depths, [row[cost] for row in numbers["depth"]], marker="o", label=cost[:-3])
    right.set(title="cost of one call", xlabel="jobs queued", ylabel="ms (median)", xscale="log")
    right.set_ylim(bottom=0)
    right.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=4000, help="jobs for each worker")
    parser.add_argument("--requests", type=int, default=500, help="HTTP requests")
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--output", type=Path, default=None, help="folder for JSON and plot")
    options = parser.parse_args()
    configure_logging("bench", level=logging.ERROR)
    with server() as url:
        numbers: dict[str, Any] = {
            "jobs_per_s": {
                "SimpleWorker": simple_worker_rate(url, max(1, options.jobs // 4)),
                "MicroBatchWorker 8": micro_batch_rate(url, options.jobs, 8),
                "MicroBatchWorker 32": micro_batch_rate(url, options.jobs, 32),
                "floor: bare BRPOP + SET": floor_rate(url, options.jobs),
            },
            "http": http_latency(url, options.requests),
            "depth": asyncio.run(flat_costs(url, options.depths, 300)),
        }
    print_report(numbers)
    written = write_json("queue", numbers, *([options.output] if options.output else []))
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
