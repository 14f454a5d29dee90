"""Windows of several scans through one network: forward passes that scans share.

::

    scan 1   ▭▭▭▭ ▭▭▭▭ ▭▭┐
    scan 2             └▭▭ ▭▭▭▭ ▭┐
    scan 3                       └▭▭▭ ▭▭▭▭

Windows go in the order of the scans, so none waits for more than those before it; a scan is moved
to the device when its first window is due, and its sums are freed with its last.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.device.select import release_idle_memory
from worker.inference.bisect import halves
from worker.inference.blending import Blend
from worker.inference.forward_pass import Network, forward_pass
from worker.inference.oom import PassSizes, is_out_of_memory
from worker.inference.outputs import OutputSink, WholeOutput
from worker.inference.progress import OnShare, unheard
from worker.inference.sliding_window import WindowRules, cut, pad, plan_windows


@dataclass(frozen=True)
class WindowedScan:
    """One scan ``[C, I, J, K]``, how windows are laid over it, and who takes its answer.

    ``on_share`` is told after each pass what share of its windows is done.
    """

    volume: Tensor
    rules: WindowRules
    keeper: OutputSink
    on_share: OnShare = unheard


@dataclass(frozen=True)
class _Window:
    """One window ``[C, *window]`` of a scan, and where its answer goes.

    With it the share ``done`` of the scan's windows is.
    """

    image: Tensor
    blend: Blend
    batch_size: int
    done: float
    on_share: OnShare


def run_windows(
    scans: Iterable[WindowedScan], network: Network, device: torch.device, sizes: PassSizes
) -> None:
    """Run a network over the windows of scans, in order; each keeper gets its scan's answer.

    Windows of one size share a pass, of ``sw_batch_size`` or of what memory allows.

    Raises:
        ModelError: The network answers with another shape or number than it was given.
    """
    waiting: list[_Window] = []
    for window in _windows(scans, device):
        if waiting and window.image.shape != waiting[0].image.shape:
            _run(waiting, network, sizes)
            waiting = []
        waiting.append(window)
        if len(waiting) >= sizes.most(window.image.shape, window.batch_size):
            _run(waiting, network, sizes)
            waiting = []
    if waiting:
        _run(waiting, network, sizes)


def sliding_window(volume: Tensor, network: Network, rules: WindowRules) -> Tensor:
    """Run a network over one volume ``[C, I, J, K]`` and return its answer ``[L, I, J, K]``."""
    answer = WholeOutput()
    run_windows([WindowedScan(volume, rules, answer)], network, volume.device, PassSizes())
    return answer.result()


def _windows(scans: Iterable[WindowedScan], device: torch.device) -> Iterator[_Window]:
    for scan in scans:
        plan = plan_windows(scan.volume.shape[1:], scan.rules)
        padded = pad(scan.volume.to(device), plan, scan.rules)
        blend = Blend(plan, scan.rules, device, scan.keeper)
        count, size = len(plan.starts), scan.rules.sw_batch_size
        for index in range(count):
            window, done = cut(padded, plan, index), (index + 1) / count
            yield _Window(window, blend, size, done, scan.on_share)


def _run(windows: Sequence[_Window], network: Network, sizes: PassSizes) -> None:
    """Run the windows through the network in one pass, or in halves where memory runs out."""
    answers = _answers(windows, network, sizes)
    if answers is None:
        release_idle_memory()
        for half in halves(windows):
            _run(half, network, sizes)
        return
    for window, answer in zip(windows, answers, strict=True):
        window.blend.add(answer)
        # A GPU may be behind by the few passes that it has been given and not run.
        window.on_share(window.done)


def _answers(windows: Sequence[_Window], network: Network, sizes: PassSizes) -> Tensor | None:
    """Return one answer a window, or None where memory ran out and fewer may do."""
    kind, size = windows[0].image.shape, len(windows)
    try:
        answers = forward_pass([window.image for window in windows], network)
    except (MemoryError, RuntimeError) as error:
        if size == 1 or not is_out_of_memory(error):
            raise
        # Left before the halves are tried: the error holds on to what the pass had allocated.
        sizes.ran_out(kind, size)
        return None
    sizes.went_well(kind, size)
    return answers
