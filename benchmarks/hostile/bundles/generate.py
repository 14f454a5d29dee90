"""Hostile bundles, drawn from a seed.

The first ones come from tables, in which each entry once broke a process or could. The others are
honest bundles with a few random changes to their documents or their files.
"""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.hostile.bundles.documents import bundles_with_hostile_documents
from benchmarks.hostile.bundles.folders import HOSTILE_FOLDERS
from benchmarks.hostile.bundles.honest import Write
from benchmarks.hostile.bundles.mutations import mutated_bundle
from benchmarks.hostile.bundles.weights import bundles_with_hostile_weights


def hostile_bundles(folder: Path, seed: int, count: int) -> list[Path]:
    """Write ``count`` such bundles under ``folder`` as ``<name>/1.0.0`` and return their folders.

    The same seed writes the same bundles.
    """
    written = []
    for number, write in enumerate(islice(_writers(random.Random(seed)), count)):
        bundle = folder / f"hostile-{number}" / "1.0.0"
        bundle.mkdir(parents=True)
        write(bundle)
        written.append(bundle)
    return written


def _writers(rng: random.Random) -> Iterator[Write]:
    yield from bundles_with_hostile_documents()
    yield from bundles_with_hostile_weights()
    yield from HOSTILE_FOLDERS
    while True:
        yield mutated_bundle(rng.randrange(1 << 30))
