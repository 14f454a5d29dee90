"""`voxelq up` with the real model, whose oldest worker is killed again and again under load."""

import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from benchmarks.common.clinic import GZIP
from benchmarks.common.processes import python_process
from benchmarks.common.service_state import count_workers
from benchmarks.common.waiting import wait_until
from shared.queue import keys
from shared.sample import SAMPLE_SCAN
from voxelq.local.valkey import free_port

_START_S, _CLIENTS = 120.0, 4


@dataclass
class KillOldest:
    """The numbers of a run; ``twice`` counts jobs with more than one outcome."""

    scans: int
    workers: int
    every_s: float
    for_s: float
    kills: int = 0
    done: dict[str, int] = field(default_factory=dict)
    twice: int = 0
    ready_s: float | None = None
    seconds: float = 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """Return them as they are written to the JSON."""
        return asdict(self)


def kill_oldest(
    *, scans: int = 200, workers: int = 2, every_s: float = 2.0, for_s: float = 60.0,
    bound_s: float = 300.0, max_attempts: int | None = None,
) -> KillOldest:  # fmt: skip
    """Submit scans, kill the oldest worker every ``every_s``, and wait until all scans end.

    By default a scan fails that loses its worker three times. ``max_attempts`` allows more, where
    workers need about as long to start as they are left alive.

    Raises:
        TimeoutError: The service did not become ready, or some scans never ended.
    """
    result = KillOldest(scans, workers, every_s, for_s)
    with tempfile.TemporaryDirectory(prefix="voxelq-faults-") as name:
        folder, port = Path(name), free_port()
        base = f"http://127.0.0.1:{port}"
        command = ["-m", "voxelq", "up", "--port", str(port), "--workers", str(workers)]
        command += ["--data-dir", str(folder / "data")]
        settings = {} if max_attempts is None else {"VOXELQ_MAX_ATTEMPTS": str(max_attempts)}
        with (
            python_process(command, folder / "up.log", settings) as up,
            httpx.Client(base_url=base, timeout=10, trust_env=False) as client,
        ):
            _until_ready(base, workers, _START_S)
            began_s = time.monotonic()
            ids = _submit_all(base, scans, lambda: _kill_for(result, up.pid))
            result.ready_s = _until_ready(base, 1, bound_s)
            result.done = dict(_ends(client, ids, bound_s))
            result.seconds = time.monotonic() - began_s
            with Redis.from_url((folder / "data" / "redis" / "url").read_text().strip()) as redis:
                counts: Any = [redis.xlen(keys.RQ_RESULTS + job_id) for job_id in ids]
                result.twice = sum(count > 1 for count in counts)
    return result


def _kill_for(result: KillOldest, supervisor: int) -> None:
    until_s = time.monotonic() + result.for_s
    while time.monotonic() < until_s:
        time.sleep(result.every_s)
        children = psutil.Process(supervisor).children()
        workers = [child for child in children if _is_worker(child)]
        if workers:
            min(workers, key=lambda worker: worker.create_time()).kill()
            result.kills += 1


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in process.cmdline()
    except psutil.Error:
        return False  # it has ended


def _submit_all(base: str, scans: int, meanwhile: Any) -> list[str]:
    """Submit so many scans while ``meanwhile`` runs; return the ids of their jobs."""
    content, ids, lock, left = SAMPLE_SCAN.read_bytes(), list[str](), threading.Lock(), [scans]

    def submit() -> None:
        with httpx.Client(base_url=base, timeout=30, trust_env=False) as client:
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                response = client.post("/jobs", content=content, headers=GZIP)
                response.raise_for_status()
                with lock:
                    ids.append(response.json()["id"])

    threads = [threading.Thread(target=submit) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    if len(ids) != scans:
        raise RuntimeError(f"{scans - len(ids)} scans were not accepted")
    return ids


def _ends(client: httpx.Client, ids: list[str], bound_s: float) -> Counter[str]:
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + bound_s
    for job_id in ids:
        while (job := client.get(f"/jobs/{job_id}").json())["status"] in ("queued", "started"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {sum(ends.values())} of {len(ids)} scans ended")
            time.sleep(0.1)
        error = job.get("error")
        ends[f"failed: {error['title']}" if error else job["status"]] += 1
    return ends


def _until_ready(base: str, workers: int, bound_s: float) -> float:
    return wait_until(
        lambda: count_workers(base) >= workers,
        "the service did not become ready",
        bound_s=bound_s,
        tick_s=0.1,
    )
