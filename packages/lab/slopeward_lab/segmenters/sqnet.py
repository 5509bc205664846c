"""SQNet: squeezed fire modules, parallel dilated convolutions, refined skips, exponential units."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import SegmentationNetwork, initialise, scale_width

DILATIONS = (1, 2, 3, 4)


class Fire(nn.Module):
    """1 x 1 squeeze, then a 1 x 1 and a 3 x 3 convolution side by side, joined (Iandola et al. 2016), with ELU."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.point = nn.Conv2d(squeeze, expand, 1)
        self.wide = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x 2 expand x H x W."""
        squeezed = functional.elu(self.squeeze(features))
        return functional.elu(torch.cat([self.point(squeezed), self.wide(squeezed)], dim=1))


class Sqnet(SegmentationNetwork):
    """SQNet (Treml et al. 2016).

    3 x 3 by 2 to 96; fire modules to 128 (twice), 256 (twice), 512 (three times) with 2 x 2 max pools between, down to
    1/16; the sum of four 3 x 3 convolutions of dilation 1 to 4; three transposed 3 x 3 convolutions by 2 (256, 128,
    96), each joined with the refined map of its scale and mixed; a last one to the classes. No normalisation.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        first = scale_width(96, width)
        squeezes = [scale_width(channels, width) for channels in (16, 32, 64)]
        expands = [scale_width(channels, width) for channels in (64, 128, 256)]
        self.stem = nn.Conv2d(in_channels, first, 3, 2, 1)
        self.stages = nn.ModuleList()
        channels = first
        for squeeze, expand, repeats in zip(squeezes, expands, (2, 2, 3), strict=True):
            stage = nn.Sequential()
            for _ in range(repeats):
                stage.append(Fire(channels, squeeze, expand))
                channels = 2 * expand
            self.stages.append(stage)
        self.parallel = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )
        self.lifts, self.refines, self.mixes = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for skip in (2 * expands[1], 2 * expands[0], first):
            self.lifts.append(nn.ConvTranspose2d(channels, skip, 3, 2, 1, output_padding=1))
            self.refines.append(nn.Conv2d(skip, skip, 3, padding=1))
            self.mixes.append(nn.Conv2d(2 * skip, 2 * skip, 3, padding=1))
            channels = 2 * skip
        self.last = nn.ConvTranspose2d(channels, classes, 3, 2, 1, output_padding=1)
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        features = functional.elu(self.stem(images))
        skips = []
        for stage in self.stages:
            skips.append(features)
            features = stage(functional.max_pool2d(features, 2))
        features = torch.stack([functional.elu(branch(features)) for branch in self.parallel]).sum(0)
        for lift, refine, mix in zip(self.lifts, self.refines, self.mixes, strict=True):
            joined = torch.cat([functional.elu(refine(skips.pop())), functional.elu(lift(features))], dim=1)
            features = functional.elu(mix(joined))
        logits: torch.Tensor = self.last(features)
        return logits
