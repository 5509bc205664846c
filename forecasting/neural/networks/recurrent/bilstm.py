"""LSTM that reads the past window in both directions (Schuster and Paliwal 1997): the past only, never the future."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class BiLstm(StationNetwork):
    """(N, W, F) -> last states of both directions, (N, 2 * (hidden // 2))."""

    def __init__(self, shape: Shape) -> None:
        half = max(shape.hidden // 2, 1)
        super().__init__(shape, 2 * half)
        self.encoder = nn.LSTM(shape.features, half, batch_first=True, bidirectional=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The states after the last row and, backwards, after the first one of the window."""
        _, (state, _) = self.encoder(rows)
        return torch.cat([state[0], state[1]], dim=-1)
