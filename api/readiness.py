"""Whether a scan submitted now would be served, and what is not well all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from shared.errors import ServiceUnavailable, VoxelQError
from shared.queue.job_queue import JobQueue
from shared.queue.redis_check import CHECK_AGAIN_S, Finding, log_findings
from shared.queue.state import QueueState, WorkerInfo

RETRY_AFTER_S = 5
#: Those who probe and scrape do not wait for a Redis or a disk that hangs (seconds).
PROBE_TIMEOUT_S = 3.0
#: Between two tries to look at a Redis that does not answer (seconds).
RECONNECT_S = 1.0

#: Returns sentences for the operator, none when all is well.
NoteSource = Callable[[], Awaitable[Sequence[str]]]

T = TypeVar("T")


class ServiceReadiness:
    """What ``/readyz`` says.

    Args:
        queue: The queue.
        trouble: Tells why no scan can be taken though Redis answers; None while one can.
        sources: Add notes on what else the service leans on.

    """

    def __init__(
        self,
        queue: JobQueue,
        trouble: Callable[[], str | None] = lambda: None,
        sources: Sequence[NoteSource] = (),
    ) -> None:
        self._queue = queue
        self._trouble = trouble
        self._sources = sources

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look at Redis once it answers, and log what is wrong with it."""
        looking = asyncio.create_task(self._look_at_redis())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def notes(self) -> list[str]:
        """Return what is not well though scans are served.

        Raises:
            ServiceUnavailable: No scan would be served just now; its detail says why.
        """
        findings, state = await soon(self._look())
        if (trouble := self._trouble()) is not None:
            raise ServiceUnavailable(trouble, retry_after_s=RETRY_AFTER_S)
        notes = [finding.words for finding in findings]
        notes += _look_at_workers(state.workers)
        for source in self._sources:
            notes += await _ask(source)
        return notes

    async def _look(self) -> tuple[list[Finding], QueueState]:
        findings = await self._queue.findings()
        for finding in findings:
            if finding.refuses:
                raise ServiceUnavailable(finding.words, retry_after_s=RETRY_AFTER_S)
        return findings, await self._queue.state()

    async def _look_at_redis(self) -> None:
        while True:
            try:
                findings = await self._queue.findings()
            except ServiceUnavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            log_findings(findings)
            if not any(finding.unusable for finding in findings):
                return
            await asyncio.sleep(CHECK_AGAIN_S)


async def soon(question: Awaitable[T]) -> T:
    """Return the answer, unless it takes longer than a probe waits; then ServiceUnavailable."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await question
    except TimeoutError as error:
        raise ServiceUnavailable(
            "Redis takes too long to answer.", retry_after_s=RETRY_AFTER_S
        ) from error


async def _ask(source: NoteSource) -> Sequence[str]:
    """Return a source's notes; one that fails or hangs is a note, and no reason to be unready."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await source()
    except VoxelQError as error:
        return [error.detail]
    except TimeoutError:
        return ["A part of the service's health could not be looked at in time."]


def _look_at_workers(workers: Sequence[WorkerInfo]) -> list[str]:
    """Return a note on workers that are paused; raises ServiceUnavailable if none serves."""
    if not workers:
        raise ServiceUnavailable("No worker is listening.", retry_after_s=RETRY_AFTER_S)
    reasons = [worker.paused for worker in workers if worker.paused is not None]
    if not reasons:
        return []
    if len(reasons) == len(workers):
        counted = "1 worker is" if len(reasons) == 1 else f"{len(reasons)} workers are"
        raise ServiceUnavailable(f"{counted} paused: {reasons[0]}", retry_after_s=RETRY_AFTER_S)
    return [f"{len(reasons)} of {len(workers)} workers are paused: {reasons[0]}"]
