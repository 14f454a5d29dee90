"""The page in a real browser, over an API whose worker is scripted by the test."""

import pytest
from playwright.sync_api import Route, expect

from shared.errors import InferenceFailed
from shared.jobs import Stage
from shared.results import ScanWarning
from tests.browser.conftest import Visiting
from tests.support.api_server import SCAN, ApiServer
from tests.support.scripted_worker import ScriptedWorker
from worker.pipeline.outcomes import Failed, Finished, LeasedJob
from worker.pipeline.progress import Step

pytestmark = pytest.mark.timeout(600)


def test_an_empty_page_says_what_to_do(server: ApiServer, visiting: Visiting) -> None:
    """A first visit shows the form, the queue's status and how to begin, and is accessible."""
    visit = visiting(server.url)
    expect(visit.at("#jobs-state")).to_have_text("No scan was submitted from this browser yet.")
    expect(visit.at("#result-body")).to_contain_text("No scan selected")
    expect(visit.at(".notice")).to_have_text("Research use only. Not a medical device.")
    expect(visit.at("[data-figure=queued]")).to_have_text("0")
    expect(visit.at("[data-figure=wait]")).to_have_text("no worker")
    visit.at(".more").click()
    expect(visit.at("#workers")).to_contain_text("No worker is running")
    assert visit.barriers() == []
    visit.picture("empty")


def test_a_dropped_scan_is_followed_to_its_end(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """Place in the queue, stage and progress show as they change, without a reload."""
    visit = visiting(server.url)
    expect(visit.at("#files")).to_be_enabled()
    visit.drop([("first.nii.gz", SCAN)])
    expect(visit.row("first.nii.gz")).to_contain_text("Queued")
    visit.drop([("second.nii.gz", SCAN)])
    expect(visit.row("second.nii.gz")).to_contain_text("1 ahead")
    visit.row("second.nii.gz").get_by_role("link").click()
    expect(visit.at(".big")).to_have_text("1 scan ahead")
    expect(visit.at("[data-figure=queued]")).to_have_text("2")
    visit.picture("queued")

    (first,) = worker.start(most=1)
    expect(visit.row("first.nii.gz")).to_contain_text("Running")
    expect(visit.at(".big")).to_have_text("Next in line")
    worker.settle([first])
    (second,) = worker.start(most=1)
    worker.leases.update_progress([Step(second, Stage.INFERENCE, 0.42)])
    expect(visit.at(".big")).to_have_text("42 %")
    expect(visit.at("[aria-current=step]")).to_have_text("Running the network")
    expect(visit.row("second.nii.gz")).to_contain_text("Running the network · 42 %")
    assert visit.barriers() == []
    visit.picture("running")

    worker.settle([second])
    expect(visit.row("second.nii.gz")).to_contain_text("No tumour found")
    expect(visit.at(".presence")).to_have_text("No tumour found")
    expect(visit.at("#announcer")).to_contain_text("second.nii.gz: No tumour found")


def test_a_warning_of_a_scan_is_above_its_finding(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """What the worker warns of can be read before the answer that may mean nothing."""
    detail = "This does not look like a FLAIR brain scan: it shows noise only."

    def finish_with_warning(leased: LeasedJob) -> Finished:
        report = worker.finish(leased).report
        warning = ScanWarning(code="not-flair-like", detail=detail)
        result = report.result.model_copy(update={"warnings": (warning,)})
        return Finished(report.model_copy(update={"result": result}))

    visit = visiting(server.url)
    visit.drop([("noise.nii.gz", SCAN)])
    expect(visit.row("noise.nii.gz")).to_contain_text("Queued")
    visit.row("noise.nii.gz").get_by_role("link").click()
    worker.settle(worker.start(), finish_with_warning)
    expect(visit.at(".finding .warning")).to_have_text(detail)
    assert visit.barriers() == []
    visit.picture("warning")


def test_a_scan_dropped_early_is_not_lost(server: ApiServer, visiting: Visiting) -> None:
    """A file that is dropped before the list of models is loaded is submitted afterwards."""
    visit = visiting(server.url)
    held: list[Route] = []
    visit.page.route("**/models", lambda route: held.append(route))
    with visit.page.expect_request("**/models"):
        visit.page.reload()
    visit.drop([("early.nii.gz", SCAN)])
    held[0].continue_()
    expect(visit.row("early.nii.gz")).to_contain_text("Queued")


def test_progress_comes_by_long_polling_where_events_fail(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """If a proxy blocks event streams, a job is still followed until it ends."""
    visit = visiting(server.url)
    visit.page.route("**/events", lambda route: route.fulfill(status=502))
    visit.expected_failures = "status of 502"
    with visit.page.expect_request(lambda request: "?wait=" in request.url):
        visit.choose([("scan.nii.gz", SCAN)])
    worker.settle(worker.start())
    expect(visit.row("scan.nii.gz")).to_contain_text("Finished")


def test_a_job_is_cancelled_and_run_again(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """Cancelling ends a job; running it again makes a new job of the stored scan."""
    visit = visiting(server.url)
    visit.choose([("scan.nii.gz", SCAN)])
    visit.at("#result-actions").get_by_role("button", name="Cancel").click()
    expect(visit.row("scan.nii.gz")).to_contain_text("Cancelled")
    expect(visit.at(".big")).to_have_text("Cancelled")
    visit.picture("cancelled")
    first = visit.page.url

    visit.row("scan.nii.gz").get_by_role("button", name="Run again").click()
    expect(visit.row("scan.nii.gz")).to_have_count(2)
    expect(visit.at(".big")).to_have_text("Next in line")
    assert visit.page.url != first
    worker.settle(worker.start(), lambda _: Failed(InferenceFailed("The scan is odd.").problem()))
    expect(visit.at(".big")).to_have_text(InferenceFailed.title)
    expect(visit.at("#result-body")).to_contain_text("The scan is odd.")
    assert visit.barriers() == []
    visit.picture("failed")

    visit.at("#result-actions").get_by_role("button", name="Delete").click()
    visit.at("#result-actions").get_by_role("button", name="Really delete?").click()
    expect(visit.row("scan.nii.gz")).to_have_count(1)
    expect(visit.at("#result-body")).to_contain_text("No scan selected")


def test_a_bad_file_is_refused_with_the_services_reason(
    server: ApiServer, visiting: Visiting
) -> None:
    """The row of a refused file has the reason, and its name is shown as text, not as markup."""
    visit = visiting(server.url)
    visit.expected_failures = "status of 415"
    name = "<img src=x onerror=document.title='taken'>.nii.gz"
    visit.choose([(name, b"this is no scan at all, not even nearly")])
    row = visit.row(name)
    expect(row).to_contain_text("Refused")
    expect(row.get_by_role("alert")).to_contain_text("neither a NIfTI volume nor a gzip of one")
    expect(visit.at("#jobs img")).to_have_count(0)
    assert visit.page.title() == "VoxelQ"
    assert visit.barriers() == []
    visit.picture("refused")
    row.get_by_role("button", name="Remove").click()
    expect(visit.at("#jobs > li")).to_have_count(0)


def test_the_list_survives_a_reload(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """After a reload the browser's own jobs have their names; in another browser they have none."""
    visit = visiting(server.url)
    visit.choose([("mine.nii.gz", SCAN)])
    expect(visit.row("mine.nii.gz")).to_contain_text("Queued")
    visit.page.reload()
    expect(visit.row("mine.nii.gz")).to_contain_text("Queued")
    worker.settle(worker.start())
    expect(visit.row("mine.nii.gz")).to_contain_text("Finished")

    other = visiting(server.url)
    expect(other.at("#jobs-state")).to_contain_text("No scan was submitted from this browser")
    other.page.get_by_role("radio", name="All").check()
    expect(other.at("#jobs > li")).to_have_count(1)
    expect(other.at("#jobs")).not_to_contain_text("mine")


def test_an_outage_is_shown_and_ends_by_itself(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """While the service is away a banner says so and an upload fails; later it succeeds."""
    visit = visiting(server.url)
    expect(visit.at("[data-figure=workers]")).to_have_text("1")
    visit.expected_failures = "ERR_INTERNET_DISCONNECTED"
    visit.context.set_offline(True)
    expect(visit.at("#offline")).to_contain_text("cannot be reached")
    visit.choose([("scan.nii.gz", SCAN)])
    expect(visit.row("scan.nii.gz")).to_contain_text("Not sent")
    assert visit.barriers() == []
    visit.picture("offline")
    visit.context.set_offline(False)
    expect(visit.at("#offline")).to_be_hidden()
    visit.row("scan.nii.gz").get_by_role("button", name="Send again").click()
    expect(visit.row("scan.nii.gz")).to_contain_text("Queued")


def test_a_model_of_several_channels_takes_a_file_for_each(
    server: ApiServer, two_channels: str, visiting: Visiting
) -> None:
    """Dropped files are assigned to channels by their names; others are chosen by the user."""
    visit = visiting(server.url)
    visit.at("#model").select_option(two_channels)
    expect(visit.at("#hint")).to_have_text("One file for each of t1, flair")
    button = visit.page.get_by_role("button", name="Submit this scan")
    expect(button).to_be_disabled()
    visit.drop([("sub-01_t1.nii.gz", SCAN), ("other.nii.gz", SCAN)])
    expect(visit.at("#submit-problem")).to_contain_text("other.nii.gz")
    visit.at("#channel-flair").set_input_files(
        {"name": "sub-01_x.nii.gz", "mimeType": "application/gzip", "buffer": SCAN}
    )
    expect(visit.at("#channels")).to_contain_text("sub-01_x.nii.gz")
    assert visit.barriers() == []
    visit.picture("channels")
    with visit.page.expect_response("**/jobs?*") as answer:
        button.click()
    assert answer.value.json()["model"] == {"name": "two-channels", "version": "2.0.0"}
    expect(visit.row("sub-01")).to_contain_text("Queued")


def test_a_job_that_does_not_exist_is_reported(server: ApiServer, visiting: Visiting) -> None:
    """A link to a deleted job shows an explanation, not an empty page."""
    visit = visiting(server.url)
    visit.expected_failures = "status of 404"
    visit.page.goto(f"{server.url}/?job=01KA8X6V5Q3T1N0Y2R4S6D8F0G")
    expect(visit.at("#result-title")).to_have_text("This job was not found")
    visit.picture("gone")


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_window_scrolls_one_way_only(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting, dark: bool
) -> None:
    """At 390 pixels nothing is wider than the window in either theme, and all is accessible."""
    visit = visiting(server.url, width=390, height=844, dark=dark)
    visit.choose([("a-scan-with-a-very-long-name-that-no-phone-can-show-whole.nii.gz", SCAN)])
    expect(visit.at(".big")).to_have_text("Next in line")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
    assert visit.barriers() == []
    visit.picture(f"narrow-{'dark' if dark else 'light'}", whole=True)


def test_a_chosen_theme_stays(server: ApiServer, visiting: Visiting) -> None:
    """The button makes the page dark, and a reload keeps the choice over the system's setting."""
    visit = visiting(server.url)
    background = "getComputedStyle(document.body).backgroundColor"
    light = visit.page.evaluate(background)
    visit.page.get_by_role("button", name="Switch to the dark theme").click()
    assert visit.page.evaluate(background) != light
    visit.page.reload()
    assert visit.page.evaluate(background) != light
    expect(visit.page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    visit.picture("empty-dark")


def test_the_page_works_with_the_keyboard_alone(
    server: ApiServer, worker: ScriptedWorker, visiting: Visiting
) -> None:
    """Tab reaches the list's links and buttons, and Enter opens and cancels a job."""
    visit = visiting(server.url)
    visit.choose([("one.nii.gz", SCAN)])
    expect(visit.row("one.nii.gz")).to_contain_text("Queued")
    visit.choose([("two.nii.gz", SCAN)])
    expect(visit.row("two.nii.gz")).to_contain_text("Queued")
    keyboard = visit.page.keyboard

    def tab_to(text: str) -> None:
        for _ in range(40):
            keyboard.press("Tab")
            if text in visit.page.evaluate(
                "document.activeElement.ariaLabel ?? document.activeElement.textContent"
            ):
                return
        raise AssertionError(f"Tab did not reach {text}")

    tab_to("Skip to the result")
    tab_to("two.nii.gz")
    keyboard.press("Enter")
    expect(visit.at("#result-title")).to_have_text("two.nii.gz")
    tab_to("Cancel: two.nii.gz")
    keyboard.press("Enter")
    expect(visit.row("two.nii.gz")).to_contain_text("Cancelled")
    tab_to("Run again: two.nii.gz")
