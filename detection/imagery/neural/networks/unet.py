"""U-Nets: the plain network, whose tiles agree exactly with the whole scene, and variants with other units."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import (
    LEAST_CELLS,
    Bru,
    ConvUnit,
    Residual,
    SBConv,
    SegmentationNetwork,
    Sru,
    initialise,
    scale_width,
)
from detection.imagery.neural.networks.row_stream import (
    Chain,
    Convolution,
    Enlargement,
    Pool,
    RowByRow,
    RowLayer,
    RowStream,
    Shortcut,
)

ENCODER_WIDTHS = (64, 128, 256, 512)
UNITS = ("plain", "sru", "bru", "sbconv")


def make_extra_module(unit: str, channels: int, gate: str) -> nn.Module | None:
    """Return the module between each convolution and its normalisation (`ConvUnit`); None for `plain`.

    >>> make_extra_module("plain", 8, "hard") is None
    True
    """
    if unit not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, not {unit!r}")
    if unit == "sru":
        return Sru(channels, gate)
    if unit == "bru":
        return Bru(channels)
    return SBConv(channels, gate) if unit == "sbconv" else None


def encode(levels: nn.ModuleList, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the map of each level of an encoder. Each level but the first reads the map before it, pooled 2 x 2."""
    maps: list[torch.Tensor] = []
    for block in levels:
        maps.append(block(functional.max_pool2d(maps[-1], 2) if maps else images))
    return maps


def decode(skips: list[torch.Tensor], lifts: nn.ModuleList, decoder: nn.ModuleList, head: nn.Module) -> torch.Tensor:
    """Compute the logits from the maps of the encoder, the coarsest last. The list is emptied to free memory."""
    features = skips.pop()
    for lift, block in zip(lifts, decoder, strict=True):
        features = block(torch.cat([skips.pop(), lift(features)], dim=1))
    logits: torch.Tensor = head(features)
    return logits


class DoubleConv(nn.Sequential):
    """Two units: first to `mid_channels`, then to `out_channels`."""

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int, unit: str = "plain", gate: str = "hard"
    ) -> None:
        super().__init__(
            ConvUnit(in_channels, mid_channels, extra=make_extra_module(unit, mid_channels, gate)),
            ConvUnit(mid_channels, out_channels, extra=make_extra_module(unit, out_channels, gate)),
        )
        # Other units take means over the whole window.
        self.has_finite_field = unit == "plain"


class ResidualDoubleConv(Residual):
    """Two units and a shortcut around both, with the last ReLU after the sum."""

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int, unit: str = "plain", gate: str = "hard"
    ) -> None:
        body = nn.Sequential(
            ConvUnit(in_channels, mid_channels, extra=make_extra_module(unit, mid_channels, gate)),
            ConvUnit(mid_channels, out_channels, extra=make_extra_module(unit, out_channels, gate), active=False),
        )
        super().__init__(body, in_channels, out_channels)
        # Other units take means over the whole window.
        self.has_finite_field = unit == "plain"


class Unet(SegmentationNetwork):
    """U-Net with four 2 x 2 max pools (Ronneberger et al. 2015), peak 512, bilinear up-sampling.

    Encoder 64, 128, 256, 512, 512; decoder 256, 128, 64, 64, each fed with the enlarged map and the encoder's map of
    its scale; a 1 x 1 head. Variants have an SRU, a BRU or both (SBConv) after each 3 x 3 convolution, or a shortcut
    around each pair of units.

    Args:
        unit: one of `UNITS`: the module after each 3 x 3 convolution.
        residual: whether there is a shortcut around each pair of units.
        gate: `hard` or `soft`, of the SRU.
        peak: channels at the bottom (512, or 1024 for the original size).
        up: `bilinear`, or `transpose` (2 x 2 transposed convolutions that halve the channels).
    """

    # maps of the encoder that each level of the decoder reads
    skip_maps = 1

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        unit: str = "plain",
        residual: bool = False,
        gate: str = "hard",
        peak: int = 512,
        up: str = "bilinear",
    ) -> None:
        super().__init__()
        if up not in {"bilinear", "transpose"}:
            raise ValueError(f"up must be 'bilinear' or 'transpose', not {up!r}")
        multiple = {"plain": 1, "sru": 2}.get(unit, 8)
        *skips, bottom = (scale_width(channels, width, multiple) for channels in (*ENCODER_WIDTHS, peak))
        block = ResidualDoubleConv if residual else DoubleConv
        self.encoder = nn.ModuleList()
        channels = in_channels
        for out_channels in (*skips, bottom):
            self.encoder.append(self.make_level(channels, out_channels, block, unit, gate))
            channels = out_channels
        self.lifts = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(skips))):
            skip = skips[level]
            if up == "transpose":
                self.lifts.append(nn.ConvTranspose2d(channels, skip, 2, stride=2))
                self.decoder.append(block((self.skip_maps + 1) * skip, skip, skip, unit, gate))
                channels = skip
            else:
                self.lifts.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
                out_channels = skips[max(level - 1, 0)]
                self.decoder.append(block(self.skip_maps * skip + channels, out_channels, skip, unit, gate))
                channels = out_channels
        self.head = nn.Conv2d(channels, classes, 1)
        self.apply(initialise)

    @staticmethod
    def make_level(
        in_channels: int, out_channels: int, block: type[DoubleConv | ResidualDoubleConv], unit: str, gate: str
    ) -> nn.Module:
        """Return one level of the encoder."""
        return block(in_channels, out_channels, out_channels, unit, gate)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        return self.decode(encode(self.encoder, images))

    def decode(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """Compute the logits from the maps of the encoder, the coarsest last. The list is emptied to free memory."""
        return decode(skips, self.lifts, self.decoder, self.head)

    def open_stream(self) -> RowStream | None:
        """See `SegmentationNetwork.open_stream`. None for units that take means over the whole window."""
        levels = [*self.encoder, *self.decoder]
        if not all(isinstance(level, DoubleConv | ResidualDoubleConv) and level.has_finite_field for level in levels):
            return None
        row_layers = [_open_level(level) for level in levels]
        depth = len(self.encoder)
        encoder = [level if number == 0 else Chain([Pool(), level]) for number, level in enumerate(row_layers[:depth])]
        lifts = [Enlargement() if isinstance(lift, nn.Upsample) else RowByRow(lift) for lift in self.lifts]
        least_px = LEAST_CELLS * self.stride
        return RowStream(encoder, lifts, row_layers[depth:], RowByRow(self.head), self.stride, least_px)


def _open_level(level: nn.Module) -> RowLayer:
    """Return the row layer of a double convolution, with its shortcut if it has one."""
    if not isinstance(level, Residual):
        return Chain([Convolution(unit) for unit in level.children()])
    body = Chain([Convolution(unit) for unit in level.body])
    return Shortcut(body, RowByRow(level.shortcut), is_active=True)
