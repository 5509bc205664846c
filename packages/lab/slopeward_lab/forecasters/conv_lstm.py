"""Convolutional LSTM along a line of stations (Shi et al. 2015, arXiv:1506.04214), in one dimension."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive

KERNEL = 3


class ConvLstm(SiteNetwork):
    """(B, S, W, F) -> gates by convolution over three neighbours of a line -> (B, S, H, 5).

    Stations have no natural line: they are put in the order of the second eigenvector of the graphs' Laplacian (Fiedler
    1973), which keeps neighbours beside each other. A silent station sends zeros.
    """

    order: Tensor
    keeps_graph = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.hidden = shape.hidden
        self.register_buffer("order", line_of(self.supports))
        self.gates = nn.Conv1d(shape.features + shape.hidden, 4 * shape.hidden, KERNEL, padding=KERNEL // 2)
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to the simple forecast."""
        alive = find_alive(rows).permute(1, 2, 0)[..., self.order]
        lined = rows[:, self.order].permute(2, 0, 3, 1)
        state = cell = rows.new_zeros(rows.shape[0], self.hidden, rows.shape[1])
        for row in lined:
            take, forget, give, new = self.gates(torch.cat([row, state * alive], dim=1)).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(take) * torch.tanh(new)
            state = torch.sigmoid(give) * torch.tanh(cell)
        return self.predict_quantiles(self.dropout(state.transpose(1, 2)), known)[:, torch.argsort(self.order)]


def line_of(supports: Tensor) -> Tensor:
    """Order of the stations along a line, shape (S,); as given where the graphs say nothing."""
    graph = supports.abs().sum(dim=0).double()
    graph = 0.5 * (graph + graph.T)
    stations = graph.shape[0]
    if stations < 3 or not bool((graph > 0).any()):
        return torch.arange(stations)
    _, vectors = torch.linalg.eigh(torch.diag(graph.sum(dim=1)) - graph)
    second = torch.round(vectors[:, 1], decimals=9)
    strongest = second[torch.argmax(second.abs())]
    return torch.argsort(second * torch.sign(strongest), stable=True)
