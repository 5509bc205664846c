"""SSSN: the smallest network that segments, a floor for the others."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import SegmentationNetwork, initialise, scale_width


class Sssn(SegmentationNetwork):
    """The network of MATLAB's page "Create a semantic segmentation network", after its name in the SCDnn paper.

    Twice 3 x 3 to 32, ReLU, 2 x 2 max pool, down to 1/4; twice a transposed 4 x 4 convolution by 2 with ReLU; 1 x 1
    head. No normalisation.
    """

    stride = 4

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        channels = scale_width(32, width)
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(channels, channels, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, classes, 1),
        )
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        logits: torch.Tensor = self.body(images)
        return logits
