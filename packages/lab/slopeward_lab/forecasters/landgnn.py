"""LandGNN: graph convolutions, then attention over the past (Kuang et al. 2022, doi:10.3390/rs14081919)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive, mix

PATCH = 4  # rows of a token
HEADS = 4
LAYERS = 2  # graph convolutions


class LandGnn(SiteNetwork):
    """Graph convolutions and a "locally historical" transformer, (B, S, W, F) -> (B, S, H, 5).

    The parts are those of the paper: a graph of near stations, stacked graph convolutions that join what the stations
    did in the same rows, and attention over the past in which each head has a reach of its own. The abstract, the
    headings and the inputs of the algorithm of the paper are known here, but not its equations. These choices are ours:

    * Head k attends to the past of the stations within k edges; head 0 attends to the past of the station alone. Keys
      and values of a head are the means over the stations in its reach.
    * Only the newest token is a query, because the forecast is made from it.
    * A token is four rows, and positions in time are learned.
    * The paper forecasts one step with a squared error; here the last layer is that of all networks.

    A station without any reading in its window does not affect the others.
    """

    reach: Tensor  # 1 if a station is in the reach of another, shape (heads, S, S)

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.heads = HEADS if shape.hidden % HEADS == 0 else 1
        self.register_buffer("reach", find_reach(self.supports, self.heads), persistent=False)
        tokens = -(-shape.window // PATCH)
        self.padded_rows = tokens * PATCH - shape.window
        self.embed = nn.Linear(PATCH * shape.features, shape.hidden)
        self.position = nn.Parameter(torch.randn(tokens, shape.hidden) * 0.02)
        views = 1 + self.supports.shape[0]
        self.convolutions = nn.ModuleList([nn.Linear(views * shape.hidden, shape.hidden) for _ in range(LAYERS)])
        self.norm_before = nn.LayerNorm(shape.hidden)
        self.query = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.key_and_value = nn.Linear(shape.hidden, 2 * shape.hidden, bias=False)
        self.join = nn.Linear(shape.hidden, shape.hidden)
        self.norm_between = nn.LayerNorm(shape.hidden)
        self.feed_forward = nn.Sequential(
            nn.Linear(shape.hidden, 2 * shape.hidden), nn.GELU(), nn.Linear(2 * shape.hidden, shape.hidden)
        )
        self.make_head(shape)

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return the quantiles of the scaled residual."""
        alive = find_alive(rows)
        padded = nn.functional.pad(rows, (0, 0, self.padded_rows, 0))
        # Stations are the first axis, so that a graph is one matrix product for the whole batch.
        patches = padded.reshape(*rows.shape[:2], -1, PATCH * rows.shape[-1])
        nodes = self.embed(patches).transpose(0, 1)
        nodes = (nodes + self.position) * alive.unsqueeze(-1)
        for convolution in self.convolutions:
            nodes = (nodes + nn.functional.gelu(convolution(mix(nodes, self.supports)))) * alive.unsqueeze(-1)
        normed = self.norm_before(nodes) * alive.unsqueeze(-1)
        keys, values = self.key_and_value(normed).reshape(*normed.shape[:3], 2, self.heads, -1).unbind(-3)
        stations_in_reach = (self.reach @ alive.squeeze(-1)).clamp(min=1.0)[..., None, None]
        keys = torch.einsum("hij,jbthc->hibtc", self.reach, keys) / stations_in_reach
        values = torch.einsum("hij,jbthc->hibtc", self.reach, values) / stations_in_reach
        queries = self.query(normed[:, :, -1]).reshape(*normed.shape[:2], self.heads, -1).permute(2, 0, 1, 3)
        scores = torch.einsum("hibc,hibtc->hibt", queries, keys) / keys.shape[-1] ** 0.5
        attended = torch.einsum("hibt,hibtc->ibhc", torch.softmax(scores, dim=-1), values).flatten(2)
        token = nodes[:, :, -1] + self.join(attended)
        token = token + self.feed_forward(self.norm_between(token))
        return self.predict_quantiles(self.dropout(token), known, batch_first=False).transpose(0, 1)


def find_reach(supports: Tensor, heads: int) -> Tensor:
    """Return 1 where station j is within k edges of station i, for k from 0 to `heads` - 1, shape (heads, S, S)."""
    stations = supports.shape[-1]
    near = ((supports.abs().sum(dim=0) > 0) | torch.eye(stations, dtype=torch.bool)).float()
    reach = [torch.eye(stations)]
    for _ in range(heads - 1):
        reach.append(((reach[-1] @ near) > 0).float())
    return torch.stack(reach)
