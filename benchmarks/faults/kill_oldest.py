"""`voxelq up` with the real model, and its oldest worker killed again and again under load."""

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

from benchmarks.common.services import child
from shared.queue import keys
from shared.sample import SAMPLE_SCAN
from voxelq.local.valkey import free_port

_START_S, _CLIENTS = 120.0, 4
_HEADERS = {"Content-Type": "application/gzip"}


@dataclass
class KillOldest:
    """What came of it; ``twice`` counts jobs of more than one outcome."""

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
        """Return it for its JSON."""
        return asdict(self)


def kill_oldest(
    *, scans: int = 200, workers: int = 2, every_s: float = 2.0, for_s: float = 60.0,
    bound_s: float = 300.0,
) -> KillOldest:  # fmt: skip
    """Submit scans, kill the oldest worker every so often, and see all of them end.

    Raises:
        TimeoutError: The service did not become ready, or some scans never ended.
    """
    came = KillOldest(scans, workers, every_s, for_s)
    with tempfile.TemporaryDirectory(prefix="voxelq-faults-") as name:
        folder, port = Path(name), free_port()
        base = f"http://127.0.0.1:{port}"
        command = ["-m", "voxelq", "up", "--port", str(port), "--workers", str(workers)]
        command += ["--data-dir", str(folder / "data")]
        with (
            child(command, folder / "up.log", {}) as up,
            httpx.Client(base_url=base, timeout=10, trust_env=False) as client,
        ):
            _until_ready(client, workers, _START_S)
            began_s = time.monotonic()
            ids = _submit_all(base, scans, lambda: _kill_for(came, up.pid))
            came.ready_s = _until_ready(client, 1, bound_s)
            came.done = dict(_ends(client, ids, bound_s))
            came.seconds = time.monotonic() - began_s
            with Redis.from_url((folder / "data" / "redis" / "url").read_text().strip()) as redis:
                counts: Any = [redis.xlen(keys.RQ_RESULTS + job_id) for job_id in ids]
                came.twice = sum(count > 1 for count in counts)
    return came


def _kill_for(came: KillOldest, supervisor: int) -> None:
    until_s = time.monotonic() + came.for_s
    while time.monotonic() < until_s:
        time.sleep(came.every_s)
        workers = [one for one in psutil.Process(supervisor).children() if _is_worker(one)]
        if workers:
            min(workers, key=lambda one: one.create_time()).kill()
            came.kills += 1


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in process.cmdline()
    except psutil.Error:
        return False  # it has gone


def _submit_all(base: str, scans: int, meanwhile: Any) -> list[str]:
    """Submit that many scans while something else goes on; return the ids of their jobs."""
    content, ids, lock, left = SAMPLE_SCAN.read_bytes(), list[str](), threading.Lock(), [scans]

    def submit() -> None:
        with httpx.Client(base_url=base, timeout=30, trust_env=False) as client:
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                answer = client.post("/jobs", content=content, headers=_HEADERS)
                answer.raise_for_status()
                with lock:
                    ids.append(answer.json()["id"])

    threads = [threading.Thread(target=submit) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    if len(ids) != scans:
        raise RuntimeError(f"{scans - len(ids)} scans were not taken")
    return ids


def _ends(client: httpx.Client, ids: list[str], bound_s: float) -> Counter[str]:
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + bound_s
    for job_id in ids:
        while (job := client.get(f"/jobs/{job_id}").json())["status"] in ("queued", "started"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {sum(ends.values())} of {len(ids)} scans ended")
            time.sleep(0.1)
        ends[job["status"]] += 1
    return ends


def _until_ready(client: httpx.Client, workers: int, bound_s: float) -> float:
    began_s = time.monotonic()
    while time.monotonic() - began_s < bound_s:
        try:
            if len(client.get("/queue").json()["workers"]) >= workers:
                return time.monotonic() - began_s
        except (httpx.HTTPError, ValueError, KeyError):
            pass  # not up yet
        time.sleep(0.1)
    raise TimeoutError("the service did not become ready")
