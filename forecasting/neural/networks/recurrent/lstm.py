"""LSTM over one station's window (Hochreiter and Schmidhuber 1997, Neural Computation 9)."""

from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class Lstm(StationNetwork):
    """(N, W, F) -> state of the last row (N, hidden)."""

    layers = 1

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.LSTM(shape.features, shape.hidden, num_layers=self.layers, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The state of the uppermost layer after the last row."""
        _, (state, _) = self.encoder(rows)
        last: Tensor = state[-1]
        return last
