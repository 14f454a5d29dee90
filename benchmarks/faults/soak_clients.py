"""Steady healthy load for a soak: clients that submit and poll, and clients that block."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from redis.exceptions import RedisError

from benchmarks.faults import invariants
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from shared.queue import keys

#: Between two scans of one client (seconds).
PAUSE_S = 0.25
#: The age of a terminal state at which the job is checked again and purged (seconds).
UNCHANGED_S = 20.0


class SoakClients:
    """The clients, their jobs, the jobs that were checked and purged, and the violations."""

    def __init__(self, service: FaultedService) -> None:
        self.jobs = Jobs(service)
        self.done: Counter[str] = Counter()
        self.outcomes: Counter[int] = Counter()
        self.violations: Counter[str] = Counter()
        self.not_injected: Counter[str] = Counter()
        self._service = service
        self._checked: set[str] = set()
        self._over = threading.Event()

    @property
    def accepted(self) -> int:
        """How many scans were accepted so far."""
        return len(self.jobs.accepted)

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        """Run clients, a third of which wait for their results, until the block ends."""
        loops = [self._block if number % 3 == 2 else self._submit for number in range(clients)]
        threads = [threading.Thread(target=loop) for loop in [*loops, self._check_ended]]
        for thread in threads:
            thread.start()
        try:
            with self.jobs.polled():
                yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def check(self, min_age_s: float) -> None:
        """Check again, and purge, every job whose terminal state was seen so long ago."""
        now_s = time.monotonic()
        with self._service.client(5.0) as client:
            for job_id in self.jobs.ended.keys() - self._checked:
                if now_s - self.jobs.ended_at_s[job_id] >= min_age_s:
                    self._check_and_purge(client, job_id)

    def _check_and_purge(self, client: httpx.Client, job_id: str) -> None:
        ended = self.jobs.ended[job_id]
        try:
            if not self._service.is_ready():
                return  # a part is down; the job is checked again later
            problems = invariants.check_outcome(self._service, client, job_id, ended)
            results: Any = self._service.redis.xlen(keys.RQ_RESULTS + job_id)
        except (RedisError, httpx.HTTPError):
            return
        if any("503" in words for words in problems):
            return
        if job_id in self.jobs.healthy and ended["status"] != "finished":
            title = (ended.get("error") or {}).get("title", "without a reason")
            problems.append(f"a healthy job is {ended['status']}: {title}")
        self.violations.update(problems)
        self._checked.add(job_id)
        self.done[str(ended["status"])] += 1
        self.outcomes[int(results)] += 1
        with suppress(httpx.HTTPError):  # in that case it is purged at the end
            client.delete(f"/jobs/{job_id}")

    def _check_ended(self) -> None:
        while not self._over.wait(1.0):
            self.check(UNCHANGED_S)

    def _submit(self) -> None:
        with self._service.client(5.0) as client:
            while not self._over.wait(PAUSE_S):
                self.jobs.submit(client)

    def _block(self) -> None:
        with self._service.client(20.0) as client:
            while not self._over.wait(PAUSE_S):
                self.jobs.predict(client)
