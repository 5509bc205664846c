"""Layers that several segmentation networks share."""

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Least cells of the coarsest map along each axis, so that batch normalisation can be trained on one image.
LEAST_CELLS = 2


def scale_width(channels: int, width: float, multiple: int = 1) -> int:
    """Scale a channel count to a multiple of `multiple`, never below that.

    >>> [scale_width(c, 0.125) for c in (64, 128, 256, 512)]
    [8, 16, 32, 64]
    >>> [scale_width(c, 0.2, 8) for c in (64, 128, 32)]
    [16, 24, 8]
    """
    return max(multiple, multiple * round(channels * width / multiple))


def count_norm_groups(channels: int) -> int:
    """Return the number of groups of a group normalisation: 16, halved until it divides the channels.

    >>> [count_norm_groups(c) for c in (64, 24, 12, 7)]
    [16, 8, 4, 1]
    """
    groups = 16
    while channels % groups:
        groups //= 2
    return groups


def pad_to_stride(images: torch.Tensor, stride: int, least_px: int = 0) -> torch.Tensor:
    """Pad N x C x H x W on the right and at the bottom to multiples of `stride`, and to `least_px` at least.

    Reflection continues the texture. The edge is repeated along an axis that is too short to be reflected.
    """
    height, width = images.shape[-2:]
    down, right = (max(-size % stride, least_px - size) for size in (height, width))
    if right:
        images = functional.pad(images, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if down:
        images = functional.pad(images, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return images


def enlarge(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resize a map to the height and width of another, bilinear."""
    return functional.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution after He et al. 2015, with a bias of zero; for `Module.apply`."""
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return
    if isinstance(module, nn.ConvTranspose2d):
        # Each output of a transposed convolution reads only kernel / stride cells per axis of its input.
        inputs = (
            module.in_channels * module.kernel_size[0] * module.kernel_size[1] / (module.stride[0] * module.stride[1])
        )
        nn.init.normal_(module.weight, std=(2 / inputs) ** 0.5)
    else:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def initialise_bilinear(layer: nn.ConvTranspose2d) -> None:
    """Set the weights of a transposed convolution to a bilinear enlargement of each channel."""
    size, (rows, columns) = layer.stride[0], layer.kernel_size[:2]
    axes = [1 - (torch.arange(k) - (k - 1) / 2).abs() / size for k in (rows, columns)]
    kernel = axes[0].clamp(min=0)[:, None] * axes[1].clamp(min=0)[None, :]
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(min(layer.in_channels, layer.out_channels)):
            layer.weight[channel, channel] = kernel
        if layer.bias is not None:
            layer.bias.zero_()


class Rowwise(Protocol):
    """Computes the logits of an image from consecutive bands of rows; see `row_stream.RowStream`."""

    def draw(self, images: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Map the next rows of the image to the next rows of logits, of which there may be none yet."""


class SegmentationNetwork(nn.Module):
    """Base of segmentation networks: pad images to multiples of `stride`, and crop the logits to their size.

    The coarsest map of the padded image has at least `LEAST_CELLS` cells along each axis.
    """

    stride = 16

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map N x bands x H x W to logits N x classes x H x W."""
        height, width = images.shape[-2:]
        return self.logits(pad_to_stride(images, self.stride, LEAST_CELLS * self.stride))[..., :height, :width]

    def open_stream(self) -> Rowwise | None:
        """Return an object that computes the logits of `forward` row by row; None if the network cannot be used so."""
        return None

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map images whose sides are multiples of the stride to logits of the same size."""
        raise NotImplementedError


class ThinnedConv(nn.Conv2d):
    """A 1 x 1 convolution with a stride, computed as a selection of cells and a convolution without stride.

    The results are the same. The gradient of the strided form corrupts memory on processors where oneDNN computes it
    (torch 2.13, channels last, at most 12 input channels, 80 x 80 px and more).
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x out_channels x H/stride x W/stride."""
        rows, columns = self.stride
        return functional.conv2d(features[..., ::rows, ::columns], self.weight, self.bias)


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation and activation.

    Args:
        extra: module between the convolution and the normalisation. None: none.
        active: whether an activation follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        extra: nn.Module | None = None,
        active: bool = True,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        padding = dilation * (kernel // 2)
        convolution_type = ThinnedConv if kernel == 1 and stride > 1 else nn.Conv2d
        convolution = convolution_type(
            in_channels, out_channels, kernel, stride, padding, dilation=dilation, groups=groups, bias=False
        )
        parts: list[nn.Module] = [convolution] if extra is None else [convolution, extra]
        parts.append(nn.BatchNorm2d(out_channels))
        if active:
            parts.append(activation(inplace=True))
        super().__init__(*parts)


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a copy of a trained network with each batch normalisation merged into the convolution before it.

    The results are the same within rounding, and inference is faster. A network with an SRU is copied unchanged,
    because rounding changes the state of its gates.
    """
    folded = copy.deepcopy(network).eval()
    if any(isinstance(module, Sru) for module in folded.modules()):
        return folded
    for block in folded.modules():
        # Blocks of encoders name their convolutions and normalisations.
        for convolution, norm in getattr(block, "pairs", ()):
            fused = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm))
            setattr(block, convolution, fused)
            setattr(block, norm, nn.Identity())
    for unit in folded.modules():
        if isinstance(unit, ConvUnit) and isinstance(unit[0], nn.Conv2d) and isinstance(unit[1], nn.BatchNorm2d):
            unit[0], unit[1] = fuse_conv_bn_eval(unit[0], unit[1]), nn.Identity()
    return folded


class Residual(nn.Module):
    """A body added to its input, then a ReLU.

    If the body changes size or channels, a 1 x 1 convolution with normalisation adapts the input.
    """

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = body
        is_same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity() if is_same_shape else ConvUnit(in_channels, out_channels, 1, stride=stride, active=False)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x in_channels x H x W to N x out_channels x H/stride x W/stride."""
        return functional.relu(self.body(features) + self.shortcut(features))


class Sru(nn.Module):
    """Spatial reconstruction unit (Li et al. 2023, eq. 1 to 5) for an even number of channels.

    A group normalisation weighs each value. The map is separated into one of strong and one of weak values, and the
    halves of the channels of both are crossed.

    Args:
        gate: with `hard`, each value is in one of the two maps. The gate is a sign, so the normalisation is not
            trained. With `soft`, the strong map also contains weak values, multiplied by their weight, and the
            normalisation is trained.
    """

    def __init__(self, channels: int, gate: str = "hard") -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"an SRU needs an even number of channels, not {channels}")
        if gate not in {"hard", "soft"}:
            raise ValueError(f"gate must be 'hard' or 'soft', not {gate!r}")
        self.norm = nn.GroupNorm(count_norm_groups(channels), channels)
        self.gate = gate

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to the same. Values are strong where the sigmoid of their weight is above one half."""
        if self.gate == "hard":
            with torch.no_grad():
                # A sigmoid is above one half where its argument is above zero. Multiplying by a mask would be slower.
                strong = (self._weight(features) > 0).to(features.dtype)
            high = features * strong
            low = features - high
        else:
            weight = torch.sigmoid(self._weight(features))
            strong = weight > 0.5
            high = features * torch.where(strong, 1.0, weight)
            low = features * torch.where(strong, 0.0, weight)
        (high_1, high_2), (low_1, low_2) = high.chunk(2, dim=1), low.chunk(2, dim=1)
        return torch.cat([high_1 + low_2, high_2 + low_1], dim=1)

    def _weight(self, features: torch.Tensor) -> torch.Tensor:
        gamma = self.norm.weight
        # The paper divides by the plain sum, which can be zero. The sum of absolute values is zero for no weights only.
        share = gamma / gamma.abs().sum().clamp_min(1e-12)
        weight: torch.Tensor = share[:, None, None] * self.norm(features)
        return weight


class Bru(nn.Module):
    """Bottleneck reconstruction unit for channels in multiples of 8, with alpha 1/2, squeeze 2 and 2 groups.

    The first half of the channels is squeezed and passes a grouped 3 x 3 and a 1 x 1 convolution, which are added. The
    second half is squeezed, and completed by a 1 x 1 convolution of itself. The two maps are mixed by weights per
    channel that add up to one and depend on their means over the whole window.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        upper, squeeze, groups = channels // 2, 2, 2
        lower = channels - upper
        if channels % 8:
            raise ValueError(f"a BRU needs channels in multiples of 8, not {channels}")
        self.split = (upper, lower)
        self.squeeze_upper = nn.Conv2d(upper, upper // squeeze, 1, bias=False)
        self.squeeze_lower = nn.Conv2d(lower, lower // squeeze, 1, bias=False)
        self.grouped = nn.Conv2d(upper // squeeze, channels, 3, padding=1, groups=groups)
        self.point_upper = nn.Conv2d(upper // squeeze, channels, 1, bias=False)
        self.point_lower = nn.Conv2d(lower // squeeze, channels - lower // squeeze, 1, bias=False)

    def parts(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two maps before mixing, each N x C x H x W."""
        upper, lower = torch.split(features, list(self.split), dim=1)
        upper, lower = self.squeeze_upper(upper), self.squeeze_lower(lower)
        return self.grouped(upper) + self.point_upper(upper), torch.cat([self.point_lower(lower), lower], dim=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Mix the two maps by the pairwise softmax of their means."""
        first, second = self.parts(features)
        share = self.share(first, second)
        return torch.lerp(second, first, share)

    @staticmethod
    def share(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the weight of the first map, N x C x 1 x 1. The weight of the second is 1 less that.

        A softmax over two numbers is the sigmoid of their difference.
        """
        return torch.sigmoid(first.mean((2, 3), keepdim=True) - second.mean((2, 3), keepdim=True))


class SBConv(nn.Sequential):
    """An SRU followed by a BRU."""

    def __init__(self, channels: int, gate: str = "hard") -> None:
        super().__init__(Sru(channels, gate), Bru(channels))


class ImagePooling(nn.Module):
    """Means over a grid of `cells` x `cells` of the whole image, mixed by a 1 x 1 convolution and enlarged again.

    They are normalised over the channels of each image (one group) instead of over the batch, because a batch of one
    image has one value per channel here.
    """

    def __init__(self, in_channels: int, out_channels: int, cells: int = 1) -> None:
        super().__init__()
        self.cells = cells
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.GroupNorm(1, out_channels), nn.ReLU(inplace=True)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x out_channels x H x W."""
        return enlarge(self.mix(functional.adaptive_avg_pool2d(features, self.cells)), features)


class AtrousPyramid(nn.Module):
    """Parallel branches, mixed to one map: a 1 x 1 convolution, and 3 x 3 convolutions of several dilation rates.

    With `pooling`, the mean of the image is a further branch, as in ASPP (Chen et al. 2018). Without it, this is the
    ASPC of SCDnn.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int], *, pooling: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvUnit(in_channels, out_channels, 1)])
        self.branches.extend(ConvUnit(in_channels, out_channels, dilation=rate) for rate in rates)
        if pooling:
            self.branches.append(ImagePooling(in_channels, out_channels))
        self.mix = ConvUnit(len(self.branches) * out_channels, out_channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to N x out_channels x H x W."""
        mixed: torch.Tensor = self.mix(torch.cat([branch(features) for branch in self.branches], dim=1))
        return mixed
