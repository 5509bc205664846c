"""PSPNet: a ResNet-101 at 1/8 and a pyramid of means over the whole image."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import (
    ConvUnit,
    ImagePooling,
    SegmentationNetwork,
    enlarge,
    initialise,
    scale_width,
)
from detection.imagery.neural.networks.resnet import Bottleneck, ResNet

CELLS = (6, 3, 2, 1)


class Pspnet(SegmentationNetwork):
    """PSPNet (Zhao et al. 2017).

    Stem of three 3 x 3 convolutions (64, 64, 128) and pooling; ResNet-101 stages, the last two dilated by 2 and 4,
    2048 channels at 1/8; means over 6 x 6, 3 x 3, 2 x 2 and 1 x 1 cells of the image, 512 channels each, joined to
    4096; 3 x 3 to 512; dropout; 1 x 1 head; enlarged.

    `blocks`: bottlenecks per stage.
    """

    stride = 8

    def __init__(
        self, in_channels: int, classes: int = 2, width: float = 1.0, *, blocks: tuple[int, ...] = (3, 4, 23, 3)
    ) -> None:
        super().__init__()
        self.trunk = ResNet(
            in_channels, Bottleneck, blocks, width, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), deep_stem=True
        )
        deep, part, last = self.trunk.widths[-1], scale_width(512, width), scale_width(512, width)
        self.pyramid = nn.ModuleList(ImagePooling(deep, part, cells) for cells in CELLS)
        self.mix = ConvUnit(deep + len(CELLS) * part, last)
        self.dropout = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(last, classes, 1)
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        deep = self.trunk(images)[-1]
        joined = torch.cat([deep, *(pooling(deep) for pooling in self.pyramid)], dim=1)
        return enlarge(self.head(self.dropout(self.mix(joined))), images)
