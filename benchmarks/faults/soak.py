"""Faults drawn at random under steady load, one episode after another."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from benchmarks.faults import invariants
from benchmarks.faults.schedule import Episode, episodes
from benchmarks.faults.service import FaultedService, Kind
from benchmarks.faults.soak_clients import SoakClients
from benchmarks.faults.soak_faults import SoakFault

#: Far above what any fault takes. If the service needs longer, the soak ends.
GIVE_UP_S = 90.0
#: Errors of injecting a fault while another one lasts or has just ended.
_NOT_INJECTED = (RedisError, TimeoutError, OSError, RuntimeError)


def soak_kind(*, clock: bool) -> Kind:
    """Return the options of the service."""
    return Kind(workers=2, replica=True, clock=clock, settings=(("VOXELQ_JOB_TIMEOUT_S", "8"),))


@dataclass
class PastEpisode:
    """An episode that is over, when it began, and the seconds until the service was ready again."""

    episode: Episode
    began_s: float
    ready_s: float | None


@dataclass
class Soak:
    """The numbers of a soak; ``violations`` are those of the invariants."""

    seed: int
    seconds: float = 0.0
    past: list[PastEpisode] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[int] = field(default_factory=Counter)
    ended_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    not_injected: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """How many accepted jobs never ended."""
        return self.accepted - sum(self.done.values())


def run(
    service: FaultedService,
    faults: Mapping[str, SoakFault],
    *,
    seed: int,
    seconds: float,
    clients: int,
    report: Callable[[str], None],
) -> Soak:
    """Soak a service for so long; check the five invariants at the end; return the numbers."""
    soak, soak_clients = Soak(seed), SoakClients(service)
    began_s = time.monotonic()
    with soak_clients.running(clients):
        for episode in episodes(seed, [fault.choice for fault in faults.values()]):
            if time.monotonic() - began_s + episode.pause_s > seconds:
                break
            time.sleep(episode.pause_s)
            at_s = time.monotonic() - began_s
            ready_s, problem = _pass_through(service, soak_clients, faults, episode)
            soak.past.append(PastEpisode(episode, at_s, ready_s))
            words = f"ready after {ready_s:.1f} s" if ready_s is not None else problem
            report(f"{at_s:6.0f} s  {episode.name} ({episode.hold_s:.1f} s): {words}")
            if ready_s is None:
                soak.violations.append(f"{episode.name}: {problem}")
                break
    soak.seconds = time.monotonic() - began_s
    _conclude(service, soak_clients, soak, began_s)
    return soak


def _pass_through(
    service: FaultedService,
    soak_clients: SoakClients,
    faults: Mapping[str, SoakFault],
    episode: Episode,
) -> tuple[float | None, str]:
    """Inject an episode's faults; return the seconds until ready again, or None and the reason."""
    try:
        with ExitStack() as stack:  # the shortest fault ends first
            ordered = sorted(episode.faults, key=lambda drawn: -drawn.hold_s)
            shorter_s = [*(drawn.hold_s for drawn in ordered[1:]), 0.0]
            for drawn, less_s in zip(ordered, shorter_s, strict=True):
                fault = faults[drawn.name]
                target = fault.target(service, drawn.victim)
                stack.enter_context(fault.inject(service, soak_clients.jobs, target))
                stack.callback(time.sleep, drawn.hold_s - less_s)
    except _NOT_INJECTED as error:
        soak_clients.not_injected[f"{episode.name}: {type(error).__name__}"] += 1
    try:
        return invariants.seconds_until_ready(service, soak_clients.jobs, GIVE_UP_S), ""
    except invariants.NotReady as error:
        return None, str(error)


def _conclude(
    service: FaultedService, soak_clients: SoakClients, soak: Soak, began_s: float
) -> None:
    """Wait for the last jobs, check all jobs, and check that nothing is left behind."""
    soak_clients.jobs.wait_for_all(GIVE_UP_S)
    soak_clients.check(min_age_s=0.0)
    soak_clients.check(min_age_s=0.0)
    soak.accepted, soak.refused = soak_clients.accepted, soak_clients.jobs.refused
    soak.done, soak.outcomes = soak_clients.done, soak_clients.outcomes
    soak.not_injected = soak_clients.not_injected
    soak.ended_s = [at_s - began_s for at_s in soak_clients.jobs.ended_at_s.values()]
    soak.violations += [
        f"{count} x {what}" for what, count in sorted(soak_clients.violations.items())
    ]
    soak.violations += sorted(set(soak_clients.jobs.unexpected))
    if soak.lost:
        soak.violations.append(f"{soak.lost} accepted jobs never ended")
    if not soak.violations:
        soak.violations += invariants.leftovers(service)


def numbers(soak: Soak) -> dict[str, Any]:
    """Return a soak as it is written to its JSON."""
    return {
        "seed": soak.seed,
        "seconds": soak.seconds,
        "accepted": soak.accepted,
        "refused": soak.refused,
        "done": dict(soak.done),
        "lost": soak.lost,
        "outcomes_per_job": {str(count): jobs for count, jobs in sorted(soak.outcomes.items())},
        "episodes": [
            {
                "fault": past.episode.name,
                "began_s": past.began_s,
                "held_s": past.episode.hold_s,
                "ready_s": past.ready_s,
            }
            for past in soak.past
        ],
        "ended_s": [round(at_s, 2) for at_s in soak.ended_s],
        "not_injected": dict(soak.not_injected),
        "violations": soak.violations,
    }
