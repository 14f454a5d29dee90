"""Clients that submit one scan after another to a service, and what they measured."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psutil

from benchmarks.common.clinic import GZIP
from benchmarks.common.core_time import CoreTime
from benchmarks.common.percentiles import percentile
from benchmarks.common.services import Service

_TIMEOUT_S = 300.0
#: The window stays open until it has so many scans: percentiles of fewer mean nothing.
_LEAST_SCANS = 3


@dataclass(frozen=True)
class FinishedScan:
    """When a scan was finished and after how long, the worker's stages, and the tumour's volume."""

    ended_s: float
    latency_s: float
    timings_s: dict[str, float]
    volume_ml: float


@dataclass(frozen=True)
class LoadResult:
    """The scans that finished in a window of ``window_s``, and the core time that was spent."""

    scans: Sequence[FinishedScan]
    began_s: float
    window_s: float
    core_time: CoreTime

    @property
    def scans_per_s(self) -> float:
        """Return how many scans finished in a second of the window."""
        return len(self.scans) / self.window_s

    def latency_s(self, percent: int) -> float:
        """Return a percentile, 1 to 99, of the times from submit to result."""
        return percentile([scan.latency_s for scan in self.scans], percent)

    def stages_s(self) -> dict[str, float]:
        """Return the mean time of every stage, as the worker measured it."""
        timings = [scan.timings_s for scan in self.scans]
        return {name: statistics.fmean(one[name] for one in timings) for name in timings[0]}


def measure(
    service: Service, scan: bytes, *, clients: int, warm_s: float, seconds: float
) -> LoadResult:
    """Let clients submit a scan, wait for its result and start again; return what they measured.

    The window opens once all clients are busy and closes while they still are, so that it contains
    neither the start nor the end of the load.

    Raises:
        RuntimeError: A scan failed or was refused.
    """
    finished: list[FinishedScan] = []
    with _looping(service.predict_url, scan, clients, finished) as stay:
        stay(lambda since: time.perf_counter() > since + warm_s and len(finished) >= clients)
        parts = {**service.parts, "clients": [psutil.Process()]}
        # reading the clocks of all processes takes time: the window begins and ends after it
        before = CoreTime.now(parts)
        seen, began_s = len(finished), time.perf_counter()
        stay(
            lambda since: (
                time.perf_counter() > since + seconds and len(finished) - seen >= _LEAST_SCANS
            )
        )
        spent = CoreTime.now(parts).since(before)
        ended_s = time.perf_counter()
        counted = [scan for scan in finished if began_s < scan.ended_s <= ended_s]
    return LoadResult(counted, began_s, ended_s - began_s, spent)


@contextmanager
def _looping(
    url: str, scan: bytes, clients: int, finished: list[FinishedScan]
) -> Iterator[Callable[[Callable[[float], bool]], None]]:
    """Run clients until the block ends; yield a function that waits for a condition.

    The function raises what a client raised meanwhile.
    """
    stop = threading.Event()

    def loop() -> None:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            while not stop.is_set():
                finished.append(_predict(client, url, scan))

    def stay(over: Callable[[float], bool]) -> None:
        since = time.perf_counter()
        while not over(since):
            for ended in wait(running, 0.05, FIRST_EXCEPTION).done:
                ended.result()

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(loop) for _ in range(clients)]
        try:
            yield stay
        finally:
            stop.set()


def _predict(client: httpx.Client, url: str, scan: bytes) -> FinishedScan:
    began_s = time.perf_counter()
    response = client.post(url, content=scan, headers=GZIP)
    ended_s = time.perf_counter()
    if response.status_code != httpx.codes.OK:
        raise RuntimeError(f"a scan was answered with {response.status_code}")
    job = response.json()
    if job.get("status", "finished") != "finished":
        raise RuntimeError("a scan failed")
    volume_ml = job["result"]["tumor"]["volume_ml"]
    return FinishedScan(ended_s, ended_s - began_s, job["timings_s"], volume_ml)
