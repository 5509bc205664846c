"""Attention of the motion over the rows of its drivers (cross-attention, Vaswani et al. 2017, arXiv:1706.03762)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork, find_alive

HEADS = 4


class CrossAttention(StationNetwork):
    """GRU over the motion whose last state attends to the rows of the drivers, (N, W, F) -> (N, 2 hidden).

    The state of the motion is the query; the rows of the drivers, with learned positions, are keys and values. The
    weights thus select when rain or a water level counts for the present motion. Rows in which no driver is known are
    left out. Without any driver, the network is a GRU.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 2 * shape.hidden)
        channels = 2 * len(shape.kinds)
        heads = HEADS if shape.hidden % HEADS == 0 else 1
        self.encoder = nn.GRU(shape.features - channels, shape.hidden, batch_first=True)
        self.embed = nn.Linear(channels, shape.hidden) if channels else None
        self.position = nn.Parameter(torch.randn(shape.window, shape.hidden) * 0.1)
        self.attend = nn.MultiheadAttention(shape.hidden, heads, batch_first=True)

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Return the quantiles of every station."""
        remaining = self.drop_sources(inputs, drivers)
        rows = self.with_drivers(inputs, None, static)
        batch, stations = rows.shape[:2]
        _, last = self.encoder(rows.flatten(0, 1))
        state = last[-1].reshape(batch, stations, -1)
        attended = self._read_drivers(state, remaining) * find_alive(rows).transpose(0, 1)
        return self.predict_quantiles(self.dropout(torch.cat([state, attended], dim=-1)), self.ahead(remaining))

    def _read_drivers(self, state: Tensor, drivers: Tensor | None) -> Tensor:
        """Return the mean of the driver rows by attention, (B, S, hidden); 0 in a window without known drivers."""
        if self.embed is None or drivers is None:
            return torch.zeros_like(state)
        is_unknown = drivers[..., 1].amax(dim=-1) == 0
        has_any = ~is_unknown.all(dim=1)
        # A softmax needs a row; the result of windows without known drivers is set to 0 below.
        masked = is_unknown & has_any.unsqueeze(1)
        memory = self.embed(drivers.flatten(2)) + self.position
        attended, _ = self.attend(state, memory, memory, key_padding_mask=masked, need_weights=False)
        return torch.as_tensor(attended * has_any[:, None, None].to(state.dtype))
