"""Convolution, LSTM and attention over its rows (the attention CNN-LSTM of the Outang studies)."""

from torch import Tensor, nn

from forecasting.neural.attention import RowAttention
from forecasting.neural.convolution import RowConvolution
from forecasting.neural.network import Shape, StationNetwork


class CnnLstmAttention(StationNetwork):
    """(N, W, F) -> (N, W // 2, hidden // 2) -> (N, W // 2, hidden) -> weighted mean (N, hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.front = RowConvolution(shape)
        self.encoder = nn.LSTM(self.front.width, shape.hidden, batch_first=True)
        self.attention = RowAttention(shape.hidden)

    def encode(self, rows: Tensor) -> Tensor:
        """The weighted mean of all states."""
        states, _ = self.encoder(self.front(rows))
        out: Tensor = self.attention(states)
        return out
