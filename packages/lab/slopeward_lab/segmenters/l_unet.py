"""L-Unet: a U-Net with attention in its encoder, several scales at its bottom and learned enlargement."""

from typing import Final

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import AtrousPyramid, initialise, scale_width
from detection.imagery.neural.networks.unet import ENCODER_WIDTHS, ResidualDoubleConv, Unet, encode
from slopeward_lab.segmenters.cbam import Cbam

BOTTOM_WIDTH: Final = 512
RATES: Final = (1, 2, 4)


class LearnedUpsampling(nn.Module):
    """Data-dependent up-sampling (Tian et al. 2019, arXiv 1903.02120): each cell becomes four cells.

    The four cells are one linear map of the cell, without bias. The paper finds the map from the labels; here it is
    trained with the network.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lift = nn.Conv2d(channels, 4 * channels, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x C x 2H x 2W."""
        return functional.pixel_shuffle(self.lift(features), 2)


class LUnet(Unet):
    """L-Unet (Dong et al. 2022, Remote Sensing 14, 2552), built from its abstract.

    The abstract names three changes to the U-Net, and no sizes. Here, the pairs of convolutions of the encoder are
    residual, with a CBAM before the sum. At the bottom a 1 x 1 convolution and three 3 x 3 convolutions of rates 1, 2
    and 4 run in parallel and are mixed. The decoder enlarges maps by `LearnedUpsampling`. The widths are those of
    `unet`. A CBAM takes means over the window, so the maps of tiles never agree exactly with that of the whole scene.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__(in_channels, classes, width, residual=True)
        widths = [scale_width(channels, width) for channels in (*ENCODER_WIDTHS, BOTTOM_WIDTH)]
        for block, channels in zip(self.encoder, widths, strict=True):
            assert isinstance(block, ResidualDoubleConv)
            block.body.append(Cbam(channels))
        self.bottom = AtrousPyramid(widths[-1], widths[-1], RATES, pooling=False)
        # The maps that are enlarged have the channels of the bottom and of the first three levels of the decoder.
        self.lifts = nn.ModuleList(LearnedUpsampling(widths[level]) for level in (4, 2, 1, 0))
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        maps = encode(self.encoder, images)
        maps[-1] = self.bottom(maps[-1])
        return self.decode(maps)

    def open_stream(self) -> None:
        """Return None, because a CBAM needs the whole window."""
        return
