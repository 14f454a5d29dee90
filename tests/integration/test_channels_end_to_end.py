"""A scan of four channels, from the form to the mask, with a bundle of the zoo's format."""

import gzip
import io
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest

from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from shared.storage.store import ScanStore
from tests.support.api_server import RAW, ApiServer, assert_problem
from tests.support.monai_bundles import FOUR_CHANNELS, four_channels, write_bundle
from tests.support.scans import AFFINE, gz, nifti
from tests.support.worker_process import worker_process
from voxelq import Client

SHAPE = (24, 28, 20)
INPUTS = ["t1c", "t1", "t2", "flair"]
QUERY = {"model": "glioma"}


def channel(number: int, shape: tuple[int, ...] = SHAPE) -> bytes:
    """Return one channel's volume: noise with a bright block in it."""
    data = np.random.default_rng(number).integers(50, 100, shape).astype("int16")
    data[8:16, 8:16, 6:12] += 200 * (number + 1)
    return gz(nifti(data))


FILES = {name: channel(number) for number, name in enumerate(INPUTS)}


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings with a bundle of four channels, and one that resamples its inputs."""
    write_bundle(models_dir, "glioma", FOUR_CHANNELS, four_channels())
    lenient = {**FOUR_CHANNELS, "resample_inputs": True}
    write_bundle(models_dir, "glioma-lenient", lenient, four_channels())
    return settings.model_copy(update={"default_model": "glioma"})


async def test_four_channels_become_one_mask(
    client: httpx.AsyncClient,
    server: ApiServer,
    queue: JobQueue,
    store: ScanStore,
    settings: Settings,
    tmp_path: Path,
) -> None:
    """Four fields in any order are one job, whose mask is in the first input's grid."""
    other_grid = nifti(np.ones((12, 14, 10), "int16") + np.eye(14, 10, dtype="int16"),
                       affine=AFFINE @ np.diag([2, 2, 2, 1]))  # fmt: skip
    with worker_process(settings, tmp_path / "log"):
        listed = (await client.get("/models/glioma")).json()
        assert [each["name"] for each in listed["inputs"]] == INPUTS
        backwards = dict(reversed(FILES.items()))
        answer = await client.post("/predict", params=QUERY, files=backwards)
        job = answer.json()
        assert (answer.status_code, job["status"]) == (200, "finished"), job["error"]
        lenient = await client.post(
            "/predict?model=glioma-lenient", files={**FILES, "t2": other_grid}
        )
        assert lenient.json()["status"] == "finished", lenient.json()["error"]
        path = tmp_path / "channels"
        path.mkdir()
        for name, content in FILES.items():
            (path / name).write_bytes(content)
        with Client(server.url) as python:
            again = python.predict({name: path / name for name in INPUTS}).job

    assert job["result"]["scan"]["shape"] == list(SHAPE)
    first = (await queue.get(job["id"])).submission
    assert list(first.scans) == INPUTS
    assert first.sha256 == (await queue.get(again.id)).submission.sha256
    mask = (await client.get(f"/jobs/{job['id']}/mask")).content
    image = nibabel.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(mask)))
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    assert set(np.unique(image.dataobj)) <= {0, *(each["value"] for each in listed["labels"])}

    scan = f"/jobs/{job['id']}/scan"
    assert (await client.get(scan)).content == FILES["t1c"]
    for name, content in FILES.items():
        response = await client.get(scan, params={"channel": name})
        assert response.content == content
        assert f"{job['id']}-{name}.nii.gz" in response.headers["content-disposition"]
    assert_problem(await client.get(scan, params={"channel": "pet"}), 400, ", ".join(INPUTS))


async def test_what_several_channels_are_refused_for(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """Missing, unknown and differently placed channels are refused by name, with the difference."""
    shifted = AFFINE.copy()
    shifted[0, 3] += 2.5
    other_place = gz(nifti(np.indices(SHAPE)[0].astype("int16"), affine=shifted))
    cases: list[tuple[dict[str, bytes], int, str]] = [
        ({"t1c": FILES["t1c"]}, 422, "missing: t1, t2, flair"),
        ({**FILES, "t2": channel(9, (24, 28, 21))}, 422,
         "t2 has 24 x 28 x 21 voxels, not the 24 x 28 x 20 of t1c"),
        ({**FILES, "flair": other_place}, 422, "flair has an affine that differs by up to 2.5"),
        ({**FILES, "pet": FILES["t1"]}, 400, "field that no submit takes"),
    ]  # fmt: skip
    for files, status, words in cases:
        for order in (files, dict(reversed(files.items()))):
            response = await client.post("/jobs", params=QUERY, files=order)
            assert_problem(response, status, words)
    raw = await client.post("/jobs", params=QUERY, content=FILES["t1"], headers=RAW)
    assert_problem(raw, 422, "each as a form field of that name")
    assert server.stored_files() == []


async def test_one_path_is_no_scan_of_several_channels(settings: Settings, tmp_path: Path) -> None:
    """A single scan_path for a model of several inputs is refused with the names of its inputs."""
    (tmp_path / "t1.nii.gz").write_bytes(FILES["t1"])
    server = ApiServer(settings.model_copy(update={"scan_root": tmp_path}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            asked = {"scan_path": "t1.nii.gz", "model": "glioma"}
            assert_problem(await client.post("/jobs", json=asked), 422, "t1c, t1, t2, flair")
    finally:
        server.stop()


async def test_the_same_channels_are_the_same_scan(client: httpx.AsyncClient) -> None:
    """For an Idempotency-Key, the order of fields does not matter, and each channel does."""
    headers = {"Idempotency-Key": "visit-7"}
    first = await client.post("/jobs", params=QUERY, files=FILES, headers=headers)
    assert first.status_code == 202
    backwards = dict(reversed(FILES.items()))
    again = await client.post("/jobs", params=QUERY, files=backwards, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    swapped = {**FILES, "t1": FILES["t2"], "t2": FILES["t1"]}
    other = await client.post("/jobs", params=QUERY, files=swapped, headers=headers)
    assert_problem(other, 422, "Idempotency-Key")
