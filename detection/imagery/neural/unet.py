"""The plain U-Net: the network whose tiles agree with the whole scene."""

import torch
from torch import nn
from torch.nn import functional

STRIDE = 16
ENCODER_WIDTHS = (64, 128, 256, 512)


def scale_width(channels: int, width: float) -> int:
    """Scale a channel count, never below one.

    >>> [scale_width(c, 0.125) for c in ENCODER_WIDTHS]
    [8, 16, 32, 64]
    """
    return max(1, round(channels * width))


def pad_to_stride(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Pad N x C x H x W on the right and at the bottom to multiples of `stride`.

    Reflection continues the texture; where an axis is too short to be reflected its edge is repeated.
    """
    height, width = images.shape[-2:]
    down, right = -height % stride, -width % stride
    if right:
        images = functional.pad(images, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if down:
        images = functional.pad(images, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return images


class ConvUnit(nn.Sequential):
    """3 x 3 convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class DoubleConv(nn.Sequential):
    """Two units: first to `mid_channels`, then to `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int) -> None:
        super().__init__(ConvUnit(in_channels, mid_channels), ConvUnit(mid_channels, out_channels))


class Unet(nn.Module):
    """U-Net with four 2 x 2 max pools (Ronneberger et al. 2015), peak 512, bilinear up-sampling.

    Args:
        in_channels: input bands.
        classes: output classes.
        width: multiplier of all channel counts.
        peak: channels at the bottom (512, or 1024 for the original size).
        up: `bilinear`, or `transpose` (2 x 2 transposed convolutions that halve the channels).
    """

    def __init__(
        self, in_channels: int, classes: int = 2, width: float = 1.0, *, peak: int = 512, up: str = "bilinear"
    ) -> None:
        super().__init__()
        if up not in {"bilinear", "transpose"}:
            raise ValueError(f"up must be 'bilinear' or 'transpose', not {up!r}")
        skips = [scale_width(channels, width) for channels in ENCODER_WIDTHS]
        bottom = scale_width(peak, width)
        self.encoder = nn.ModuleList()
        channels = in_channels
        for out_channels in (*skips, bottom):
            self.encoder.append(DoubleConv(channels, out_channels, out_channels))
            channels = out_channels
        self.lifts = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(skips))):
            skip = skips[level]
            if up == "transpose":
                self.lifts.append(nn.ConvTranspose2d(channels, skip, 2, stride=2))
                self.decoder.append(DoubleConv(2 * skip, skip, skip))
                channels = skip
            else:
                self.lifts.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
                out_channels = skips[max(level - 1, 0)]
                self.decoder.append(DoubleConv(skip + channels, out_channels, skip))
                channels = out_channels
        self.head = nn.Conv2d(channels, classes, 1)
        self.apply(_initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map N x C x H x W to logits N x classes x H x W."""
        height, width = images.shape[-2:]
        features = pad_to_stride(images, STRIDE)
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(features if level == 0 else functional.max_pool2d(features, 2))
            skips.append(features)
        skips.pop()
        for lift, block in zip(self.lifts, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), lift(features)], dim=1))
        logits: torch.Tensor = self.head(features)
        return logits[..., :height, :width]


def build_unet(
    in_channels: int, classes: int = 2, width: float = 1.0, *, peak: int = 512, up: str = "bilinear"
) -> Unet:
    """Build the plain U-Net; see `Unet`."""
    return Unet(in_channels, classes, width, peak=peak, up=up)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
