"""Every Redis key and queue name. ``rq:`` is RQ's own layout; ``voxelq:`` is ours."""

from shared.jobs import Priority

RQ_QUEUES = "rq:queues"
RQ_SUSPENDED = "rq:suspended"

EVENTS = "voxelq:events"  # stream: every change of a job's status
INDEX = "voxelq:jobs"  # sorted set of ids; with ":<status>" those in that state
IDEMPOTENCY = "voxelq:idempotency:"  # string by hashed key: the job it made
METRICS = "voxelq:metrics"  # hash: counters and sums over all workers
MODELS = "voxelq:models"  # set: models that have had jobs
PENDING = "voxelq:pending:"  # sorted set by priority: ids in order of arrival
REAPER = "voxelq:reaper"  # string: held by whoever reaps just now
WAKE = "voxelq:wake"  # list: one token for each job that came, so that one worker wakes
WORKERS = "voxelq:workers"  # sorted set: worker ids by the time their heartbeat runs out
WORKER = "voxelq:worker:"  # string by worker id: what it is and what it runs, as JSON


def queue_name(model_ref: str, priority: Priority) -> str:
    """Return the RQ queue of one model's jobs of one priority."""
    return f"{model_ref}:{priority}"


def rq_job(job_id: str) -> str:
    """Return the key of RQ's hash of a job."""
    return f"rq:job:{job_id}"


def rq_results(job_id: str) -> str:
    """Return the key of RQ's stream of a job's results."""
    return f"rq:results:{job_id}"
