"""SCDnn: a landslide network with multi-residual encoder groups and parallel atrous convolutions."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import (
    AtrousPyramid,
    ConvUnit,
    SegmentationNetwork,
    initialise,
    initialise_bilinear,
    scale_width,
)

WIDTHS = (64, 128, 256, 512)
RATES = (6, 12, 18)


class MultiResidual(nn.Module):
    """Two 3 x 3 convolutions added to their input: `MRconv`, with `pool` `MRmaxpool`, with a stride `MRconvDown`.

    `MRmaxpool` pools its input 2 x 2 first; `MRconvDown` brings the input to size and channels by a 1 x 1 convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, pool: bool = False, active: bool = False
    ) -> None:
        super().__init__()
        self.pool = pool
        self.active = active
        self.body = nn.Sequential(
            ConvUnit(in_channels, out_channels, stride=stride), ConvUnit(out_channels, out_channels, active=False)
        )
        self.shortcut = (
            nn.Identity() if stride == 1 else ConvUnit(in_channels, out_channels, 1, stride=stride, active=False)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add the shortcut to the body; no ReLU after the sum unless asked for, as in the paper's equations."""
        if self.pool:
            features = functional.max_pool2d(features, 2)
        total: torch.Tensor = self.body(features) + self.shortcut(features)
        return functional.relu(total) if self.active else total


class Scdnn(SegmentationNetwork):
    """SCDnn (China Geology 2024).

    Stem 3 x 3 to 64 at full size; four groups to 64, 128, 256, 512 at 1/2, 1/4, 1/8, 1/16; parallel atrous
    convolutions (1 x 1, 3 x 3 at rates 6, 12, 18, 256 channels each, mixed to 256); a transposed convolution of 8 x 8
    by 4; joined with the 1/4 map (48 channels); two 3 x 3 convolutions; a 1 x 1 head; a transposed convolution of
    8 x 8 by 4. Below 304 px the rate of 18 sees padding only.

    Args:
        post_activation: ReLU after each sum; the paper's equations have none.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        blocks: tuple[int, ...] = (3, 3, 3, 3),
        post_activation: bool = False,
    ) -> None:
        super().__init__()
        widths = [scale_width(channels, width) for channels in WIDTHS]
        context, low = scale_width(256, width), scale_width(48, width)
        self.stem = ConvUnit(in_channels, widths[0])
        self.groups = nn.ModuleList()
        channels = widths[0]
        for number, out_channels in enumerate(widths):
            down = {"pool": True} if number == 0 else {"stride": 2}
            group = nn.Sequential(MultiResidual(channels, out_channels, active=post_activation, **down))
            for _ in range(blocks[number] - 1):
                group.append(MultiResidual(out_channels, out_channels, active=post_activation))
            self.groups.append(group)
            channels = out_channels
        self.context = AtrousPyramid(channels, context, RATES, pooling=False)
        self.lift = nn.ConvTranspose2d(context, context, 8, 4, 2)
        self.low = ConvUnit(widths[1], low, 1)
        self.mix = nn.Sequential(ConvUnit(context + low, context), ConvUnit(context, context))
        self.head = nn.Conv2d(context, classes, 1)
        self.last = nn.ConvTranspose2d(classes, classes, 8, 4, 2)
        self.apply(initialise)
        initialise_bilinear(self.lift)
        initialise_bilinear(self.last)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        maps = [self.stem(images)]
        for group in self.groups:
            maps.append(group(maps[-1]))
        lifted = self.lift(self.context(maps[-1]))
        logits: torch.Tensor = self.last(self.head(self.mix(torch.cat([lifted, self.low(maps[2])], dim=1))))
        return logits
