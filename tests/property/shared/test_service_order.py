"""The order of service, against a model of it in a few lines of Python."""

import asyncio

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from shared.jobs import Priority
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.conftest import Valkey
from tests.support.jobs import submission
from worker.queueing.connection import connect
from worker.queueing.leases import Leases

ORDER = list(Priority)

submits = st.tuples(st.just("submit"), st.sampled_from(ORDER))
draws = st.tuples(st.just("draw"), st.integers(1, 4))
give_backs = st.tuples(st.just("give back"), st.just(0))
cancels = st.tuples(st.just("cancel"), st.integers(0, 9))


@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.one_of(submits, submits, draws, give_backs, cancels), max_size=40))
def test_service_is_in_strict_order_of_priority_then_arrival(
    valkey: Valkey, settings: Settings, steps: list[tuple[str, int | Priority]]
) -> None:
    """After submits, draws, returns and cancels, the next job is the first in order.

    Positions count the same order.
    """

    async def play() -> None:
        waiting: list[tuple[int, int, str]] = []  # rank, arrival, id
        drawn: list[tuple[int, int, str]] = []
        with Redis.from_url(valkey.url) as client:
            client.flushall()
        async with JobQueue(settings) as queue:
            with connect(settings) as client:
                leases = Leases(client, "worker-1", settings)
                held: list[object] = []
                for arrival, (step, what) in enumerate(steps):
                    if step == "submit":
                        priority = Priority(str(what))
                        job = submission(priority=priority)
                        await queue.submit(job)
                        waiting.append((ORDER.index(priority), arrival, job.id))
                        waiting.sort()
                    elif step == "draw":
                        leased_jobs = leases.draw(int(what)).jobs
                        expected = waiting[: int(what)]
                        assert [leased.id for leased in leased_jobs] == [
                            entry[2] for entry in expected
                        ]
                        waiting, drawn = waiting[int(what) :], drawn + expected
                        held += leased_jobs
                    elif step == "give back":
                        assert leases.give_back(held) == len(held)  # type: ignore[arg-type]
                        waiting, drawn, held = sorted(waiting + drawn), [], []
                    elif waiting:
                        _, _, job_id = waiting.pop(int(what) % len(waiting))
                        await queue.cancel(job_id)
                for position, (_, _, job_id) in enumerate(waiting):
                    assert (await queue.get(job_id)).position == position

    asyncio.run(play())
