"""The share of a scan's time that each stage takes, learnt from recent batches."""

import threading
from collections.abc import Mapping
from itertools import accumulate

from shared.jobs import Stage
from worker.pipeline.progress import Spans

#: The assumed shares of a model before its first batch.
FIRST_SHARES: Mapping[Stage, float] = {
    Stage.LOAD: 0.1,
    Stage.PREPROCESS: 0.1,
    Stage.INFERENCE: 0.65,
    Stage.POSTPROCESS: 0.1,
    Stage.STORE: 0.05,
}

#: The weight of the newest batch against all before it.
_WEIGHT = 0.2


class StageWeights:
    """The stages' shares of each model; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[str, Mapping[Stage, float]] = {}

    def spans(self, model_ref: str) -> Spans:
        """Return where each stage begins and ends, from 0 to 1 over all of them."""
        with self._lock:
            shares = self._shares.get(model_ref, FIRST_SHARES)
        ends = [min(1.0, end) for end in accumulate(shares[stage] for stage in Stage)]
        return dict(zip(Stage, zip([0.0, *ends[:-1]], ends, strict=True), strict=True))

    def observe(self, model_ref: str, seconds: Mapping[Stage, float]) -> None:
        """Learn from one batch how long each stage took."""
        total = sum(seconds.values())
        if total <= 0:
            return
        newest = {stage: seconds[stage] / total for stage in Stage}
        with self._lock:
            before = self._shares.get(model_ref, newest)
            self._shares[model_ref] = {
                stage: (1 - _WEIGHT) * before[stage] + _WEIGHT * newest[stage] for stage in Stage
            }
