"""A fixed number of clients that keep a service fully loaded, with rests on request."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx

from benchmarks.common.clinic import GZIP, Scan, job_fault, mask_fault, refusal

_TIMEOUT_S = 330.0
#: How often all clients first submit the same scan at once, for each shape. This takes the most
#: memory, so that a process that keeps freed memory reaches its peak before the leaks are measured.
RUSHES = 2
#: The pause of a client after a failure: a service that is down refuses very fast.
_PAUSE_S = 0.5


class Clients:
    """The shared state of the clients, and the scans that ended so far.

    ``finished_s`` has the ``time.perf_counter`` of each finished scan; ``errors`` counts why others
    failed.
    """

    def __init__(self) -> None:
        self.finished_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._resting = self._ended = False
        self._busy = 0

    @property
    def ended(self) -> int:
        """How many scans finished or failed."""
        return len(self.finished_s) + sum(self.errors.values())

    @contextmanager
    def rest(self) -> Iterator[None]:
        """Let no client submit until the block ends; entered once all scans have ended."""
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: self._busy == 0)
        try:
            yield
        finally:
            with self._changed:
                self._resting = False
                self._changed.notify_all()

    def end(self) -> None:
        """Let all clients stop."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def begin_scan(self) -> bool:
        """Return True once a client may submit its next scan, and False at the end of the soak."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self._resting)
            self._busy += not self._ended
            return not self._ended

    def end_scan(self, fault: str | None) -> None:
        """Record how a client's scan ended."""
        with self._changed:
            if fault is None:
                self.finished_s.append(time.perf_counter())
            else:
                self.errors[fault] += 1
            self._busy -= 1
            self._changed.notify_all()

    def pause(self) -> None:
        """Wait after a failure, at most until the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _PAUSE_S)


@contextmanager
def running_clients(base: str, scans: Sequence[Scan], clients: int) -> Iterator[Clients]:
    """Run clients until the block ends; yield their shared state.

    Each client submits one scan after another, waits, fetches the mask and purges the job, so that
    the service does not store more and more. After the :data:`RUSHES` they are independent.
    """
    state, rush = Clients(), threading.Barrier(clients)

    def turns(first: int) -> Iterator[Scan]:
        for scan in [*scans] * RUSHES:
            with suppress(threading.BrokenBarrierError):
                rush.wait()
            yield scan
        yield from itertools.islice(itertools.cycle(scans), first, None)

    def loop(first: int) -> None:
        with httpx.Client(base_url=base, timeout=_TIMEOUT_S, trust_env=False) as client:
            for scan in turns(first):
                if not state.begin_scan():
                    return
                try:
                    fault = run_scan(client, scan)
                except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                    fault = f"no valid response: {type(error).__name__}"
                state.end_scan(fault)
                if fault is not None:
                    state.pause()

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(loop, number) for number in range(clients)]
        try:
            yield state
        finally:
            state.end()
            rush.abort()  # no client may wait for one that has stopped
    for client in running:
        client.result()


def run_scan(client: httpx.Client, scan: Scan) -> str | None:
    """Submit a scan, check its result and purge the job; return what went wrong, if anything.

    Raises:
        httpx.HTTPError: The service did not respond.
    """
    response = client.post("/predict", content=scan.content, headers=GZIP)
    if response.status_code != httpx.codes.OK:
        return refusal(response.status_code, response.content)
    job = response.json()
    fault = job_fault(job)
    if fault is None:
        mask = client.get(f"/jobs/{job['id']}/mask")
        fault = mask_fault(mask.content, scan.shape)
    purged = client.delete(f"/jobs/{job['id']}")
    if fault is None and purged.status_code != httpx.codes.NO_CONTENT:
        fault = f"not purged, {refusal(purged.status_code, purged.content)}"
    return fault
