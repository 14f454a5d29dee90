"""The Python client, blocking and awaiting, against the real API and a scripted worker."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from shared.settings import Settings
from tests.support.api_server import SCAN, ApiServer
from tests.support.both_clients import BOTH
from tests.support.scans import AFFINE, gz, nifti, voxels
from tests.support.scripted_worker import PICTURE, ScriptedWorker, blame_the_scan
from voxelq import (
    BadRequest,
    BadScan,
    JobCanceled,
    JobFailed,
    JobState,
    KeyConflict,
    NotFound,
    QueueFull,
    ScanTooLarge,
    WaitTimeout,
)


@pytest.fixture(params=BOTH)
def client(server: ApiServer, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of this test's service, blocking or asynchronous."""
    with BOTH[request.param](server.url) as opened:
        yield opened


def test_a_scan_is_predicted(client: Any, scripted_worker: ScriptedWorker, tmp_path: Path) -> None:
    """An array, an image, a path and bytes each give a mask in the scan's own grid."""
    scripted_worker.serve()
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(SCAN)
    for scan in (path, SCAN, (voxels(), AFFINE), nibabel.Nifti1Image(voxels(), AFFINE)):
        found = client.predict(scan, priority="stat", wait_s=60)
        assert (found.present, found.probability, found.volume_ml) == (False, 0.1, 0)
        assert found.model.name == "test-model"
        assert found.timings_s["total"] == 0.327
        mask = found.mask()
        assert mask.shape == (8, 9, 10)
        np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4)
        assert found.preview() == PICTURE
        assert found.job.state.priority == "stat"


def test_channels_go_to_a_model_of_several(
    two_channel_model: str, client: Any, scripted_worker: ScriptedWorker
) -> None:
    """A dict of volumes is a scan of several channels; an incomplete one is refused."""
    scripted_worker.serve()
    channels = {"t1": SCAN, "flair": gz(nifti(voxels() + 1))}
    assert client.predict(channels, model=two_channel_model).model.name == two_channel_model
    with pytest.raises(BadScan, match="A channel is missing: flair"):
        client.submit({"t1": SCAN}, model=two_channel_model)


def test_one_key_is_one_job(client: Any) -> None:
    """The same scan with the caller's key is the same job; another scan is refused."""
    first = client.submit(SCAN, idempotency_key="night-1/sub-01")
    assert client.submit(SCAN, idempotency_key="night-1/sub-01").id == first.id
    assert client.submit(SCAN).id != first.id
    with pytest.raises(KeyConflict):
        client.submit(gz(nifti(voxels() + 1)), idempotency_key="night-1/sub-01")


def test_refusals_say_what_to_do(client: Any) -> None:
    """A refused scan, model or parameter raises an error of its own kind."""
    with pytest.raises(BadScan, match="not 3D"):
        client.submit(nifti(voxels((4, 4, 4, 4))))
    with pytest.raises(BadScan) as refusal:
        client.submit(b"neither NIfTI nor gzip" * 20)
    assert refusal.value.status == 415
    with pytest.raises(NotFound, match="not served"):
        client.submit(SCAN, model="nowhere")
    with pytest.raises(BadRequest, match="priority"):
        client.submit(SCAN, priority="now")
    with pytest.raises(NotFound, match="no job"):
        client.job("01KA8X6V5Q3T1N0Y2R4S6D8F0G")


def test_a_job_fails_as_an_error(client: Any, scripted_worker: ScriptedWorker) -> None:
    """Waiting for a failed job raises its problem; fetching its state does not."""
    job = client.submit(SCAN)
    scripted_worker.settle(scripted_worker.start(), blame_the_scan)
    with pytest.raises(JobFailed, match="as scripted") as failure:
        job.wait()
    assert failure.value.problem.type == "urn:voxelq:problem:bad-scan"
    assert client.job(job.id).status == "failed"


def test_a_timed_out_wait_can_be_repeated(client: Any, scripted_worker: ScriptedWorker) -> None:
    """After a timeout the job continues, and can be awaited again."""
    with pytest.raises(WaitTimeout) as over:
        client.predict(SCAN, wait_s=0.2)
    (job_id,) = over.value.job_ids
    scripted_worker.serve()
    assert client.job(job_id).wait(60).job.id == job_id


def test_a_waiting_client_is_woken_by_the_end(
    client: Any, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """A waiting client gets the end of a job without a polling interval."""
    job = client.submit(SCAN)
    ended: list[float] = []

    def end() -> None:
        while not server.blocked:
            time.sleep(0.01)
        leased_jobs = scripted_worker.start()
        scripted_worker.settle(leased_jobs)
        ended.append(time.monotonic())

    worker = threading.Thread(target=end)
    worker.start()
    job.wait(60)
    woken = time.monotonic()
    worker.join()
    assert woken - ended[0] < 5


def test_progress_goes_from_queued_to_finished(
    client: Any, scripted_worker: ScriptedWorker
) -> None:
    """The callback receives the position in the queue, the start and the end."""
    reported: list[JobState] = []

    def note(state: JobState) -> None:
        reported.append(state)
        if state.status == "queued":
            leased_jobs.extend(scripted_worker.start())
        elif leased_jobs:
            scripted_worker.settle([leased_jobs.pop()])

    leased_jobs: list[Any] = []
    client.predict(SCAN, on_progress=note, wait_s=60)
    assert [state.status for state in reported] == ["queued", "started", "finished"]
    assert reported[0].position == 0


def test_many_jobs_are_yielded_as_they_end(client: Any, scripted_worker: ScriptedWorker) -> None:
    """Each of many jobs is yielded once, failed ones too, over one connection."""
    jobs = [client.submit(SCAN, priority=("bulk", "stat")[number % 2]) for number in range(20)]
    scripted_worker.serve(
        lambda leased: (
            blame_the_scan(leased) if leased.id == jobs[3].id else scripted_worker.finish(leased)
        )
    )
    ended = list(client.as_completed(jobs, timeout_s=120))
    assert sorted(job.id for job in ended) == sorted(job.id for job in jobs)
    assert {job.id for job in ended if job.status == "failed"} == {jobs[3].id}
    assert all(job.done for job in jobs)


def test_a_job_is_canceled_and_purged(
    client: Any, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """Canceling cancels a queued job and leaves a finished one; deleting leaves no file."""
    finished, queued = client.submit(SCAN), client.submit(SCAN)
    scripted_worker.settle(scripted_worker.start(1))
    finished.cancel()
    assert finished.wait().mask_bytes()
    assert client.cancel(queued.id).status == "canceled"
    with pytest.raises(JobCanceled):
        queued.wait()
    finished.delete()
    queued.delete()
    finished.delete()
    assert list(client.jobs()) == []
    assert server.lasting_files() == []


def test_jobs_are_listed_newest_first_over_pages(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing continues from page to page, up to a limit or to the end."""
    monkeypatch.setattr("voxelq.protocol.flows.MAX_PAGE", 2)
    ids = [client.submit(SCAN).id for _ in range(5)]
    assert [job.id for job in client.jobs()] == ids[::-1]
    assert [job.id for job in client.jobs("queued", limit=3)] == ids[:1:-1]
    with pytest.raises(BadRequest):
        list(client.jobs("nowhere"))


def test_the_service_is_described(client: Any, scripted_worker: ScriptedWorker) -> None:
    """Models, the queue and readiness are fetched from the service."""
    assert not client.ready()
    scripted_worker.sign_on()
    assert client.ready()
    client.submit(SCAN)
    queue = client.queue()
    assert (queue.queued, queue.started, queue.workers[0].id) == (1, 0, "stand-in")
    models = client.models()
    assert ("test-model", True) in [(model.name, model.default) for model in models]
    assert models.default.inputs[0].modality == "FLAIR"
    assert models.default.labels[0].name == "whole tumour"


def test_a_full_queue_is_waited_for(
    settings: Settings, scripted_worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submit to a full queue is repeated until there is room, and raises after the retries."""
    monkeypatch.setattr("voxelq.protocol.sending.LONGEST_RETRY_AFTER_S", 0.2)
    server = ApiServer(settings.model_copy(update={"max_queued": 1}))
    server.start()
    try:
        with BOTH["Client"](server.url, retries=0) as hasty, BOTH["Client"](server.url) as client:
            client.submit(SCAN)
            with pytest.raises(QueueFull) as refusal:
                hasty.submit(SCAN)
            assert refusal.value.retry_after_s
            scripted_worker.serve()
            assert client.predict(SCAN, wait_s=60).job.done
    finally:
        server.stop()


@pytest.mark.parametrize("kind", BOTH)
def test_a_scan_that_is_refused_unread_has_its_reason(settings: Settings, kind: str) -> None:
    """If the service refuses a large upload and disconnects, its reason is raised at once."""
    server = ApiServer(settings.model_copy(update={"max_scan_bytes": 100_000}))
    server.start()
    try:
        with BOTH[kind](server.url) as client, pytest.raises(ScanTooLarge, match="100000"):
            client.submit(bytes(64_000_000))
    finally:
        server.stop()


def test_a_wait_survives_a_restart(settings: Settings, scripted_worker: ScriptedWorker) -> None:
    """A client that waits while the API is restarted gets its result."""
    server = ApiServer(settings)
    server.start()
    again = ApiServer(settings)
    again.port = server.port
    again.server.config.port = server.port

    def restart() -> None:
        while not server.blocked:
            time.sleep(0.01)
        server.stop()
        again.start()
        scripted_worker.serve()

    restarting = threading.Thread(target=restart)
    with BOTH["Client"](server.url) as client:
        job = client.submit(SCAN)
        restarting.start()
        try:
            assert job.wait(120).job.status == "finished"
        finally:
            restarting.join()
            again.stop()
