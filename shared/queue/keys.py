"""Every Redis key and queue name. ``rq:`` keys are RQ's layout, ``voxelq:`` keys are VoxelQ's.

The Lua scripts see the constants of this module under the same names.
"""

from shared.jobs import Priority

RQ_EXECUTION = "rq:execution:"  # hash by "<job>:<execution>"
RQ_EXECUTIONS = "rq:executions:"  # sorted set by job: its live executions
RQ_INTERMEDIATE = ":intermediate"  # suffix of a queue: drawn, not begun
RQ_JOB = "rq:job:"  # hash by job
RQ_QUEUE = "rq:queue:"  # list by queue name
RQ_QUEUES = "rq:queues"  # set of the above
RQ_RESULTS = "rq:results:"  # stream by job
RQ_SUSPENDED = "rq:suspended"  # exists while an operator has suspended the workers
RQ_WORKER = "rq:worker:"  # hash by worker
RQ_WIP = "rq:wip:"  # sorted set by queue name: "<job>:<execution>" by end of lease
RQ_FINISHED = "rq:finished:"  # registries by queue name
RQ_FAILED = "rq:failed:"
RQ_CANCELED = "rq:canceled:"

BUNDLE_FAULT = "voxelq:bundle-fault:"  # string by bundle: what is wrong with its files
BUNDLE_STATUS = "voxelq:bundle-status:"  # hash by bundle, worker: "" if it runs, else why not
BUSY = "voxelq:busy"  # sorted set: those of WORKERS with active jobs, by the same time
COMPUTE_MODES = "voxelq:compute-modes"  # hash by bundle and kind of device: the mode, as JSON
DEAD_LETTERS = "voxelq:dead-letters"  # sorted set: jobs that could not be read, by time
ENDED = "voxelq:ended"  # sorted set: terminal jobs by the time at which they ended
ENDED_FROM = "voxelq:ended-from:"  # string by status: the id after which INDEX_ENDED continues
EVENTS = "voxelq:events"  # stream: every change of a job's status
FINISHED_IN = "voxelq:finished-in:"  # counter by minute: scans that were finished in it
GPU_LEASES = "voxelq:gpu-leases"  # sorted set: workers by the end of their lease of a GPU
GPUS = "voxelq:gpus"  # hash by worker: the UUID of the GPU leased to it
IDEMPOTENCY = "voxelq:idempotency:"  # string by hashed key: "<fingerprint> <job>"
INDEX = "voxelq:jobs"  # sorted set of ids; with ":<status>", those with that status
PROGRESS_WANTED = "voxelq:listened"  # string: exists while a client follows a job's progress
LOADING = "voxelq:loading"  # hash by worker: the bundle that it is loading
LOADING_DEATHS = "voxelq:loading-deaths:"  # counter by bundle: workers that died loading it lately
LOADING_PAUSE = "voxelq:loading-pause:"  # string by bundle: exists while no worker may load it
METRICS = "voxelq:metrics"  # hash: counters and sums over all workers
MODELS = "voxelq:models"  # set: models that may have queued jobs
PENDING = "voxelq:pending:"  # sorted set by priority: ids by time of arrival
PROGRESS = "voxelq:progress"  # stream: the progress of started jobs
PROVING = "voxelq:proving:"  # string by bundle: held while one worker tries to load it
QUEUES = "voxelq:queues"  # set: names of all queues of VoxelQ
REAPED_AT = "voxelq:reaped-at"  # string: when leases were last reaped
RETENTION_TURN = "voxelq:retention:"  # string by task: when it was last started
SERVICE = "voxelq:service"  # string: the id of this data set, which the store's records name
STORE = "voxelq:store"  # string: the id of the store that the scans are in
STRAYS = "voxelq:strays"  # sorted set: live jobs in no queue and without lease, by time
SWEPT = "voxelq:swept:"  # string by status: the id after which the sweep of a listing continues
TURN = "voxelq:turn"  # counter of jobs drawn, for ageing
WAKE = "voxelq:wake"  # list: tokens, so that a new job wakes one idle worker
WORKER = "voxelq:worker:"  # string by worker: its facts and its active jobs, as JSON
WORKERS = "voxelq:workers"  # sorted set: workers by the time at which their heartbeat is overdue


def queue_name(model_ref: str, priority: Priority) -> str:
    """Return the RQ queue of one model's jobs of one priority."""
    return f"{model_ref}:{priority}"
