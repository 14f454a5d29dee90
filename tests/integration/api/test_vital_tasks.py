"""Tasks that an API process needs: they continue after errors, or end the process."""

import asyncio
from typing import NoReturn

import httpx
import pytest
import uvicorn

from api.__main__ import Server
from api.vital_tasks import VitalTasks
from shared.queue.events import EventBatch, StreamOffsets
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, submit
from tests.support.event_lines import followed
from tests.support.scripted_worker import ScriptedWorker


def fail(*_: object, **__: object) -> NoReturn:
    """Raise an unexpected error."""
    raise KeyError("unexpected")


async def test_a_task_continues_after_a_failed_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error of any kind the next round follows, and nothing has failed."""
    monkeypatch.setattr("api.vital_tasks.PAUSE_S", 0.01)
    rounds = 0

    async def round_() -> None:
        nonlocal rounds
        rounds += 1
        await asyncio.sleep(0)
        if rounds < 5:
            raise KeyError("unexpected")
        await asyncio.Event().wait()

    vital = VitalTasks()
    async with vital.repeating("reader", round_), asyncio.timeout(30):
        while rounds < 5:  # noqa: ASYNC110 - the task sets no event
            await asyncio.sleep(0.01)
        assert vital.failure is None
    assert vital.failure is None


async def test_a_task_that_ended_and_one_that_is_stuck() -> None:
    """A task that ended or hangs is named in `failure`."""

    async def cancel() -> None:
        raise asyncio.CancelledError

    async def wait() -> None:
        await asyncio.Event().wait()

    vital = VitalTasks()
    async with vital.repeating("reader", cancel):
        await asyncio.sleep(0.05)
        assert vital.failure == "The task reader has ended."
    async with (
        vital.repeating("sweep", wait, round_timeout_s=0.05),
        vital.repeating("positions", wait),
    ):
        await asyncio.sleep(0.1)
        assert "sweep" in str(vital.failure)


async def test_unreadable_events_are_skipped(
    client: httpx.AsyncClient,
    server: ApiServer,
    scripted_worker: ScriptedWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events that cannot be read are skipped, and blocked clients are answered all the same."""
    reads = 0
    new_events = JobQueue.new_events

    async def often_unreadable(self: JobQueue, after: StreamOffsets, block_s: float) -> EventBatch:
        nonlocal reads
        reads += 1
        batch = await new_events(self, after, block_s)
        if reads % 2:
            raise ValueError("'hovering' is not a valid JobStatus")
        return batch

    monkeypatch.setattr("api.vital_tasks.PAUSE_S", 0.01)
    monkeypatch.setattr(JobQueue, "new_events", often_unreadable)
    for _ in range(3):
        blocked = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
        await server.until_blocked(1)
        scripted_worker.settle(scripted_worker.start())
        assert (await blocked).json()["status"] == "finished"
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("method", ["receive", "poll"])
async def test_a_consumer_that_fails_stops_no_other(
    client: httpx.AsyncClient,
    server: ApiServer,
    scripted_worker: ScriptedWorker,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    """With one consumer of events raising at each call, the other still works."""
    monkeypatch.setattr(f"api.live.waiters.JobWaiters.{method}", fail)
    job_id = await submit(client)
    following = asyncio.create_task(followed(client, job_id))
    await server.until(lambda: server.following == 1)
    scripted_worker.settle(scripted_worker.start())
    assert (await following)[-1].job["status"] == "finished"
    blocked = asyncio.create_task(client.post("/predict", content=SCAN, headers=RAW))
    await server.until_blocked(1)
    scripted_worker.settle(scripted_worker.start())
    assert (await blocked).json()["status"] == "finished"
    assert (await client.get("/livez")).status_code == 200


async def test_a_process_without_its_reader_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its event reader has ended, `/livez` is a 503, and the process exits by itself."""
    server = ApiServer(settings)
    with monkeypatch.context() as patched:
        patched.setattr(Server, "on_tick", uvicorn.Server.on_tick)  # it does not exit yet
        server.start()
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            assert (await client.get("/livez")).status_code == 200
            vital: VitalTasks = server.server.config.app.state.vital_tasks  # type: ignore[union-attr]
            reader = vital._tasks["event_reader"].task
            reader.get_loop().call_soon_threadsafe(reader.cancel)
            await server.until(lambda: vital.failure is not None)
            assert_problem(await client.get("/livez"), 503, "event_reader")
    await server.until(lambda: not server.runs)
    assert server.server.failure == "The task event_reader has ended."
    server.stop()
