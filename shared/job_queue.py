"""The only door to the queue for those who hand scans in: submit, status, cancel, depth, events.

Jobs are ordinary RQ jobs (JSON, ids only) beside which Lua scripts keep what RQ does not have:
places in the queue, listings by state, a limit that holds, and a stream of events. Each call is
one script, so one round trip, at a cost that does not grow with the queue.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared import keys, rq_jobs
from shared.errors import IdempotencyConflict, JobNotFound, QueueFull, ServiceUnavailable
from shared.jobs import Job, JobStatus, Submission
from shared.lua import Script

#: A page of a listing reads this many jobs at most.
MAX_PAGE = 200


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
    """One live worker; ``batch`` lists the jobs it has in hand."""

    id: str
    model: str | None
    device: str
    batch: tuple[str, ...]


@dataclass(frozen=True)
class QueueState:
    """The whole queue at one moment; times are estimates from what scans cost lately."""

    queued: int
    started: int
    workers: tuple[WorkerInfo, ...]
    seconds_per_scan: float | None
    eta_s: float | None
    oldest_queued_s: float


@dataclass(frozen=True)
class JobEvent:
    """One change of a job's status; ``id`` is its place in the stream of events."""

    id: str
    job_id: str
    status: JobStatus
