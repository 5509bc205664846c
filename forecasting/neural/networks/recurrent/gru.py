"""GRU over one station's window, one set of weights for all stations (Cho et al. 2014, arXiv:1406.1078)."""

from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class Gru(StationNetwork):
    """(N, W, F) -> state of the last row (N, hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The state after the last row."""
        _, state = self.encoder(rows)
        last: Tensor = state[-1]
        return last
