"""The page over the whole service with its default model, as a first-time user sees it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visiting
from tests.support.browser_pages import coloured
from tests.support.local_service import LocalService

pytestmark = pytest.mark.timeout(600)


def test_the_sample_goes_from_a_button_to_its_mask(
    service: LocalService, visiting: Visiting
) -> None:
    """One click submits the sample; its mask is drawn over it in both themes and at both widths."""
    visit = visiting(service.url)
    visit.page.get_by_role("button", name="Try a sample scan").click()
    visit.until_drawn()
    expect(visit.at(".presence")).to_have_text("Tumour present")
    expect(visit.at("#at-label")).to_have_text("whole tumour")
    expect(visit.at("[data-figure=workers]")).to_have_text("1")
    with_mask = visit.pixels()
    assert visit.barriers() == []
    visit.picture("finished")

    visit.page.emulate_media(color_scheme="dark")
    assert visit.barriers() == []
    visit.picture("finished-dark")
    visit.page.set_viewport_size({"width": 390, "height": 844})
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
    assert visit.barriers() == []
    visit.picture("finished-narrow", whole=True)
    visit.page.set_viewport_size({"width": 1280, "height": 800})

    visit.page.get_by_role("checkbox", name="Outlines").uncheck()
    visit.at("#opacity").fill("0")
    assert coloured(with_mask) > 1000
    assert coloured(visit.pixels()) < coloured(with_mask) / 20
