"""GRU whose gates see the neighbours through two graphs (Seo et al. 2018 GConvGRU; Jiang et al. 2020 GC-GRU-N)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive, mix


class GraphGru(SiteNetwork):
    """(B, S, W, F) -> (B, S, H, 5). A gate is linear in [own, neighbours by graph 1, neighbours by graph 2].

    `supports` has shape (2, S, S). A station that is silent in a row sends zeros and its mask in that row, and one that
    is silent in the whole window sends no state at all: the others are forecast as if it did not stand there.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.hidden = shape.hidden
        views = 1 + self.supports.shape[0]
        self.from_input = nn.Linear(views * shape.features, 3 * shape.hidden)
        self.from_state = nn.Linear(views * shape.hidden, 3 * shape.hidden)
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        batch, stations = rows.shape[:2]
        alive = find_alive(rows)
        # stations lead, so that a graph is one matrix product for the whole batch
        pushed = self.from_input(self._mix(rows.permute(1, 0, 2, 3)))
        state = rows.new_zeros(stations, batch, self.hidden)
        for row in pushed.unbind(2):
            update_in, reset_in, candidate_in = row.chunk(3, dim=-1)
            update_state, reset_state, candidate_state = self.from_state(self._mix(state * alive)).chunk(3, dim=-1)
            update = torch.sigmoid(update_in + update_state)
            candidate = torch.tanh(candidate_in + torch.sigmoid(reset_in + reset_state) * candidate_state)
            state = candidate + update * (state - candidate)
        return self.predict_quantiles(self.dropout(state), known, batch_first=False).transpose(0, 1)

    def _mix(self, nodes: Tensor) -> Tensor:
        return mix(nodes, self.supports)
