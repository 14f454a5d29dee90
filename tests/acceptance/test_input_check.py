"""How much nonsense the default model's check warns of."""

import numpy as np

from benchmarks.nonsense.kinds import KINDS
from worker.models.brain_tumor.input_check import reason_of
from worker.models.brain_tumor.input_measurements import measure
from worker.volume.preprocess import Grid, to_network_grid

GRID = Grid((96, 112, 96), 2.0)


def test_nine_of_ten_kinds_of_nonsense_are_warned_of() -> None:
    """Of more than forty kinds of nonsense, at most a tenth passes for a head."""
    passed = []
    for name, draw in KINDS.items():
        scan = draw(np.random.default_rng(5))
        prepared = to_network_grid(scan.data, scan.affine, GRID).volume[0]
        if not reason_of(measure(scan.data, scan.affine, prepared, GRID.spacing_mm)):
            passed.append(name)
    assert len(KINDS) >= 40
    assert len(passed) <= len(KINDS) / 10, passed
