"""GRU whose gates read the neighbours in two graphs (Seo et al. 2018 GConvGRU; Jiang et al. 2020 GC-GRU-N)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive, mix


class GraphGru(SiteNetwork):
    """Graph GRU, (B, S, W, F) -> (B, S, H, 5).

    A gate is linear in the values of the station and of its neighbours in each of the two graphs. A station without a
    reading in a row contributes zeros and its mask in this row. A station without any reading in its window does not
    affect the others.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.hidden = shape.hidden
        views = 1 + self.supports.shape[0]
        self.from_input = nn.Linear(views * shape.features, 3 * shape.hidden)
        self.from_state = nn.Linear(views * shape.hidden, 3 * shape.hidden)
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return the quantiles of the scaled residual."""
        batch, stations = rows.shape[:2]
        alive = find_alive(rows)
        # Stations are the first axis, so that a graph is one matrix product for the whole batch.
        projected = self.from_input(self._mix(rows.permute(1, 0, 2, 3)))
        state = rows.new_zeros(stations, batch, self.hidden)
        for row in projected.unbind(2):
            update_in, reset_in, candidate_in = row.chunk(3, dim=-1)
            update_state, reset_state, candidate_state = self.from_state(self._mix(state * alive)).chunk(3, dim=-1)
            update = torch.sigmoid(update_in + update_state)
            candidate = torch.tanh(candidate_in + torch.sigmoid(reset_in + reset_state) * candidate_state)
            state = candidate + update * (state - candidate)
        return self.predict_quantiles(self.dropout(state), known, batch_first=False).transpose(0, 1)

    def _mix(self, nodes: Tensor) -> Tensor:
        return mix(nodes, self.supports)
