"""A job and its life.

::

            submit                draw                 settle
  (client) ───a──▶  queued ──────b──────▶ started ─────c─────▶ finished
                      │  ▲                  │  │
                      d  └──e── lost or ────┘  f── refused, or lost too often ──▶ failed
                      ▼         transient                                          ▲
                   canceled ◀──────────g────── started      queued ───────h────────┘

a  the scan is in the store and the job is in Redis, or the client was refused
b  a worker holds a lease on the job and has begun to read its scan
c  the outcome and the end of the lease are one transaction
d, g  the client cancelled; what a worker still computes of it is dropped
e  the worker died, froze past its lease or met a transient fault
f  at once for a fault of the scan itself, else after ``MAX_ATTEMPTS`` losses
h  its record cannot be read, or workers died again and again before they began it
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.results import Report


class JobStatus(StrEnum):
    """Where a job stands; the values are RQ's own."""

    QUEUED = "queued"  #: The job waits for a worker.
    STARTED = "started"  #: A worker holds its lease and reads or computes it.
    FINISHED = "finished"  #: The mask is in the store.
    FAILED = "failed"  #: It ended with a problem.
    CANCELED = "canceled"  #: The client withdrew it.

    @property
    def terminal(self) -> bool:
        """Whether the job can no longer change."""
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELED})

#: Every step a job may take; the letters are those of the diagram above.
TRANSITIONS = frozenset(
    {
        (JobStatus.QUEUED, JobStatus.STARTED),  # b
        (JobStatus.STARTED, JobStatus.FINISHED),  # c
        (JobStatus.QUEUED, JobStatus.CANCELED),  # d
        (JobStatus.STARTED, JobStatus.QUEUED),  # e
        (JobStatus.STARTED, JobStatus.FAILED),  # f
        (JobStatus.STARTED, JobStatus.CANCELED),  # g
        (JobStatus.QUEUED, JobStatus.FAILED),  # h
    }
)


class Priority(StrEnum):
    """Who goes first. Order in this class is order of service."""

    STAT = "stat"  #: Somebody waits at the scanner.
    ROUTINE = "routine"  #: Today's list.
    BULK = "bulk"  #: Overnight research.


class Stage(StrEnum):
    """What is being done to a started job. Order in this class is order of work."""

    LOAD = "load"  #: Read from the store and unpacked.
    PREPROCESS = "preprocess"  #: Brought to the network's grid.
    INFERENCE = "inference"  #: In the network, or waiting for its turn on the device.
    POSTPROCESS = "postprocess"  #: Brought back to the scan's grid and measured.
    STORE = "store"  #: Mask and picture are written.


class Submission(BaseModel):
    """What a client asked for, once its scan is in the store.

    ``scans`` maps each input channel of the model to a key of the store. ``sha256`` covers the
    bytes as handed in. ``idempotency_key`` is the client's own word and is stored as a hash only.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    model: str
    version: str
    priority: Priority
    scans: dict[str, str]
    sha256: str
    created_at: datetime
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def model_ref(self) -> str:
        """``name@version``: the model a job keeps whatever is installed later."""
        return f"{self.model}@{self.version}"


class Job(BaseModel):
    """A job as the queue knows it. ``position`` counts the jobs ahead while it is queued.

    ``progress`` is 0 while queued, 1 once finished, and never falls within an attempt.
    ``losses`` counts the attempts that ended with the job back in the queue and were charged to
    it, ``returns`` those that were not.
    """

    model_config = ConfigDict(frozen=True)

    submission: Submission
    status: JobStatus
    attempts: int
    losses: int = 0
    returns: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    position: int | None = None
    eta_s: float | None = None
    progress: float = 0.0
    stage: Stage | None = None
    worker: str | None = None
    report: Report | None = None
    error: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The job's id, a ULID: ids sort by time of submission."""
        return self.submission.id
