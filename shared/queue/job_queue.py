"""The only door to the queue for those who hand scans in: submit, status, cancel, depth, events.

Jobs are ordinary RQ jobs (JSON, ids only) beside which Lua scripts keep what RQ does not have:
places in the queue, listings by state, a limit that holds, and a stream of events. Each call is
one script, so one round trip, at a cost that does not grow with the queue.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import structlog
from pydantic import TypeAdapter, ValidationError
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
from shared.queue.connection import COMMAND_TIMEOUT_S, away, connect
from shared.queue.events import EventBatch, StreamOffsets, read_news
from shared.queue.job_reading import read_job
from shared.queue.redis_check import UNKNOWN, Finding, check_redis
from shared.queue.rq_jobs import estimate, read_pace, rq_fields, rq_stamp
from shared.queue.scripts import Argument, Script
from shared.settings import Settings

log = structlog.get_logger()

#: Commands of one API process wait for one of so many connections.
MAX_CONNECTIONS = 32
#: Whoever listens is believed to listen for so long (seconds).
LISTENED_S = 15
#: When Redis has no memory left, retention has made room by then, or an operator must (seconds).
NO_MEMORY_RETRY_S = 60


@dataclass(frozen=True)
class Receipt:
    """What became of a submit: the job, and whether this call made it."""

    job: Job
    created: bool


@dataclass(frozen=True)
class JobPage:
    """Jobs, newest first, and where the next page begins (``None`` at the end)."""

    jobs: list[Job]
    next_cursor: str | None


@dataclass(frozen=True)
class WorkerInfo:
    """One live worker; ``batch`` lists its started jobs, ``paused`` says why it draws none."""

    id: str
    model: str | None = None
    device: str = ""
    batch: tuple[str, ...] = ()
    precision: str = ""
    memory_format: str = ""
    compiled: bool = False
    peak_memory_bytes: int | None = None
    paused: str | None = None
    version: str | None = None


#: Reads a worker's facts: those that this version does not know are left out.
_WORKER = TypeAdapter(WorkerInfo)


@dataclass(frozen=True)
class QueueState:
    """The whole queue at one moment; times are estimates from what scans cost lately.

    ``waiting`` counts jobs that no worker has drawn, by priority; ``metrics`` is what the workers
    count, by the names of `shared.queue.worker_metrics`. ``scans_per_batch`` is None before the
    first batch, and ``scans_per_hour`` the rate of the last ten minutes.
    """

    queued: int
    started: int
    workers: tuple[WorkerInfo, ...]
    seconds_per_scan: float | None
    eta_s: float | None
    scans_per_batch: float | None
    scans_per_hour: float
    oldest_queued_s: float
    waiting: dict[str, int]
    metrics: dict[str, float]


class JobQueue:
    """The queue, for one API process. Every method may raise ServiceUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = connect(settings.redis_url, COMMAND_TIMEOUT_S, MAX_CONNECTIONS)
        # Its timeout must outlast every blocking read, or waiting would look like an outage.
        self._reader = connect(settings.redis_url, COMMAND_TIMEOUT_S + settings.max_wait_s, 2)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self._reader.aclose()

    async def submit(self, submission: Submission) -> Receipt:
        """Queue a job whose scan is in the store; safe to repeat with the same id.

        Raises:
            QueueFull: ``MAX_QUEUED`` jobs are waiting; nothing was queued.
            IdempotencyConflict: The key stands for another scan or model.
            StoreFull: Redis has no memory left; nothing was queued.

        """
        try:
            answer = await self._submit(submission)
        except OutOfMemoryError as error:
            raise StoreFull(
                "The queue's Redis has no memory left. Purge old jobs or give it more, and "
                "submit the scan again.",
                retry_after_s=NO_MEMORY_RETRY_S,
            ) from error
        except RedisError as error:
            raise away(error) from error
        match answer[0]:
            case b"conflict":
                raise IdempotencyConflict(
                    "This Idempotency-Key was used for another scan or model. "
                    "Take a new key for a new scan."
                )
            case b"full":
                wait_s = estimate(0, read_pace(answer[1])) or 10.0
                raise QueueFull(
                    f"{self._settings.max_queued} jobs are waiting, and the queue takes no more. "
                    "Try again later.",
                    retry_after_s=max(1, round(wait_s)),
                )
        job = read_job(answer[1], read_pace(answer[2]))
        return Receipt(job, created=answer[0] == b"created")

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
        """Return a job as it stands; raises JobNotFound."""
        view, pace = await self._run(scripts.VIEW, job_id)
        if not view:
            raise JobNotFound(job_id)
        return read_job(view, read_pace(pace))

    async def get_all(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs as they stand, in the order of their ids; None for what is none."""
        views, pace = await self._run(scripts.VIEWS, *job_ids)
        return [read_job(view, read_pace(pace)) if view else None for view in views]

    async def places(self, job_ids: Sequence[str]) -> list[tuple[int, float | None] | None]:
        """Return position and ``eta_s`` of jobs, in the order of ids; None for those not queued."""
        places, pace = await self._run(scripts.PLACES, *job_ids)
        return [
            (place, estimate(place, read_pace(pace))) if place >= 0 else None for place in places
        ]

    async def page(self, status: JobStatus | None, limit: int, cursor: str | None) -> JobPage:
        """Return up to ``limit`` jobs, newest first, from ``cursor`` on."""
        views, pace, following, missing = await self._run(
            scripts.LIST, status or "", cursor or "", limit
        )
        if missing:
            await self._unlist(missing)
        jobs = [read_job(view, read_pace(pace)) for view in views]
        return JobPage(jobs, following.decode() or None)

    async def _unlist(self, job_ids: Sequence[bytes]) -> None:
        """Take ids that Redis no longer knows out of the listings."""
        try:
            await scripts.PURGE_ALL.arun(self._redis, *job_ids)
        except RedisError as error:  # a page can be read while nothing can be written
            log.warning("listing_not_cleaned", error=type(error).__name__)

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it is terminal already. Raises JobNotFound."""
        answer = await self._run(
            scripts.CANCEL, job_id, rq_stamp(datetime.now(UTC)), self._settings.retention_s
        )
        if answer == b"missing":
            raise JobNotFound(job_id)
        return bool(answer == b"canceled")

    async def purge(self, job_id: str) -> None:
        """Forget a terminal job; its files are the caller's to remove, and first.

        Raises:
            JobNotFound: There is no such job.
            NotFinished: The job is still queued or started.

        """
        answer = await self._run(scripts.PURGE, job_id)
        if answer == b"missing":
            raise JobNotFound(job_id)
        if answer == b"live":
            raise NotFinished("A job that is still queued or started cannot be purged.")

    async def state(self) -> QueueState:
        """Return the queue's depth, its workers and its pace."""
        answer = await self._run(scripts.STATE)
        queued, started, pace, workers, oldest_s, counts, waiting, finished, seconds = answer
        seconds_per_scan, live = read_pace(pace)
        metrics = {name.decode(): float(amount) for name, amount in _pairs(counts)}
        return QueueState(
            queued=queued,
            started=started,
            workers=tuple(_read_workers(workers)),
            seconds_per_scan=seconds_per_scan,
            eta_s=estimate(queued, (seconds_per_scan, live)),
            scans_per_batch=metrics.get("scans_per_batch"),
            scans_per_hour=3600 * finished / float(seconds),
            oldest_queued_s=float(oldest_s),
            waiting={name.decode(): count for name, count in _pairs(waiting)},
            metrics=metrics,
        )

    async def bundle_statuses(self, bundle_keys: Sequence[str]) -> dict[str, str]:
        """Return how these bundles fare in workers: ``""`` for one that runs, else the reason."""
        if not bundle_keys:
            return {}
        told = await self._run(scripts.BUNDLE_STATUSES, *bundle_keys)
        return {
            key: status.decode()
            for key, status in zip(bundle_keys, told, strict=True)
            if status is not None
        }

    async def knows_key(self, idempotency_key: str) -> bool:
        """Tell whether a job was submitted under this key."""
        try:
            return bool(await self._redis.exists(keys.IDEMPOTENCY + _digest(idempotency_key)))
        except RedisError as error:
            raise away(error) from error

    async def ping(self) -> None:
        """Return if Redis answers."""
        try:
            await self._redis.ping()
        except RedisError as error:
            raise away(error) from error

    async def findings(self) -> list[Finding]:
        """Return what is wrong with the Redis that holds the queue."""
        try:
            return check_redis(await self._redis.info())
        except NoPermissionError:
            return [UNKNOWN]
        except RedisError as error:
            raise away(error) from error

    async def offsets(self) -> StreamOffsets:
        """Return where the streams of news stand now."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for stream in (keys.EVENTS, keys.PROGRESS):
                    pipeline.xrevrange(stream, count=1)
                answers: Any = await pipeline.execute()
        except RedisError as error:
            raise away(error) from error
        return StreamOffsets(*(latest[0][0].decode() if latest else "0-0" for latest in answers))

    async def new_events(self, after: StreamOffsets, block_s: float) -> EventBatch:
        """Return what is new after ``after``, waiting up to ``block_s`` for the first of it."""
        try:
            answer = await self._reader.xread(
                after.streams, count=1000, block=max(1, int(block_s * 1000))
            )
        except RedisError as error:
            raise away(error) from error
        return read_news(answer, after)

    async def listen(self) -> None:
        """Have workers' reports written to the news for the next `LISTENED_S` seconds."""
        try:
            await self._redis.set(keys.LISTENED, 1, ex=LISTENED_S)
        except OutOfMemoryError:
            return  # progress is not told then; changes of status are
        except RedisError as error:
            raise away(error) from error

    async def _run(self, script: Script, *arguments: Argument) -> Any:
        try:
            return await script.arun(self._redis, *arguments)
        except RedisError as error:
            raise away(error) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_workers(told: Iterable[bytes]) -> Iterator[WorkerInfo]:
    for about in told:
        try:
            yield _WORKER.validate_json(about)
        except ValidationError:
            log.warning("worker_facts_unreadable")


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)
