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
    squeezed: int = 0  # of the excitation; 0: none
    activation: type[nn.Module] = nn.ReLU
    dilation: int = 1


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


class InvertedResidual(nn.Module):
    """1 x 1 up, a convolution on each channel alone, excitation, 1 x 1 down without activation.

    Added to its input where neither size nor channels change. Without `expands` there is no first convolution.
    """

    def __init__(self, in_channels: int, row: BlockRow, *, expands: bool = True) -> None:
        super().__init__()
        middle, stride, kind = row.middle, row.stride, row.activation
        self.added = stride == 1 and in_channels == row.channels
        self.body = nn.Sequential()
        if expands:
            self.body.append(ConvUnit(in_channels, middle, 1, activation=kind))
        self.body.append(
            ConvUnit(middle, middle, row.kernel, stride=stride, dilation=row.dilation, groups=middle, activation=kind)
        )
        if row.squeezed:
            self.body.append(Excitation(middle, row.squeezed, kind))
        self.body.append(ConvUnit(middle, row.channels, 1, active=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x channels x H/stride x W/stride."""
        result: torch.Tensor = self.body(features)
        return result + features if self.added else result
