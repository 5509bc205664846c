"""LinkNet: a ResNet-18 whose maps are added, not joined, on the way up."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, SegmentationNetwork, initialise, scale_width
from detection.imagery.neural.networks.resnet import BasicBlock, ResNet


class LiftUnit(nn.Sequential):
    """1 x 1 to a quarter of the channels, 3 x 3 transposed convolution (twice the size, or the same), 1 x 1."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        middle = max(1, in_channels // 4)
        super().__init__(
            ConvUnit(in_channels, middle, 1),
            nn.ConvTranspose2d(middle, middle, 3, stride, 1, output_padding=stride - 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            ConvUnit(middle, out_channels, 1),
        )


class Linknet(SegmentationNetwork):
    """LinkNet (Chaurasia and Culurciello 2017).

    Stem and ResNet-18 stages 64, 128, 256, 512 at 1/4 to 1/32; four lifts, each added to the encoder's map of its
    scale; transposed 3 x 3 to 32 at 1/2, 3 x 3, transposed 2 x 2 to the classes.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.trunk = ResNet(in_channels, BasicBlock, (2, 2, 2, 2), width)
        widths, last = self.trunk.widths, scale_width(32, width)
        self.lifts = nn.ModuleList(
            LiftUnit(widths[level], widths[level - 1], 1 if level == 1 else 2) for level in (4, 3, 2, 1)
        )
        self.tail = nn.Sequential(
            nn.ConvTranspose2d(widths[0], last, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(last),
            nn.ReLU(inplace=True),
            nn.Conv2d(last, last, 3, padding=1),
            nn.BatchNorm2d(last),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(last, classes, 2, 2),
        )
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        maps = self.trunk(images)
        features = maps.pop()
        for lift in self.lifts:
            features = maps.pop() + lift(features)
        logits: torch.Tensor = self.tail(features)
        return logits
