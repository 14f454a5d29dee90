"""The API's access to the queue: submit, read, list, cancel and purge jobs, and read their events.

A job is an ordinary RQ job (JSON, with the ids of scans and never their pixels). Lua scripts keep
beside it what RQ lacks: positions in the queue, listings by state, a limit on waiting jobs and a
stream of events. Each call runs one script, so it takes one round trip to Redis, at a cost that
does not grow with the queue.

Workers use `worker.queueing.leases` instead, which runs the other scripts on the same data.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import structlog
from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError

from shared.errors import (
    IdempotencyConflict,
    JobNotFound,
    NotFinished,
    QueueFull,
    StoreFull,
)
from shared.jobs import Job, JobStatus, Submission
from shared.queue import keys, scripts
from shared.queue.connection import COMMAND_TIMEOUT_S, connect, redis_unavailable
from shared.queue.events import EventBatch, StreamOffsets, read_events
from shared.queue.job_reading import read_job
from shared.queue.redis_check import INFO_FORBIDDEN, Finding, check_redis
from shared.queue.rq_jobs import estimate_seconds_left, read_pace, rq_fields, rq_stamp
from shared.queue.scripts import Argument, Script
from shared.queue.state import QueueState, read_state
from shared.settings import Settings

log = structlog.get_logger()

#: The most connections of one API process; a further command waits until one is free.
MAX_CONNECTIONS = 32
#: A call of `JobQueue.request_progress` counts for this long (seconds).
PROGRESS_WANTED_S = 15
#: When a client may retry after the queue was full, while the cost of a scan is unknown (seconds).
UNKNOWN_WAIT_S = 10.0
#: When a client may retry after Redis had no memory left: retention may have freed some (seconds).
NO_MEMORY_RETRY_S = 60


@dataclass(frozen=True)
class Receipt:
    """The result of a submit: the job, and whether this call created it or an earlier one did."""

    job: Job
    created: bool


@dataclass(frozen=True)
class JobPage:
    """Jobs, newest first, and the cursor of the next page; None on the last page."""

    jobs: list[Job]
    next_cursor: str | None


class JobQueue:
    """The queue as one API process uses it. Every method may raise ServiceUnavailable.

    Open it once for the process, and close it at the end::

        async with JobQueue(settings) as queue:
            receipt = await queue.submit(submission)
            job = await queue.get(receipt.job.id)
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = connect(settings.redis_url, COMMAND_TIMEOUT_S, MAX_CONNECTIONS)
        # Its timeout is longer than any blocking read, or a quiet stream would look like an outage.
        self._event_reader = connect(settings.redis_url, COMMAND_TIMEOUT_S + settings.max_wait_s, 2)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self._event_reader.aclose()

    async def submit(self, submission: Submission) -> Receipt:
        """Queue a job whose scan is in the store. Repeating a call with the same id is safe.

        Raises:
            QueueFull: ``MAX_QUEUED`` jobs are waiting; nothing was queued.
            IdempotencyConflict: The idempotency key was used for another scan or model.
            StoreFull: Redis has no memory left; nothing was queued.

        """
        try:
            reply = await self._submit(submission)
        except OutOfMemoryError as error:
            raise StoreFull(
                "The queue's Redis has no memory left. Purge old jobs or give it more, and "
                "submit the scan again.",
                retry_after_s=NO_MEMORY_RETRY_S,
            ) from error
        except RedisError as error:
            raise redis_unavailable(error) from error
        match reply[0]:
            case b"conflict":
                raise IdempotencyConflict(
                    "This Idempotency-Key was used for another scan or model. "
                    "Take a new key for a new scan."
                )
            case b"full":
                wait_s = estimate_seconds_left(0, read_pace(reply[1])) or UNKNOWN_WAIT_S
                raise QueueFull(
                    f"{self._settings.max_queued} jobs are waiting, and the queue takes no more. "
                    "Try again later.",
                    retry_after_s=max(1, round(wait_s)),
                )
        job = read_job(reply[1], read_pace(reply[2]))
        return Receipt(job, created=reply[0] == b"created")

    async def _submit(self, submission: Submission) -> Any:
        settings = self._settings
        queue = keys.queue_name(submission.model_ref, submission.priority)
        return await scripts.SUBMIT.arun(
            self._redis,
            submission.id,
            submission.model_ref,
            submission.priority,
            queue,
            settings.max_queued,
            _digest(submission.idempotency_key) if submission.idempotency_key else "",
            _digest(f"{submission.sha256} {submission.model}"),
            max(1, int(settings.retention_s)),
            *rq_fields(submission.model_copy(update={"idempotency_key": None}), settings),
        )

    async def get(self, job_id: str) -> Job:
        """Return a job; raises JobNotFound."""
        view, pace = await self._run(scripts.VIEW, job_id)
        if not view:
            raise JobNotFound(job_id)
        return read_job(view, read_pace(pace))

    async def get_all(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs in the order of ``job_ids``; None where there is no such job."""
        views, pace = await self._run(scripts.VIEWS, *job_ids)
        return [read_job(view, read_pace(pace)) if view else None for view in views]

    async def positions(self, job_ids: Sequence[str]) -> list[tuple[int, float | None] | None]:
        """Return ``position`` and ``eta_s`` of jobs in the order given; None if not queued."""
        positions, pace = await self._run(scripts.POSITIONS, *job_ids)
        return [
            (position, estimate_seconds_left(position, read_pace(pace))) if position >= 0 else None
            for position in positions
        ]

    async def page(self, status: JobStatus | None, limit: int, cursor: str | None) -> JobPage:
        """Return up to ``limit`` jobs after ``cursor``, newest first; status None means any."""
        views, pace, next_cursor, missing = await self._run(
            scripts.LIST, status or "", cursor or "", limit
        )
        if missing:
            await self._remove_from_listings(missing)
        jobs = [read_job(view, read_pace(pace)) for view in views]
        return JobPage(jobs, next_cursor.decode() or None)

    async def _remove_from_listings(self, job_ids: Sequence[bytes]) -> None:
        """Remove the ids of jobs that no longer exist."""
        try:
            await scripts.PURGE_ALL.arun(self._redis, *job_ids)
        except RedisError as error:  # reading a page works even if Redis refuses writes
            log.warning("listing_not_cleaned", error=type(error).__name__)

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; return False if it is terminal already. Raises JobNotFound."""
        reply = await self._run(
            scripts.CANCEL, job_id, rq_stamp(datetime.now(UTC)), self._settings.retention_s
        )
        if reply == b"missing":
            raise JobNotFound(job_id)
        return bool(reply == b"canceled")

    async def purge(self, job_id: str) -> None:
        """Delete a terminal job from Redis. The caller deletes its files first.

        Raises:
            JobNotFound: There is no such job.
            NotFinished: The job is still queued or started.

        """
        reply = await self._run(scripts.PURGE, job_id)
        if reply == b"missing":
            raise JobNotFound(job_id)
        if reply == b"live":
            raise NotFinished("A job that is still queued or started cannot be purged.")

    async def state(self) -> QueueState:
        """Return the state of the whole queue: how many jobs, which workers, how fast."""
        return read_state(await self._run(scripts.STATE))

    async def bundle_statuses(self, bundle_keys: Sequence[str]) -> dict[str, str]:
        """Return the known statuses of bundles: ``""`` if a bundle runs, else what is wrong."""
        if not bundle_keys:
            return {}
        statuses = await self._run(scripts.BUNDLE_STATUSES, *bundle_keys)
        return {
            key: status.decode()
            for key, status in zip(bundle_keys, statuses, strict=True)
            if status is not None
        }

    async def knows_key(self, idempotency_key: str) -> bool:
        """Return whether a job was submitted with this idempotency key."""
        try:
            return bool(await self._redis.exists(keys.IDEMPOTENCY + _digest(idempotency_key)))
        except RedisError as error:
            raise redis_unavailable(error) from error

    async def ping(self) -> None:
        """Return if Redis answers."""
        try:
            await self._redis.ping()
        except RedisError as error:
            raise redis_unavailable(error) from error

    async def findings(self) -> list[Finding]:
        """Return what is wrong with the configuration or the state of Redis."""
        try:
            return check_redis(await self._redis.info())
        except NoPermissionError:
            return [INFO_FORBIDDEN]
        except RedisError as error:
            raise redis_unavailable(error) from error

    async def offsets(self) -> StreamOffsets:
        """Return the current ends of both event streams."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for stream in (keys.EVENTS, keys.PROGRESS):
                    pipeline.xrevrange(stream, count=1)
                replies: Any = await pipeline.execute()
        except RedisError as error:
            raise redis_unavailable(error) from error
        return StreamOffsets(*(latest[0][0].decode() if latest else "0-0" for latest in replies))

    async def new_events(self, after: StreamOffsets, block_s: float) -> EventBatch:
        """Return the events after ``after``; wait up to ``block_s`` seconds for the first."""
        try:
            reply = await self._event_reader.xread(
                after.streams, count=1000, block=max(1, int(block_s * 1000))
            )
        except RedisError as error:
            raise redis_unavailable(error) from error
        return read_events(reply, after)

    async def request_progress(self) -> None:
        """Have progress updates written to the stream for the next `PROGRESS_WANTED_S` seconds."""
        try:
            await self._redis.set(keys.PROGRESS_WANTED, 1, ex=PROGRESS_WANTED_S)
        except OutOfMemoryError:
            return  # clients then get changes of status, but no progress
        except RedisError as error:
            raise redis_unavailable(error) from error

    async def _run(self, script: Script, *arguments: Argument) -> Any:
        try:
            return await script.arun(self._redis, *arguments)
        except RedisError as error:
            raise redis_unavailable(error) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
