"""The inverted residual (Sandler et al. 2018) that all mobile encoders are made of."""

from typing import NamedTuple

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit


class BlockRow(NamedTuple):
    """One block of a table, in channels."""

    middle: int
    channels: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1


class InvertedResidual(nn.Module):
    """1 x 1 up, a convolution on each channel alone, 1 x 1 down without activation.

    Added to its input where neither size nor channels change. Without `expands` there is no first convolution.
    """

    def __init__(self, in_channels: int, row: BlockRow, *, expands: bool = True) -> None:
        super().__init__()
        middle, stride = row.middle, row.stride
        self.added = stride == 1 and in_channels == row.channels
        self.body = nn.Sequential()
        if expands:
            self.body.append(ConvUnit(in_channels, middle, 1))
        self.body.append(ConvUnit(middle, middle, row.kernel, stride=stride, dilation=row.dilation, groups=middle))
        self.body.append(ConvUnit(middle, row.channels, 1, active=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x channels x H/stride x W/stride."""
        result: torch.Tensor = self.body(features)
        return result + features if self.added else result
