"""The measurement of compute modes, with a clock and with passes that a test defines."""

import numpy as np
import pytest

from worker.device.compute_mode import PLAIN, ComputeMode, candidates
from worker.models.brain_tumor.autotune import BUDGET_S, MOST_ROUNDS, measure_modes
from worker.models.brain_tumor.phantom import Mask

BF16, LAST = ComputeMode("bf16"), ComputeMode("bf16", "channels_last_3d")
COMPILED = ComputeMode("bf16", compiled=True)
MODES = [PLAIN, BF16, LAST]
MASK: Mask = np.arange(10_000) < 300


class Chip:
    """Runs passes whose time the test sets, by mode and by threads."""

    def __init__(self, *seconds: float, threads_gain: float = 1.0) -> None:
        self.seconds = dict(zip([*MODES, COMPILED], seconds, strict=False))
        self.masks: dict[ComputeMode, Mask] = {}
        self.faults: dict[ComputeMode, Exception] = {}
        self.compile_s = 0.0
        self.at = 0.0
        self.passes: list[tuple[ComputeMode, int]] = []
        self._gain = threads_gain

    def now(self) -> float:
        """Return the time of its clock."""
        return self.at

    def run(self, mode: ComputeMode, threads: int) -> Mask:
        """Advance the clock by the time of a pass."""
        if mode in self.faults:
            raise self.faults[mode]
        if mode.compiled and (mode, threads) not in self.passes:
            self.at += self.compile_s
        self.at += self.seconds[mode] / (self._gain if threads > 1 else 1)
        self.passes.append((mode, threads))
        return self.masks.get(mode, MASK)

    def choose(self, *thread_counts: int, compiled: bool = False) -> ComputeMode:
        """Measure the modes on it, and return the fastest."""
        modes = candidates(["fp32", "bf16"], compiled=compiled)
        return measure_modes(modes, thread_counts or (1,), self.run, self.now)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((0.3, 0.1, 0.2), BF16),
        ((0.3, 0.2, 0.1), LAST),
        ((0.1, 0.3, 0.3), PLAIN),
        ((0.100, 0.096, 0.097), PLAIN),
        ((0.300, 0.100, 0.096), BF16),
        ((9.0, 4.0, 5.0), BF16),
    ],
)
def test_the_fastest_is_chosen(seconds: tuple[float, ...], chosen: ComputeMode) -> None:
    """The fastest mode is chosen; of two equally fast modes the plainer one."""
    assert Chip(*seconds).choose(1, 2) == chosen


def test_a_mode_with_another_mask_is_not_chosen() -> None:
    """A mode whose mask differs in more than a thousandth of the voxels is not chosen."""
    chip = Chip(0.3, 0.1, 0.2)
    chip.masks[BF16] = np.arange(10_000) < 311
    assert chip.choose() == LAST
    chip.masks[BF16] = np.arange(10_000) < 309
    assert chip.choose() == BF16


def test_a_mode_that_fails_is_not_chosen() -> None:
    """A mode in which the device cannot compute is passed over."""
    chip = Chip(0.3, 0.1, 0.2)
    chip.faults[BF16] = NotImplementedError("no kernel")
    assert chip.choose() == LAST


def test_a_network_that_cannot_run_raises() -> None:
    """An error in the plainest mode is raised."""
    chip = Chip(0.3, 0.1, 0.2)
    chip.faults[PLAIN] = RuntimeError("no kernel at all")
    with pytest.raises(RuntimeError, match="no kernel at all"):
        chip.choose()


@pytest.mark.parametrize("plain_s", [0.001, 0.05, 0.3, 0.6, 1.2, 3.0])
def test_the_time_is_bounded(plain_s: float) -> None:
    """Measuring ends in time, or after the first two modes if these take longer."""
    chip = Chip(plain_s, plain_s / 2, plain_s / 1.8, threads_gain=1.9)
    assert chip.choose(1, 2) == BF16
    assert chip.at <= max(BUDGET_S, 1.5 * plain_s) + 1e-9
    assert chip.passes[:2] == [(PLAIN, 1), (BF16, 1)]


def test_fast_passes_are_repeated() -> None:
    """Short passes are repeated and the fastest counts, so that one slow pass decides nothing."""
    chip = Chip(0.010, 0.005, 0.006)
    run, spoilt = chip.run, iter([0.0, 0.5])

    def stumble(mode: ComputeMode, threads: int) -> Mask:
        chip.at += next(spoilt, 0.0)
        return run(mode, threads)

    assert measure_modes(MODES, [1], stumble, chip.now) == BF16
    assert chip.passes.count((BF16, 1)) == MOST_ROUNDS


def test_one_core_and_all_cores_count_alike() -> None:
    """A mode that is faster on one core and slower on all cores is compared by both."""

    class Uneven(Chip):
        def run(self, mode: ComputeMode, threads: int) -> Mask:
            if mode == BF16 and threads > 1:
                self.at += 0.15
            return super().run(mode, threads)

    assert Uneven(0.1, 0.08, 0.5).choose(1) == BF16
    assert Uneven(0.1, 0.08, 0.5).choose(1, 2) == PLAIN


def test_compiling_is_not_charged() -> None:
    """A compiled network is measured by its later passes, and compiling extends the budget."""
    chip = Chip(0.3, 0.2, 0.25, 0.1)
    chip.compile_s = 30
    assert chip.choose(1, 2, compiled=True) == COMPILED
    assert {threads for mode, threads in chip.passes if mode == COMPILED} == {1, 2}
    chip = Chip(0.3, 0.1, 0.2, 0.0999)
    chip.compile_s = 30
    assert chip.choose(1, compiled=True) == BF16
