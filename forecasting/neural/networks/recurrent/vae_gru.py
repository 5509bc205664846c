"""GRU whose state passes through a random bottleneck (Kingma and Welling 2014, arXiv:1312.6114)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork

WEIGHT = 1e-3


class VaeGru(StationNetwork):
    """(N, W, F) -> state (N, hidden) -> mean and log variance (N, hidden // 4) -> drawn in training -> (N, hidden).

    The divergence from the standard normal is added to the loss. At inference the mean is taken: the same window gives
    the same forecast.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        narrow = max(shape.hidden // 4, 1)
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)
        self.to_code = nn.Linear(shape.hidden, 2 * narrow)
        self.from_code = nn.Sequential(nn.Linear(narrow, shape.hidden), nn.GELU())
        self._divergence: Tensor | None = None

    def encode(self, rows: Tensor) -> Tensor:
        """The state as it comes out of the bottleneck."""
        _, state = self.encoder(rows)
        mean, spread = self.to_code(state[-1]).chunk(2, dim=-1)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * spread) if self.training else mean
        self._divergence = -0.5 * (1.0 + spread - mean.square() - spread.exp()).sum(dim=-1).mean()
        out: Tensor = self.from_code(code)
        return out

    def penalty(self) -> Tensor | None:
        """The weighted divergence of the last pass."""
        return None if self._divergence is None else WEIGHT * self._divergence
