"""Transformer U-Net: a hierarchical transformer encoder in four stages under a convolutional decoder."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import scale_width
from slopeward_lab.segmenters.staged_unet import StagedUnet

WIDTHS = (32, 64, 128, 256)
HEADS = (1, 2, 4, 8)
REDUCTIONS = (8, 4, 2, 1)


class Attention(nn.Module):
    """Self-attention of all cells to the cells of a map shrunk by `reduction` (Wang et al. 2021, Xie et al. 2021)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.shrink = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(channels) if reduction > 1 else nn.Identity()

    def forward(self, cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Map N x (height * width) x C to the same."""
        count, total, channels = cells.shape
        seen = cells
        if self.shrink is not None:
            grid = cells.transpose(1, 2).reshape(count, channels, height, width)
            seen = self.norm(self.shrink(grid).flatten(2).transpose(1, 2))
        query = self.query(cells).reshape(count, total, self.heads, -1).transpose(1, 2)
        key, value = (
            self.key_value(seen).reshape(count, -1, 2, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(count, total, channels))
        return result


class TransformerBlock(nn.Module):
    """Attention, then two linear layers with a 3 x 3 convolution per channel between (it tells places apart)."""

    def __init__(self, channels: int, heads: int, reduction: int, ratio: int = 4) -> None:
        super().__init__()
        wide = channels * ratio
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, reduction)
        self.enter, self.leave = nn.Linear(channels, wide), nn.Linear(wide, channels)
        self.local = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)

    def forward(self, cells: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Map N x (height * width) x C to the same."""
        cells = cells + self.attention(self.norm_1(cells), height, width)
        wide = self.enter(self.norm_2(cells)).transpose(1, 2).unflatten(2, (height, width))
        wide = functional.gelu(self.local(wide)).flatten(2).transpose(1, 2)
        result: torch.Tensor = cells + self.leave(wide)
        return result


class TransformerStage(nn.Module):
    """Overlapping patches by a strided convolution, blocks, normalisation."""

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, heads: int, reduction: int, blocks: int
    ) -> None:
        super().__init__()
        kernel = 2 * stride - 1
        self.embed = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2)
        self.norm_in, self.norm_out = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, reduction) for _ in range(blocks))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x channels x H/stride x W/stride."""
        grid = self.embed(features)
        height, width = grid.shape[-2:]
        cells = self.norm_in(grid.flatten(2).transpose(1, 2))
        for block in self.blocks:
            cells = block(cells, height, width)
        result: torch.Tensor = self.norm_out(cells).transpose(1, 2).unflatten(2, (height, width))
        return result


class TransformerUnet(StagedUnet):
    """U-Net whose encoder is a hierarchical transformer.

    Stages of 32, 64, 128, 256 channels with 1, 2, 4, 8 heads at 1/4, 1/8, 1/16, 1/32 (encoder after SegFormer, Xie et
    al. 2021, with powers of two); attention looks at maps shrunk by 8, 4, 2, 1.

    `blocks`: transformer blocks per stage.
    """

    def __init__(
        self, in_channels: int, classes: int = 2, width: float = 1.0, *, blocks: tuple[int, ...] = (2, 2, 2, 2)
    ) -> None:
        widths = [scale_width(channels, width, heads) for channels, heads in zip(WIDTHS, HEADS, strict=True)]
        stages, channels = nn.ModuleList(), in_channels
        for number, out_channels in enumerate(widths):
            stage = TransformerStage(
                channels,
                out_channels,
                stride=4 if number == 0 else 2,
                heads=HEADS[number],
                reduction=REDUCTIONS[number],
                blocks=blocks[number],
            )
            stages.append(stage)
            channels = out_channels
        super().__init__(in_channels, classes, width, stages, widths)
