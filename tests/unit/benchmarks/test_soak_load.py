"""The clients of a soak: at first all hand in the same scan at once."""

import gzip
import struct
import time

from benchmarks.common.clinic import Scan
from benchmarks.soak.load import RUSHES, full_load
from tests.support.tiny_service import TinyService, job, serving

SHAPE = (8, 8, 8)
SCANS = [Scan(SHAPE, b"first"), Scan(SHAPE, b"second"), Scan(SHAPE, b"third")]
CLIENTS = 4
RUSHED = RUSHES * len(SCANS) * CLIENTS
BOUND_S = 30.0


def submitted(service: TinyService) -> list[bytes]:
    """Return the scans that came so far, in their order."""
    return [one.body for one in list(service.requests) if one.method == "POST"]


def test_every_shape_is_met_by_all_clients_at_once_before_the_mix() -> None:
    """No client hands in a scan of a rush before all have handed in the one before."""
    header = bytes(40) + struct.pack("<4h", 3, *SHAPE) + bytes(300)
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="finished"))
        service.on("GET", "/jobs/01JOB/mask", 200, gzip.compress(header))
        service.on("DELETE", "/jobs/01JOB", 204, b"")
        ends_s = time.monotonic() + BOUND_S
        with full_load(service.url, SCANS, CLIENTS) as load:
            while len(submitted(service)) < 2 * RUSHED and time.monotonic() < ends_s:
                time.sleep(0.01)
        came = submitted(service)
    assert not load.errors
    order = [scan.content for scan in SCANS] * RUSHES
    assert came[:RUSHED] == [content for content in order for _ in range(CLIENTS)]


def test_a_soak_that_ends_in_a_rush_leaves_nobody_waiting() -> None:
    """Clients that wait for one another end when the soak does."""
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="failed", result=None))
        with full_load(service.url, SCANS, CLIENTS) as load:
            pass
    assert sum(load.errors.values()) <= RUSHED


def test_a_rest_begins_once_all_is_answered_and_nothing_comes_during_it() -> None:
    """No client is in the middle of a scan at rest; afterwards all go on."""
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="failed", result=None))
        with full_load(service.url, SCANS, CLIENTS) as load:
            while load.seen < CLIENTS:
                time.sleep(0.01)
            with load.rest():
                seen, came = load.seen, len(service.requests)
                time.sleep(0.6)  # beyond a client's pause
                assert (load.seen, len(service.requests)) == (seen, came)
            ends_s = time.monotonic() + BOUND_S
            while load.seen <= seen + CLIENTS and time.monotonic() < ends_s:
                time.sleep(0.01)
            assert load.seen > seen + CLIENTS


def test_an_answer_that_nobody_understands_is_a_failure() -> None:
    """Words instead of a job are counted, and a rest does not wait for who got them."""
    with serving() as service:
        service.on("POST", "/predict", 200, b"hello")
        with full_load(service.url, SCANS, CLIENTS) as load:
            while load.seen < CLIENTS:
                time.sleep(0.01)
            with load.rest():
                pass
    assert set(load.errors) == {"no answer that is understood: JSONDecodeError"}
