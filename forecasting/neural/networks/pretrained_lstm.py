"""LSTM that begins with shipped weights; its window may be mostly empty (Hochreiter and Schmidhuber 1997)."""

from torch import Tensor, cat, nn

from forecasting.neural.network import Shape, StationNetwork


class PretrainedLstm(StationNetwork):
    """(N, W, F) -> state of the last row beside the mean of the states (N, 2 hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 2 * shape.hidden)
        self.encoder = nn.LSTM(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The state after the last row, and the mean over the rows."""
        states, (state, _) = self.encoder(rows)
        return cat([state[-1], states.mean(dim=1)], dim=-1)
