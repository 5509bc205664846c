"""GRU whose fan is drawn from a random bottleneck (Cai et al. 2024, doi:10.3389/feart.2024.1394129)."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forecasting.neural.network import QUANTILES, Shape, StationNetwork

if TYPE_CHECKING:
    from forecasting.neural.learner import Examples

WEIGHT = 1e-3
PAIRS = 50
SEED = 7
_USUAL = 1.0 / 0.6745
"""Standard deviation of a Gaussian whose median size is 1: an untrained fan is as wide as that of every network."""


class VaeGru(StationNetwork):
    """(N, W, F) -> state (N, hidden) -> mean and log variance of a code -> 101 draws -> quantiles of what they say.

    The divergence of the code from the standard normal is added to the loss (Kingma and Welling 2014). Cai et al. draw
    their intervals likewise; their network forecasts one step.
    """

    head: "DrawnHead"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)
        self.head = DrawnHead(shape.hidden + shape.ahead, shape.horizons, max(shape.hidden // 4, 1))

    def encode(self, rows: Tensor) -> Tensor:
        """The state after the last row."""
        _, state = self.encoder(rows)
        last: Tensor = state[-1]
        return last

    def penalty(self, examples: "Examples", quantiles: Tensor) -> Tensor | None:
        """The weighted divergence of the last pass."""
        del examples, quantiles
        return None if self.head.divergence is None else WEIGHT * self.head.divergence


class DrawnHead(nn.Module):
    """A state (..., C) -> quantiles (..., H, 5) of what the draws of its code say.

    In training the draws are new at each step. Afterwards they are always the same ones, with each its opposite and the
    mean among them: the same window gives the same forecast bit for bit, and an untrained network gives the simple
    forecast.
    """

    draws: Tensor

    def __init__(self, width: int, horizons: int, narrow: int) -> None:
        super().__init__()
        self.to_code = nn.Linear(width, 2 * narrow)
        nn.init.zeros_(self.to_code.weight)
        nn.init.zeros_(self.to_code.bias)
        self.straight = nn.Linear(narrow, horizons, bias=False)
        with torch.no_grad():
            self.straight.weight.copy_(_USUAL * nn.functional.normalize(torch.randn(horizons, narrow), dim=-1))
        last = nn.Linear(width, horizons)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.bent = nn.Sequential(nn.Linear(narrow, width), nn.GELU(), last)
        spread = torch.quasirandom.SobolEngine(narrow, scramble=True, seed=SEED).draw(PAIRS)  # type: ignore[no-untyped-call]
        half = math.sqrt(2.0) * torch.erfinv(2.0 * spread.clamp(1e-4, 1.0 - 1e-4) - 1.0)
        self.register_buffer("draws", torch.cat([half, half.new_zeros(1, narrow), -half]))
        self.divergence: Tensor | None = None

    def forward(self, state: Tensor) -> Tensor:
        """Quantiles in the order of `QUANTILES`."""
        mean, log_variance = self.to_code(state).chunk(2, dim=-1)
        self.divergence = -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(dim=-1).mean()
        size = torch.exp(0.5 * log_variance).unsqueeze(-2)
        count = self.draws.shape[0]
        grains = torch.randn(*mean.shape[:-1], count, mean.shape[-1]).to(mean) if self.training else self.draws
        code = mean.unsqueeze(-2) + size * grains
        out = (self.straight(code) + self.bent(code)).sort(dim=-2).values
        # as numpy.quantile does it: straight between the two draws beside the wanted place
        places = [level * (count - 1) for level in QUANTILES]
        made = [torch.lerp(out[..., int(p), :], out[..., math.ceil(p), :], p - int(p)) for p in places]
        return torch.stack(made, dim=-1)
