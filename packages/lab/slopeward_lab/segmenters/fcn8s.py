"""FCN-8s: the classifier VGG-16 made convolutional, its scores refined at 1/16 and 1/8."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import SegmentationNetwork, initialise, initialise_bilinear, scale_width
from slopeward_lab.segmenters.vgg import make_stages


class Fcn8s(SegmentationNetwork):
    """FCN-8s (Long et al. 2015).

    VGG-16 to 1/32; 7 x 7 to 4096, 1 x 1 to 4096, dropout one half behind both; scores; twice the size, plus the scores
    of the 1/16 map; twice the size, plus those of the 1/8 map; eight times the size. The 7 x 7 convolution is padded
    by 3, where the original pads the image by 100.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.stages, widths = make_stages(in_channels, width, normalised=False)
        wide = scale_width(4096, width)
        self.classifier = nn.Sequential(
            nn.Conv2d(widths[4], wide, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(wide, wide, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(wide, classes, 1),
        )
        self.score_16 = nn.Conv2d(widths[3], classes, 1)
        self.score_8 = nn.Conv2d(widths[2], classes, 1)
        lifts = [nn.ConvTranspose2d(classes, classes, 2 * by, by, by // 2, bias=False) for by in (2, 2, 8)]
        self.lifts = nn.ModuleList(lifts)
        self.apply(initialise)
        for lift in lifts:
            initialise_bilinear(lift)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        features, maps = images, []
        for stage in self.stages:
            features = functional.max_pool2d(stage(features), 2)
            maps.append(features)
        scores = self.lifts[0](self.classifier(features)) + self.score_16(maps[3])
        scores = self.lifts[1](scores) + self.score_8(maps[2])
        logits: torch.Tensor = self.lifts[2](scores)
        return logits
