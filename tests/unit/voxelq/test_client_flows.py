"""The requests of the Python client and its handling of responses, without a connection."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.support.tiny_service import job, problem
from voxelq.errors import (
    BadRequest,
    BadScan,
    KeyConflict,
    NotAllowed,
    NotFinished,
    NotFound,
    QueueFull,
    RequestRefused,
    ScanTooLarge,
    ServiceUnavailable,
    ServiceUnreachable,
    StoreFull,
    UnexpectedAnswer,
    WaitTimeout,
)
from voxelq.handles import JobHandle
from voxelq.protocol.decoding import decode
from voxelq.protocol.flows import Flows
from voxelq.protocol.http_messages import HttpMessages
from voxelq.protocol.steps import Emit, Flow, Pause, ReportProgress, Send, Step
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobState

Answer = httpx.Response | httpx.HTTPError


@pytest.fixture
def flows() -> Flows:
    """The flows of a service that is never called."""
    return Flows(HttpMessages("https://voxelq.test/mri/", "secret", 30.0), retries=3)


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    """Return a service's response; a problem for statuses from 400."""
    kind = "application/problem+json" if status >= 400 else "application/json"
    named = {"Content-Type": kind} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    request = httpx.Request("GET", "https://voxelq.test/mri/jobs")
    return httpx.Response(status, json=body, headers=named, request=request)


def play(flow: Flow[Any], *answers: Answer) -> tuple[list[Step], Any]:
    """Run a flow to its end or its error; return its steps, and its result or its error."""
    left = list(answers)
    steps: list[Step] = []
    reply: Answer | None = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration as end:
            assert not left, "not all answers were asked for"
            return steps, end.value
        except Exception as error:
            return steps, error
        steps.append(step)
        reply = left.pop(0) if isinstance(step, Send) else None
        if isinstance(step, ReportProgress):
            step.on_progress(step.state)


def sent(steps: Sequence[Step]) -> list[str]:
    """Return method and path with query of each request."""
    requests = [step.request for step in steps if isinstance(step, Send)]
    return [f"{one.method} {one.url.raw_path.decode()}" for one in requests]


def pauses(steps: Sequence[Step]) -> list[float]:
    """Return the length of each pause."""
    return [step.seconds for step in steps if isinstance(step, Pause)]


def handle(job_id: str = "01JOB", **members: Any) -> JobHandle:
    """Return a job as the client has it."""
    return JobHandle(decode(JobState, job(job_id, **members)))


def test_a_request_has_all_that_the_service_needs(flows: Flows) -> None:
    """The base path is kept, the key is a header, and the job's id is one path segment."""
    steps, _ = play(flows.state("../x"), answer(200, job()))
    (step,) = steps
    assert isinstance(step, Send)
    assert str(step.request.url) == "https://voxelq.test/mri/jobs/..%2Fx"
    assert step.request.headers["X-API-Key"] == "secret"
    assert step.request.headers["Host"] == "voxelq.test"


def test_a_submit_that_is_sent_again_is_the_same_submit(flows: Flows) -> None:
    """After a broken connection, a 503 or a 429 the same key and body are sent again."""
    answers: list[Answer] = [
        httpx.ReadError("cut"),
        answer(503, problem(503, "away")),
        answer(429, problem(429, "full")),
        answer(202, job()),
    ]
    steps, state = play(flows.submit(UploadBody(b"scan"), "m", "stat", None), *answers)
    assert state.id == "01JOB"
    requests = [step.request for step in steps if isinstance(step, Send)]
    assert len({one.headers["Idempotency-Key"] for one in requests}) == 1
    assert [b"".join(one.stream) for one in requests] == [b"scan"] * 4  # type: ignore[arg-type]
    assert set(sent(steps)) == {"POST /mri/jobs?model=m&priority=stat"}
    first, second, third = pauses(steps)
    assert 0.25 <= first <= 0.5 <= second <= 1 <= third <= 2


def test_two_submits_have_two_keys(flows: Flows) -> None:
    """The same scan submitted twice is two jobs, unless the caller gives a key."""
    keys = []
    for own in (None, None, "mine"):
        steps, _ = play(flows.submit(UploadBody(b"scan"), None, None, own), answer(202, job()))
        keys += [
            step.request.headers["Idempotency-Key"] for step in steps if isinstance(step, Send)
        ]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("header", "least", "most"), [("7", 7, 9), ("3600", 30, 38), ("soon", 0.25, 0.4)]
)
def test_retry_after_is_honoured_within_bounds(
    flows: Flows, header: str, least: float, most: float
) -> None:
    """The client waits as long as the service asks, half a minute at most."""
    full = answer(429, problem(429, "full"), Retry_After=header)
    steps, _ = play(flows.queue(), full, answer(200, {"queued": 1, "started": 0}))
    (pause,) = pauses(steps)
    assert least <= pause <= most


def test_retries_end(flows: Flows) -> None:
    """With three retries a service that is away is called four times, then an error is raised."""
    steps, error = play(flows.queue(), *[httpx.ConnectError("refused")] * 4)
    assert isinstance(error, ServiceUnreachable)
    assert isinstance(error, ConnectionError)
    assert str(error) == "No VoxelQ service answers at https://voxelq.test/mri (refused)."
    assert len(sent(steps)) == 4


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (400, "bad-request", BadRequest),
        (401, "unauthorized", NotAllowed),
        (403, "forbidden", NotAllowed),
        (404, "job-not-found", NotFound),
        (409, "not-finished", NotFinished),
        (413, "scan-too-large", ScanTooLarge),
        (415, "unsupported-media", BadScan),
        (422, "bad-scan", BadScan),
        (422, "idempotency-conflict", KeyConflict),
        (507, "store-full", StoreFull),
        (418, "of-the-future", RequestRefused),
    ],
)
def test_a_refusal_is_raised_at_once_as_its_kind(
    flows: Flows, status: int, slug: str, kind: type[RequestRefused]
) -> None:
    """A request that the service refuses for good is not repeated."""
    document = {**problem(status, "Because."), "type": f"urn:voxelq:problem:{slug}", "new": [1]}
    steps, error = play(flows.queue(), answer(status, document))
    assert type(error) is kind
    assert (error.status, error.type, error.title) == (status, document["type"], "Refused")
    assert (error.detail, str(error)) == ("Because.", "Because.")
    assert len(steps) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, QueueFull), (502, ServiceUnavailable)])
def test_a_refusal_without_a_problem_is_raised_too(
    flows: Flows, status: int, kind: type[RequestRefused]
) -> None:
    """A gateway's HTML response is classified by its status."""
    page = httpx.Response(
        status, html="<html>", request=httpx.Request("GET", "https://voxelq.test/mri/queue")
    )
    _, error = play(flows.queue(), *[page] * 4)
    assert type(error) is kind
    assert str(error) == f"GET /mri/queue was answered with {status}."


@pytest.mark.parametrize(
    "stranger",
    [
        httpx.Response(200, html="<html>hello</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"queued": "many", "started": 0}),
        httpx.Response(302, headers={"Location": "/login"}),
    ],
)
def test_another_server_at_the_address_is_reported(flows: Flows, stranger: httpx.Response) -> None:
    """A response that is not VoxelQ's raises a clear error, and is not requested again."""
    steps, error = play(flows.queue(), stranger)
    assert isinstance(error, UnexpectedAnswer)
    assert "https://voxelq.test/mri" in str(error)
    assert len(steps) == 1


def test_waiting_makes_the_service_hold_its_response(flows: Flows) -> None:
    """A wait is twenty seconds long for each request, whose timeout is longer."""
    waiting = handle()
    steps, _ = play(flows.wait(waiting, None, None), answer(200, job(status="finished")))
    assert waiting.done
    assert sent(steps) == ["GET /mri/jobs/01JOB?wait=20.0"]
    (step,) = steps
    assert isinstance(step, Send)
    assert step.request.extensions["timeout"]["read"] == 50


def test_a_wait_that_is_over_names_the_job(flows: Flows) -> None:
    """A wait of zero seconds polls once, and then raises with the job's id."""
    steps, error = play(flows.wait(handle(), 0, None), answer(200, job()))
    assert isinstance(error, WaitTimeout)
    assert isinstance(error, TimeoutError)
    assert error.job_ids == ("01JOB",)
    assert sent(steps) == ["GET /mri/jobs/01JOB?wait=0.0"]


def test_a_job_that_has_ended_is_not_waited_for(flows: Flows) -> None:
    """Waiting for a job that has ended makes no call."""
    assert play(flows.wait(handle(status="failed"), None, None)) == ([], None)


def test_a_service_that_holds_no_response_is_polled_with_pauses(flows: Flows) -> None:
    """If a response comes at once and is not final, the client pauses before the next call."""
    steps, _ = play(
        flows.wait(handle(), None, None), answer(200, job()), answer(200, job(status="canceled"))
    )
    assert [type(step) for step in steps] == [Send, Pause, Send]


def test_a_service_with_a_shorter_limit_gets_shorter_waits(flows: Flows) -> None:
    """If a wait of twenty seconds is refused, ten seconds are used from then on."""
    refused = answer(400, problem(400, "wait must be a number of seconds from 0 to 10."))
    for _ in range(2):
        steps, _ = play(
            flows.wait(handle(), None, None), *[refused, answer(200, job(status="finished"))][-2:]
        )
        assert sent(steps)[-1] == "GET /mri/jobs/01JOB?wait=10.0"
        refused = answer(200, job())


def test_progress_is_reported_on_every_change(flows: Flows) -> None:
    """The callback receives the first state, then each state that differs, to the end."""
    seen = [
        job(status="started", progress=0.5, stage="inference"),
        job(status="started", progress=0.5, stage="inference"),
        job(status="finished", progress=1.0),
    ]
    reported: list[tuple[str, float]] = []
    steps, _ = play(
        flows.wait(handle(), None, lambda state: reported.append((state.status, state.progress))),
        *[answer(200, one) for one in seen],
    )
    assert reported == [("queued", 0.0), ("started", 0.5), ("finished", 1.0)]
    assert set(sent(steps)) == {"GET /mri/jobs/01JOB?wait=0.5"}


def test_the_job_expected_to_end_next_is_watched(flows: Flows) -> None:
    """Of many jobs, started ones are watched first, then urgent ones, then older ones."""
    old, young, urgent, started, over = (
        handle("OLD", created_at="2026-11-21T09:00:00Z"),
        handle("YOUNG", created_at="2026-11-21T10:00:00Z"),
        handle("URGENT", created_at="2026-11-21T11:00:00Z", priority="stat"),
        handle("STARTED", created_at="2026-11-21T12:00:00Z", status="started"),
        handle("OVER", status="failed"),
    )
    answers = [
        answer(200, job(name, status="finished")) for name in ("STARTED", "URGENT", "OLD", "YOUNG")
    ]
    steps, _ = play(flows.as_completed([young, old, urgent, started, over], None), *answers)
    given = [step.item.id for step in steps if isinstance(step, Emit)]
    assert given == ["OVER", "STARTED", "URGENT", "OLD", "YOUNG"]
    waits = [one.partition("?")[2] for one in sent(steps)]
    assert waits == ["wait=0.5", "wait=0.5", "wait=0.5", "wait=20.0"]


def test_jobs_that_end_out_of_turn_are_found(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one job takes long, the others are polled in between."""
    monkeypatch.setattr("voxelq.protocol.flows.POLL_S", 0.0)
    slow, quick = handle("SLOW", status="started"), handle("QUICK")
    steps, _ = play(
        flows.as_completed([slow, quick], None),
        answer(200, job("SLOW", "started")),
        answer(200, job("QUICK", "finished")),
        answer(200, job("SLOW", "finished")),
    )
    assert [step.item.id for step in steps if isinstance(step, Emit)] == ["QUICK", "SLOW"]


def test_all_that_is_pending_is_named_when_time_is_over(flows: Flows) -> None:
    """The error of a wait for many jobs has the ids of those that have not ended."""
    _, error = play(flows.as_completed([handle("A"), handle("B")], 0), answer(200, job("A")))
    assert isinstance(error, WaitTimeout)
    assert error.job_ids == ("A", "B")


def test_pages_are_fetched_up_to_the_limit(flows: Flows) -> None:
    """A limit above one page continues at the cursor, and requests no more than is left."""
    first = {"jobs": [job(str(number)) for number in range(200)], "next_cursor": "C"}
    second = {"jobs": [job("200"), job("201")], "next_cursor": "D"}
    steps, _ = play(flows.jobs("queued", 202), answer(200, first), answer(200, second))
    assert len([step for step in steps if isinstance(step, Emit)]) == 202
    assert sent(steps) == [
        "GET /mri/jobs?status=queued&limit=200",
        "GET /mri/jobs?status=queued&limit=2&cursor=C",
    ]


def test_a_job_that_has_ended_is_not_canceled(flows: Flows) -> None:
    """Canceling fetches the state first, because a finished job would be purged with its mask."""
    steps, _ = play(flows.cancel(handle()), answer(200, job(status="finished")))
    assert sent(steps) == ["GET /mri/jobs/01JOB"]


def test_a_cancel_whose_response_was_lost_is_not_repeated_blindly(flows: Flows) -> None:
    """After a broken connection the client fetches the state again, and finds the job canceled."""
    canceled = handle()
    steps, _ = play(
        flows.cancel(canceled),
        answer(200, job(status="started")),
        httpx.ReadError("cut"),
        answer(200, job(status="canceled")),
    )
    assert canceled.status == "canceled"
    assert [one.partition(" ")[0] for one in sent(steps)] == ["GET", "DELETE", "GET"]


def test_deleting_a_deleted_job_is_no_error(flows: Flows) -> None:
    """A delete whose response was lost is sent again, and a 404 then is success."""
    gone = answer(404, problem(404, "No such job."))
    steps, outcome = play(
        flows.delete(handle()),
        answer(200, job(status="finished")),
        httpx.ReadError("cut"),
        gone,
    )
    assert outcome is None
    assert [one.partition(" ")[0] for one in sent(steps)] == ["GET", "DELETE", "DELETE"]


@pytest.mark.parametrize(
    ("url", "key", "timeout_s"),
    [
        ("127.0.0.1:8080", None, 30),
        ("ftp://host", None, 30),
        ("http://", None, 30),
        ("http://host:port", None, 30),
        ("http://host", "two\nlines", 30),
        ("http://host", "", 30),
        ("http://host", None, 0),
    ],
)
def test_wrong_arguments_are_refused_at_once(url: str, key: str | None, timeout_s: float) -> None:
    """A wrong address, key or timeout raises ValueError before any call."""
    with pytest.raises(ValueError, match=r"URL|key|timeout"):
        HttpMessages(url, key, timeout_s)


def test_a_password_in_the_address_is_shown_nowhere() -> None:
    """The password is sent as a header; no shown address, call or error has it."""
    messages = HttpMessages("https://me:hunter%402@voxelq.test", None, 30)
    request = messages.request("GET", "/queue")
    shown = [messages.url, str(request.url), str(messages.answer(httpx.ConnectError("refused")))]
    assert shown[:2] == ["https://voxelq.test", "https://voxelq.test/queue"]
    assert "hunter" not in shown[2]
    assert request.headers["Authorization"] == f"Basic {b64encode(b'me:hunter@2').decode()}"


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address VOXELQ_URL is used, and without that this machine."""
    monkeypatch.setenv("VOXELQ_URL", "http://elsewhere:1/")
    assert HttpMessages(None, None, 30).url == "http://elsewhere:1"
    assert HttpMessages("http://here", None, 30).url == "http://here"
    monkeypatch.delenv("VOXELQ_URL")
    assert HttpMessages(None, None, 30).url == "http://127.0.0.1:8080"


def test_the_proxy_of_the_environment_is_not_for_this_machine() -> None:
    """Loopback addresses are called directly."""
    assert not HttpMessages("http://localhost:8080", None, 30).trust_env
    assert HttpMessages("http://voxelq.test", None, 30).trust_env
