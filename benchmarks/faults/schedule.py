"""What goes wrong in a soak, and when: a pure function of a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Seconds of peace after the service was ready again, at least and at most.
PEACE_S = (1.0, 6.0)
#: How often two faults of unlike families come together.
TOGETHER = 0.15


@dataclass(frozen=True)
class Choice:
    """A kind of fault: faults of one ``family`` never come together.

    It is drawn in proportion to ``weight`` and holds for a time between the two of ``hold_s``.
    """

    name: str
    family: str
    weight: float
    hold_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DrawnFault:
    """One fault; ``victim`` numbers whom it hits, where there are several."""

    name: str
    hold_s: float
    victim: int


@dataclass(frozen=True)
class Episode:
    """Peace, and then one fault or two at once."""

    peace_s: float
    faults: tuple[DrawnFault, ...]

    @property
    def name(self) -> str:
        """The names of its faults."""
        return " + ".join(fault.name for fault in self.faults)

    @property
    def hold_s(self) -> float:
        """How long until all of it has passed."""
        return max(fault.hold_s for fault in self.faults)


def episodes(seed: int, choices: Sequence[Choice]) -> Iterator[Episode]:
    """Yield what goes wrong, without end; the same for the same seed and choices."""
    number = 0
    while True:
        yield _episode(random.Random(f"{seed}:{number}"), choices)
        number += 1


def _episode(dice: random.Random, choices: Sequence[Choice]) -> Episode:
    peace_s = round(dice.uniform(*PEACE_S), 3)
    first = _draw(dice, choices)
    drawn = [first]
    others = [choice for choice in choices if choice.family != first.family]
    if others and dice.random() < TOGETHER:
        drawn.append(_draw(dice, others))
    return Episode(
        peace_s,
        tuple(
            DrawnFault(choice.name, round(dice.uniform(*choice.hold_s), 3), dice.randrange(1 << 16))
            for choice in drawn
        ),
    )


def _draw(dice: random.Random, choices: Sequence[Choice]) -> Choice:
    return dice.choices(choices, [choice.weight for choice in choices])[0]
