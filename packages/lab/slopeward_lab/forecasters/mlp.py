"""Multilayer perceptron over the whole window (Rumelhart et al. 1986): order is only the place of an input."""

from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork


class Mlp(StationNetwork):
    """(N, W, F) -> W F -> hidden -> hidden."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.window * shape.features, shape.hidden),
            nn.GELU(),
            nn.Linear(shape.hidden, shape.hidden),
            nn.GELU(),
        )

    def encode(self, rows: Tensor) -> Tensor:
        """The second hidden layer."""
        out: Tensor = self.encoder(rows)
        return out
