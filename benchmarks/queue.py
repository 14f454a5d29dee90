"""What the queue costs: ``python -m benchmarks.queue`` (or ``make bench-queue``).

In one run, on an embedded server with its append-only file on: jobs a second of a stock RQ
SimpleWorker, of MicroBatchWorker and of the bare Redis commands; the time from submit to result
over HTTP with a network that does nothing; the cost of a submit and of a status call as the queue
grows.
"""

import asyncio
import logging
import statistics
import tempfile
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from rich.console import Console
from rich.table import Table
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from benchmarks.common.machine import write_json
from benchmarks.common.model_folders import make_model_folder
from benchmarks.common.noop_worker import MODEL, DrainEngine, build, noop
from benchmarks.common.output import add_output_option, option_parser, print_machine, pyplot
from benchmarks.common.percentiles import percentile
from benchmarks.common.plain_nifti import plain_nifti
from benchmarks.common.processes import python_process
from benchmarks.common.redis_server import embedded_redis
from benchmarks.common.service_state import is_ok
from benchmarks.common.submissions import new_submission
from benchmarks.common.waiting import wait_until
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.telemetry import configure_logging
from voxelq.local.valkey import free_port

console = Console()
#: Requests before those that are counted: the first ones of a process take longer.
_FIRST_REQUESTS = 20


async def fill(settings: Settings, count: int) -> None:
    """Submit ``count`` jobs, 500 at a time."""
    async with JobQueue(settings) as queue:
        for start in range(0, count, 500):
            some = range(min(500, count - start))
            await asyncio.gather(*(queue.submit(new_submission(MODEL, "none")) for _ in some))


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
                submission = new_submission(MODEL, "none")
                began = time.perf_counter()
                await queue.submit(submission)
                submitted = time.perf_counter()
                await queue.get(submission.id)
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
    """Return p50 and p99 milliseconds of `POST /predict` with an idle no-op worker."""
    with Redis.from_url(url) as client:
        client.flushall()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    scan = plain_nifti((16, 16, 16), b"".join(n.to_bytes(2, "little") for n in range(16**3)))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = {
            "REDIS_URL": url,
            "VOXELQ_STORE_URL": f"file://{folder}/store",
            "VOXELQ_MODELS_DIR": str(_noop_bundle(folder / "models")),
            "VOXELQ_DEFAULT_MODEL": MODEL.partition("@")[0],
        }
        for command in (["api", "--port", str(port)], ["benchmarks.common.noop_worker"]):
            log = folder / f"{command[0]}.log"
            stack.enter_context(python_process(["-m", *command], log, settings))
        wait_until(lambda: is_ok(f"{base}/readyz"), "the service did not become ready", bound_s=60)
        client = stack.enter_context(httpx.Client(base_url=base, timeout=30, trust_env=False))
        seconds = []
        for _ in range(requests + _FIRST_REQUESTS):
            began = time.perf_counter()
            response = client.post(
                "/predict", content=scan, headers={"Content-Type": "application/octet-stream"}
            )
            seconds.append(time.perf_counter() - began)
            if response.status_code != httpx.codes.OK:
                raise RuntimeError(f"/predict answered {response.status_code}")
    counted = seconds[_FIRST_REQUESTS:]
    return {f"p{share}_ms": 1000 * percentile(counted, share) for share in (50, 99)}


def _noop_bundle(models: Path) -> Path:
    name, version = MODEL.split("@")
    inputs = [{"name": "scan", "modality": "any"}]
    folder = make_model_folder(models, name, version=version, inputs=inputs)
    zipfile.ZipFile(folder / "models" / "model.pt", "w").close()
    return models


def print_report(numbers: dict[str, Any]) -> None:
    """Print the tables."""
    print_machine(console)
    stock = numbers["jobs_per_s"]["SimpleWorker"]
    table = Table("queue, no-op jobs", "jobs/s", "x SimpleWorker", title="Throughput, one worker")
    for name, rate in numbers["jobs_per_s"].items():
        table.add_row(name, f"{rate:.0f}", f"{rate / stock:.1f}")
    console.print(table)
    http = numbers["http"]
    console.print(
        f"idle service, from submit to result over HTTP, no-op network: "
        f"p50 {http['p50_ms']:.1f} ms, p99 {http['p99_ms']:.1f} ms"
    )
    table = Table("queued", "submit ms", "status ms", title="Cost as the queue grows (median)")
    for row in numbers["depth"]:
        table.add_row(f"{row['queued']:,}", f"{row['submit_ms']:.2f}", f"{row['status_ms']:.2f}")
    console.print(table)


def plot(numbers: dict[str, Any], path: Path) -> None:
    """Draw throughput, and cost against depth."""
    plt = pyplot()
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
    parser = option_parser(__doc__)
    parser.add_argument("--jobs", type=int, default=4000, help="jobs for each worker")
    parser.add_argument("--requests", type=int, default=500, help="HTTP requests")
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 1_000, 100_000])
    add_output_option(parser)
    options = parser.parse_args()
    configure_logging("bench", level=logging.ERROR)
    with embedded_redis() as url:
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
    written = write_json("queue", numbers, options.output)
    plot(numbers, written.with_suffix(".png"))
    console.print(f"written: {written}, {written.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
