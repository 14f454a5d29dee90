"""The faults of a soak, with their weights: those that need no operator."""

from dataclasses import dataclass
from errno import EACCES, EIO, ENOSPC

from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.injectors import Injector, clients, files, jobs, network, processes, servers
from benchmarks.faults.schedule import Choice
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target

_WORKER, _API = "worker", "API"
_BRIEF, _LONG = (0.5, 4.0), (2.0, 9.0)


@dataclass(frozen=True)
class SoakFault:
    """A choice of the schedule, and what it does; ``hits`` is the part whose process it hits."""

    choice: Choice
    inject: Injector
    hits: str = _WORKER

    def target(self, service: FaultedService, victim: int) -> Target:
        """Return the process that it hits."""
        part = service.api if self.hits == _API else service.workers[victim % len(service.workers)]
        return Target(part, part.pid)


def _fault(
    name: str,
    family: str,
    weight: float,
    inject: Injector,
    hold_s: tuple[float, float] = (0.0, 0.0),
    hits: str = _WORKER,
) -> SoakFault:
    return SoakFault(Choice(name, family, weight, hold_s), inject, hits)


_ALWAYS = [
    _fault("worker killed", "processes", 10, processes.killed),
    _fault("worker terminated", "processes", 5, processes.terminated),
    _fault("worker frozen", "processes", 4, processes.frozen, _LONG),
    _fault("API killed", "processes", 4, processes.killed, hits=_API),
    _fault("API terminated", "processes", 3, processes.terminated, hits=_API),
    _fault("API frozen", "processes", 2, processes.frozen, _BRIEF, _API),
    _fault("Redis killed", "Redis", 4, servers.redis_killed, _BRIEF),
    _fault("Redis stopped", "Redis", 2, servers.redis_restarted, _BRIEF),
    _fault("Redis paused", "Redis", 3, servers.redis_paused, _LONG),
    _fault("Redis failed over", "Redis", 3, servers.redis_failed_over),
    _fault("Redis out of memory", "Redis", 3, servers.redis_out_of_memory, _BRIEF),
    _fault("append-only file's disk full", "Redis", 3, servers.queue_disk_full, _BRIEF),
    _fault("workers cut off", "network", 3, network.workers_cut_off, _LONG),
    _fault("API cut off", "network", 3, network.api_cut_off, _BRIEF),
    _fault("network silent", "network", 3, network.all_silent, _LONG),
    _fault("connections half closed", "network", 2, network.half_closed, _BRIEF),
    _fault("connections reset", "network", 4, network.connections_reset),
    _fault("network slow", "network", 2, network.network_slow, _BRIEF),
    _fault("store full", "files", 4, files.store_full, _BRIEF),
    _fault("no room for a mask", "files", 3,
           files.worker_files(ENOSPC, ".mask.nii.gz", "write"), _BRIEF),
    _fault("EIO of the store", "files", 4, files.all_files(EIO, "/store/data"), _BRIEF),
    _fault("EACCES of the store", "files", 3, files.all_files(EACCES, "/store/data"), _BRIEF),
    _fault("hung store", "files", 3, files.all_files(HANG, "/store/data/"), _LONG),
    _fault("store's folder replaced", "files", 3, files.store_replaced, _BRIEF),
    _fault("models' folder away", "files", 3, files.models_away, _BRIEF),
    _fault("broken bundle", "files", 2, files.broken_bundle, _BRIEF),
    _fault("malformed bundle", "files", 2, files.malformed_bundle, _BRIEF),
    _fault("a record that cannot be read", "jobs", 2, jobs.garbage_record),
    _fault("a stock client's job in our queue", "jobs", 2, jobs.foreign_job),
    _fault("a scan that kills its worker", "jobs", 1, jobs.killing_scan),
    _fault("slow clients", "jobs", 2, clients.slow_clients, (0.5, 1.0)),
    _fault("clients that disconnect", "jobs", 3, clients.clients_hang_up, (0.5, 1.0)),
]  # fmt: skip
_CLOCKED = [
    _fault("clock an hour ahead", "clock", 2, servers.clock_stepped(3600)),
    _fault("clock an hour back", "clock", 2, servers.clock_stepped(-3600)),
]


def soak_faults(*, clock: bool) -> dict[str, SoakFault]:
    """Return the faults by name, with those of the clock if it can be stepped."""
    chosen = [*_ALWAYS, *(_CLOCKED if clock else [])]
    return {fault.choice.name: fault for fault in chosen}
