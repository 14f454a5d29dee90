"""A batch's scans through one model: which share a forward pass, and what becomes of a fault.

Scans of one kind go together, as many as memory is known to bear. Where a pass runs out of memory
it is halved, and that size is remembered; where it fails in any other way it is halved until the
culprit stands alone. Either way a scan fails only alone, and a fault in one kind is that kind's.
"""

import traceback
from collections.abc import Hashable, Sequence
from typing import Any

import structlog

from worker.device.select import release_idle_memory
from worker.inference.bisect import halves
from worker.inference.oom import is_out_of_memory
from worker.inference.progress import OnProgress, ignore_progress
from worker.models.loader import Predictor

log = structlog.get_logger()

#: A prepared scan, and what is told its share of windows done.
_Scan = tuple[Any, OnProgress]


def predict_each(
    predictor: Predictor, batch: Sequence[Any], on_shares: Sequence[OnProgress] = ()
) -> list[Any]:
    """Return for each prepared scan the model's answer, or the exception it met alone.

    ``on_shares``, one a scan, are told as in `worker.models.loader.Predictor.predict`.
    """
    scans = list(zip(batch, on_shares or [ignore_progress] * len(batch), strict=True))
    kinds: dict[Hashable, list[int]] = {}
    for place, prepared in enumerate(batch):
        kinds.setdefault(predictor.pass_kind(prepared), []).append(place)
    answers: list[Any] = [None] * len(batch)
    for kind, places in kinds.items():
        found = _predict_kind(predictor, kind, [scans[place] for place in places])
        for place, answer in zip(places, found, strict=True):
            answers[place] = answer
    return answers


def _predict_kind(predictor: Predictor, kind: Hashable, scans: Sequence[_Scan]) -> list[Any]:
    answers: list[Any] = []
    while len(answers) < len(scans):
        rest = scans[len(answers) :]
        most = predictor.pass_sizes.most(kind, len(rest))
        answers += _predict_pass(predictor, kind, rest[:most])
    return answers


def _predict_pass(predictor: Predictor, kind: Hashable, scans: Sequence[_Scan]) -> list[Any]:
    """Run one forward pass; where it fails, run its halves."""
    size = len(scans)
    try:
        prepared, on_shares = zip(*scans, strict=True)
        answers = predictor.predict(prepared, on_shares)
    except Exception as error:  # what a network may raise has no bounds
        if size == 1:
            # What the pass had allocated hangs on the frames, and others need the room.
            traceback.clear_frames(error.__traceback__)
            return [error]
        out_of_memory = is_out_of_memory(error)
        log.warning("pass halved", size=size, error=type(error).__name__)
    else:
        predictor.pass_sizes.went_well(kind, size)
        return answers
    if out_of_memory:
        predictor.pass_sizes.ran_out(kind, size)
        release_idle_memory()
    return [answer for half in halves(scans) for answer in _predict_pass(predictor, kind, half)]
