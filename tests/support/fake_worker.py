"""A real MicroBatchWorker whose engine does what each job's scan key says.

``python -m tests.support.fake_worker`` runs one, for tests that kill, freeze and hang workers.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence

from benchmarks.common.noop_worker import NoopEngine, empty_report
from shared.errors import InferenceFailed
from shared.queue.watchdog import Watchdog
from shared.results import BatchInfo, Report
from shared.settings import Settings
from shared.telemetry import configure_logging
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome, Retry
from worker.queueing.rq_worker import MicroBatchWorker


def report(leased: LeasedJob, worker_id: str, size: int) -> Report:
    """Return the report of a scan that succeeded."""
    return empty_report(leased, worker_id, BatchInfo(id=uuid.uuid4().hex, size=size))


class ScriptedEngine(NoopEngine):
    """Does what a scan's key says: ok, fail, retry, kill, crash, hang or slow:<seconds>."""

    model = "test-model@1.0.0"

    def run(
        self, leased_jobs: Sequence[LeasedJob], worker_id: str, is_lost: Callable[[LeasedJob], bool]
    ) -> list[Outcome]:
        """Do what every scan's key says, in order."""
        return [self._compute(leased, worker_id, len(leased_jobs)) for leased in leased_jobs]

    def _compute(self, leased: LeasedJob, worker_id: str, size: int) -> Outcome:
        action, _, argument = leased.submission.scans["scan"].partition(":")
        match action:
            case "fail":
                return Failed(InferenceFailed("as scripted").problem())
            case "retry":
                return Retry(InferenceFailed("as scripted").problem())
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                raise RuntimeError("as scripted")
            case "hang":
                time.sleep(3600)
            case "slow":
                time.sleep(float(argument))
        return Finished(report(leased, worker_id, size))


def main() -> None:
    """Run until SIGTERM."""
    configure_logging("worker")
    name = f"fake-{os.getpid()}"
    worker = MicroBatchWorker(
        ScriptedEngine(),
        Settings(),
        name=name,
        queues=["test-model@1.0.0:routine"],
        watchdog=Watchdog(name),
    )
    sys.exit(worker.serve())


if __name__ == "__main__":
    main()
