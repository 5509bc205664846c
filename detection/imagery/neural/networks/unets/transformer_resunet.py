"""ResU-Net with a transformer at its bottom and attention in its decoder."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import enlarge, initialise, scale_width
from detection.imagery.neural.networks.unets.attention import Cbam
from detection.imagery.neural.networks.unets.unet import ENCODER_WIDTHS, Unet

TOKENS, HEADS = 512, 8
GRID = 14  # of the positions that are learned: 224 px at 1/16


class VisionTransformer(nn.Module):
    """Every cell of a map attends to every other (Dosovitskiy et al. 2021, arXiv 2010.11929).

    N x C x H x W to the same. A cell is a patch of 1 x 1: a linear map to the tokens, learned positions brought to the
    size of the map, blocks of attention and feed-forward layers each behind a layer normalisation, a linear map back.
    """

    def __init__(self, channels: int, tokens: int, blocks: int) -> None:
        super().__init__()
        self.embed, self.back = nn.Conv2d(channels, tokens, 1), nn.Conv2d(tokens, channels, 1)
        self.positions = nn.Parameter(torch.empty(1, tokens, GRID, GRID))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                tokens, HEADS, 4 * tokens, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(tokens)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Let the cells of each image attend to each other."""
        cells = self.embed(features)
        height, width = cells.shape[-2:]
        rows = (cells + enlarge(self.positions, cells)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            rows = block(rows)
        grid: torch.Tensor = self.back(self.norm(rows).transpose(1, 2).unflatten(2, (height, width)))
        return grid


class TransformerResunet(Unet):
    """ResU-Net with transformer and CBAM (Yang, Xu and Li 2022, Remote Sensing 14, 2885), as far as its abstract says.

    The abstract names a vision transformer inside of ResU-Net and spatial and channel attention in its decoder, and no
    sizes. Read here as: encoder and decoder of `resunet`; on the deepest map, 1/16, a transformer of 512 tokens with 8
    heads; a CBAM behind each block of the decoder.

    Args:
        in_channels: input bands.
        classes: output classes.
        width: multiplier of all channel counts.
        blocks: of the transformer.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0, *, blocks: int = 4) -> None:
        super().__init__(in_channels, classes, width, residual=True)
        widths = [scale_width(channels, width) for channels in (*ENCODER_WIDTHS, 512)]
        self.bottom = VisionTransformer(widths[-1], scale_width(TOKENS, width, HEADS), blocks)
        self.decoder = nn.ModuleList(
            nn.Sequential(block, Cbam(widths[level])) for block, level in zip(self.decoder, (2, 1, 0, 0), strict=True)
        )
        self.apply(initialise)
        nn.init.trunc_normal_(self.bottom.positions, std=0.02)
