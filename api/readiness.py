"""Whether a scan submitted now would be served, and notes on problems that do not prevent it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from shared.errors import ServiceUnavailable, VoxelQError
from shared.queue.job_queue import JobQueue
from shared.queue.redis_check import CHECK_AGAIN_S, Finding, log_findings
from shared.queue.state import QueueState, WorkerInfo

RETRY_AFTER_S = 5
#: Probes and scrapes get an answer in this time even if Redis or a disk hangs (seconds).
PROBE_TIMEOUT_S = 3.0
#: Between two checks of a Redis that does not answer (seconds).
RECONNECT_S = 1.0

#: Returns sentences for the operator, none when there is no problem.
NoteSource = Callable[[], Awaitable[Sequence[str]]]

T = TypeVar("T")


class ServiceReadiness:
    """The answer of ``/readyz``.

    Args:
        queue: The queue.
        trouble: Returns why the store takes no scan; None while it does.
        sources: Return notes on other parts of the service.

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
        """Check Redis once it answers, and log what is wrong with it."""
        checking = asyncio.create_task(self._check_redis())
        try:
            yield
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)

    async def check_ready(self) -> list[str]:
        """Return if scans are served, with notes on problems that there are all the same.

        Raises:
            ServiceUnavailable: No scan would be served now; its detail says why.
        """
        findings, state = await within_probe_timeout(self._findings_and_state())
        if (trouble := self._trouble()) is not None:
            raise ServiceUnavailable(trouble, retry_after_s=RETRY_AFTER_S)
        notes = [finding.words for finding in findings]
        notes += _worker_notes(state.workers)
        for source in self._sources:
            notes += await _notes_of(source)
        return notes

    async def _findings_and_state(self) -> tuple[list[Finding], QueueState]:
        findings = await self._queue.findings()
        for finding in findings:
            if finding.refuses:
                raise ServiceUnavailable(finding.words, retry_after_s=RETRY_AFTER_S)
        return findings, await self._queue.state()

    async def _check_redis(self) -> None:
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


async def within_probe_timeout(call: Awaitable[T]) -> T:
    """Return the result of ``call``; raises ServiceUnavailable if it takes too long."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await call
    except TimeoutError as error:
        raise ServiceUnavailable(
            "Redis takes too long to answer.", retry_after_s=RETRY_AFTER_S
        ) from error


async def _notes_of(source: NoteSource) -> Sequence[str]:
    """Return a source's notes; a source that fails or hangs is itself a note."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await source()
    except VoxelQError as error:
        return [error.detail]
    except TimeoutError:
        return ["A part of the service's health could not be checked in time."]


def _worker_notes(workers: Sequence[WorkerInfo]) -> list[str]:
    """Return a note on paused workers; raises ServiceUnavailable if no worker draws jobs."""
    if not workers:
        raise ServiceUnavailable("No worker is listening.", retry_after_s=RETRY_AFTER_S)
    reasons = [worker.paused for worker in workers if worker.paused is not None]
    if not reasons:
        return []
    if len(reasons) == len(workers):
        counted = "1 worker is" if len(reasons) == 1 else f"{len(reasons)} workers are"
        raise ServiceUnavailable(f"{counted} paused: {reasons[0]}", retry_after_s=RETRY_AFTER_S)
    return [f"{len(reasons)} of {len(workers)} workers are paused: {reasons[0]}"]
