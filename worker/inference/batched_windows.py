"""Windows of several scans through one network: forward passes that scans share.

::

    scan 1   ▭▭▭▭ ▭▭▭▭ ▭▭┐
    scan 2             └▭▭ ▭▭▭▭ ▭┐
    scan 3                       └▭▭▭ ▭▭▭▭

Windows are run in the order of the scans, so none waits for more than those before it. A scan is
moved to the device when its first window is due, and its sums are freed with its last.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from worker.device.select import release_idle_memory
from worker.inference.blending import Blend
from worker.inference.forward_pass import Network, PassContext, ScanInput, forward_pass
from worker.inference.halving import halves
from worker.inference.oom import PassSizes, is_out_of_memory
from worker.inference.outputs import WholeOutput
from worker.inference.sliding_window import WindowRules, cut, pad, plan_windows


@dataclass(frozen=True)
class WindowedScan:
    """One scan, and how windows are placed on it."""

    scan: ScanInput
    rules: WindowRules


@dataclass(frozen=True)
class _Window:
    """One window ``[C, *window]`` of a scan, and where its output goes.

    After this window the share ``done`` of the scan's windows is done.
    """

    image: Tensor
    blend: Blend
    batch_size: int
    done: float
    scan: ScanInput


def run_windows(scans: Iterable[WindowedScan], context: PassContext) -> None:
    """Run a network over the windows of scans, in order; each scan's sink gets its output.

    Windows of one size share a pass, as many as ``sw_batch_size`` and the memory allow.

    Raises:
        ModelError: The network returns outputs of another shape or number than its inputs.
    """
    gathered: list[_Window] = []
    for window in _windows(scans, context):
        if gathered and window.image.shape != gathered[0].image.shape:
            _run(gathered, context)
            gathered = []
        gathered.append(window)
        if len(gathered) >= context.sizes.most(window.image.shape, window.batch_size):
            _run(gathered, context)
            gathered = []
    if gathered:
        _run(gathered, context)


def sliding_window(volume: Tensor, network: Network, rules: WindowRules) -> Tensor:
    """Run a network over one volume ``[C, I, J, K]`` and return its output ``[L, I, J, K]``."""
    sink = WholeOutput()
    context = PassContext(network, volume.device, PassSizes())
    run_windows([WindowedScan(ScanInput(volume, sink), rules)], context)
    return sink.result()


def _windows(scans: Iterable[WindowedScan], context: PassContext) -> Iterator[_Window]:
    for windowed in scans:
        scan, rules = windowed.scan, windowed.rules
        plan = plan_windows(scan.volume.shape[1:], rules)
        padded = pad(scan.volume.to(context.device), plan, rules)
        blend = Blend(plan, rules, context.device, scan.sink)
        count = len(plan.starts)
        for index in range(count):
            image, done = cut(padded, plan, index), (index + 1) / count
            yield _Window(image, blend, rules.sw_batch_size, done, scan)


def _run(windows: Sequence[_Window], context: PassContext) -> None:
    """Run the windows through the network in one pass, or in halves if memory runs out."""
    outputs = _outputs(windows, context)
    if outputs is None:
        release_idle_memory()
        for half in halves(windows):
            _run(half, context)
        return
    for window, output in zip(windows, outputs, strict=True):
        window.blend.add(output)
        # A GPU may be a few passes behind what it has been given.
        window.scan.on_progress(window.done)


def _outputs(windows: Sequence[_Window], context: PassContext) -> Tensor | None:
    """Return one output a window, or None if memory ran out and fewer windows may fit."""
    kind, size = windows[0].image.shape, len(windows)
    try:
        outputs = forward_pass([window.image for window in windows], context.network)
    except (MemoryError, RuntimeError) as error:
        if size == 1 or not is_out_of_memory(error):
            raise
        # Return before the halves are run: the error keeps what the pass had allocated.
        context.sizes.ran_out(kind, size)
        return None
    context.sizes.went_well(kind, size)
    return outputs
