"""Clients of a service: one scan after another, or several clients in a loop; what they saw."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psutil

from benchmarks.common.core_time import CoreTime
from benchmarks.common.services import Service

_TIMEOUT_S = 300.0
#: A window with fewer answers stays open, for percentiles of them mean nothing.
_LEAST_ANSWERS = 3


@dataclass(frozen=True)
class Answer:
    """One scan that was done: when and after how long, the worker's stages, and what it found."""

    ended_s: float
    latency_s: float
    timings_s: dict[str, float]
    volume_ml: float


@dataclass(frozen=True)
class Load:
    """What clients saw in a window of ``window_s``, and who took the cores meanwhile."""

    answers: Sequence[Answer]
    began_s: float
    window_s: float
    core_time: CoreTime

    @property
    def scans_per_s(self) -> float:
        """Return the answers that came for each second of the window."""
        return len(self.answers) / self.window_s

    def latency_s(self, percentile: int) -> float:
        """Return a percentile, 1 to 99, of the answers' times."""
        seconds = [answer.latency_s for answer in self.answers]
        return statistics.quantiles(seconds, n=100, method="inclusive")[percentile - 1]

    def stages_s(self) -> dict[str, float]:
        """Return the mean time of every stage, as the worker told it."""
        timings = [answer.timings_s for answer in self.answers]
        return {name: statistics.fmean(one[name] for one in timings) for name in timings[0]}


def measure(service: Service, scan: bytes, *, clients: int, warm_s: float, seconds: float) -> Load:
    """Have clients hand in a scan, wait for its answer and begin anew; return what they saw.

    The window opens once they are under way and closes while they still are, so that it sees
    neither start nor end.

    Raises:
        RuntimeError: A scan was not done.
    """
    answers: list[Answer] = []
    with _looping(service.url, scan, clients, answers) as stay:
        stay(lambda since: time.perf_counter() > since + warm_s and len(answers) >= clients)
        parts = {**service.parts, "clients": [psutil.Process()]}
        seen, began_s = len(answers), time.perf_counter()
        before = CoreTime.now(parts)
        stay(
            lambda since: (
                time.perf_counter() > since + seconds and len(answers) - seen >= _LEAST_ANSWERS
            )
        )
        ended_s, spent = time.perf_counter(), CoreTime.now(parts).since(before)
        counted = [answer for answer in answers if began_s < answer.ended_s <= ended_s]
    return Load(counted, began_s, ended_s - began_s, spent)


@contextmanager
def _looping(
    url: str, scan: bytes, clients: int, answers: list[Answer]
) -> Iterator[Callable[[Callable[[float], bool]], None]]:
    """Run clients until the block ends; yield what waits for a condition or a client's fault."""
    stop = threading.Event()

    def loop() -> None:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            while not stop.is_set():
                answers.append(_ask(client, url, scan))

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


def _ask(client: httpx.Client, url: str, scan: bytes) -> Answer:
    began_s = time.perf_counter()
    response = client.post(url, content=scan, headers={"Content-Type": "application/gzip"})
    ended_s = time.perf_counter()
    if response.status_code != httpx.codes.OK:
        raise RuntimeError(f"a scan was answered with {response.status_code}")
    job = response.json()
    if job.get("status", "finished") != "finished":
        raise RuntimeError("a scan failed")
    volume_ml = job["result"]["tumor"]["volume_ml"]
    return Answer(ended_s, ended_s - began_s, job["timings_s"], volume_ml)
