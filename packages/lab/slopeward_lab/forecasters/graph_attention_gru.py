"""GRU of each station, then attention over its neighbours (Velickovic et al. 2018, GAT, arXiv:1710.10903)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive

HEADS = 2


class GraphAttentionGru(SiteNetwork):
    """(B, S, W, F) -> states (B, S, hidden) -> attention along edges of either graph -> (B, S, H, 5).

    A station looks at itself and at neighbours that spoke in their window; `weights` keeps the last (B, heads, S, S).
    """

    edges: Tensor
    weights: Tensor
    keeps_graph = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        edges = self.supports.abs().sum(dim=0) > 0
        self.register_buffer("edges", (edges | torch.eye(edges.shape[0], dtype=torch.bool)).float())
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)
        self.project = nn.Linear(shape.hidden, HEADS * shape.hidden, bias=False)
        self.to_score = nn.Parameter(torch.randn(2, HEADS, shape.hidden) * 0.1)
        self.bend = nn.LeakyReLU(0.2)
        self.join = nn.Linear((1 + HEADS) * shape.hidden, shape.hidden)
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to the simple forecast."""
        batch, stations = rows.shape[:2]
        _, last = self.encoder(rows.flatten(0, 1))
        state = last[-1].reshape(batch, stations, -1)
        sent = self.project(state).reshape(batch, stations, HEADS, -1).transpose(1, 2)
        takes, gives = ((sent * part.unsqueeze(1)).sum(dim=-1) for part in self.to_score)
        alive = find_alive(rows).squeeze(-1).transpose(0, 1)
        open_ = self.edges * alive.unsqueeze(1)
        # everybody sees itself, so that no row is empty
        open_ = torch.maximum(open_, torch.eye(stations, dtype=open_.dtype)).unsqueeze(1)
        score = self.bend(takes.unsqueeze(-1) + gives.unsqueeze(-2)).masked_fill(open_ == 0, float("-inf"))
        weights = torch.softmax(score, dim=-1)
        self.weights = weights.detach()
        seen = (weights @ sent).transpose(1, 2).flatten(2)
        joined = torch.tanh(self.join(torch.cat([state, seen], dim=-1)))
        return self.predict_quantiles(self.dropout(joined), known)
