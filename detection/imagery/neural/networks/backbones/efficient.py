"""Encoders found by search: EfficientNet-B0 (Tan and Le 2019) and MobileNetV3-Large (Howard et al. 2019).

Inverted residuals with squeeze and excitation, as published up to the last block, without its classifier and without
the random omission of blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, scale_width


class BlockRow(NamedTuple):
    """One block of a table, in channels of the published width."""

    kernel: int
    middle: int
    channels: int
    squeezed: int  # of the excitation; 0: none
    stride: int
    activation: type[nn.Module]


# kernel, middle, channels, squeezed, stride: table 1 of the MobileNetV3 paper, ReLU in the first six rows
_V3_TABLE = (
    (3, 16, 16, 0, 1),
    (3, 64, 24, 0, 2),
    (3, 72, 24, 0, 1),
    (5, 72, 40, 24, 2),
    (5, 120, 40, 32, 1),
    (5, 120, 40, 32, 1),
    (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 480, 112, 120, 1),
    (3, 672, 112, 168, 1),
    (5, 672, 160, 168, 2),
    (5, 960, 160, 240, 1),
    (5, 960, 160, 240, 1),
)
# expansion, channels, repeats, stride, kernel: table 1 of the EfficientNet paper
_B0_TABLE = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class Excitation(nn.Module):
    """Weigh each channel by what two layers make of the means of all (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int, activation: type[nn.Module]) -> None:
        super().__init__()
        is_v3 = activation is not nn.SiLU
        self.share = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU() if is_v3 else nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid() if is_v3 else nn.Sigmoid(),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to the same."""
        weighed: torch.Tensor = features * self.share(features.mean((2, 3), keepdim=True))
        return weighed


class MobileBlock(nn.Module):
    """1 x 1 up, a convolution on each channel alone, excitation, 1 x 1 down; added to its input where they fit."""

    def __init__(self, in_channels: int, width: float, row: BlockRow, *, expands: bool) -> None:
        super().__init__()
        middle, out_channels = (
            (scale_width(row.middle, width) if expands else in_channels),
            scale_width(row.channels, width),
        )
        self.added = row.stride == 1 and in_channels == out_channels
        self.body = nn.Sequential()
        if expands:
            self.body.extend((ConvUnit(in_channels, middle, 1, active=False), row.activation()))
        deep = ConvUnit(middle, middle, row.kernel, stride=row.stride, groups=middle, active=False)
        self.body.extend((deep, row.activation()))
        if row.squeezed:
            self.body.append(Excitation(middle, scale_width(row.squeezed, width), row.activation))
        self.body.append(ConvUnit(middle, out_channels, 1, active=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x channels x H/stride x W/stride."""
        result: torch.Tensor = self.body(features)
        return result + features if self.added else result


def _make_stages(
    in_channels: int, width: float, stem: int, rows: Sequence[BlockRow]
) -> tuple[nn.ModuleList, list[int]]:
    stages, widths, before, channels = nn.ModuleList(), list[int](), stem, scale_width(stem, width)
    stage = nn.Sequential(ConvUnit(in_channels, channels, stride=2, active=False), rows[-1].activation())
    for row in rows:
        if row.stride > 1:
            stages.append(stage)
            widths.append(channels)
            stage = nn.Sequential()
        stage.append(MobileBlock(channels, width, row, expands=row.middle != before))
        before, channels = row.channels, scale_width(row.channels, width)
    stages.append(stage)
    return stages, [*widths, channels]


def make_efficientnet(in_channels: int, width: float) -> tuple[nn.ModuleList, list[int]]:
    """The stages of EfficientNet-B0 at 1/2 to 1/32, each on the map of the one before, and the channels they give."""
    rows, channels = list[BlockRow](), 32
    for expansion, out_channels, repeats, stride, kernel in _B0_TABLE:
        for index in range(repeats):
            first = stride if index == 0 else 1
            rows.append(BlockRow(kernel, expansion * channels, out_channels, channels // 4, first, nn.SiLU))
            channels = out_channels
    return _make_stages(in_channels, width, 32, rows)


def make_mobilenetv3(in_channels: int, width: float) -> tuple[nn.ModuleList, list[int]]:
    """The stages of MobileNetV3-Large at 1/2 to 1/32, as `make_efficientnet`."""
    rows = [BlockRow(*row, nn.ReLU if number < 6 else nn.Hardswish) for number, row in enumerate(_V3_TABLE)]
    return _make_stages(in_channels, width, 16, rows)
