"""A soak of the local stack: full load with rests between, and the memory of every process."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.common.clinic import clinic_scans
from benchmarks.common.services import Service, voxelq
from benchmarks.soak.clients import Clients, running_clients
from benchmarks.soak.memory import (
    ProcessNames,
    Sample,
    Slope,
    Stretch,
    not_permanent,
    settled,
    slopes,
)
from benchmarks.soak.report import sentences

#: Between two samples of the memory, and how many there are at least if the soak is short.
_SAMPLE_S, _LEAST_SAMPLES = 1.0, 60


@dataclass(frozen=True)
class Plan:
    """How long a soak lasts, and its load; ``minutes`` are those of load, without the rests."""

    minutes: float
    warm_up_minutes: float
    rests: int
    rest_s: float
    workers: int
    clients: int
    shapes: str

    @property
    def stretch_s(self) -> float:
        """Return the seconds of load before each rest."""
        return 60 * self.minutes / self.rests


@dataclass(frozen=True)
class Soaked:
    """The measurements of a soak; slopes are those after the warm-up."""

    plan: Plan
    arithmetic: str | None
    stretches: Sequence[Stretch]
    samples: Sequence[Sample]
    errors: dict[str, int]
    warm_s: float
    slopes: dict[str, Slope]
    not_permanent: Sequence[str]

    @property
    def scans(self) -> int:
        """Return how many scans finished."""
        return sum(stretch.scans for stretch in self.stretches)

    @property
    def conclusion(self) -> list[str]:
        """Return what the numbers mean, in sentences."""
        return sentences(self.slopes, self.not_permanent, self.errors, self.scans)


def soak(plan: Plan, console: Console) -> Soaked:
    """Run a soak; its progress is shown on ``console``."""
    scans = clinic_scans(plan.shapes)
    with (
        voxelq(plan.workers) as service,
        running_clients(service.base, scans, plan.clients) as clients,
    ):
        stretches, samples = _measure(service, clients, plan, console)
    after = settled(stretches, 60 * plan.warm_up_minutes)
    counted = [sample for sample in samples if sample.at_s >= after[0].began_s]
    return Soaked(
        plan=plan,
        arithmetic=service.arithmetic,
        stretches=stretches,
        samples=samples,
        errors=dict(clients.errors),
        warm_s=after[0].began_s,
        slopes=slopes(after, counted),
        not_permanent=not_permanent(counted),
    )


def _measure(
    service: Service, clients: Clients, plan: Plan, console: Console
) -> tuple[list[Stretch], list[Sample]]:
    """Sample the memory until all rests are over.

    The time starts once as many scans have finished, or failed, as there are clients.
    """
    (supervisor,) = service.parts["supervisor"]
    processes, samples, stretches = ProcessNames(supervisor), list[Sample](), list[Stretch]()
    sample_s = min(_SAMPLE_S, plan.rests * plan.stretch_s / _LEAST_SAMPLES, plan.rest_s / 2)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())

    def sample_for(seconds: float) -> None:
        until_s = time.perf_counter() + seconds
        while (now_s := time.perf_counter()) < until_s:
            samples.append(Sample(now_s - began_s, processes.memory_mb()))
            words = f"{len(clients.finished_s)} scans, {sum(clients.errors.values())} errors"
            progress.update(task, completed=now_s - began_s, description=words)
            time.sleep(min(sample_s, max(0.0, until_s - time.perf_counter())))

    with Progress(*columns, console=console) as progress:
        total_s = plan.rests * (plan.stretch_s + plan.rest_s)
        task = progress.add_task("the first scans", total=total_s)
        while clients.ended < plan.clients:
            time.sleep(sample_s)
        began_s = time.perf_counter()
        for _ in range(plan.rests):
            from_s, before = time.perf_counter(), len(clients.finished_s)
            sample_for(plan.stretch_s)
            with clients.rest():
                to_s = time.perf_counter()
                scans = len(clients.finished_s) - before
                sample_for(plan.rest_s)
                stretches.append(Stretch(from_s - began_s, to_s - began_s, scans, samples[-1].mb))
    return stretches, samples


def numbers(soaked: Soaked) -> dict[str, Any]:
    """Return a soak as it is written to its JSON."""
    plan, stretches = soaked.plan, soaked.stretches
    return {
        "minutes": plan.minutes,
        "warm_up_minutes": plan.warm_up_minutes,
        "rest_seconds": plan.rest_s,
        "workers": plan.workers,
        "clients": plan.clients,
        "shapes": plan.shapes,
        "arithmetic": soaked.arithmetic,
        "scans": soaked.scans,
        "scans_per_s": soaked.scans / sum(stretch.seconds for stretch in stretches),
        "stretches": [asdict(stretch) for stretch in stretches],
        "errors": soaked.errors,
        "processes": {
            name: asdict(slope) | {"conclusion": slope.conclusion}
            for name, slope in soaked.slopes.items()
        },
        "passing": soaked.not_permanent,
        "conclusion": soaked.conclusion,
    }
