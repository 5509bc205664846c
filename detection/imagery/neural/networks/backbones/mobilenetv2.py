"""The inverted residual (Sandler et al. 2018) of DeepLabv3+ MobileNetV2 and ContextNet."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit


class InvertedResidual(nn.Module):
    """1 x 1 up to `expansion` times the channels, 3 x 3 on each alone, 1 x 1 down without ReLU.

    Added to its input where neither size nor channels change.

    Args:
        lean: leave out the first convolution where it would not expand, as MobileNetV2 does.
    """

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int = 1, dilation: int = 1, *, lean: bool
    ) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.added = stride == 1 and in_channels == out_channels
        self.body = nn.Sequential()
        if expansion > 1 or not lean:
            self.body.append(ConvUnit(in_channels, middle, 1))
        self.body.append(ConvUnit(middle, middle, stride=stride, dilation=dilation, groups=middle))
        self.body.append(ConvUnit(middle, out_channels, 1, active=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x out_channels x H/stride x W/stride."""
        result: torch.Tensor = self.body(features)
        return result + features if self.added else result
