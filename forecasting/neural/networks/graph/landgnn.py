"""Messages between stations, then attention over their past (LandGNN, Kuang et al. 2022, doi:10.3390/rs14081919)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, SiteNetwork, find_alive, mix

PATCH = 4
HEADS = 4
LAYERS = 2


class LandGnn(SiteNetwork):
    """(B, S, W, F) -> (B, S, ceil(W / 4), hidden) -> graph convolutions -> attention over time -> (B, S, hidden).

    The parts are those of the paper: a graph of near stations, stacked graph convolutions that fuse what stations did
    in the same rows, and a "locally historical" transformer, of which each head has its own reach. Head k of ours looks
    at the past of the stations within k edges, head 0 at the station's own. A token asks when to look, and hears the
    mean of those that it reaches.

    The paper is known here by its abstract, its headings and the inputs of its algorithm. Our reading where that is
    silent: the reach of head k is k edges; only the newest token asks, for it alone is forecast from; a token is four
    rows; places in time are learned. The paper answers one step by a squared error, here the head is that of the house.
    A station that is silent in the whole window sends nothing.
    """

    reach: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.heads = HEADS if shape.hidden % HEADS == 0 else 1
        self.register_buffer("reach", reach_of(self.supports, self.heads))
        tokens = -(-shape.window // PATCH)
        self.missing = tokens * PATCH - shape.window
        self.embed = nn.Linear(PATCH * shape.features, shape.hidden)
        self.place = nn.Parameter(torch.randn(tokens, shape.hidden) * 0.02)
        views = 1 + self.supports.shape[0]
        self.fuse = nn.ModuleList([nn.Linear(views * shape.hidden, shape.hidden) for _ in range(LAYERS)])
        self.before = nn.LayerNorm(shape.hidden)
        self.ask = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.offer = nn.Linear(shape.hidden, 2 * shape.hidden, bias=False)
        self.join = nn.Linear(shape.hidden, shape.hidden)
        self.between = nn.LayerNorm(shape.hidden)
        self.think = nn.Sequential(
            nn.Linear(shape.hidden, 2 * shape.hidden), nn.GELU(), nn.Linear(2 * shape.hidden, shape.hidden)
        )
        self.make_head(shape)
        self.looks: Tensor | None = None

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        alive = find_alive(rows)
        padded = nn.functional.pad(rows, (0, 0, self.missing, 0))
        # stations lead, so that a graph is one matrix product for the whole batch
        nodes = self.embed(padded.reshape(*rows.shape[:2], -1, PATCH * rows.shape[-1])).transpose(0, 1)
        nodes = (nodes + self.place) * alive.unsqueeze(-1)
        for layer in self.fuse:
            nodes = (nodes + nn.functional.gelu(layer(mix(nodes, self.supports)))) * alive.unsqueeze(-1)
        seen = self.before(nodes) * alive.unsqueeze(-1)
        keys, values = self.offer(seen).reshape(*seen.shape[:3], 2, self.heads, -1).unbind(-3)
        heard = (self.reach @ alive.squeeze(-1)).clamp(min=1.0)[..., None, None]
        keys, values = (torch.einsum("hij,jbthc->hibtc", self.reach, one) / heard for one in (keys, values))
        asks = self.ask(seen[:, :, -1]).reshape(*seen.shape[:2], self.heads, -1).permute(2, 0, 1, 3)
        score = torch.einsum("hibc,hibtc->hibt", asks, keys) / keys.shape[-1] ** 0.5
        looks = torch.softmax(score, dim=-1)
        self.looks = looks.detach()
        told = torch.einsum("hibt,hibtc->ibhc", looks, values).flatten(2)
        token = nodes[:, :, -1] + self.join(told)
        token = token + self.think(self.between(token))
        return self.tell(self.dropout(token), known, batch_first=False).transpose(0, 1)

    def maps(self) -> list[tuple[str, Tensor, str]]:
        """How far back each head looked in the last pass, the mean over stations and windows."""
        if self.looks is None:
            return []
        order = f"one row a head, reach of 0 to {self.heads - 1} edges; patches of {PATCH} rows, oldest first"
        return [("attention over the past of the stations in reach", self.looks.mean(dim=(1, 2)), order)]


def reach_of(supports: Tensor, heads: int) -> Tensor:
    """1 where station j is within k edges of station i, for k from 0 to `heads` - 1, shape (heads, S, S)."""
    near = ((supports.abs().sum(dim=0) > 0) | torch.eye(supports.shape[-1], dtype=torch.bool)).float()
    found = [torch.eye(supports.shape[-1])]
    for _ in range(heads - 1):
        found.append(((found[-1] @ near) > 0).float())
    return torch.stack(found)
