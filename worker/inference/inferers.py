"""How volumes go through a network: whole, or window by window, as a bundle's inferer says."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from shared.errors import ModelError
from worker.inference.batched_windows import WindowedScan, run_windows
from worker.inference.forward_pass import PassContext, ScanInput, forward_pass
from worker.inference.sliding_window import WindowRules


class Inferer(Protocol):
    """Runs several scans together through a network."""

    def kind(self, volume: Tensor) -> Hashable:
        """Return the kind of a volume ``[C, I, J, K]``; `run` takes only volumes of one kind."""

    def run(self, scans: Sequence[ScanInput], context: PassContext) -> None:
        """Run the network over scans of one kind; each scan's sink receives its output."""


class WholeVolumes:
    """Volumes of one shape share a forward pass."""

    def kind(self, volume: Tensor) -> Hashable:
        """Return the volume's shape."""
        return tuple(volume.shape)

    def run(self, scans: Sequence[ScanInput], context: PassContext) -> None:
        """See `Inferer`; the caller halves a pass that runs out of memory."""
        outputs = forward_pass([scan.volume.to(context.device) for scan in scans], context.network)
        for output, scan in zip(outputs, scans, strict=True):
            scan.sink.take(output, output.shape[1])


class Windows:
    """Windows of all volumes share forward passes, for volumes of any shapes."""

    def __init__(self, rules: WindowRules) -> None:
        self._rules = rules

    def kind(self, volume: Tensor) -> Hashable:
        """Return None: all volumes are of one kind."""
        return None

    def run(self, scans: Sequence[ScanInput], context: PassContext) -> None:
        """See `Inferer`."""
        run_windows((WindowedScan(scan, self._rules) for scan in scans), context)


class OneByOne:
    """Volumes go one after another through one of MONAI's other inferers, unchanged."""

    def __init__(self, inferer: Any) -> None:
        self._inferer = inferer

    def kind(self, volume: Tensor) -> Hashable:
        """Return None: all volumes are of one kind."""
        return None

    def run(self, scans: Sequence[ScanInput], context: PassContext) -> None:
        """See `Inferer`."""
        for scan in scans:
            volume = scan.volume[None].to(context.device)
            output = torch.as_tensor(self._inferer(volume, context.network))[0].float()
            scan.sink.take(output, output.shape[1])


def from_monai(inferer: Any) -> Inferer:
    """Return an `Inferer` that does the same as one of MONAI's inferers.

    Sliding windows run by VoxelQ's own code, on whichever device the configuration would blend
    them; other inferers are called as they are.

    Raises:
        ModelError: The network would be passed window coordinates, or the rules are not valid.
    """
    kind = type(inferer).__name__
    if kind == "SimpleInferer":
        return WholeVolumes()
    if kind not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        return OneByOne(inferer)
    if inferer.with_coord:
        raise ModelError("inferer: with_coord is not supported.")
    roi = _three(inferer.roi_size)
    overlap = _three(inferer.overlap)
    sigma = _three(inferer.sigma_scale)
    return Windows(
        WindowRules(
            roi_size=(int(roi[0] or 0), int(roi[1] or 0), int(roi[2] or 0)),
            overlap=(float(overlap[0]), float(overlap[1]), float(overlap[2])),
            mode=_plain(inferer.mode),
            sigma_scale=(float(sigma[0]), float(sigma[1]), float(sigma[2])),
            padding_mode=_plain(inferer.padding_mode),
            cval=float(inferer.cval),
            sw_batch_size=int(inferer.sw_batch_size),
        )
    )


def _three(value: Any) -> Sequence[Any]:
    values = value if isinstance(value, Sequence) else (value,) * 3
    if len(values) != 3:
        raise ModelError(f"inferer: windows have three axes, not {len(values)}.")
    return values


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))
