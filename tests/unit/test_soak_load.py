"""The clients of a soak: at first all hand in the same scan at once."""

import gzip
import struct
import time

from benchmarks.clinic import Scan
from benchmarks.soak_load import RUSHES, full_load
from tests.tiny_service import TinyService, job, serving

SHAPE = (8, 8, 8)
SCANS = [Scan(SHAPE, b"first"), Scan(SHAPE, b"second"), Scan(SHAPE, b"third")]
CLIENTS = 4
RUSHED = RUSHES * len(SCANS) * CLIENTS
BOUND_S = 30.0


def handed_in(service: TinyService) -> list[bytes]:
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
        with full_load(service.url, SCANS, CLIENTS) as tally:
            while len(handed_in(service)) < 2 * RUSHED and time.monotonic() < ends_s:
                time.sleep(0.01)
        came = handed_in(service)
    assert not tally.errors
    order = [scan.content for scan in SCANS] * RUSHES
    assert came[:RUSHED] == [content for content in order for _ in range(CLIENTS)]


def test_a_soak_that_ends_in_a_rush_leaves_nobody_waiting() -> None:
    """Clients that wait for one another end when the soak does."""
    with serving() as service:
        service.on("POST", "/predict", 200, job(status="failed", result=None))
        with full_load(service.url, SCANS, CLIENTS) as tally:
            pass
    assert sum(tally.errors.values()) <= RUSHED
