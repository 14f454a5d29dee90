"""One output for a scan from the outputs for its windows: their weighted mean.

Windows come in the order of their plan, along the first axis. Planes that no later window touches
are final and go to the sink at once, so the sums span one window along that axis, never the scan.
"""

import torch
from torch import Tensor

from shared.errors import ModelError
from worker.inference.outputs import OutputSink
from worker.inference.sliding_window import WindowPlan, WindowRules, window_weights


class Blend:
    """Sums of the windows of one scan, ``[L, window, J, K]``, which move along the first axis.

    Args:
        plan: The scan's windows.
        rules: How they are blended.
        device: The device of the outputs.
        sink: Receives the blended planes, without padding.
    """

    def __init__(
        self, plan: WindowPlan, rules: WindowRules, device: torch.device, sink: OutputSink
    ) -> None:
        self._plan = plan
        self._sink = sink
        self._weights = window_weights(plan.window, rules, device)
        self._total = torch.zeros((plan.window[0], *plan.padded_shape[1:]), device=device)
        self._sum: Tensor | None = None
        self._low = 0
        self._added = 0

    def add(self, output: Tensor) -> None:
        """Add the network's output ``[L, *plan.window]`` for the next window of the plan.

        Raises:
            ModelError: The output has another shape than its window.
        """
        if tuple(output.shape[1:]) != self._plan.window:
            raise ModelError(
                f"The network returns {tuple(output.shape[1:])} voxels for a window of "
                f"{self._plan.window}; it must keep the window's size."
            )
        if self._sum is None:
            self._sum = torch.zeros(
                (output.shape[0], *self._total.shape), device=self._total.device
            )
        start = self._plan.starts[self._added]
        final = start[0] - self._low
        if final:
            self._emit(self._sum, final)
            for planes in (self._sum, self._total[None]):
                _move_down(planes, final)
            self._low += final
        place = (
            slice(None),
            slice(start[1], start[1] + self._plan.window[1]),
            slice(start[2], start[2] + self._plan.window[2]),
        )
        self._sum[(slice(None), *place)].addcmul_(output.to(self._sum), self._weights)
        self._total[place] += self._weights
        self._added += 1
        if self._added == len(self._plan.starts):
            self._emit(self._sum, self._plan.window[0])
            self._sum = None  # the sink may still refer to it

    def _emit(self, sums: Tensor, planes: int) -> None:
        """Pass those of the first ``planes`` that belong to the scan to the sink."""
        lows, lengths = self._plan.pad_low, self._plan.shape
        first = max(lows[0] - self._low, 0)
        last = min(lows[0] + lengths[0] - self._low, planes)
        if last > first:
            slab = sums[:, first:last]
            slab /= self._total[first:last]
            inside = (slice(low, low + n) for low, n in zip(lows[1:], lengths[1:], strict=True))
            self._sink.take(slab[(slice(None), slice(None), *inside)], lengths[0])


def _move_down(planes: Tensor, count: int) -> None:
    """Shift ``[L, n, J, K]`` by ``count`` planes in place, and fill the end with zeros."""
    size = planes.shape[1]
    for first in range(0, size - count, count):  # pieces that do not overlap need no copy
        last = min(first + count, size - count)
        planes[:, first:last] = planes[:, first + count : last + count]
    planes[:, size - count :] = 0
