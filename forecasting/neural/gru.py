"""GRU over one station's window, one set of weights for all stations (Cho et al. 2014, arXiv:1406.1078)."""

from torch import Tensor, nn

from forecasting.neural.head import QuantileHead


class Gru(nn.Module):
    """(B, S, W, F) -> (B, S, H, 5). Every station is a series of its own; stations share the weights."""

    needs_graph = False

    def __init__(self, features: int, hidden: int, horizons: int, dropout: float, supports: Tensor | None) -> None:
        super().__init__()
        del supports
        self.encoder = nn.GRU(features, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = QuantileHead(hidden, horizons)

    def forward(self, inputs: Tensor) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        batch, stations = inputs.shape[:2]
        _, state = self.encoder(inputs.flatten(0, 1))
        out: Tensor = self.head(self.dropout(state[-1]))
        return out.reshape(batch, stations, *out.shape[1:])
