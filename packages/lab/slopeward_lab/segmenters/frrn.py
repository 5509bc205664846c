"""FRRN-A and FRRN-B: a lane at full size runs beside a lane that pools, and they exchange at every unit."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ConvUnit, SegmentationNetwork, enlarge, initialise, scale_width

# units, channels, scale
ENCODER = ((3, 96, 2), (4, 192, 4), (2, 384, 8), (2, 384, 16))
DECODER = ((2, 192, 8), (2, 192, 4), (2, 96, 2))
DEEPER = ((2, 384, 32), (2, 192, 16))


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions added to their input, without ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvUnit(channels, channels), ConvUnit(channels, channels, active=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add the input to the body."""
        total: torch.Tensor = features + self.body(features)
        return total


class FullResolutionUnit(nn.Module):
    """Joins the pooled lane with the pooled full lane, convolves twice, gives the result back to both."""

    def __init__(self, in_channels: int, out_channels: int, lane_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            ConvUnit(in_channels + lane_channels, out_channels), ConvUnit(out_channels, out_channels)
        )
        self.back = nn.Conv2d(out_channels, lane_channels, 1)

    def forward(self, features: torch.Tensor, lane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (N x C x H/scale x W/scale, N x lane x H x W) to the next two of them."""
        features = self.body(torch.cat([features, functional.max_pool2d(lane, self.scale)], dim=1))
        return features, lane + functional.interpolate(self.back(features), scale_factor=self.scale, mode="nearest")


class LaneStage(nn.Module):
    """Full-resolution units of one scale, chained: each takes what its predecessor gave."""

    def __init__(self, units: Sequence[FullResolutionUnit]) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)

    def forward(self, features: torch.Tensor, lane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (N x C x H/scale x W/scale, N x lane x H x W) to the next two of them."""
        for unit in self.units:
            features, lane = unit(features, lane)
        return features, lane


class Frrn(SegmentationNetwork):
    """FRRN (Pohlen et al. 2017).

    5 x 5 to 48, three residual units; a lane of 32 channels at full size; full-resolution units of 96 channels at 1/2
    (three), 192 at 1/4 (four), 384 at 1/8 and 1/16 (two each), variant B also 384 at 1/32; back up by 192 at 1/8 and
    1/4 and 96 at 1/2 (two each; B also 192 at 1/16); joined with the lane, 1 x 1 to 48, three residual units, 1 x 1
    head. The units of a scale are chained. With 19 classes 17.71 and 24.72 million weights; the paper counts 17.7 and
    24.8.
    """

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0, *, variant: str = "A") -> None:
        super().__init__()
        encoder: Sequence[tuple[int, int, int]] = ENCODER
        decoder: Sequence[tuple[int, int, int]] = DECODER
        if variant == "B":
            encoder, decoder = (*ENCODER, DEEPER[0]), (DEEPER[1], *DECODER)
        elif variant != "A":
            raise ValueError(f"variant must be 'A' or 'B', not {variant!r}")
        self.stride = encoder[-1][2]
        first, lane = scale_width(48, width), scale_width(32, width)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, 5, padding=2), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.before = nn.Sequential(*(ResidualUnit(first) for _ in range(3)))
        self.split = nn.Conv2d(first, lane, 1, bias=False)
        self.down, channels = self._make_stages(encoder, first, lane, width)
        self.up, channels = self._make_stages(decoder, channels, lane, width)
        self.merge = nn.Conv2d(channels + lane, first, 1, bias=False)
        self.after = nn.Sequential(*(ResidualUnit(first) for _ in range(3)))
        self.head = nn.Conv2d(first, classes, 1)
        self.apply(initialise)

    @staticmethod
    def _make_stages(
        table: Sequence[tuple[int, int, int]], channels: int, lane: int, width: float
    ) -> tuple[nn.ModuleList, int]:
        stages = nn.ModuleList()
        for count, full_channels, scale in table:
            units = []
            for _ in range(count):
                out_channels = scale_width(full_channels, width)
                units.append(FullResolutionUnit(channels, out_channels, lane, scale))
                channels = out_channels
            stages.append(LaneStage(units))
        return stages, channels

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        features = self.before(self.stem(images))
        lane = self.split(features)
        for stage in self.down:
            features = functional.max_pool2d(features, 2)
            features, lane = stage(features, lane)
        for stage in self.up:
            features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features, lane = stage(features, lane)
        merged = self.merge(torch.cat([enlarge(features, lane), lane], dim=1))
        logits: torch.Tensor = self.head(self.after(merged))
        return logits
