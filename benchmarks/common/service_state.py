"""What a running service says of itself over HTTP."""

import re
from typing import Any

import httpx

_TIMEOUT_S = 5.0


def is_ok(url: str) -> bool:
    """Return whether a GET of ``url`` is answered with 200."""
    try:
        response = httpx.get(url, trust_env=False, timeout=_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK


def count_workers(base: str) -> int:
    """Return how many workers listen, by ``/queue`` of VoxelQ or of a peer; 0 without an answer."""
    try:
        response = httpx.get(f"{base}/queue", trust_env=False, timeout=_TIMEOUT_S)
        workers: Any = response.json()["workers"]
    except (httpx.HTTPError, ValueError, KeyError):
        return 0
    return workers if isinstance(workers, int) else len(workers)


def read_metric(text: str, name: str) -> float | None:
    """Return the value of a metric without labels in the text of ``/metrics``, if it is there."""
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else None
