"""The faults of a soak and their times, as a pure function of a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Seconds without a fault after the service is ready again: the least and the most.
PAUSE_S = (1.0, 6.0)
#: The share of episodes with two faults, of different families, at once.
TOGETHER = 0.15


@dataclass(frozen=True)
class Choice:
    """A kind of fault: two faults of one ``family`` never come at once.

    It is drawn in proportion to ``weight`` and lasts for a time between the two of ``hold_s``.
    """

    name: str
    family: str
    weight: float
    hold_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DrawnFault:
    """One fault; ``victim`` chooses the process that it hits, if there are several."""

    name: str
    hold_s: float
    victim: int


@dataclass(frozen=True)
class Episode:
    """A pause, and then one fault or two at once."""

    pause_s: float
    faults: tuple[DrawnFault, ...]

    @property
    def name(self) -> str:
        """The names of its faults."""
        return " + ".join(fault.name for fault in self.faults)

    @property
    def hold_s(self) -> float:
        """How long the longest of its faults lasts."""
        return max(fault.hold_s for fault in self.faults)


def episodes(seed: int, choices: Sequence[Choice]) -> Iterator[Episode]:
    """Yield episodes without end; the same for the same seed and choices."""
    number = 0
    while True:
        yield _episode(random.Random(f"{seed}:{number}"), choices)
        number += 1


def _episode(rng: random.Random, choices: Sequence[Choice]) -> Episode:
    pause_s = round(rng.uniform(*PAUSE_S), 3)
    first = _draw(rng, choices)
    drawn = [first]
    others = [choice for choice in choices if choice.family != first.family]
    if others and rng.random() < TOGETHER:
        drawn.append(_draw(rng, others))
    return Episode(
        pause_s,
        tuple(
            DrawnFault(choice.name, round(rng.uniform(*choice.hold_s), 3), rng.randrange(1 << 16))
            for choice in drawn
        ),
    )


def _draw(rng: random.Random, choices: Sequence[Choice]) -> Choice:
    return rng.choices(choices, [choice.weight for choice in choices])[0]
