"""L-Unet: a U-Net with attention in its residuals, several scales at its bottom and learned enlargement."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import AtrousPyramid, initialise, scale_width
from detection.imagery.neural.networks.unets.attention import Cbam
from detection.imagery.neural.networks.unets.unet import ENCODER_WIDTHS, ResidualDoubleConv, Unet

RATES = (1, 2, 4)


class LearnedUpsampling(nn.Module):
    """Data-dependent up-sampling (Tian et al. 2019, arXiv 1903.02120): each cell becomes four of twice the size.

    One linear map for all cells, without bias, in place of bilinear interpolation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lift = nn.Conv2d(channels, 4 * channels, 1, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x C x 2H x 2W."""
        return functional.pixel_shuffle(self.lift(features), 2)


class LUnet(Unet):
    """L-Unet (Dong et al. 2022, Remote Sensing 14, 2552), as far as its abstract says.

    The abstract names three changes to the U-Net and no sizes. Read here as: the encoder's pairs of convolutions are
    residual, with a CBAM before the sum; at the bottom a 1 x 1 and three 3 x 3 convolutions of rates 1, 2, 4 side by
    side, mixed; data-dependent up-sampling in the decoder. Widths are those of `unet`. The attention takes means over
    the window, so tiles never agree exactly with the whole.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__(in_channels, classes, width, residual=True)
        widths = [scale_width(channels, width) for channels in (*ENCODER_WIDTHS, 512)]
        for block, channels in zip(self.encoder, widths, strict=True):
            assert isinstance(block, ResidualDoubleConv)
            block.body.append(Cbam(channels))
        self.bottom = AtrousPyramid(widths[-1], widths[-1], RATES, pooling=False)
        self.lifts = nn.ModuleList(LearnedUpsampling(widths[level]) for level in (4, 2, 1, 0))
        self.apply(initialise)
