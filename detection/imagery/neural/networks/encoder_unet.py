"""A U-Net whose encoder has the names and shapes of public weight files."""

from collections.abc import Sequence

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import LEAST_CELLS, SegmentationNetwork, initialise, scale_width
from detection.imagery.neural.networks.encoders import ENCODERS, EncoderBlock, SqueezeExcite
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
from detection.imagery.neural.networks.unet import DoubleConv, decode

DECODER_WIDTHS = (128, 64, 48, 32, 16)


class EncoderUnet(SegmentationNetwork):
    """U-Net on an encoder with five levels (`encoders`), with bilinear up-sampling and a 1 x 1 head.

    The decoder reads the maps of the encoder at 1/16, 1/8, 1/4 and 1/2; at full size it reads the enlarged map alone.

    Args:
        in_channels: bands.
        classes: output classes.
        width: multiplier of all channels.
        encoder: a name of `encoders.ENCODERS`.
        decoder: channels of the decoder, the coarsest level first.

    Raises:
        ValueError: the encoder is unknown.
    """

    stride = 32

    def __init__(
        self,
        in_channels: int,
        classes: int = 2,
        width: float = 1.0,
        *,
        encoder: str = "efficientnet-lite0",
        decoder: Sequence[int] = DECODER_WIDTHS,
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, not {encoder!r}")
        self.encoder = ENCODERS[encoder](in_channels, width)
        *skips, channels = self.encoder.channels
        self.lifts = nn.ModuleList()
        self.decoder = nn.ModuleList()
        widths = [scale_width(wanted, width) for wanted in decoder]
        for skip, out_channels in zip([*reversed(skips), 0], widths, strict=True):
            self.lifts.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.decoder.append(DoubleConv(skip + channels, out_channels, out_channels))
            channels = out_channels
        self.head = nn.Conv2d(channels, classes, 1)
        self.apply(initialise)
        for module in self.encoder.modules():
            # A gate that starts saturated has no gradient.
            if isinstance(module, SqueezeExcite):
                nn.init.normal_(module.conv_expand.weight, std=1e-3)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        without_skip = images[:, :0]
        return decode([without_skip, *self.encoder(images)], self.lifts, self.decoder, self.head)

    def open_stream(self) -> RowStream | None:
        """See `SegmentationNetwork.open_stream`. None with squeezes, because they take means over the whole window."""
        if any(isinstance(module, SqueezeExcite) for module in self.encoder.modules()):
            return None
        levels = [Chain([_open_layer(module) for module in level]) for level in self.encoder.list_levels()]
        decoder = [Chain([Convolution(unit) for unit in block.children()]) for block in self.decoder]
        lifts = [Enlargement() for _ in self.lifts]
        return RowStream(levels, lifts, decoder, RowByRow(self.head), self.stride, LEAST_CELLS * self.stride)


def _open_layer(module: nn.Module) -> RowLayer:
    """Return the row layer that computes one module of an encoder."""
    if isinstance(module, nn.MaxPool2d):
        kernel, stride, padding = module.kernel_size, module.stride, module.padding
        assert isinstance(kernel, int), "the pools of encoders are square"
        assert isinstance(stride, int), "the pools of encoders are square"
        assert isinstance(padding, int), "the pools of encoders are square"
        return Pool(kernel, stride, padding)
    if not isinstance(module, EncoderBlock):
        return Convolution(module)
    body = Chain([Convolution(unit) for unit in module.list_units()])
    if not module.has_shortcut:
        return body
    return Shortcut(body, _open_shortcut(module), is_active=module.ends_active)


def _open_shortcut(block: EncoderBlock) -> RowLayer:
    downsample = getattr(block, "downsample", None)
    return RowByRow(nn.Identity()) if downsample is None else Convolution(downsample)
