"""Logistic regression on each pixel and its surroundings, as a network with one trainable layer."""

import math

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import SegmentationNetwork, initialise

SCALES_PX = (1.0, 3.0, 8.0)
RADIUS_SIGMAS = 3
LEAST_VARIANCE = 1e-6


class LogisticRegression(SegmentationNetwork):
    """Logistic regression on the bands, their means and their standard deviations around the pixel at three scales.

    Means and standard deviations are weighted by Gaussians of 1, 3 and 8 px. Before the regression, all features are
    normalised to mean 0 and standard deviation 1 over the training.

    Args:
        in_channels: bands.
        classes: output classes.
        width: has no effect. All networks of the registry take it.
    """

    stride = 1

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:  # noqa: ARG002
        super().__init__()
        features = in_channels * (1 + 2 * len(SCALES_PX))
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.head = nn.Conv2d(features, classes, 1)
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map images N x bands x H x W to logits N x classes x H x W."""
        return self.head(self.norm(describe_surroundings(images)))  # type: ignore[no-any-return]


def describe_surroundings(images: torch.Tensor) -> torch.Tensor:
    """Return the features N x (7 bands) x H x W of images N x bands x H x W; pixels beyond the edge count as 0.

    >>> describe_surroundings(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 21, 8, 8])
    """
    features = [images]
    for scale in SCALES_PX:
        mean = smooth(images, scale)
        variance = smooth(images**2, scale) - mean**2
        features += [mean, variance.clamp_min(LEAST_VARIANCE).sqrt()]
    return torch.cat(features, dim=1)


def smooth(images: torch.Tensor, scale_px: float) -> torch.Tensor:
    """Return images N x bands x H x W under a Gaussian that is cut off at three standard deviations.

    >>> ones = torch.ones(1, 1, 21, 21)
    >>> bool(torch.isclose(smooth(ones, 3.0)[0, 0, 10, 10], torch.tensor(1.0)))
    True
    """
    radius = math.ceil(RADIUS_SIGMAS * scale_px)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / scale_px) ** 2)
    weights = weights / weights.sum()
    bands = images.shape[1]
    rows = weights.reshape(1, 1, -1, 1).expand(bands, 1, -1, 1)
    columns = weights.reshape(1, 1, 1, -1).expand(bands, 1, 1, -1)
    across = functional.conv2d(images, rows, padding=(radius, 0), groups=bands)
    return functional.conv2d(across, columns, padding=(0, radius), groups=bands)
