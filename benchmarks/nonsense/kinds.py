"""All kinds of nonsense by name."""

from benchmarks.nonsense.bodies import BODIES
from benchmarks.nonsense.damaged import DAMAGED
from benchmarks.nonsense.shapes import SHAPES
from benchmarks.nonsense.volumes import Kind

KINDS: dict[str, Kind] = {**SHAPES, **DAMAGED, **BODIES}

#: Kinds that were not looked at while the rules and their bounds were chosen.
HELD_OUT = frozenset(sorted(KINDS)[::3])
