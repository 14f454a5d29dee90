"""A replacement for a worker: it computes nothing, and settles jobs as a test scripts it."""

import threading
from collections.abc import Callable

import numpy as np

from shared.errors import BadScan
from shared.results import (
    BatchInfo,
    Report,
    ScanGeometry,
    SegmentationResult,
    Timings,
    TumorFinding,
)
from shared.settings import Settings
from shared.storage.store import ScanStore
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.reader import read_volume
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Outcome
from worker.queueing.connection import connect
from worker.queueing.leases import Leases, WorkerFacts

PICTURE = b"\x89PNG\r\n\x1a\n and so on"

Script = Callable[[LeasedJob], Outcome]


def blame_the_scan(_: LeasedJob) -> Failed:
    """Return the outcome of a job whose scan is bad."""
    return Failed(BadScan("as scripted").problem())


class ScriptedWorker:
    """Draws, begins and settles with the real leases, at a call or in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = connect(settings)
        self._store = ScanStore(settings.store_url)
        self.leases = Leases(self._redis, "stand-in", settings)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def sign_on(self, *held: LeasedJob) -> None:
        """Register as a live worker that runs ``held``."""
        self.leases.extend(held, self._facts(held))

    def start(self, most: int = 8) -> list[LeasedJob]:
        """Draw and begin up to ``most`` jobs."""
        leased_jobs = self.leases.draw(most).jobs
        return self.leases.begin(leased_jobs, self._facts(leased_jobs))

    def settle(self, leased_jobs: list[LeasedJob], script: Script | None = None) -> None:
        """Settle ``leased_jobs`` with the outcomes of ``script``; without one they finish."""
        outcomes = [(leased, (script or self.finish)(leased)) for leased in leased_jobs]
        self.leases.settle(outcomes, self._facts(), batch_s=0.01, metrics={"batches_total": 1.0})

    def serve(self, script: Script | None = None) -> None:
        """Settle all jobs, in a thread, until closed."""
        self._thread = threading.Thread(target=self._serve, args=(script,))
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and disconnect."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._redis.close()

    def finish(self, leased: LeasedJob) -> Finished:
        """Write a mask of zeros and a picture; return the outcome that names them."""
        submission = leased.submission
        with self._store.open(next(iter(submission.scans.values()))) as file:
            header = read_volume(file, max_voxels=self._settings.max_voxels).header
        folder = self._store.folder(leased.id)
        artefacts = {"mask": f"{folder}/mask.nii.gz", "preview": f"{folder}/preview.png"}
        mask = np.zeros(header.shape, np.uint8, order="F")
        self._store.write(artefacts["mask"], mask_bytes(mask, header))
        self._store.write(artefacts["preview"], PICTURE)
        report = Report(
            result=SegmentationResult(
                tumor=TumorFinding(present=False, probability=0.1, volume_ml=0),
                labels=(),
                scan=ScanGeometry(
                    shape=header.shape, voxel_mm=header.voxel_mm, orientation=header.orientation
                ),
                sha256=submission.sha256,
            ),
            timings_s=Timings(
                queue=0.012,
                load=0.04,
                preprocess=0.03,
                inference=0.21,
                postprocess=0.02,
                store=0.015,
                total=0.327,
            ),
            batch=BatchInfo(id="b-1", size=1),
            worker="stand-in",
            artefacts=artefacts,
        )
        return Finished(report)

    def _serve(self, script: Script | None) -> None:
        while not self._stop.is_set():
            leased_jobs = self.start()
            if leased_jobs:
                self.settle(leased_jobs, script)
            else:
                self.leases.wait_for_work(0.05)

    def _facts(self, held: tuple[LeasedJob, ...] | list[LeasedJob] = ()) -> WorkerFacts:
        ids = tuple(leased.id for leased in held)
        return WorkerFacts("stand-in", "cpu", "test-model@1.0.0", ids)
