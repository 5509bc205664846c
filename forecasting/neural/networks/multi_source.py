"""One encoder per source, joined by gates (Arevalo et al. 2017, gated multimodal units, arXiv:1702.01992)."""

import torch
from torch import Tensor, nn

from forecasting.data.kinds import KINDS
from forecasting.neural.head import QuantileHead
from forecasting.neural.network import Shape, SiteNetwork, find_alive


class MultiSource(SiteNetwork):
    """(B, S, W, F) and drivers (B, W, C, 2) -> (B, S, H, 5). Fixed facts of the stations are joined to their motion.

    A GRU reads each source: the station's own motion, its neighbours' by the graphs, rain, water, image series, and the
    rain that was expected at each row for the time after it (the archived forecast, never what fell). What a
    source says is added to the state of the motion through a gate that sees both. A source without any reading in the
    window has mask 0 and says nothing; in training whole sources are silenced at random, so that each can be missed.
    `gates` keeps the mean opening of the last pass, for display; it is no cause.
    """

    joins = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.hidden, self.silence = shape.hidden, shape.dropout
        narrow = max(4, shape.hidden // 2)
        self.channels = {
            kind: [i for i, own in enumerate(shape.kinds) if own == kind] for kind in KINDS if kind not in shape.off
        }
        self.hears_motion = "motion" not in shape.off
        widths = {kind: 2 * len(rows) for kind, rows in self.channels.items() if rows}
        if "neighbours" not in shape.off:
            widths["neighbours"] = self.supports.shape[0] * shape.features
        self.motion = nn.GRU(shape.features, shape.hidden, batch_first=True)
        self.encoders = nn.ModuleDict({name: nn.GRU(wide, narrow, batch_first=True) for name, wide in widths.items()})
        self.says = nn.ModuleDict({name: nn.Linear(narrow, shape.hidden) for name in widths})
        self.opens = nn.ModuleDict({name: nn.Linear(shape.hidden + narrow, shape.hidden) for name in widths})
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead(shape.hidden, shape.horizons)
        self.gates: dict[str, Tensor] = {}

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        inputs = self.with_drivers(inputs, None, static)
        batch, stations = inputs.shape[:2]
        alive = find_alive(inputs).transpose(0, 1)
        own = self._read(self.motion, inputs.flatten(0, 1)).reshape(batch, stations, -1)
        own = own * (alive if self.hears_motion else 0.0) * self._keep(inputs)
        fused = own
        for name in self.encoders:
            heard = self._hear(name, inputs, drivers, alive)
            if heard is None:
                continue
            state, known = heard
            gate = torch.sigmoid(self.opens[name](torch.cat([own, state], dim=-1)))
            self.gates[name] = gate.detach().mean()
            fused = fused + known * self._keep(inputs) * gate * torch.tanh(self.says[name](state))
        out: Tensor = self.head(self.dropout(fused))
        return out

    def _hear(self, name: str, inputs: Tensor, drivers: Tensor | None, alive: Tensor) -> tuple[Tensor, Tensor] | None:
        """State (B, S, narrow) of a source and its mask (B, S or 1, 1); None where there is nothing to read."""
        batch, stations, window = inputs.shape[:3]
        encoder = self.encoders[name]
        if name == "neighbours":
            sent = torch.einsum("gij,bjwf->biwgf", self.supports, inputs * alive.unsqueeze(-1)).flatten(3)
            state = self._read(encoder, sent.flatten(0, 1)).reshape(batch, stations, -1)
            return state, ((self.supports.abs().sum(dim=0) @ alive) > 0).to(inputs.dtype)
        if drivers is None:
            return None
        rows = drivers[:, :, self.channels[name]]
        known = (rows[..., 1].amax(dim=(1, 2)) > 0).to(inputs.dtype).reshape(batch, 1, 1)
        state = self._read(encoder, rows.reshape(batch, window, -1))
        return state.unsqueeze(1).expand(-1, stations, -1), known

    def _keep(self, inputs: Tensor) -> Tensor | float:
        """0 for a whole source of a window now and then, in training only."""
        if not self.training or self.silence == 0.0:
            return 1.0
        return (torch.rand(inputs.shape[0], 1, 1) >= self.silence).to(inputs.dtype)

    @staticmethod
    def _read(encoder: nn.Module, rows: Tensor) -> Tensor:
        _, state = encoder(rows)
        last: Tensor = state[-1]
        return last
