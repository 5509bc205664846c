"""Transformer over stations, with the graphs as bias of its attention (Dwivedi and Bresson 2021; Ying et al. 2021)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive
from slopeward_lab.forecasters.row_convolution import RowConvolution

HEADS = 4


class GraphTransformer(SiteNetwork):
    """(B, S, W, F) -> one token a station (B, S, hidden) -> attention over stations -> (B, S, H, 5).

    Every station may look at every other that spoke: edges are learned, and the given graphs only bias the scores by
    one learned number for each head and graph (Graphormer, arXiv:2106.05234). `weights` keeps the
    last (B, heads, S, S).
    """

    weights: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.heads = HEADS if shape.hidden % HEADS == 0 else 1
        self.front = RowConvolution(shape)
        self.embed = nn.Linear(2 * self.front.width, shape.hidden)
        self.bias = nn.Parameter(torch.zeros(self.heads, self.supports.shape[0]))
        self.before = nn.LayerNorm(shape.hidden)
        self.attend = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.join = nn.Linear(shape.hidden, shape.hidden)
        self.between = nn.LayerNorm(shape.hidden)
        self.think = nn.Sequential(
            nn.Linear(shape.hidden, 2 * shape.hidden), nn.GELU(), nn.Linear(2 * shape.hidden, shape.hidden)
        )
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to the simple forecast."""
        batch, stations = rows.shape[:2]
        found = self.front(rows.flatten(0, 1))
        token = self.embed(torch.cat([found.mean(dim=1), found[:, -1]], dim=-1)).reshape(batch, stations, -1)
        asks, tells, says = (
            part.reshape(batch, stations, self.heads, -1).transpose(1, 2)
            for part in self.attend(self.before(token)).chunk(3, dim=-1)
        )
        score = asks @ tells.transpose(-1, -2) / asks.shape[-1] ** 0.5
        score = score + torch.einsum("hg,gij->hij", self.bias, self.supports)
        alive = find_alive(rows).squeeze(-1).transpose(0, 1)
        open_ = torch.maximum(alive.unsqueeze(1).expand(-1, stations, -1), torch.eye(stations, dtype=alive.dtype))
        weights = torch.softmax(score.masked_fill(open_.unsqueeze(1) == 0, float("-inf")), dim=-1)
        self.weights = weights.detach()
        token = token + self.join((weights @ says).transpose(1, 2).flatten(2))
        token = token + self.think(self.between(token))
        return self.predict_quantiles(self.dropout(token), known)
