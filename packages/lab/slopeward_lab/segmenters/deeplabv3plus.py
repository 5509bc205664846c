"""DeepLabv3+: an atrous pyramid on a residual or a mobile trunk, refined once at a quarter of the size."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import (
    AtrousPyramid,
    ConvUnit,
    SegmentationNetwork,
    enlarge,
    initialise,
    scale_width,
)
from detection.imagery.neural.networks.resnet import Bottleneck, ResNet
from slopeward_lab.segmenters.inverted_residual import BlockRow, InvertedResidual

RATES = (6, 12, 18)
RESNET_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# expansion, channels, repeats, stride, dilation: the table of the MobileNetV2 paper, its last stride made a dilation
MOBILE_TABLE = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 2, 1),
    (6, 96, 3, 1, 1),
    (6, 160, 3, 1, 2),
    (6, 320, 1, 1, 2),
)


class ResNetTrunk(nn.Module):
    """ResNet to 1/16, its last stage dilated by 2; gives the map at 1/4 and the last one."""

    def __init__(self, in_channels: int, width: float, depth: int) -> None:
        super().__init__()
        if depth not in RESNET_BLOCKS:
            raise ValueError(f"depth must be one of {sorted(RESNET_BLOCKS)}, not {depth!r}")
        self.trunk = ResNet(
            in_channels, Bottleneck, RESNET_BLOCKS[depth], width, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)
        )
        self.low_channels, self.channels = self.trunk.widths[1], self.trunk.widths[-1]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map N x bands x H x W to maps of 1/4 and 1/16."""
        maps = self.trunk(images)
        return maps[1], maps[-1]


class MobileTrunk(nn.Module):
    """MobileNetV2 to 1/16 and 320 channels; gives the map at 1/4 (24 channels) and the last one."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        channels = scale_width(32, width)
        self.stem = ConvUnit(in_channels, channels, stride=2)
        self.stages = nn.ModuleList()
        for expansion, full_channels, repeats, stride, dilation in MOBILE_TABLE:
            stage, out_channels = nn.Sequential(), scale_width(full_channels, width)
            for index in range(repeats):
                first_stride = stride if index == 0 else 1
                row = BlockRow(channels * expansion, out_channels, stride=first_stride, dilation=dilation)
                stage.append(InvertedResidual(channels, row, expands=expansion > 1))
                channels = out_channels
            self.stages.append(stage)
        self.low_channels, self.channels = scale_width(24, width), channels

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map N x bands x H x W to maps of 1/4 and 1/16."""
        maps = [self.stem(images)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[2], maps[-1]


class DeepLabV3Plus(SegmentationNetwork):
    """DeepLabv3+ (Chen et al. 2018).

    Trunk to 1/16; pyramid of a 1 x 1, three 3 x 3 at rates 6, 12, 18 and the image's mean, 256 channels each, mixed to
    256; enlarged to 1/4; joined with the trunk's 1/4 map (48 channels); two 3 x 3 convolutions; 1 x 1 head; enlarged.
    Below 304 px the rate of 18 sees padding only.
    """

    def __init__(self, trunk: ResNetTrunk | MobileTrunk, classes: int, width: float, *, pooling: bool) -> None:
        super().__init__()
        context, low = scale_width(256, width), scale_width(48, width)
        self.trunk = trunk
        self.pyramid = AtrousPyramid(trunk.channels, context, RATES, pooling=pooling)
        self.dropout = nn.Dropout(0.1)
        self.low = ConvUnit(trunk.low_channels, low, 1)
        self.mix = nn.Sequential(ConvUnit(context + low, context), ConvUnit(context, context))
        self.head = nn.Conv2d(context, classes, 1)
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        low, deep = self.trunk(images)
        context = enlarge(self.dropout(self.pyramid(deep)), low)
        return enlarge(self.head(self.mix(torch.cat([context, self.low(low)], dim=1))), images)


def build_resnet(
    in_channels: int, classes: int = 2, width: float = 1.0, *, depth: int = 50, pooling: bool = True
) -> DeepLabV3Plus:
    """Build DeepLabv3+ on a ResNet of `depth` 50 or 101, with or without the image's mean."""
    return DeepLabV3Plus(ResNetTrunk(in_channels, width, depth), classes, width, pooling=pooling)


def build_mobilenet(in_channels: int, classes: int = 2, width: float = 1.0, *, pooling: bool = True) -> DeepLabV3Plus:
    """Build DeepLabv3+ on MobileNetV2, with or without the image's mean."""
    return DeepLabV3Plus(MobileTrunk(in_channels, width), classes, width, pooling=pooling)
