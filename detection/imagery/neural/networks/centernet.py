"""CenterNet: boxes without anchors, each told by the point in its middle."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import LEAST_CELLS, initialise, pad_to_stride, scale_width
from detection.imagery.neural.networks.unets.unet import ENCODER_WIDTHS, Unet, encode

STRIDE = 16
# One cell in ten is taken for a middle before anything is learnt (Lin et al. 2017).
RARE = -2.19


class Centernet(nn.Module):
    """CenterNet (Zhou et al. 2019, arXiv 1904.07850) on the encoder of `unet`.

    The encoder and the first two steps of the decoder are those of `unet`, by the same names, so that the weights of
    one begin the other. At 1/4 three heads of a 3 x 3 convolution, ReLU and a 1 x 1 convolution give per cell: how
    much it is the middle of a box (one map a class), the box's width and height in cells, and where in the cell the
    middle lies. `neural.centres` reads them.

    Args:
        in_channels: input bands.
        classes: with the background; each other one has a map of middles.
        width: multiplier of all channel counts.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        whole = Unet(in_channels, classes, width)
        self.encoder, self.lifts, self.decoder = whole.encoder, whole.lifts[:2], whole.decoder[:2]
        joined, hidden = scale_width(ENCODER_WIDTHS[1], width), scale_width(256, width)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(joined, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, count, 1))
            for count in (max(classes - 1, 1), 2, 2)
        )
        self.heads.apply(initialise)
        with torch.no_grad():
            self.heads.get_parameter("0.2.bias").fill_(RARE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map N x bands x H x W to N x (middles, 2 of size, 2 of place) x H/4 x W/4, of the padded image."""
        skips = encode(self.encoder, pad_to_stride(images, STRIDE, LEAST_CELLS * STRIDE))
        features = skips.pop()
        for lift, block in zip(self.lifts, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), lift(features)], dim=1))
        return torch.cat([head(features) for head in self.heads], dim=1)
