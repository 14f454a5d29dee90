"""The table of faults; a new fault is one more row."""

from errno import EACCES, EIO, ENOSPC

from benchmarks.faults import stages
from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.injectors import clients, files, jobs, network, processes, servers
from benchmarks.faults.models import SLOW
from benchmarks.faults.rows import SOLO, Row
from benchmarks.faults.service import Kind

#: A worker frozen past its lease must count as lost, so that the other one draws its jobs.
PAIR = Kind(workers=2)
#: A worker takes long enough to start that it can be hit while it warms up.
SLOW_START = Kind(default_model=SLOW)
CLOCKED = Kind(clock=True)
REPLICATED = Kind(replica=True)
#: A batch that takes longer counts as hung.
SHORT_TIMEOUT = Kind(settings=(("VOXELQ_JOB_TIMEOUT_S", "4"),))
#: The files of uploads to a dead API are deleted after a day, by a check every few seconds.
RETENTION = Kind(clock=True, settings=(("VOXELQ_RETENTION_S", "60"),))

#: Longer than a lease.
FREEZE_S = 3.5
_STAGES_AT_START = ("starting", "loading", "warming up")


def worker_rows() -> list[Row]:
    """Return every signal at every stage of a worker's life."""
    rows = []
    for name, stage in stages.WORKER_STAGES.items():
        alone = SLOW_START if name in _STAGES_AT_START else SOLO
        frozen = SOLO if name == "drawing" else SLOW_START if name in _STAGES_AT_START else PAIR
        rows += [
            Row(f"SIGKILL, worker {name}", processes.killed, stage, kind=alone),
            Row(f"SIGTERM, worker {name}", processes.terminated, stage, kind=alone),
            Row(f"SIGSTOP, worker {name}", processes.frozen, stage, hold_s=FREEZE_S, kind=frozen),
        ]
    return rows


_ROWS = [
    *worker_rows(),
    Row("SIGKILL, worker under load", processes.killed, stages.anywhere, kind=PAIR),
    Row("SIGKILL again and again, worker loading",
        processes.killed_again_and_again, stages.loading, 60, kind=SLOW_START),
    Row("SIGTERM, worker that cannot end its batch", processes.stopped_while_hung, hold_s=7),
    # the API, with uploads under way and blocked clients
    Row("SIGKILL, API serving clients", processes.killed, stages.serving_clients, kind=RETENTION,
        days_later=2),
    Row("SIGTERM, API serving clients", processes.terminated, stages.serving_clients),
    Row("SIGSTOP, API serving clients", processes.frozen, stages.serving_clients, hold_s=3),
    Row("clients that send slowly", clients.slow_clients, hold_s=1),
    Row("clients that disconnect", clients.clients_hang_up, hold_s=1),
    # disks and folders
    Row("store full", files.store_full, stages.computing, hold_s=4),
    Row("no room for a mask", files.worker_files(ENOSPC, ".mask.nii.gz", "write"), hold_s=5),
    Row("no room for a picture", files.worker_files(ENOSPC, ".preview.png", "write"), hold_s=5),
    Row("EIO of the store, worker", files.worker_files(EIO, "/store/data/"), hold_s=5),
    Row("EIO of the store, API", files.api_files(EIO, "/store/data/"), hold_s=2),
    Row("EIO of the store, all", files.all_files(EIO, "/store/data"), hold_s=4),
    Row("EACCES of the store, worker", files.worker_files(EACCES, "/store/data/"), hold_s=5),
    Row("EACCES of the store, API", files.api_files(EACCES, "/store/data/"), hold_s=2),
    Row("hung store, worker", files.worker_files(HANG, "/store/data/"), hold_s=3),
    Row("hung store, API", files.api_files(HANG, "/store/data/"), hold_s=3),
    Row("hung store, longer than a batch may take",
        files.worker_files(HANG, "/store/data/"), hold_s=7, kind=SHORT_TIMEOUT),
    Row("hung store under uploads", clients.hung_uploads, hold_s=0.5),
    Row("store's folder away", files.store_away, hold_s=5),
    Row("store's folder replaced", files.store_replaced, hold_s=5),
    Row("models' folder away", files.models_away, hold_s=4),
    Row("models' folder away, worker starting", files.models_away, stages.starting, hold_s=5),
    Row("EIO of the models, worker", files.worker_files(EIO, "/models/"), hold_s=4),
    Row("EIO of the models, worker starting",
        files.worker_files(EIO, "/models/quick/"), stages.starting, hold_s=5),
    Row("broken bundle", files.broken_bundle, hold_s=4),
    Row("broken bundle, worker starting", files.broken_bundle, stages.starting, hold_s=4),
    Row("malformed bundle", files.malformed_bundle, hold_s=4),
    Row("malformed bundle, worker starting", files.malformed_bundle, stages.starting, hold_s=4),
    # Redis
    Row("Redis killed", servers.redis_killed, stages.computing, hold_s=3),
    Row("Redis killed, worker starting", servers.redis_killed, stages.starting, hold_s=4),
    Row("Redis stopped", servers.redis_restarted, stages.anywhere, hold_s=3),
    Row("Redis paused", servers.redis_paused, stages.computing, hold_s=7),
    Row("Redis failed over", servers.redis_failed_over, stages.anywhere, kind=REPLICATED),
    Row("Redis failed back", servers.redis_failed_over, stages.anywhere, kind=REPLICATED),
    Row("Redis out of memory", servers.redis_out_of_memory, stages.computing, hold_s=4),
    Row("append-only file's disk full", servers.queue_disk_full, stages.computing, hold_s=4),
    Row("clock an hour ahead", servers.clock_stepped(3600), stages.computing, kind=CLOCKED),
    Row("clock an hour back", servers.clock_stepped(-3600), stages.computing, kind=CLOCKED),
    Row("clock an hour further back", servers.clock_stepped(-3600), kind=CLOCKED),
    # network
    Row("workers cut off", network.workers_cut_off, stages.computing, hold_s=4),
    Row("API cut off", network.api_cut_off, hold_s=3),
    Row("everything cut off", network.all_cut_off, stages.anywhere, hold_s=4),
    Row("network silent", network.all_silent, stages.computing, hold_s=8),
    Row("network silent, workers settling", network.workers_silent, stages.settling, hold_s=8),
    Row("connections half closed", network.half_closed, hold_s=3),
    Row("connections reset", network.connections_reset, stages.anywhere),
    Row("network slow", network.network_slow, stages.anywhere, hold_s=3),
    # jobs
    Row("a record that cannot be read", jobs.garbage_record),
    Row("a stock client's job in our queue", jobs.foreign_job),
    Row("a scan that kills its worker", jobs.killing_scan),
    Row("a pass that hangs", jobs.hung_pass, kind=SHORT_TIMEOUT),
    # last, because it deletes every job
    Row("Redis emptied", servers.redis_emptied, stages.computing, hold_s=1),
]  # fmt: skip


def rows() -> list[Row]:
    """Return the rows in the order in which they run: rows of one kind share a service."""
    kinds = list(dict.fromkeys(row.kind for row in _ROWS))
    return sorted(_ROWS, key=lambda row: kinds.index(row.kind))
