"""CBAM: which channels and which places of a map matter, each a factor between 0 and 1."""

import torch
from torch import nn

REDUCTION = 16


class Cbam(nn.Module):
    """Convolutional block attention module (Woo et al. 2018, arXiv 1807.06521): N x C x H x W to the same.

    First a factor per channel, from its mean and its maximum over the window through two shared layers; then a factor
    per place, from the mean and the maximum over the channels through one 7 x 7 convolution.

    Args:
        channels: C; the shared layers pass through a sixteenth of them, one at least.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Weigh the channels, then the places."""
        mean, most = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        features = features * torch.sigmoid(self.shared(mean) + self.shared(most))
        seen = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.place(seen))
