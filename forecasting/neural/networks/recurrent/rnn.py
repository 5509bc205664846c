"""Plain recurrent network with tanh (Elman 1990, Cognitive Science 14): what gates are compared with."""

from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class Rnn(StationNetwork):
    """(N, W, F) -> state of the last row (N, hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.RNN(shape.features, shape.hidden, batch_first=True)

    def encode(self, rows: Tensor) -> Tensor:
        """The state after the last row."""
        _, state = self.encoder(rows)
        last: Tensor = state[-1]
        return last
