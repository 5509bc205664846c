"""CBAM: weigh the channels and the places of a map, each by a factor between 0 and 1."""

from typing import Final

import torch
from torch import nn

REDUCTION: Final = 16


class Cbam(nn.Module):
    """Convolutional block attention module (Woo et al. 2018, arXiv 1807.06521).

    The factor of a channel is a sigmoid of the sum of two results of the same two layers: for its mean and for its
    maximum over the window (eq. 2). The factor of a place is a sigmoid of a 7 x 7 convolution of the mean and the
    maximum over the channels (eq. 3).

    Args:
        channels: of the map. The two layers have a sixteenth of them in between, but at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to the same: the channels are weighed first, then the places."""
        mean = features.mean((2, 3), keepdim=True)
        largest = features.amax((2, 3), keepdim=True)
        weighed = features * torch.sigmoid(self.shared(mean) + self.shared(largest))
        summary = torch.cat([weighed.mean(1, keepdim=True), weighed.amax(1, keepdim=True)], dim=1)
        return weighed * torch.sigmoid(self.place(summary))
