"""What a peer's stock RQ worker runs; a module of its own, for RQ runs nothing of ``__main__``."""

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
    """Do the scan that lies at ``scan`` and return its answer."""
    with open(scan, "rb") as file:
        return work().run(file, threads).as_job()
