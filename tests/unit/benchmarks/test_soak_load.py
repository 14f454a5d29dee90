"""The clients of a soak: at first all submit the same scan at once."""

import gzip
import struct
import time

from benchmarks.common.clinic import Scan
from benchmarks.soak.clients import RUSHES, running_clients
from tests.support.tiny_service import TinyService, job, serving

SHAPE = (8, 8, 8)
SCANS = [Scan(SHAPE, b"first"), Scan(SHAPE, b"second"), Scan(SHAPE, b"third")]
CLIENTS = 4
RUSHED = RUSHES * len(SCANS) * CLIENTS
BOUND_S = 30.0


def submitted(service: TinyService) -> list[bytes]:
    """Return the scans that were submitted so far, in their order."""
    return [one.body for one in list(service.requests) if one.method == "POST"]


def test_all_clients_first_submit_every_shape_at_once() -> None:
    """In a rush, each scan is submitted only after all clients have submitted the one before."""
    header = bytes(40) + struct.pack("<4h", 3, *SHAPE) + bytes(300)
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="finished"))
        service.on("GET", "/jobs/01JOB/mask", 200, gzip.compress(header))
        service.on("DELETE", "/jobs/01JOB", 204, b"")
        ends_s = time.monotonic() + BOUND_S
        with running_clients(service.url, SCANS, CLIENTS) as clients:
            while len(submitted(service)) < 2 * RUSHED and time.monotonic() < ends_s:
                time.sleep(0.01)
        came = submitted(service)
    assert not clients.errors
    order = [scan.content for scan in SCANS] * RUSHES
    assert came[:RUSHED] == [content for content in order for _ in range(CLIENTS)]


def test_a_soak_can_end_during_a_rush() -> None:
    """Clients that wait for each other stop at the end of the soak."""
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="failed", result=None))
        with running_clients(service.url, SCANS, CLIENTS) as clients:
            pass
    assert sum(clients.errors.values()) <= RUSHED


def test_there_is_no_scan_in_the_service_during_a_rest() -> None:
    """All scans have ended before a rest, and none is submitted in it; then all continue."""
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="failed", result=None))
        with running_clients(service.url, SCANS, CLIENTS) as clients:
            while clients.ended < CLIENTS:
                time.sleep(0.01)
            with clients.rest():
                ended, came = clients.ended, len(service.requests)
                time.sleep(0.6)  # beyond a client's pause
                assert (clients.ended, len(service.requests)) == (ended, came)
            ends_s = time.monotonic() + BOUND_S
            while clients.ended <= ended + CLIENTS and time.monotonic() < ends_s:
                time.sleep(0.01)
            assert clients.ended > ended + CLIENTS


def test_a_response_that_is_not_a_job_is_a_failure() -> None:
    """A body that is not JSON is counted as an error, and a rest does not wait for it."""
    with serving() as service:
        service.on("POST", "/predict", 200, b"hello")
        with running_clients(service.url, SCANS, CLIENTS) as clients:
            while clients.ended < CLIENTS:
                time.sleep(0.01)
            with clients.rest():
                pass
    assert set(clients.errors) == {"no valid response: JSONDecodeError"}
