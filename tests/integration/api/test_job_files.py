"""A job's files: mask, picture and scan."""

import gzip
import io

import httpx
import nibabel
import numpy as np

from shared.queue import keys
from shared.settings import Settings
from shared.volumes.reader import read_volume
from tests.support.api_server import SCAN, ApiServer, assert_problem, finished, submit
from tests.support.scripted_worker import PICTURE, ScriptedWorker, blame_the_scan
from worker.queueing.connection import connect


async def test_files(
    client: httpx.AsyncClient, server: ApiServer, scripted_worker: ScriptedWorker
) -> None:
    """Mask, picture and scan have their length, name and ETag; the mask fits the scan."""
    job_id = await finished(client, scripted_worker)
    mask = await client.get(f"/jobs/{job_id}/mask")
    scan = await client.get(f"/jobs/{job_id}/scan")
    preview = await client.get(f"/jobs/{job_id}/preview.png")
    assert scan.content == SCAN
    assert preview.content == PICTURE
    header = read_volume(io.BytesIO(mask.content), max_voxels=1000).header
    original = nibabel.Nifti1Image.from_bytes(gzip.decompress(SCAN))
    assert np.array_equal(header.affine, original.affine)
    assert header.shape == original.shape
    for response, media_type, name in (
        (mask, "application/gzip", f'attachment; filename="{job_id}-mask.nii.gz"'),
        (scan, "application/gzip", f'attachment; filename="{job_id}.nii.gz"'),
        (preview, "image/png", f'inline; filename="{job_id}.png"'),
    ):
        assert response.headers["content-type"] == media_type
        assert response.headers["content-disposition"] == name
        assert int(response.headers["content-length"]) == len(response.content)
        again = await client.get(
            response.url.path, headers={"If-None-Match": response.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    assert mask.headers["etag"] != preview.headers["etag"]


async def test_files_before_the_end(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """Until a job is finished its mask and picture are a 409 that says why; its scan is sent."""

    async def expect(job_id: str, words: str) -> None:
        for name in ("mask", "preview.png"):
            assert_problem(await client.get(f"/jobs/{job_id}/{name}"), 409, words)
        assert (await client.get(f"/jobs/{job_id}/scan")).content == SCAN

    job_id = await submit(client)
    await expect(job_id, "queued")
    leased_jobs = scripted_worker.start()
    await expect(job_id, "started")
    scripted_worker.settle(leased_jobs, blame_the_scan)
    await expect(job_id, "failed")
    canceled = await submit(client)
    await client.delete(f"/jobs/{canceled}")
    await expect(canceled, "canceled")


async def test_the_scan_of_a_channel(client: httpx.AsyncClient, two_channel_model: str) -> None:
    """A scan of several channels is fetched channel by channel; a wrong name is a 400."""
    other = gzip.decompress(SCAN)
    response = await client.post(
        "/jobs", params={"model": two_channel_model}, files={"t1": SCAN, "flair": other}
    )
    path = f"/jobs/{response.json()['id']}/scan"
    assert (await client.get(path)).content == SCAN
    flair = await client.get(path, params={"channel": "flair"})
    assert flair.content == other
    assert flair.headers["content-type"] == "application/octet-stream"
    assert flair.headers["content-disposition"].endswith('.nii"')
    assert_problem(await client.get(path, params={"channel": "pet"}), 400, "t1, flair")


async def test_files_of_an_unreadable_job(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, settings: Settings
) -> None:
    """If a job's record cannot be read, each of its files is a problem that says so."""
    job_id = await finished(client, scripted_worker)
    with connect(settings) as redis:
        redis.delete(keys.RQ_RESULTS + job_id)
    for file in ("mask", "preview.png", "scan"):
        assert_problem(await client.get(f"/jobs/{job_id}/{file}"), 404, "record cannot be read")
    shown = (await client.get(f"/jobs/{job_id}")).json()
    assert (shown["status"], shown["result"]) == ("finished", None)
