"""How volumes go through a network: whole, or window by window, as a bundle asks."""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from shared.errors import ModelError
from worker.inference.batched_windows import WindowedScan, run_windows
from worker.inference.forward_pass import Network, forward_pass
from worker.inference.oom import PassSizes
from worker.inference.outputs import OutputSink
from worker.inference.progress import OnShare
from worker.inference.sliding_window import WindowRules


class Inferer(Protocol):
    """A way through the network, for several scans together."""

    def kind(self, volume: Tensor) -> Hashable:
        """Tell what volumes ``[C, I, J, K]`` `run` may be given together: those of one kind."""

    def run(
        self,
        volumes: Sequence[Tensor],
        keepers: Sequence[OutputSink],
        on_shares: Sequence[OnShare],
        network: Network,
        device: torch.device,
        sizes: PassSizes,
    ) -> None:
        """Run the network over volumes of one kind; each keeper takes its volume's answer in.

        What goes window by window tells ``on_shares``, one a volume, how much of it is done.
        """


class WholeVolumes:
    """Volumes of one shape share a forward pass."""

    def kind(self, volume: Tensor) -> Hashable:
        """Return the volume's shape."""
        return tuple(volume.shape)

    def run(
        self,
        volumes: Sequence[Tensor],
        keepers: Sequence[OutputSink],
        on_shares: Sequence[OnShare],
        network: Network,
        device: torch.device,
        sizes: PassSizes,
    ) -> None:
        """See `Inferer`; who calls halves a pass that memory does not bear."""
        answers = forward_pass([volume.to(device) for volume in volumes], network)
        for answer, keeper in zip(answers, keepers, strict=True):
            keeper.take(answer, answer.shape[1])


class Windows:
    """Windows of all volumes share forward passes, whatever the volumes' shapes."""

    def __init__(self, rules: WindowRules) -> None:
        self._rules = rules

    def kind(self, volume: Tensor) -> Hashable:
        """Return what is the same for all."""
        return None

    def run(
        self,
        volumes: Sequence[Tensor],
        keepers: Sequence[OutputSink],
        on_shares: Sequence[OnShare],
        network: Network,
        device: torch.device,
        sizes: PassSizes,
    ) -> None:
        """See `Inferer`."""
        scans = (
            WindowedScan(volume, self._rules, keeper, on_share)
            for volume, keeper, on_share in zip(volumes, keepers, on_shares, strict=True)
        )
        run_windows(scans, network, device, sizes)


class OneByOne:
    """Volumes go one after another through one of MONAI's other inferers, as it is."""

    def __init__(self, inferer: Any) -> None:
        self._inferer = inferer

    def kind(self, volume: Tensor) -> Hashable:
        """Return what is the same for all."""
        return None

    def run(
        self,
        volumes: Sequence[Tensor],
        keepers: Sequence[OutputSink],
        on_shares: Sequence[OnShare],
        network: Network,
        device: torch.device,
        sizes: PassSizes,
    ) -> None:
        """See `Inferer`."""
        for volume, keeper in zip(volumes, keepers, strict=True):
            answer = torch.as_tensor(self._inferer(volume[None].to(device), network))[0].float()
            keeper.take(answer, answer.shape[1])


def from_monai(inferer: Any) -> Inferer:
    """Return what does the same as one of MONAI's inferers.

    Sliding windows are ours, whichever device the configuration would stitch them on; other
    inferers are called as they are.

    Raises:
        ModelError: Windows are to be told their coordinates, or their rules mean nothing.
    """
    kind = type(inferer).__name__
    if kind == "SimpleInferer":
        return WholeVolumes()
    if kind not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        return OneByOne(inferer)
    if inferer.with_coord:
        raise ModelError("inferer: with_coord is not offered here.")
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
