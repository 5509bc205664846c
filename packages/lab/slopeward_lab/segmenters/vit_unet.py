"""A plain vision transformer under a light convolutional decoder; its weights may come from disk."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import scale_width
from slopeward_lab.segmenters.staged_unet import StagedUnet

NECKS = (64, 128, 256)


class VitAttention(nn.Module):
    """Self-attention of all tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map N x tokens x C to the same."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class VitMlp(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map N x tokens x C to the same."""
        result: torch.Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return result


class VitBlock(nn.Module):
    """Attention and two layers, each behind a normalisation and added to its input."""

    def __init__(self, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(channels, 1e-6) for _ in range(2))
        self.attn, self.mlp = VitAttention(channels, heads), VitMlp(channels, hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map N x tokens x C to the same."""
        tokens = tokens + self.attn(self.norm1(tokens))
        result: torch.Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021) with the names of its public weights: tokens of patches and `prefix` others.

    `grid`: side of the grid of patches that `pos_embed` was learnt on; for others it is interpolated.
    """

    def __init__(
        self, in_channels: int, channels: int, depth: int, heads: int, hidden: int, patch: int, grid: int, prefix: int
    ) -> None:
        super().__init__()
        self.grid, self.prefix = grid, prefix
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(in_channels, channels, patch, patch)})
        self.pos_embed = nn.Parameter(torch.randn(1, grid * grid, channels) * 0.02)
        self.tokens = nn.Parameter(torch.randn(1, prefix, channels) * 0.02)
        self.blocks = nn.ModuleList(VitBlock(channels, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(channels, 1e-6)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map N x bands x H x W to the maps N x C x H/patch x W/patch after a third, two thirds and all blocks."""
        map_0 = self.patch_embed["proj"](images)
        places = self.pos_embed.transpose(1, 2).reshape(1, -1, self.grid, self.grid)
        if map_0.shape[-2:] != places.shape[-2:]:
            places = functional.interpolate(places, map_0.shape[-2:], mode="bicubic", align_corners=False)
        cells = (map_0 + places).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tokens.expand(len(cells), -1, -1), cells], dim=1)
        depth, maps = len(self.blocks), []
        taken = [-(-depth * third // 3) for third in (1, 2, 3)]
        for number, block in enumerate(self.blocks, 1):
            tokens = block(tokens)
            maps += [tokens] * taken.count(number)
        return [self.norm(one)[:, self.prefix :].transpose(1, 2).unflatten(2, map_0.shape[-2:]) for one in maps]


class VitUnet(StagedUnet):
    """The decoder of `StagedUnet` on 1 x 1 convolutions of three maps of the transformer, enlarged 4, 2 and 1 times.

    Args:
        dim: channels of a token; `width` scales them, and those of the decoder.
        frozen: leave the transformer as it is, and train the decoder alone.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int = 1536,
        patch: int = 16,
        grid: int = 14,
        prefix: int = 1,
        frozen: bool = False,
    ) -> None:
        channels, widths = scale_width(dim, width, heads), [scale_width(one, width) for one in NECKS]
        encoder = VisionTransformer(
            in_channels, channels, depth, heads, scale_width(hidden, width), patch, grid, prefix
        ).requires_grad_(not frozen)
        necks = (nn.Conv2d(channels, one, 1) for one in widths)
        super().__init__(in_channels, classes, width, nn.ModuleList([encoder, *necks]), widths)
        self.stride = patch

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The maps at about 1/4, 1/8 and 1/16."""
        encoder, *necks = self.stages
        maps = [neck(one) for neck, one in zip(necks, encoder(images), strict=True)]
        return [functional.interpolate(one, scale_factor=4 >> level, mode="bilinear") for level, one in enumerate(maps)]
