"""Recurrent networks over the window of one station, with one set of weights for all stations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class Recurrent(StationNetwork):
    """Recurrent network, (N, W, F) -> (N, hidden). A subclass chooses the recurrent layer."""

    layer: Callable[..., nn.Module]

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = self.layer(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the state after the last row."""
        _, last = self.encoder(rows)
        state = last[0] if isinstance(last, tuple) else last
        return torch.as_tensor(state[-1])


class Gru(Recurrent):
    """GRU over the window of one station (Cho et al. 2014, arXiv:1406.1078)."""

    layer = nn.GRU


class Lstm(Recurrent):
    """LSTM over the window of one station (Hochreiter and Schmidhuber 1997, Neural Computation 9)."""

    layer = nn.LSTM
