"""ContextNet: a shallow branch for detail at full size, a deep one for context at a quarter of it."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ConvUnit, SegmentationNetwork, enlarge, initialise, scale_width
from slopeward_lab.segmenters.inverted_residual import BlockRow, InvertedResidual

# expansion, channels, repeats, stride
CONTEXT_TABLE = ((1, 32, 1, 1), (6, 32, 1, 1), (6, 48, 3, 2), (6, 64, 3, 2), (6, 96, 2, 1), (6, 128, 2, 1))


class SeparableUnit(nn.Sequential):
    """3 x 3 on each channel alone, then 1 x 1, each with normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            ConvUnit(in_channels, in_channels, stride=stride, groups=in_channels),
            ConvUnit(in_channels, out_channels, 1),
        )


class Contextnet(SegmentationNetwork):
    """ContextNet (Poudel et al. 2018).

    Detail: 3 x 3 to 32 and separable convolutions to 64, 128, 128, down to 1/8. Context: the image at a quarter of
    its size, 3 x 3 to 32 and inverted residuals to 128, down to 1/32. Context enlarged to 1/8, 3 x 3 on each channel,
    1 x 1, added to the detail; two separable convolutions; dropout; 1 x 1 head; enlarged.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        first, second, last = (scale_width(channels, width) for channels in (32, 64, 128))
        self.detail = nn.Sequential(
            ConvUnit(in_channels, first, stride=2),
            SeparableUnit(first, second, 2),
            SeparableUnit(second, last, 2),
            SeparableUnit(last, last),
        )
        self.context = nn.Sequential(ConvUnit(in_channels, first, stride=2))
        channels = first
        for expansion, full_channels, repeats, stride in CONTEXT_TABLE:
            for index in range(repeats):
                out_channels = scale_width(full_channels, width)
                row = BlockRow(channels * expansion, out_channels, stride=stride if index == 0 else 1)
                self.context.append(InvertedResidual(channels, row))
                channels = out_channels
        self.spread = ConvUnit(channels, last, groups=channels)
        self.context_mix = nn.Sequential(nn.Conv2d(last, last, 1), nn.BatchNorm2d(last))
        self.detail_mix = nn.Sequential(nn.Conv2d(last, last, 1), nn.BatchNorm2d(last))
        self.tail = nn.Sequential(
            SeparableUnit(last, last), SeparableUnit(last, last), nn.Dropout(0.1), nn.Conv2d(last, classes, 1)
        )
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        detail = self.detail(images)
        small = functional.interpolate(images, scale_factor=0.25, mode="bilinear", align_corners=False)
        context = self.spread(enlarge(self.context(small), detail))
        joined = functional.relu(self.detail_mix(detail) + self.context_mix(context))
        return enlarge(self.tail(joined), images)
