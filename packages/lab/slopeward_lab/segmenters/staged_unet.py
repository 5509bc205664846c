"""A U-Net decoder that takes the stages of any encoder."""

from collections.abc import Sequence

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, SegmentationNetwork, enlarge, initialise, scale_width


class StagedUnet(SegmentationNetwork):
    """Stages down to 1/32, each on the map of the one before, under a convolutional decoder.

    A convolutional stem of 16 channels keeps the full size, for slides of few pixels. The decoder enlarges, joins the
    map of the scale and convolves twice to the channels of that map, last to 16 at full size; 1 x 1 head.

    `widths`: the channels that each stage gives.
    """

    stride = 32

    def __init__(
        self, in_channels: int, classes: int, width: float, stages: nn.ModuleList, widths: Sequence[int]
    ) -> None:
        super().__init__()
        detail = scale_width(16, width, 2)
        self.stem = nn.Sequential(ConvUnit(in_channels, detail), ConvUnit(detail, detail))
        self.stages = stages
        self.decoder = nn.ModuleList()
        channels = widths[-1]
        for skip in (*reversed(widths[:-1]), detail):
            self.decoder.append(nn.Sequential(ConvUnit(channels + skip, skip), ConvUnit(skip, skip)))
            channels = skip
        self.head = nn.Conv2d(channels, classes, 1)
        self.apply(initialise)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The map of each stage, the finest first."""
        maps: list[torch.Tensor] = []
        for stage in self.stages:
            maps.append(stage(maps[-1] if maps else images))
        return maps

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        maps = [self.stem(images), *self.encode(images)]
        features = maps.pop()
        for block in self.decoder:
            skip = maps.pop()
            features = block(torch.cat([skip, enlarge(features, skip)], dim=1))
        logits: torch.Tensor = self.head(features)
        return logits
