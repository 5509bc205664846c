"""Triage network: a ResNet-18 that classifies tiles. Class 1 means that a tile contains a landslide."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import LEAST_CELLS, initialise, pad_to_stride
from detection.imagery.neural.networks.resnet import BasicBlock, ResNet

# Factor by which the encoder reduces height and width.
STRIDE = 32


class TriageResnet(nn.Module):
    """ResNet-18 (He et al. 2016) with a linear classifier on the spatial mean of its last feature map.

    Args:
        in_channels: Number of bands.
        classes: Number of classes.
        width: Multiplier of the number of channels.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.trunk = ResNet(in_channels, BasicBlock, (2, 2, 2, 2), width)
        self.head = nn.Linear(self.trunk.widths[-1], classes)
        self.apply(initialise)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N x classes) of images (N x bands x H x W)."""
        last_map = self.trunk(pad_to_stride(images, STRIDE, LEAST_CELLS * STRIDE))[-1]
        logits: torch.Tensor = self.head(last_map.mean((2, 3)))
        return logits
