"""One encoder per source, joined by gates (gated multimodal units, Arevalo et al. 2017, arXiv:1702.01992)."""

import torch
from torch import Tensor, nn

from forecasting.data.kinds import KINDS
from forecasting.neural.network import Shape, SiteNetwork, find_alive

NEIGHBOURS = "neighbours"


class MultiSource(SiteNetwork):
    """Gated fusion of sources, (B, S, W, F) and drivers (B, W, C, 2) -> (B, S, H, 5).

    A GRU reads each source: the motion of the station, that of its neighbours by the graphs, and each kind of driver.
    The state of a source is added to that of the motion through a gate that reads both. A source without any reading in
    the window has mask 0 and adds nothing. In training, whole sources are dropped at random, so that the network works
    without each of them. Properties of the stations are joined to their motion.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        narrow = max(4, shape.hidden // 2)
        self.channels = {kind: [i for i, own in enumerate(shape.kinds) if own == kind] for kind in KINDS}
        widths = {kind: 2 * len(columns) for kind, columns in self.channels.items() if columns}
        features = shape.features - 2 * len(shape.kinds)
        widths[NEIGHBOURS] = self.supports.shape[0] * features
        self.motion = nn.GRU(features, shape.hidden, batch_first=True)
        self.encoders = nn.ModuleDict({name: nn.GRU(width, narrow, batch_first=True) for name, width in widths.items()})
        self.messages = nn.ModuleDict({name: nn.Linear(narrow, shape.hidden) for name in widths})
        self.gates = nn.ModuleDict({name: nn.Linear(shape.hidden + narrow, shape.hidden) for name in widths})
        self.make_head(shape)

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Return the quantiles of every station."""
        remaining = self.drop_sources(inputs, drivers)
        rows = self.with_drivers(inputs, None, static)
        batch, stations = rows.shape[:2]
        alive = find_alive(rows).transpose(0, 1)
        own = _read(self.motion, rows.flatten(0, 1)).reshape(batch, stations, -1) * alive
        fused = own
        for name, encoder in self.encoders.items():
            source, is_known = self._select_source(name, rows, remaining, alive)
            state = _read(encoder, source.flatten(0, -3)).reshape(*source.shape[:-2], -1).expand(-1, stations, -1)
            gate = torch.sigmoid(self.gates[name](torch.cat([own, state], dim=-1)))
            fused = fused + is_known * gate * torch.tanh(self.messages[name](state))
        return self.predict_quantiles(self.dropout(fused * alive), self.ahead(remaining))

    def _select_source(self, name: str, rows: Tensor, drivers: Tensor | None, alive: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of a source, (B, S or 1, W, D), and its mask, (B, S or 1, 1)."""
        if name == NEIGHBOURS:
            received = torch.einsum("gij,bjwf->biwgf", self.supports, rows * alive.unsqueeze(-1)).flatten(3)
            has_neighbours = (self.supports.abs().sum(dim=0) @ alive) > 0
            return received, has_neighbours.to(rows.dtype)
        assert drivers is not None, "only a network with drivers has encoders of drivers"
        channels = drivers[:, :, self.channels[name]]
        is_known = channels[..., 1].amax(dim=(1, 2)) > 0
        return channels.flatten(2).unsqueeze(1), is_known.to(rows.dtype).reshape(-1, 1, 1)


def _read(encoder: nn.Module, rows: Tensor) -> Tensor:
    """Return the state of a GRU after the last row, (N, W, D) -> (N, width)."""
    _, state = encoder(rows)
    last: Tensor = state[-1]
    return last
