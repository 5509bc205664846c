"""DRs-UNet: a U-Net for interferograms whose encoder suppresses noise by soft thresholds."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ConvUnit
from detection.imagery.neural.networks.unet import Unet


class ShrinkageUnit(nn.Module):
    """Residual shrinkage building unit with a threshold per channel (Zhao et al. 2020, DRSN-CW).

    Two 3 x 3 convolutions are followed by a soft threshold: smaller absolute values become 0, and all others shrink by
    the threshold. The threshold of a channel is its mean absolute value times a learned share between 0 and 1. Then the
    shortcut is added. The two layers that learn the share are normalised over the channels of each image, not over the
    batch.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvUnit(in_channels, out_channels), ConvUnit(out_channels, out_channels, active=False)
        )
        self.share = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.GroupNorm(1, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.Sigmoid(),
        )
        is_same_shape = in_channels == out_channels
        self.shortcut = nn.Identity() if is_same_shape else ConvUnit(in_channels, out_channels, 1, active=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x out_channels x H x W."""
        body = self.body(features)
        return functional.relu(self.shrink(body) + self.shortcut(features))

    def shrink(self, features: torch.Tensor) -> torch.Tensor:
        """Soft-threshold each channel: sign(x) max(|x| - t, 0), written without the sign, which has no gradient."""
        mean = features.abs().mean((2, 3), keepdim=True)
        threshold = self.share(mean) * mean
        return functional.relu(features - threshold) - functional.relu(-features - threshold)


class DrsUnet(Unet):
    """Deep residual shrinkage U-Net (Chen et al. 2022, Remote Sensing 14, 1848), built from its abstract.

    Encoder of one shrinkage unit per scale, 64, 128, 256, 512, 512, with 2 x 2 max pools; the plain bilinear decoder
    256, 128, 64, 64 with the maps of the encoder joined; 1 x 1 head. The thresholds depend on means over the window, so
    the maps of tiles never agree exactly with that of the whole scene.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__(in_channels, classes, width)

    @staticmethod
    def make_level(in_channels: int, out_channels: int, *_: object) -> nn.Module:
        """See `Unet.make_level`."""
        return ShrinkageUnit(in_channels, out_channels)
