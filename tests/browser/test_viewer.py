"""The viewer in a real browser, with scans and masks of the test."""

import dataclasses
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import expect
from scipy import ndimage

from shared.results import LabelStats, TumorFinding
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.reader import read_volume
from tests.browser.conftest import Visiting
from tests.support.api_server import SCAN, ApiServer
from tests.support.browser_pages import Visit, coloured
from tests.support.scans import gz, nifti
from tests.support.scripted_worker import PICTURE, ScriptedWorker
from worker.pipeline.outcomes import Finished, LeasedJob

#: The third axis points to the patient's right, and the first one down: no axis is the usual one.
TURNED = np.array([[0.0, 0, 1.5, -20], [0, 2, 0, -45], [-1, 0, 0, 30], [0, 0, 0, 1]])
SHAPE = (40, 44, 36)
LARGE, SMALL = (10, 30, 8), (30, 12, 25)

pytestmark = pytest.mark.timeout(600)


def place(affine: NDArray[np.float64], voxel: tuple[int, int, int]) -> str:
    """Return what the page shows for the position of a voxel: millimetres, each with its side."""
    sides = zip((affine @ [*voxel, 1])[:3], ("RL", "AP", "SI"), strict=True)
    return "  ".join(f"{abs(mm):.1f} {names[int(mm < 0)]}" for mm, names in sides) + " mm"


@pytest.fixture
def known_volume() -> NDArray[np.int16]:
    """A scan whose intensities identify the voxel."""
    return np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE).astype(np.int16) % 997


@pytest.fixture
def known_mask() -> NDArray[np.uint8]:
    """Two lesions: a cube of 5 voxels to a side in label 1, one of 3 in label 2."""
    mask = np.zeros(SHAPE, np.uint8)
    for label, (centre, reach) in enumerate(((LARGE, 2), (SMALL, 1)), start=1):
        mask[tuple(slice(at - reach, at + reach + 1) for at in centre)] = label
    return mask


def finish_with(
    worker: ScriptedWorker, store: Path, leased: LeasedJob, mask: NDArray[np.uint8]
) -> Finished:
    """End a job with this mask and its two labels."""
    finished = worker.finish(leased)
    report = finished.report
    scan = next(iter(leased.submission.scans.values()))
    with (store / scan).open("rb") as file:
        header = read_volume(file, max_voxels=mask.size).header
    (store / report.artefacts["mask"]).write_bytes(mask_bytes(np.asfortranarray(mask), header))
    labels = tuple(
        LabelStats(
            value=value,
            name=name,
            voxels=int(np.count_nonzero(mask == value)),
            volume_ml=0.1,
            centroid_mm=(0, 0, 0),
            bounding_box=((0, 0, 0), (1, 1, 1)),
        )
        for value, name in ((1, "core"), (2, "oedema"))
    )
    tumor = TumorFinding(present=True, probability=0.9, volume_ml=0.2)
    result = report.result.model_copy(update={"labels": labels, "tumor": tumor})
    return dataclasses.replace(finished, report=report.model_copy(update={"result": result}))


@pytest.fixture
def finished(
    server: ApiServer,
    worker: ScriptedWorker,
    visiting: Visiting,
    tmp_path: Path,
    known_volume: NDArray[np.int16],
    known_mask: NDArray[np.uint8],
) -> Visit:
    """A visit that shows the known scan under the known mask."""
    visit = visiting(server.url, width=1000, height=700)
    visit.choose([("turned.nii.gz", gz(nifti(known_volume, affine=TURNED)))])
    expect(visit.row("turned.nii.gz")).to_contain_text("Queued")
    worker.settle(
        worker.start(), lambda leased: finish_with(worker, tmp_path / "store", leased, known_mask)
    )
    visit.until_drawn()
    return visit


def test_lesions_are_found_where_they_are(finished: Visit, known_volume: NDArray[np.int16]) -> None:
    """A lesion's position, millimetres, intensity and label are those of the files."""
    for button, voxel, label in (
        ("Next of 2", SMALL, "oedema"),
        ("Largest lesion", LARGE, "core"),
    ):
        finished.page.get_by_role("button", name=button).click()
        expect(finished.at("#at-mm")).to_have_text(place(TURNED, voxel))
        expect(finished.at("#at-intensity")).to_have_text(str(known_volume[voxel]))
        expect(finished.at("#at-label")).to_have_text(label)

    # the third axis points to the right, which is on the left of the screen
    finished.at("#canvas").focus()
    finished.page.keyboard.press("ArrowLeft")
    i, j, k = LARGE[0], LARGE[1], LARGE[2] + 1
    expect(finished.at("#at-mm")).to_have_text(place(TURNED, (i, j, k)))
    finished.page.keyboard.press("PageDown")
    expect(finished.at("#at-intensity")).to_have_text(str(known_volume[i + 1, j, k]))

    # the wheel goes through the slices of the plane under it
    position_before = finished.at("#at-mm").text_content() or ""
    box = finished.at("#canvas").bounding_box()
    assert box is not None
    finished.page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    finished.page.mouse.wheel(0, 100)
    expect(finished.at("#at-mm")).not_to_have_text(position_before)


def test_every_control_and_view_changes_the_picture(finished: Visit) -> None:
    """Opacity, outlines, level and window change the picture, and the five views differ."""
    outlines = finished.page.get_by_role("checkbox", name="Outlines")
    finished.at("#opacity").fill("100")
    expect(finished.at("#opacity-value")).to_have_text("100 %")
    full = coloured(finished.pixels())
    finished.at("#opacity").fill("0")
    outlined = coloured(finished.pixels())
    outlines.uncheck()
    plain = finished.pixels()
    assert full > outlined > coloured(plain)
    assert full > 200
    assert coloured(plain) < full / 20

    level = finished.at("#level-value").text_content()
    finished.at("#level").fill("950")
    assert finished.pixels().mean() < plain.mean()
    finished.page.get_by_role("button", name="Reset greys").click()
    expect(finished.at("#level-value")).to_have_text(level or "")
    finished.at("#window").fill("50")
    contrasty = finished.pixels().std()
    finished.at("#window").fill("1000")
    assert finished.pixels().std() < contrasty

    seen = [finished.pixels()]
    for view in ("Axial", "Coronal", "Sagittal", "3D"):
        finished.page.get_by_role("radio", name=view).check()
        seen.append(finished.pixels())
        assert all(np.abs(seen[-1] - other).mean() > 1 for other in seen[:-1])
    finished.at("#canvas").focus()
    for _ in range(4):
        finished.page.keyboard.press("ArrowRight")
    assert np.abs(finished.pixels() - seen[-1]).mean() > 1


def test_saved_files_and_links_are_those_of_the_job(
    server: ApiServer,
    finished: Visit,
    visiting: Visiting,
    tmp_path: Path,
    known_mask: NDArray[np.uint8],
) -> None:
    """Mask, JSON and picture are saved under the job's id; its link has no file name."""
    for title, ending in (("Mask", "-mask.nii.gz"), ("JSON", ".json"), ("Picture", ".png")):
        with finished.page.expect_download() as download:
            finished.page.get_by_role("link", name=title).click()
        assert download.value.suggested_filename.endswith(ending)
        download.value.save_as(tmp_path / f"saved{ending}")
    mask = nibabel.Nifti1Image.from_filename(tmp_path / "saved-mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), known_mask)
    assert b'"finished"' in (tmp_path / "saved.json").read_bytes()
    assert (tmp_path / "saved.png").read_bytes() == PICTURE

    finished.page.get_by_role("button", name="Copy link").click()
    expect(finished.page.get_by_role("button", name="Copied")).to_be_visible()
    link = finished.page.evaluate("navigator.clipboard.readText()")
    path = link.removeprefix(server.url)
    assert path.startswith("/?job=")
    other = visiting(server.url, path=path)
    expect(other.at("#result-title")).to_have_text(f"Scan {path[-6:]}")
    expect(other.at(".presence")).to_have_text("Tumour present")


def test_a_browser_without_webgl_shows_the_picture(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """Without WebGL the page shows a reason and the service's picture, and loads nothing twice."""
    visit = visiting(server.url)
    fetched: list[str] = []
    visit.page.on("request", lambda request: fetched.append(request.url.rpartition("/")[2]))
    visit.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    visit.page.reload()
    visit.choose([("scan.nii.gz", SCAN)])
    expect(visit.row("scan.nii.gz")).to_contain_text("Queued")
    with visit.page.expect_response("**/preview.png"):
        worker.settle(worker.start())
    expect(visit.at("#drawing-state")).to_contain_text("WebGL 2")
    visit.picture("no-webgl")
    visit.choose([("other.nii.gz", SCAN)])
    expect(visit.row("other.nii.gz")).to_contain_text("Queued")
    assert fetched.count("scan") == 1


def test_the_components_are_those_of_an_independent_count(
    server: ApiServer, visiting: Visiting
) -> None:
    """On random masks the page finds the lesions that SciPy finds, largest first."""
    visit = visiting(server.url)
    random = np.random.default_rng(7)
    for density in (0.02, 0.1, 0.3):
        mask = (random.random((9, 11, 7)) < density).astype(np.uint8)
        found = visit.page.evaluate(
            """async ([voxels, shape]) => {
                const { findLesions } = await import("/web/result/lesions.js");
                return findLesions(Uint8Array.from(voxels), shape);
            }""",
            [mask.ravel(order="F").tolist(), list(mask.shape)],
        )
        labelled, count = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = sorted(np.bincount(labelled.ravel())[1:].tolist(), reverse=True)
        assert [lesion["voxels"] for lesion in found] == sizes
        assert len({labelled[tuple(lesion["at"])] for lesion in found} - {0}) == count
