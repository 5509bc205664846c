"""Bidirectional GRU with attention over its rows (Bahdanau et al. 2015; used for step-like landslides since 2021)."""

from torch import Tensor, nn

from forecasting.neural.attention import RowAttention
from forecasting.neural.network import Shape, StationNetwork


class BiGruAttention(StationNetwork):
    """(N, W, F) -> (N, W, 2 * (hidden // 2)) -> weighted mean (N, 2 * (hidden // 2))."""

    def __init__(self, shape: Shape) -> None:
        half = max(shape.hidden // 2, 1)
        super().__init__(shape, 2 * half)
        self.encoder = nn.GRU(shape.features, half, batch_first=True, bidirectional=True)
        self.attention = RowAttention(2 * half)

    def encode(self, rows: Tensor) -> Tensor:
        """The weighted mean of all states."""
        states, _ = self.encoder(rows)
        out: Tensor = self.attention(states)
        return out
