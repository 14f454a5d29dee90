"""All rounds of a measurement, at a given service or at one that is started for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.common.machine import voxelq_settings
from benchmarks.common.services import voxelq
from benchmarks.components.load import RestEndpoint, measure, service_facts
from benchmarks.components.report import round_numbers


@contextmanager
def endpoint(url: str | None, scan: bytes) -> Iterator[RestEndpoint]:
    """Yield the service at ``url``, or a local one that ends with the block."""
    if url is not None:
        yield RestEndpoint(url.rstrip("/"), scan)
        return
    with voxelq(1) as service:
        yield RestEndpoint(service.base, scan)


def run(
    scan: bytes, url: str | None, *, requests: int, concurrency: Sequence[int]
) -> dict[str, Any]:
    """Measure a round for each number of clients; return the numbers that are written.

    Raises:
        NotMeasured: The service refused a scan, failed it, or cannot be reached.
    """
    with endpoint(url, scan) as rest:
        rounds = [measure(rest, requests=requests, clients=clients) for clients in concurrency]
        facts = service_facts(rest.url)
    return {
        "scan": {"bytes": len(scan), "shape": rounds[0].shape},
        "settings": voxelq_settings(),
        "service": {"local": url is None, **facts},
        "rounds": [round_numbers(done) for done in rounds],
    }
