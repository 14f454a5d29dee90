"""A fixed number of clients that keep a service full for as long as one likes."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx

from benchmarks.common.clinic import Scan, job_fault, mask_fault, refusal

_TIMEOUT_S = 330.0
#: So often all clients first hand in the same scan at once, of each shape: a process that keeps
#: freed memory then meets what takes most of it before anybody looks for leaks.
RUSHES = 2
#: After a failure a client waits for so long, for a service that is away refuses fast.
_PAUSE_S = 0.5


class Load:
    """What clients do, and what they have seen so far.

    ``done_s`` is when scans were done, in seconds of ``time.perf_counter``; ``errors`` counts why
    others were not.
    """

    def __init__(self) -> None:
        self.done_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._resting = self._ended = False
        self._at_work = 0

    @property
    def seen(self) -> int:
        """How many scans were done or failed."""
        return len(self.done_s) + sum(self.errors.values())

    @contextmanager
    def rest(self) -> Iterator[None]:
        """Have clients hand in nothing; entered once every scan in hand is done."""
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: self._at_work == 0)
        try:
            yield
        finally:
            with self._changed:
                self._resting = False
                self._changed.notify_all()

    def end(self) -> None:
        """Let clients end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def goes_on(self) -> bool:
        """Begin a client's next scan, once nobody rests; False if there is to be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self._resting)
            self._at_work += not self._ended
            return not self._ended

    def took(self, fault: str | None) -> None:
        """Note how that scan ended."""
        with self._changed:
            if fault is None:
                self.done_s.append(time.perf_counter())
            else:
                self.errors[fault] += 1
            self._at_work -= 1
            self._changed.notify_all()

    def pause(self) -> None:
        """Wait after a failure, not beyond the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _PAUSE_S)


@contextmanager
def full_load(base: str, scans: Sequence[Scan], clients: int) -> Iterator[Load]:
    """Run clients until the block ends; yield what they do.

    Each hands in one scan after another, waits, fetches the mask and purges the job, so that what
    the service keeps does not grow by itself. After :data:`RUSHES` they no longer mind each other.
    """
    load, rush = Load(), threading.Barrier(clients)

    def turns(first: int) -> Iterator[Scan]:
        for scan in [*scans] * RUSHES:
            with suppress(threading.BrokenBarrierError):
                rush.wait()
            yield scan
        yield from itertools.islice(itertools.cycle(scans), first, None)

    def loop(first: int) -> None:
        with httpx.Client(base_url=base, timeout=_TIMEOUT_S, trust_env=False) as client:
            for scan in turns(first):
                if not load.goes_on():
                    return
                try:
                    fault = one_scan(client, scan)
                except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                    fault = f"no answer that is understood: {type(error).__name__}"
                load.took(fault)
                if fault is not None:
                    load.pause()

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(loop, number) for number in range(clients)]
        try:
            yield load
        finally:
            load.end()
            rush.abort()  # or some would wait for those that have gone
    for one in running:
        one.result()


def one_scan(client: httpx.Client, scan: Scan) -> str | None:
    """Take one scan from hand-in to purge; return what went wrong, if something did.

    Raises:
        httpx.HTTPError: The service did not answer.
    """
    answer = client.post(
        "/predict", content=scan.content, headers={"Content-Type": "application/gzip"}
    )
    if answer.status_code != httpx.codes.OK:
        return refusal(answer.status_code, answer.content)
    job = answer.json()
    fault = job_fault(job)
    if fault is None:
        mask = client.get(f"/jobs/{job['id']}/mask")
        fault = mask_fault(mask.content, scan.shape)
    purged = client.delete(f"/jobs/{job['id']}")
    if fault is None and purged.status_code != httpx.codes.NO_CONTENT:
        fault = f"not purged, {refusal(purged.status_code, purged.content)}"
    return fault
