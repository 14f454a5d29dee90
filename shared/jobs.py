"""A job and the states it goes through.

::

            submit                draw                 settle
  (client) ───a──▶  queued ──────b──────▶ started ─────c─────▶ finished
                      │  ▲                  │  │
                      d  └──e── lost or ────┘  f── refused, or lost too often ──▶ failed
                      ▼         transient                                          ▲
                   canceled ◀──────────g────── started      queued ───────h────────┘

a  the scan is in the store and the job is in Redis, or the submit failed
b  a worker holds a lease on the job and starts to read its scan
c  the outcome and the end of the lease are one transaction
d, g  the client cancelled; an outcome that a worker still computes is dropped
e  the worker died, froze until its lease ran out, or met a transient fault
f  at once for a fault of the scan itself, else after ``MAX_ATTEMPTS`` losses
h  its record cannot be read, or workers died again and again before they began it
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.results import Report


class JobStatus(StrEnum):
    """The status of a job; the values are RQ's own."""

    QUEUED = "queued"  #: The job waits for a worker.
    STARTED = "started"  #: A worker holds its lease, and reads or computes it.
    FINISHED = "finished"  #: The mask is in the store.
    FAILED = "failed"  #: It ended with an error.
    CANCELED = "canceled"  #: The client cancelled it.

    @property
    def terminal(self) -> bool:
        """Whether the job can no longer change."""
        return self in TERMINAL


TERMINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELED})

#: Every change of status that a job may make; the letters are those of the diagram above.
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
    """How urgent a job is, in the order of service."""

    STAT = "stat"  #: Urgent: a patient is waiting.
    ROUTINE = "routine"  #: The day's ordinary scans.
    BULK = "bulk"  #: Research that may run overnight.


class Stage(StrEnum):
    """The stages of a started job, in the order of work."""

    LOAD = "load"  #: Read from the store and decompressed.
    PREPROCESS = "preprocess"  #: Resampled to the network's grid.
    INFERENCE = "inference"  #: In the network, or waiting for the device.
    POSTPROCESS = "postprocess"  #: Resampled to the scan's grid and measured.
    STORE = "store"  #: Mask and picture are being written.


class Submission(BaseModel):
    """What a client submitted, once its scan is in the store.

    ``scans`` maps each input channel of the model to a key of the store. ``sha256`` is of the bytes
    as uploaded. ``idempotency_key`` is chosen by the client, and only its hash is stored.
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
        """``name@version``: the model of the job, even if a newer version is installed later."""
        return f"{self.model}@{self.version}"


class Job(BaseModel):
    """A job as the queue knows it.

    ``position`` is the number of jobs ahead while it is queued. ``progress`` is 0 while it is
    queued and 1 once it is finished, and never falls within an attempt. ``losses`` counts the
    attempts after which the job was requeued and charged with a loss, ``returns`` those after
    which it was requeued without a charge.
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
