"""A real browser, an API with a scripted worker, and a whole service with a real worker."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from shared.settings import Settings
from tests.support.api_server import ApiServer
from tests.support.browser_pages import PATIENCE_MS, Visit
from tests.support.bundles import write_two_channel_bundle
from tests.support.local_service import LocalService, local_service
from tests.support.scripted_worker import ScriptedWorker

#: WebGL 2 without a GPU, and no calls to the browser's vendor.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine; without one the tests are skipped, and fail in CI."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = "There is no Chromium; on Debian: apt install chromium."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


Visiting = Callable[..., Visit]


@pytest.fixture
def visiting(browser: Browser) -> Iterator[Visiting]:
    """A function that opens the page in a new browser; a recorded fault of a visit is an error."""
    visits: list[Visit] = []

    def visit(url: str, **options: object) -> Visit:
        visits.append(Visit(browser, url, **options))  # type: ignore[arg-type]
        return visits[-1]

    yield visit
    for opened in visits:
        opened.close()
    assert [fault for opened in visits for fault in opened.faults] == []


@pytest.fixture
def server(settings: Settings) -> Iterator[ApiServer]:
    """An API with an empty queue, and no worker unless the test uses the scripted one."""
    started = ApiServer(settings)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def worker(settings: Settings) -> Iterator[ScriptedWorker]:
    """A worker of that API, which the test scripts."""
    opened = ScriptedWorker(settings)
    opened.sign_on()
    yield opened
    opened.close()


@pytest.fixture
def two_channels(models_dir: Path) -> str:
    """A second model, which takes two channels."""
    return f"{write_two_channel_bundle(models_dir)}@2.0.0"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """`voxelq up` with the default model and one worker."""
    data_dir = tmp_path_factory.mktemp("service") / "data"
    with local_service(data_dir, "--workers", "1", VOXELQ_PRECISION="fp32") as started:
        yield started
