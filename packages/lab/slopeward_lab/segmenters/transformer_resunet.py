"""Residual U-Net with a transformer at its bottom and attention in its decoder."""

from typing import Final

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import enlarge, initialise, scale_width
from detection.imagery.neural.networks.unet import ENCODER_WIDTHS, Unet, encode
from slopeward_lab.segmenters.cbam import Cbam

BOTTOM_WIDTH: Final = 512
TOKENS: Final = 512
HEADS: Final = 8
GRID: Final = 14  # side of the grid of learned positions: 224 px at 1/16


class BottomTransformer(nn.Module):
    """Vision transformer whose patches are the cells of a map (Dosovitskiy et al. 2021, arXiv 2010.11929).

    A linear map makes a token of each cell. Learned positions, resized to the map, are added. The blocks have attention
    and a feed-forward layer, each after a layer normalisation (eq. 2 and 3). A linear map leads back to the channels.

    Args:
        channels: of the map.
        tokens: numbers of a token.
        blocks: number of blocks.
    """

    def __init__(self, channels: int, tokens: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, tokens, 1)
        self.back = nn.Conv2d(tokens, channels, 1)
        self.positions = nn.Parameter(torch.empty(1, tokens, GRID, GRID))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                tokens, HEADS, 4 * tokens, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(tokens)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to the same."""
        cells = self.embed(features)
        tokens = (cells + enlarge(self.positions, cells)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        result: torch.Tensor = self.back(self.norm(tokens).transpose(1, 2).unflatten(2, cells.shape[-2:]))
        return result


class TransformerResunet(Unet):
    """Residual U-Net with transformer and CBAM (Yang, Xu and Li 2022, Remote Sensing 14, 2885), from its abstract.

    The abstract names a vision transformer inside a residual U-Net, and spatial and channel attention in its decoder.
    It names no sizes. Here, encoder and decoder are those of `resunet`. The deepest map, at 1/16, passes a transformer
    with tokens of 512 numbers and 8 heads. A CBAM follows each block of the decoder.

    Args:
        in_channels: number of bands.
        classes: number of output classes.
        width: multiplier of the channels.
        blocks: blocks of the transformer.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0, *, blocks: int = 4) -> None:
        super().__init__(in_channels, classes, width, residual=True)
        widths = [scale_width(channels, width) for channels in (*ENCODER_WIDTHS, BOTTOM_WIDTH)]
        self.bottom = BottomTransformer(widths[-1], scale_width(TOKENS, width, HEADS), blocks)
        self.decoder = nn.ModuleList(
            nn.Sequential(block, Cbam(widths[level])) for block, level in zip(self.decoder, (2, 1, 0, 0), strict=True)
        )
        self.apply(initialise)
        nn.init.trunc_normal_(self.bottom.positions, std=0.02)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        maps = encode(self.encoder, images)
        maps[-1] = self.bottom(maps[-1])
        return self.decode(maps)

    def open_stream(self) -> None:
        """Return None, because transformer and CBAM need the whole window."""
        return
