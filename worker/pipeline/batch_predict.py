"""A batch's forward passes: which scans share a pass, and how a failed pass is halved.

Scans of one kind share a pass, as many as fit in memory as far as is known. A pass that runs out of
memory is halved, and the size that failed is remembered; a pass that fails in any other way is
halved until the scan at fault is alone. So a scan fails only in a pass of its own.
"""

import traceback
from collections.abc import Hashable, Sequence
from typing import Any

import structlog

from worker.device.select import release_idle_memory
from worker.inference.halving import halves
from worker.inference.oom import is_out_of_memory
from worker.inference.progress import OnProgress, ignore_progress
from worker.models.loader import Predictor

log = structlog.get_logger()

#: A prepared scan, and the callback for the share of its windows that is computed.
_Scan = tuple[Any, OnProgress]


def predict_each(
    predictor: Predictor, batch: Sequence[Any], on_shares: Sequence[OnProgress] = ()
) -> list[Any]:
    """Return for each prepared scan the model's output, or the exception that it alone raised.

    ``on_shares``, one a scan, are called as in `worker.models.loader.Predictor.predict`.
    """
    scans = list(zip(batch, on_shares or [ignore_progress] * len(batch), strict=True))
    kinds: dict[Hashable, list[int]] = {}
    for place, prepared in enumerate(batch):
        kinds.setdefault(predictor.pass_kind(prepared), []).append(place)
    outputs: list[Any] = [None] * len(batch)
    for kind, places in kinds.items():
        of_kind = _predict_kind(predictor, kind, [scans[place] for place in places])
        for place, output in zip(places, of_kind, strict=True):
            outputs[place] = output
    return outputs


def _predict_kind(predictor: Predictor, kind: Hashable, scans: Sequence[_Scan]) -> list[Any]:
    outputs: list[Any] = []
    while len(outputs) < len(scans):
        rest = scans[len(outputs) :]
        most = predictor.pass_sizes.most(kind, len(rest))
        outputs += _predict_pass(predictor, kind, rest[:most])
    return outputs


def _predict_pass(predictor: Predictor, kind: Hashable, scans: Sequence[_Scan]) -> list[Any]:
    """Run one forward pass; if it fails, run its halves."""
    size = len(scans)
    try:
        prepared, on_shares = zip(*scans, strict=True)
        outputs = predictor.predict(prepared, on_shares)
    except Exception as error:  # a network may raise anything
        if size == 1:
            # The frames hold what the pass allocated, and other scans need the memory.
            traceback.clear_frames(error.__traceback__)
            return [error]
        out_of_memory = is_out_of_memory(error)
        log.warning("pass_halved", size=size, error=type(error).__name__)
    else:
        predictor.pass_sizes.went_well(kind, size)
        return outputs
    if out_of_memory:
        predictor.pass_sizes.ran_out(kind, size)
        release_idle_memory()
    return [output for half in halves(scans) for output in _predict_pass(predictor, kind, half)]
