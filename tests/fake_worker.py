"""A real MicroBatchWorker whose engine does what each job's scan key tells it to.

``python -m tests.fake_worker`` runs one, for tests that kill, freeze and hang workers.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence

from shared.errors import InferenceFailed
from shared.results import (
    BatchInfo,
    Report,
    ScanGeometry,
    SegmentationResult,
    Timings,
    TumorFinding,
)
from shared.settings import Settings
from shared.telemetry import configure_logging
from shared.watchdog import Watchdog
from worker.batch_worker import MicroBatchWorker
from worker.lease import Claim, Failed, Finished, Outcome, Retry


def report(claim: Claim, worker_id: str, size: int) -> Report:
    """Return a report as a healthy scan would get it."""
    return Report(
        result=SegmentationResult(
            tumor=TumorFinding(present=False, probability=0.1, volume_ml=0.0),
            labels=(),
            scan=ScanGeometry(shape=(16, 16, 16), voxel_mm=(1.0, 1.0, 1.0), orientation="RAS"),
            sha256=claim.submission.sha256,
        ),
        timings_s=Timings(
            queue=0, load=0, preprocess=0, inference=0, postprocess=0, store=0, total=0
        ),
        batch=BatchInfo(id=uuid.uuid4().hex, size=size),
        worker=worker_id,
        artefacts={},
    )


class ScriptedEngine:
    """Does to its own process what a scan's key says: ok, fail, retry, kill, hang, slow:<s>."""

    device = "cpu"
    model = "test-model@1.0.0"

    def run(
        self, claims: Sequence[Claim], worker_id: str, is_lost: Callable[[Claim], bool]
    ) -> list[Outcome]:
        """Play every scan's part, in order."""
        return [self._play(claim, worker_id, len(claims)) for claim in claims]

    def _play(self, claim: Claim, worker_id: str, size: int) -> Outcome:
        part, _, argument = claim.submission.scans["scan"].partition(":")
        match part:
            case "fail":
                return Failed(InferenceFailed("as told").problem())
            case "retry":
                return Retry(InferenceFailed("as told").problem())
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "slow":
                time.sleep(float(argument))
        return Finished(report(claim, worker_id, size))

    def discard(self, claim: Claim) -> None:
        """Nothing was written."""

    def idle(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Serve until SIGTERM."""
    configure_logging("worker")
    name = f"fake-{os.getpid()}"
    MicroBatchWorker(
        ScriptedEngine(),
        Settings(),
        name=name,
        queues=["test-model@1.0.0:routine"],
        watchdog=Watchdog(),
    ).work()


if __name__ == "__main__":
    sys.exit(main())
