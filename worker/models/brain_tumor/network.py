"""The network: a residual 3D U-Net that outlines a tumour and says whether there is one.

It computes on half the grid, an eighth of the work, and still answers for every voxel: the eight
voxels of a 2x2x2 cube are eight input channels, and eight output logits (Shi et al. 2016,
doi:10.1109/CVPR.2016.207).
After Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) and its residual successors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEFAULT_CHANNELS = (24, 48, 96, 128)

#: Every axis of the input must be a multiple of this: one halving per level.
STRIDE = 16

#: Voxels of a 2x2x2 cube.
CUBE = 8

#: Below it (a probability of 0.12) a voxel is outside the brain beyond doubt.
BRAIN_LOGIT = -2.0


class ResidualBlock(nn.Module):
    """Two normalised convolutions and a shortcut; ``stride`` halves the grid when it is 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(channels_in, channels_out, stride)
        self.second = _convolution(channels_out, channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.shortcut = nn.Conv3d(channels_in, channels_out, 1, stride)
        self.activate = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[N, channels_in, D, H, W]`` to ``[N, channels_out, D/s, H/s, W/s]``."""
        inner: Tensor = self.second(self.activate(self.first(features)))
        out: Tensor = self.activate(inner + self.shortcut(features))
        return out


class UNet3D(nn.Module):
    """Segmentation and presence logits of a batch of volumes.

    Args:
        in_channels: Image channels.
        out_channels: Labels, each with its own sigmoid.
        channels: Features at 1/2, 1/4, 1/8 and 1/16 of the grid.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = DEFAULT_CHANNELS,
    ) -> None:
        super().__init__()
        widths = [CUBE * in_channels, *channels]
        self.encoder = nn.ModuleList(
            ResidualBlock(before, after, stride=1 if level == 0 else 2)
            for level, (before, after) in enumerate(zip(widths, channels, strict=False))
        )
        self.decoder = nn.ModuleList(
            ResidualBlock(deep + skip, skip)
            for deep, skip in zip(reversed(channels), list(reversed(channels))[1:], strict=False)
        )
        self.outline = nn.Conv3d(channels[0], CUBE * out_channels, 1)
        self.presence = nn.Linear(2 * channels[-1], 1)
        if self.outline.bias is not None:
            # Starting from "rarely a tumour" keeps training from falling to "nowhere a tumour".
            nn.init.constant_(self.outline.bias, -2.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[N, C, D, H, W]`` to outline logits ``[N, L, D, H, W]`` and presence ``[N]``."""
        features, skips = cubes_to_channels(images), []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
        pooled = torch.cat([features.mean(dim=(2, 3, 4)), features.amax(dim=(2, 3, 4))], dim=1)
        presence = self.presence(pooled)[:, 0]
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            features = F.interpolate(features, size=skip.shape[2:], mode="nearest")
            features = block(torch.cat([features, skip], dim=1))
        return channels_to_cubes(self.outline(features)), presence


def tumour_probability(outline: Tensor) -> Tensor:
    """Turn outline logits ``[N, L, D, H, W]`` into the tumour's probability, ``[N, D, H, W]``.

    The first channel is the tumour. A second one is the brain, and where that says no there is no
    tumour either.
    """
    tumour = torch.sigmoid(outline[:, 0].float())
    if outline.shape[1] > 1:
        tumour = torch.where(outline[:, 1] > BRAIN_LOGIT, tumour, 0.0)
    return tumour


def cubes_to_channels(volumes: Tensor) -> Tensor:
    """Map ``[N, C, D, H, W]`` to ``[N, 8 C, D/2, H/2, W/2]``."""
    n, c, d, h, w = volumes.shape
    cubes = volumes.reshape(n, c, d // 2, 2, h // 2, 2, w // 2, 2)
    return cubes.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, CUBE * c, d // 2, h // 2, w // 2)


def channels_to_cubes(features: Tensor) -> Tensor:
    """Undo `cubes_to_channels`."""
    n, c, d, h, w = features.shape
    cubes = features.reshape(n, c // CUBE, 2, 2, 2, d, h, w)
    return cubes.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // CUBE, 2 * d, 2 * h, 2 * w)


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.InstanceNorm3d(channels_out, affine=True),
    )
