"""Encoders whose parameters have the names and shapes of public weight files.

EfficientNet-lite0 and MobileNetV3 have the names of `timm`, ResNet those that `timm` and `torchvision` share, so that a
public file is read by name (`encoder_file`). The classification heads of these networks are left out.

Each encoder gives five maps, from 1/2 to 1/32 of the size of the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Final

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ThinnedConv, scale_width

# Epsilon of batch normalisation in the published EfficientNet-lite weights, which come from TensorFlow.
LITE_EPSILON: Final = 1e-3
CHANNEL_MULTIPLE: Final = 8
# Channels of a squeeze as a share of those of its block.
SQUEEZED_SHARE: Final = 0.25


def count_squeezed(channels: int) -> int:
    """Return the channels of a squeeze: a multiple of 8 that is no more than a tenth below the wanted share.

    >>> [count_squeezed(channels) for channels in (72, 120, 960)]
    [24, 32, 240]
    """
    wanted = channels * SQUEEZED_SHARE
    squeezed = max(CHANNEL_MULTIPLE, int(wanted + CHANNEL_MULTIPLE / 2) // CHANNEL_MULTIPLE * CHANNEL_MULTIPLE)
    return squeezed if squeezed >= 0.9 * wanted else squeezed + CHANNEL_MULTIPLE


def make_convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, padded so that a stride of 1 keeps the size."""
    convolution_type = ThinnedConv if kernel == 1 and stride > 1 else nn.Conv2d
    return convolution_type(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


class EncoderBlock(nn.Module):
    """A block of convolutions, each with a batch normalisation, and a shortcut where size and channels stay.

    Attributes:
        pairs: names of each convolution and of its normalisation, in order.
        activations: module after each pair.
        has_shortcut: whether the input is added to the output.
    """

    pairs: ClassVar[tuple[tuple[str, str], ...]]
    activations: Sequence[nn.Module]
    has_shortcut: bool = False
    ends_active: bool = False  # whether a ReLU follows the sum

    @property
    def squeeze(self) -> nn.Module | None:
        """Module that weighs the channels before the last pair; None if there is none."""
        return self._modules.get("se")

    def list_units(self) -> list[nn.Sequential]:
        """Return convolution, normalisation and activation of each pair. They share the weights of the block."""
        return [
            nn.Sequential(getattr(self, convolution), getattr(self, norm), activation)
            for (convolution, norm), activation in zip(self.pairs, self.activations, strict=True)
        ]

    def make_shortcut(self, features: torch.Tensor) -> torch.Tensor:
        """Return what is added to the output of the convolutions."""
        return features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x out_channels x H/stride x W/stride."""
        result = features
        units = self.list_units()
        for unit in units[:-1]:
            result = unit(result)
        if self.squeeze is not None:
            result = self.squeeze(result)
        result = units[-1](result)
        if self.has_shortcut:
            result = result + self.make_shortcut(features)
        return functional.relu(result) if self.ends_active else result


class SqueezeExcite(nn.Module):
    """Multiply channels by gates that depend on the means of all channels (Hu et al. 2018; Howard et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = count_squeezed(channels)
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to the same."""
        means = features.mean((2, 3), keepdim=True)
        return features * functional.hardsigmoid(self.conv_expand(functional.relu(self.conv_reduce(means))))


class DepthwiseSeparable(EncoderBlock):
    """A depthwise convolution, then one of 1 x 1."""

    pairs = (("conv_dw", "bn1"), ("conv_pw", "bn2"))

    def __init__(self, in_channels: int, out_channels: int, layout: "_Layout", stride: int, epsilon: float) -> None:
        super().__init__()
        self.conv_dw = make_convolution(in_channels, in_channels, layout.kernel, stride, in_channels)
        self.bn1 = nn.BatchNorm2d(in_channels, epsilon)
        self.conv_pw = make_convolution(in_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels, epsilon)
        self.activations = (layout.activation(), nn.Identity())
        self.has_shortcut = stride == 1 and in_channels == out_channels


class InvertedResidual(EncoderBlock):
    """A convolution of 1 x 1 to more channels, a depthwise one, and one of 1 x 1 back (Sandler et al. 2018)."""

    pairs = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))

    def __init__(self, in_channels: int, out_channels: int, layout: "_Layout", stride: int, epsilon: float) -> None:
        super().__init__()
        middle = scale_width(in_channels, layout.expansion, CHANNEL_MULTIPLE)
        self.conv_pw = make_convolution(in_channels, middle, 1)
        self.bn1 = nn.BatchNorm2d(middle, epsilon)
        self.conv_dw = make_convolution(middle, middle, layout.kernel, stride, middle)
        self.bn2 = nn.BatchNorm2d(middle, epsilon)
        if layout.squeezes:
            self.se = SqueezeExcite(middle)
        self.conv_pwl = make_convolution(middle, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels, epsilon)
        self.activations = (layout.activation(), layout.activation(), nn.Identity())
        self.has_shortcut = stride == 1 and in_channels == out_channels


class PlainConvolution(EncoderBlock):
    """A single convolution, the last stage of MobileNetV3."""

    pairs = (("conv", "bn1"),)

    def __init__(self, in_channels: int, out_channels: int, layout: "_Layout", stride: int, epsilon: float) -> None:
        super().__init__()
        self.conv = make_convolution(in_channels, out_channels, layout.kernel, stride)
        self.bn1 = nn.BatchNorm2d(out_channels, epsilon)
        self.activations = (layout.activation(),)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Equal blocks of a stage."""

    block: type[DepthwiseSeparable | InvertedResidual | PlainConvolution]
    kernel: int
    stride: int  # of the first block
    expansion: float
    channels: int
    blocks: int
    activation: Callable[[], nn.Module] = nn.ReLU6
    squeezes: bool = False


_LITE0: Final = (
    (_Layout(DepthwiseSeparable, 3, 1, 1, 16, 1),),
    (_Layout(InvertedResidual, 3, 2, 6, 24, 2),),
    (_Layout(InvertedResidual, 5, 2, 6, 40, 2),),
    (_Layout(InvertedResidual, 3, 2, 6, 80, 3),),
    (_Layout(InvertedResidual, 5, 1, 6, 112, 3),),
    (_Layout(InvertedResidual, 5, 2, 6, 192, 4),),
    (_Layout(InvertedResidual, 3, 1, 6, 320, 1),),
)
_MOBILE_LARGE: Final = (
    (_Layout(DepthwiseSeparable, 3, 1, 1, 16, 1, nn.ReLU),),
    (_Layout(InvertedResidual, 3, 2, 4, 24, 1, nn.ReLU), _Layout(InvertedResidual, 3, 1, 3, 24, 1, nn.ReLU)),
    (_Layout(InvertedResidual, 5, 2, 3, 40, 3, nn.ReLU, squeezes=True),),
    (
        _Layout(InvertedResidual, 3, 2, 6, 80, 1, nn.Hardswish),
        _Layout(InvertedResidual, 3, 1, 2.5, 80, 1, nn.Hardswish),
        _Layout(InvertedResidual, 3, 1, 2.3, 80, 2, nn.Hardswish),
    ),
    (_Layout(InvertedResidual, 3, 1, 6, 112, 2, nn.Hardswish, squeezes=True),),
    (_Layout(InvertedResidual, 5, 2, 6, 160, 3, nn.Hardswish, squeezes=True),),
    (_Layout(PlainConvolution, 1, 1, 1, 960, 1, nn.Hardswish),),
)
# Stages of `MobileEncoder.blocks` that each level after the stem consists of.
_STAGES_BY_LEVEL: Final = ((0, 1), (2,), (3, 4), (5, 6))


class Encoder(nn.Module):
    """An encoder with five levels; each halves the size of the map.

    Attributes:
        channels: channels of the five maps.
    """

    channels: tuple[int, ...]

    def list_levels(self) -> list[list[nn.Module]]:
        """Return the modules of each level in order."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Map N x bands x H x W, whose sides are multiples of 32, to the maps of 1/2, 1/4, 1/8, 1/16 and 1/32."""
        maps = []
        features = images
        for level in self.list_levels():
            for module in level:
                features = module(features)
            maps.append(features)
        return maps


class MobileEncoder(Encoder):
    """EfficientNet-lite0 or MobileNetV3-large.

    Args:
        in_channels: bands.
        width: multiplier of all channels; public files have a width of 1.
        stem: channels of the first convolution.
        stages: layout of the blocks.
        activation: after the first convolution.
        epsilon: of batch normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        width: float,
        *,
        stem: int,
        stages: Sequence[Sequence[_Layout]],
        activation: Callable[[], nn.Module],
        epsilon: float,
    ) -> None:
        super().__init__()
        channels = scale_width(stem, width, CHANNEL_MULTIPLE)
        self.conv_stem = make_convolution(in_channels, channels, 3, 2)
        self.bn1 = nn.BatchNorm2d(channels, epsilon)
        self.act1 = activation()
        self.blocks = nn.Sequential()
        widths = [channels]
        for stage in stages:
            blocks = nn.Sequential()
            for layout in stage:
                out_channels = scale_width(layout.channels, width, CHANNEL_MULTIPLE)
                for number in range(layout.blocks):
                    stride = layout.stride if number == 0 else 1
                    blocks.append(layout.block(channels, out_channels, layout, stride, epsilon))
                    channels = out_channels
            self.blocks.append(blocks)
            widths.append(channels)
        self.channels = (widths[0], *(widths[1 + level[-1]] for level in _STAGES_BY_LEVEL))

    def list_levels(self) -> list[list[nn.Module]]:
        """See `Encoder.list_levels`."""
        stem = nn.Sequential(self.conv_stem, self.bn1, self.act1)
        stages = list(self.blocks.children())
        return [[stem], *([*chain.from_iterable(stages[n].children() for n in level)] for level in _STAGES_BY_LEVEL)]


class BasicBlock(EncoderBlock):
    """Two convolutions of 3 x 3 and a shortcut (He et al. 2016)."""

    pairs = (("conv1", "bn1"), ("conv2", "bn2"))
    has_shortcut = True
    ends_active = True

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = make_convolution(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = make_convolution(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            convolution = make_convolution(in_channels, out_channels, 1, stride)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
        self.activations = (nn.ReLU(), nn.Identity())

    def make_shortcut(self, features: torch.Tensor) -> torch.Tensor:
        """See `EncoderBlock.make_shortcut`."""
        return features if self.downsample is None else self.downsample(features)


class ResNetEncoder(Encoder):
    """ResNet-18 or ResNet-34.

    Args:
        in_channels: bands.
        width: multiplier of all channels; public files have a width of 1.
        blocks: of each of the four stages.
    """

    def __init__(self, in_channels: int, width: float, blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [scale_width(channels, width, CHANNEL_MULTIPLE) for channels in (64, 64, 128, 256, 512)]
        self.conv1 = make_convolution(in_channels, widths[0], 7, 2)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for number, count in enumerate(blocks, start=1):
            stage = nn.Sequential()
            for index in range(count):
                in_width = widths[number - 1] if index == 0 else widths[number]
                stage.append(BasicBlock(in_width, widths[number], 2 if index == 0 and number > 1 else 1))
            self.add_module(f"layer{number}", stage)
        self.channels = tuple(widths)

    def list_levels(self) -> list[list[nn.Module]]:
        """See `Encoder.list_levels`."""
        stem = nn.Sequential(self.conv1, self.bn1, self.relu)
        stages = [list(getattr(self, f"layer{number}").children()) for number in (1, 2, 3, 4)]
        return [[stem], [self.maxpool, *stages[0]], *stages[1:]]


ENCODERS: Final[dict[str, Callable[[int, float], Encoder]]] = {
    "efficientnet-lite0": lambda bands, width: MobileEncoder(
        bands, width, stem=32, stages=_LITE0, activation=nn.ReLU6, epsilon=LITE_EPSILON
    ),
    "mobilenetv3-large": lambda bands, width: MobileEncoder(
        bands, width, stem=16, stages=_MOBILE_LARGE, activation=nn.Hardswish, epsilon=1e-5
    ),
    "resnet18": lambda bands, width: ResNetEncoder(bands, width, (2, 2, 2, 2)),
    "resnet34": lambda bands, width: ResNetEncoder(bands, width, (3, 4, 6, 3)),
}
