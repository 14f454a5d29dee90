"""The page /docs in a real browser."""

from playwright.sync_api import expect

from tests.browser.conftest import Visiting
from tests.support.api_server import ApiServer


def test_the_docs_are_shown_under_their_policy(server: ApiServer, visiting: Visiting) -> None:
    """Every call is listed and can be opened, without inline code and without other hosts."""
    visit = visiting(server.url, path="/docs")
    call = visit.page.locator("#operations-submit-submit_jobs_post")
    expect(call).to_be_visible()
    call.locator("button.opblock-summary-control").click()
    expect(call.locator(".opblock-description")).to_be_visible()
