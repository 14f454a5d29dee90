"""The function that every job names. A stock ``rq worker`` that runs it computes a batch of one.

MicroBatchWorker never calls it: it knows a job by its id and computes whole batches.
"""

import os
from functools import cache
from typing import Any

from rq import get_current_job

from shared.jobs import Submission
from shared.queue import scripts
from shared.settings import Settings
from worker.models.cache import open_model_cache
from worker.pipeline.outcomes import Failed, Finished, LeasedJob, Retry, Returned
from worker.pipeline.pipeline import Pipeline
from worker.queueing.connection import connect


class TaskFailed(Exception):
    """The job ended with a problem."""


@cache
def _pipeline() -> Pipeline:
    settings = Settings()
    return Pipeline(settings, open_model_cache(settings, connect(settings), f"rq-{os.getpid()}"))


def segment(job_id: str) -> dict[str, Any]:
    """Compute one job and return its report as JSON.

    Raises:
        TaskFailed: The job ended with the problem in the message.
    """
    job = get_current_job()
    if job is None:
        raise RuntimeError("segment is called by an RQ worker only")
    scripts.ADOPT.run(job.connection, job_id)
    submission: Any = job.connection.hget(job.key, "voxelq_submission")
    leased = LeasedJob(
        submission=Submission.model_validate_json(submission),
        execution=job.get_executions()[0].id if job.get_executions() else "rq",
        queue=job.origin,
        losses=0,
    )
    (outcome,) = _pipeline().run([leased], job.worker_name or "rq", lambda _: False)
    match outcome:
        case Finished(report):
            return report.model_dump(mode="json")
        case Failed(problem) | Retry(problem) | Returned(problem):
            raise TaskFailed(f"{problem['title']}: {problem['detail']}")
