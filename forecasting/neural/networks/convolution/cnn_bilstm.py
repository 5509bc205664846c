"""Convolution in front of an LSTM that reads both ways (the CNN-BiLSTM of the Baishuihe studies)."""

import torch
from torch import Tensor, nn

from forecasting.neural.convolution import RowConvolution
from forecasting.neural.network import Shape, StationNetwork


class CnnBiLstm(StationNetwork):
    """(N, W, F) -> (N, W // 2, hidden // 2) -> last states of both directions (N, 2 * (hidden // 2))."""

    def __init__(self, shape: Shape) -> None:
        half = max(shape.hidden // 2, 1)
        super().__init__(shape, 2 * half)
        self.front = RowConvolution(shape)
        self.encoder = nn.LSTM(self.front.width, half, batch_first=True, bidirectional=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The states at both ends of the patterns."""
        _, (state, _) = self.encoder(self.front(rows))
        return torch.cat([state[0], state[1]], dim=-1)
