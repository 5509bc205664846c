"""Triage network: a ResNet-18 that classifies whole tiles as with or without a landslide."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import LEAST_CELLS, initialise, pad_to_stride
from detection.imagery.neural.networks.resnet import BasicBlock, ResNet

STRIDE = 32


class TriageResnet(nn.Module):
    """ResNet-18 (He et al. 2016): N x bands x H x W to N x classes, by the mean of the last map."""

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.trunk = ResNet(in_channels, BasicBlock, (2, 2, 2, 2), width)
        self.head = nn.Linear(self.trunk.widths[-1], classes)
        self.apply(initialise)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map N x bands x H x W to logits N x classes."""
        deep = self.trunk(pad_to_stride(images, STRIDE, LEAST_CELLS * STRIDE))[-1]
        logits: torch.Tensor = self.head(deep.mean((2, 3)))
        return logits
