"""LSTM whose gates see the neighbours, by given graphs and a learned one (Seo et al. 2018; Wu et al. 2019)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive, mix

PLACES = 4


class GraphLstm(SiteNetwork):
    """(B, S, W, F) -> (B, S, H, 5). Gates see own values and neighbours by the given and a learned graph.

    The learned graph is `softmax(relu(A B^T))` of two tables of 4 numbers a station (Graph WaveNet, arXiv:1906.00121);
    `adjacency` gives it for display.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        stations = self.supports.shape[-1]
        self.hidden = shape.hidden
        self.sends = nn.Parameter(torch.randn(stations, PLACES) * 0.1)
        self.takes = nn.Parameter(torch.randn(stations, PLACES) * 0.1)
        views = 2 + self.supports.shape[0]
        self.from_input = nn.Linear(views * shape.features, 4 * shape.hidden)
        self.from_state = nn.Linear(views * shape.hidden, 4 * shape.hidden)
        self.make_head(shape)

    def adjacency(self) -> Tensor:
        """The learned graph, shape (S, S); rows sum to 1."""
        return torch.softmax(torch.relu(self.takes @ self.sends.T), dim=-1)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to the simple forecast."""
        batch, stations = rows.shape[:2]
        alive = find_alive(rows)
        graphs = torch.cat([self.supports, self.adjacency().unsqueeze(0)])
        pushed = self.from_input(mix(rows.permute(1, 0, 2, 3), graphs))
        state = cell = rows.new_zeros(stations, batch, self.hidden)
        for row in pushed.unbind(2):
            take, forget, give, new = (row + self.from_state(mix(state * alive, graphs))).chunk(4, dim=-1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(take) * torch.tanh(new)
            state = torch.sigmoid(give) * torch.tanh(cell)
        return self.predict_quantiles(self.dropout(state), known, batch_first=False).transpose(0, 1)
