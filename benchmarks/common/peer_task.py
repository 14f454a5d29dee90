"""The task of a peer's stock RQ worker; apart from ``__main__``, which RQ cannot import."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.common.bare import WholeScan


@cache
def work() -> WholeScan:
    """Return the loaded model; masks and pictures go to ``PEER_FOLDER``."""
    return WholeScan(Path(os.environ["PEER_FOLDER"]))


def segment(scan: str, threads: int) -> dict[str, Any]:
    """Process the scan in the file ``scan`` and return its result."""
    with open(scan, "rb") as file:
        return work().run(file, threads).as_job()
