"""A fixed number of clients that keep a service full for as long as one likes."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from benchmarks.clinic import Scan, job_fault, mask_fault, refusal

_TIMEOUT_S = 330.0
#: So often all clients first hand in the same scan at once, of each shape: a process that keeps
#: freed memory then meets what takes most of it before anybody looks for leaks.
RUSHES = 2
#: After a failure a client waits for so long, for a service that is away refuses fast.
_PAUSE_S = 0.5


@dataclass
class Tally:
    """When scans were done, in seconds of ``time.perf_counter``, and why others were not."""

    done_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


@contextmanager
def full_load(base: str, scans: Sequence[Scan], clients: int) -> Iterator[Tally]:
    """Run clients until the block ends; yield what they have seen so far.

    Each hands in one scan after another, waits, fetches the mask and purges the job, so that what
    the service keeps does not grow by itself. After :data:`RUSHES` they no longer mind each other.
    """
    tally, stop = Tally(), threading.Event()
    rush = threading.Barrier(clients)

    def turns(first: int) -> Iterator[Scan]:
        for scan in [*scans] * RUSHES:
            with suppress(threading.BrokenBarrierError):
                rush.wait()
            yield scan
        yield from itertools.islice(itertools.cycle(scans), first, None)

    def loop(first: int) -> None:
        with httpx.Client(base_url=base, timeout=_TIMEOUT_S, trust_env=False) as client:
            for scan in turns(first):
                if stop.is_set():
                    return
                try:
                    fault = one_scan(client, scan)
                except httpx.HTTPError as error:
                    fault = f"no answer: {type(error).__name__}"
                if fault is None:
                    tally.done_s.append(time.perf_counter())
                else:
                    tally.errors[fault] += 1
                    stop.wait(_PAUSE_S)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(loop, number) for number in range(clients)]
        try:
            yield tally
        finally:
            stop.set()
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
