"""The simulation of a load, with the costs that were measured around it."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.common.machine import machine, voxelq_settings
from benchmarks.components.load import Round
from benchmarks.components.report import round_numbers
from benchmarks.plan_check.figures import Figures
from benchmarks.plan_check.report import COMPARED
from planning.arrivals import poisson_arrivals
from planning.cost import MeasuredCost, cost_of_components
from planning.simulation import Adaptive, simulate

#: Scans that the simulated policy learns from before those that are compared.
_LEARNING_SCANS = 300
#: Simulated runs of each load, of which the mean is taken.
_SEEDS = 20


def cost_of(rounds: Sequence[Sequence[Round]], facts: dict[str, Any]) -> MeasuredCost:
    """Return the cost that ``voxelq plan`` would use, from several calibrations together."""
    together = [
        Round(
            same[0].protocol,
            same[0].clients,
            sum(each.seconds for each in same),
            [sample for each in same for sample in each.samples],
        )
        for same in zip(*rounds, strict=True)
    ]
    return cost_of_components(
        {
            "machine": machine(),
            "settings": voxelq_settings(),
            "service": facts,
            "rounds": [round_numbers(each) for each in together],
        }
    )


def simulated(
    measured: MeasuredCost, due_s: Sequence[float], *, rate: float, workers: int
) -> Figures:
    """Return the simulated figures of scans that arrive at these times."""
    learning = list(islice(poisson_arrivals(rate, seed=1), _LEARNING_SCANS))
    # by then the queue of the learning scans is empty
    begins_s = learning[-1] + _LEARNING_SCANS * measured.cost.seconds(1)
    times = [*learning, *(begins_s + due for due in due_s)]
    runs = []
    for seed in range(_SEEDS):
        run = simulate(
            Adaptive(measured.max_batch, measured.max_latency_s),
            measured.cost,
            iter(times),
            scans=len(times),
            workers=workers,
            lanes=measured.lanes,
            noise=measured.noise,
            upload_s=measured.upload_s,
            seed=seed,
        )
        response_s = measured.response_s(run)[_LEARNING_SCANS:]
        runs.append(Figures.of(np.array(due_s), response_s, float(run.sizes.mean())))
    return Figures.mean_of(runs)


def compared(row: dict[str, Any], measured: MeasuredCost, workers: int) -> dict[str, Any]:
    """Return the figures of a load that was run, those of its simulation, and the ratios."""
    real = row["real"]
    planned = simulated(measured, row["due_s"], rate=row["rate"], workers=workers)
    return {
        "load": row["load"],
        "scans": len(row["due_s"]),
        "scans_per_hour": 3600 * row["rate"],
        "utilisation": row["rate"] / (workers * measured.scans_per_s),
        "measured": asdict(measured),
        "real": asdict(real),
        "simulated": asdict(planned),
        "ratios": {name: getattr(planned, name) / getattr(real, name) for name in COMPARED},
    }
