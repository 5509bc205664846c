"""Encoders found by search: EfficientNet-B0 (Tan and Le 2019) and MobileNetV3-Large (Howard et al. 2019).

Inverted residuals with squeeze and excitation, as published up to the last block, without its classifier and without
the random omission of blocks.
"""

from collections.abc import Sequence

from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, scale_width
from slopeward_lab.segmenters.inverted_residual import BlockRow, InvertedResidual

# middle, channels, kernel, stride, squeezed: table 1 of the MobileNetV3 paper, ReLU in the first six rows
_V3_TABLE = (
    (16, 16, 3, 1, 0),
    (64, 24, 3, 2, 0),
    (72, 24, 3, 1, 0),
    (72, 40, 5, 2, 24),
    (120, 40, 5, 1, 32),
    (120, 40, 5, 1, 32),
    (240, 80, 3, 2, 0),
    (200, 80, 3, 1, 0),
    (184, 80, 3, 1, 0),
    (184, 80, 3, 1, 0),
    (480, 112, 3, 1, 120),
    (672, 112, 3, 1, 168),
    (672, 160, 5, 2, 168),
    (960, 160, 5, 1, 240),
    (960, 160, 5, 1, 240),
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


def _make_stages(
    in_channels: int, width: float, stem: int, rows: Sequence[BlockRow]
) -> tuple[nn.ModuleList, list[int]]:
    stages, widths, before, channels = nn.ModuleList(), list[int](), stem, scale_width(stem, width)
    stage = nn.Sequential(ConvUnit(in_channels, channels, stride=2, activation=rows[-1].activation))
    for full in rows:
        if full.stride > 1:
            stages.append(stage)
            widths.append(channels)
            stage = nn.Sequential()
        expands = full.middle != before
        row = full._replace(
            middle=scale_width(full.middle, width) if expands else channels,
            channels=scale_width(full.channels, width),
            squeezed=full.squeezed and scale_width(full.squeezed, width),
        )
        stage.append(InvertedResidual(channels, row, expands=expands))
        before, channels = full.channels, row.channels
    stages.append(stage)
    return stages, [*widths, channels]


def make_efficientnet(in_channels: int, width: float) -> tuple[nn.ModuleList, list[int]]:
    """The stages of EfficientNet-B0 at 1/2 to 1/32, each on the map of the one before, and the channels they give."""
    rows, channels = list[BlockRow](), 32
    for expansion, out_channels, repeats, stride, kernel in _B0_TABLE:
        for index in range(repeats):
            first = stride if index == 0 else 1
            rows.append(BlockRow(expansion * channels, out_channels, kernel, first, channels // 4, nn.SiLU))
            channels = out_channels
    return _make_stages(in_channels, width, 32, rows)


def make_mobilenetv3(in_channels: int, width: float) -> tuple[nn.ModuleList, list[int]]:
    """The stages of MobileNetV3-Large at 1/2 to 1/32, as `make_efficientnet`."""
    rows = [BlockRow(*row, nn.ReLU if number < 6 else nn.Hardswish) for number, row in enumerate(_V3_TABLE)]
    return _make_stages(in_channels, width, 16, rows)
