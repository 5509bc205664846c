"""Convolution in front of an LSTM (Sainath et al. 2015, ICASSP; one of the seven of Nava et al. 2023)."""

from torch import Tensor, nn

from forecasting.neural.convolution import RowConvolution
from forecasting.neural.network import Shape, StationNetwork


class CnnLstm(StationNetwork):
    """(N, W, F) -> (N, W // 2, hidden // 2) -> state of the last row (N, hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.front = RowConvolution(shape)
        self.encoder = nn.LSTM(self.front.width, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The state after the last pattern."""
        _, (state, _) = self.encoder(self.front(rows))
        last: Tensor = state[-1]
        return last
