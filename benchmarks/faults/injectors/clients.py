"""Clients that are slow or disconnect, and uploads that the store does not accept."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx

from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target, upload_slowly

_MANY_UPLOADS = 45


@contextmanager
def hung_uploads(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The API's store hangs under more uploads than the API has threads; other calls work."""

    def upload() -> None:
        with service.client(20.0) as client:
            jobs.submit(client)

    with _threads(_MANY_UPLOADS, upload), service.api_disk.rule(HANG, "/store/data/"):
        service.api_disk.wait_until_met(10)
        time.sleep(1)
        with service.client(3.0) as client:
            for path in ("/livez", "/readyz", "/queue", "/models", "/jobs"):
                try:
                    response = client.get(path)
                except httpx.HTTPError as error:
                    jobs.unexpected.append(
                        f"GET {path} while the store hangs: {type(error).__name__}"
                    )
                else:
                    if response.status_code != httpx.codes.OK:
                        jobs.unexpected.append(
                            f"GET {path} while the store hangs: {response.status_code}"
                        )
        yield


@contextmanager
def slow_clients(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Clients send their scans slowly, in small pieces."""
    with _threads(6, lambda: upload_slowly(service, 3.0)):
        yield


@contextmanager
def clients_hang_up(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """Clients disconnect in the middle of an upload, and while they are blocked."""

    def block_and_disconnect() -> None:
        with suppress(Exception), service.client(0.2) as client:
            jobs.predict(client)

    with (
        _threads(6, lambda: upload_slowly(service, 0.5)),
        _threads(6, block_and_disconnect),
    ):
        yield


@contextmanager
def _threads(count: int, work: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
