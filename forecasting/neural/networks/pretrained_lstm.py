"""LSTM with shipped weights, for windows that may be mostly empty (Hochreiter and Schmidhuber 1997)."""

from torch import Tensor, cat, nn

from forecasting.neural.network import Shape, StationNetwork


class PretrainedLstm(StationNetwork):
    """LSTM whose state is that of the last row together with the mean of all rows, (N, W, F) -> (N, 2 hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 2 * shape.hidden)
        self.encoder = nn.LSTM(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the state after the last row, and the mean of the states."""
        states, (state, _) = self.encoder(rows)
        return cat([state[-1], states.mean(dim=1)], dim=-1)
