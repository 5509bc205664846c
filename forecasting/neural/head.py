"""The one head of all networks: horizons x quantiles that cannot cross, and that starts as the simple forecast."""

import math

import torch
from torch import Tensor, nn

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)

# In units of the median |error| of a Gaussian (0.6745 sigma) the 90 % quantile lies at 1.90 and the 97.5 % one at 2.91.
_INNER = math.log(math.expm1(1.90))
_OUTER = math.log(math.expm1(1.01))


class QuantileHead(nn.Module):
    """Maps a state (..., hidden) to quantiles (..., H, 5) of the scaled residual to `lld`.

    The median is free; the others are stacked on it by cumulative softplus, so they never cross. Weights start at zero:
    the median is then exactly 0 (the forecast is `lld`) and the fan that of a Gaussian.
    """

    def __init__(self, hidden: int, horizons: int) -> None:
        super().__init__()
        self.horizons = horizons
        self.linear = nn.Linear(hidden, horizons * len(QUANTILES))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, state: Tensor) -> Tensor:
        """Quantiles in the order of `QUANTILES`, shape (..., H, 5)."""
        raw = self.linear(state).unflatten(-1, (self.horizons, len(QUANTILES)))
        middle = raw[..., 0]
        up = nn.functional.softplus(raw[..., 1] + _INNER)
        up_far = nn.functional.softplus(raw[..., 2] + _OUTER)
        down = nn.functional.softplus(raw[..., 3] + _INNER)
        down_far = nn.functional.softplus(raw[..., 4] + _OUTER)
        return torch.stack([middle - down - down_far, middle - down, middle, middle + up, middle + up + up_far], dim=-1)
