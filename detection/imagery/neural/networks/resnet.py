"""Residual network (He et al. 2016), the encoder of DeepLabv3+, PSPNet, LinkNet and the triage network."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ConvUnit, Residual, scale_width


class BasicBlock(Residual):
    """Two 3 x 3 convolutions and a shortcut (ResNet-18, 34)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        body = nn.Sequential(
            ConvUnit(in_channels, channels, stride=stride, dilation=dilation),
            ConvUnit(channels, channels, dilation=dilation, active=False),
        )
        super().__init__(body, in_channels, channels, stride)


class Bottleneck(Residual):
    """1 x 1 down, 3 x 3 (with the stride), 1 x 1 up to four times the channels, and a shortcut (ResNet-50, 101)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        out_channels = channels * self.expansion
        body = nn.Sequential(
            ConvUnit(in_channels, channels, 1),
            ConvUnit(channels, channels, stride=stride, dilation=dilation),
            ConvUnit(channels, out_channels, 1, active=False),
        )
        super().__init__(body, in_channels, out_channels, stride)


class ResNet(nn.Module):
    """A stem and four stages. The stem is a convolution with stride 2 and a 3 x 3 max pool with stride 2.

    Args:
        width: multiplier of the channels 64, 128, 256, 512.
        deep_stem: whether the stem has three 3 x 3 convolutions to 64, 64 and 128 channels instead of one of 7 x 7.
    """

    def __init__(
        self,
        in_channels: int,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        width: float = 1.0,
        *,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        deep_stem: bool = False,
    ) -> None:
        super().__init__()
        base = [scale_width(channels, width) for channels in (64, 128, 256, 512)]
        channels = base[1] if deep_stem else base[0]
        self.stem = ConvUnit(in_channels, base[0], 7, stride=2)
        if deep_stem:
            self.stem = nn.Sequential(  # type: ignore[assignment]
                ConvUnit(in_channels, base[0], stride=2), ConvUnit(base[0], base[0]), ConvUnit(base[0], channels)
            )
        self.stages = nn.ModuleList()
        self.widths = [channels]
        for number, out_channels in enumerate(base):
            stage = nn.Sequential()
            for index in range(blocks[number]):
                stride = strides[number] if index == 0 else 1
                stage.append(block(channels, out_channels, stride, dilations[number]))
                channels = out_channels * block.expansion
            self.stages.append(stage)
            self.widths.append(channels)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the map of the stem, of 1/4 of the size of the image, and the map of each stage."""
        maps = [functional.max_pool2d(self.stem(images), 3, 2, 1)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps
