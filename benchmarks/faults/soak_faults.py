"""The faults of a soak, with their weights: those after which no hand is needed."""

from dataclasses import dataclass

from benchmarks.faults import injectors as faults
from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.injectors import EACCES, EIO, ENOSPC, Injector
from benchmarks.faults.schedule import Choice
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target

_WORKER, _API = "worker", "API"
_BRIEF, _LONG = (0.5, 4.0), (2.0, 9.0)


@dataclass(frozen=True)
class SoakFault:
    """A choice of the schedule, and what it does; ``hits`` is the part whose process it is for."""

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
    _fault("worker killed", "processes", 10, faults.killed),
    _fault("worker terminated", "processes", 5, faults.terminated),
    _fault("worker frozen", "processes", 4, faults.frozen, _LONG),
    _fault("API killed", "processes", 4, faults.killed, hits=_API),
    _fault("API terminated", "processes", 3, faults.terminated, hits=_API),
    _fault("API frozen", "processes", 2, faults.frozen, _BRIEF, _API),
    _fault("Redis killed", "Redis", 4, faults.redis_killed, _BRIEF),
    _fault("Redis stopped", "Redis", 2, faults.redis_restarted, _BRIEF),
    _fault("Redis paused", "Redis", 3, faults.redis_paused, _LONG),
    _fault("Redis failed over", "Redis", 3, faults.redis_failed_over),
    _fault("Redis out of memory", "Redis", 3, faults.redis_out_of_memory, _BRIEF),
    _fault("append-only file's disk full", "Redis", 3, faults.queue_disk_full, _BRIEF),
    _fault("workers cut off", "network", 3, faults.workers_cut_off, _LONG),
    _fault("API cut off", "network", 3, faults.api_cut_off, _BRIEF),
    _fault("network silent", "network", 3, faults.all_silent, _LONG),
    _fault("connections half closed", "network", 2, faults.half_closed, _BRIEF),
    _fault("connections reset", "network", 4, faults.connections_reset),
    _fault("network slow", "network", 2, faults.network_slow, _BRIEF),
    _fault("store full", "files", 4, faults.store_full, _BRIEF),
    _fault("no room for a mask", "files", 3,
           faults.worker_files(ENOSPC, ".mask.nii.gz", "write"), _BRIEF),
    _fault("EIO of the store", "files", 4, faults.all_files(EIO, "/store/data"), _BRIEF),
    _fault("EACCES of the store", "files", 3, faults.all_files(EACCES, "/store/data"), _BRIEF),
    _fault("hung store", "files", 3, faults.all_files(HANG, "/store/data/"), _LONG),
    _fault("store's folder replaced", "files", 3, faults.store_replaced, _BRIEF),
    _fault("models' folder away", "files", 3, faults.models_away, _BRIEF),
    _fault("broken bundle", "files", 2, faults.broken_bundle, _BRIEF),
    _fault("malformed bundle", "files", 2, faults.malformed_bundle, _BRIEF),
    _fault("a record that cannot be read", "jobs", 2, faults.garbage_record),
    _fault("a stock client's job in our queue", "jobs", 2, faults.foreign_job),
    _fault("a scan that kills its worker", "jobs", 1, faults.killing_scan),
    _fault("slow clients", "jobs", 2, faults.slow_clients, (0.5, 1.0)),
    _fault("clients that hang up", "jobs", 3, faults.clients_hang_up, (0.5, 1.0)),
]  # fmt: skip
_CLOCKED = [
    _fault("clock an hour ahead", "clock", 2, faults.clock_stepped(3600)),
    _fault("clock an hour back", "clock", 2, faults.clock_stepped(-3600)),
]


def soak_faults(*, clock: bool) -> dict[str, SoakFault]:
    """Return the faults by name; those of clocks where ``clock`` says that it can be stepped."""
    chosen = [*_ALWAYS, *(_CLOCKED if clock else [])]
    return {fault.choice.name: fault for fault in chosen}
