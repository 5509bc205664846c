"""DeepLabv2: VGG-16 kept at 1/8 by dilation, four atrous classifiers added."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import SegmentationNetwork, enlarge, initialise, scale_width
from slopeward_lab.segmenters.vgg import make_stages

RATES = (6, 12, 18, 24)


class DeepLabV2(SegmentationNetwork):
    """DeepLabv2 (Chen et al. 2018, PAMI) on VGG-16.

    The fourth and fifth pooling keep the size (3 x 3, stride 1), the fifth stage is dilated by 2; two 3 x 3
    convolutions to 1024 dilated by 4; the sum of four 3 x 3 classifiers of rates 6, 12, 18, 24; enlarged by 8.
    """

    stride = 8

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.stages, widths = make_stages(in_channels, width, normalised=False, last_dilation=2)
        wide = scale_width(1024, width)
        self.wide = nn.Sequential(
            nn.Conv2d(widths[4], wide, 3, padding=4, dilation=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wide, 3, padding=4, dilation=4),
            nn.ReLU(inplace=True),
        )
        classifiers = [nn.Conv2d(wide, classes, 3, padding=rate, dilation=rate) for rate in RATES]
        self.classifiers = nn.ModuleList(classifiers)
        self.apply(initialise)
        for classifier in classifiers:
            # four are added: together they have the spread of one
            nn.init.normal_(classifier.weight, std=(2 / (9 * wide * len(RATES))) ** 0.5)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        features = images
        for number, stage in enumerate(self.stages):
            features = stage(features)
            features = functional.max_pool2d(features, 2) if number < 3 else functional.max_pool2d(features, 3, 1, 1)
        features = self.wide(features)
        scores = torch.stack([classifier(features) for classifier in self.classifiers]).sum(0)
        return enlarge(scores, images)
