"""Attention CNN-LSTM on drivers chosen by mutual information (Yang et al. 2023, doi:10.3390/rs15204971)."""

import torch
from torch import Tensor, nn

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats
from forecasting.neural.network import Shape, SiteNetwork, find_alive
from slopeward_lab.forecasters.conv_lstm import KERNEL, line_of
from slopeward_lab.forecasters.driver_choice import choose_drivers
from slopeward_lab.forecasters.recurrent import RowAttention


class MicCnnLstm(SiteNetwork):
    """Convolution over stations, LSTM over rows, attention over both, (B, S, W, F) -> (B, S, H, 5).

    Attention over stations weights the stations in each row, and attention over rows the rows of each station.
    The network reads only drivers that have mutual information with the movement
    (`slopeward_lab.forecasters.driver_choice`); the paper, on the landslide of Outang, chooses them by the maximal
    information coefficient. The paper orders the stations by their numbers and forecasts one step of each. Here they
    are ordered along the line of `conv-lstm`, and the LSTM reads the pattern of the station itself beside that of the
    whole slope. The weight of a station without any reading in its window is 0.
    """

    order: Tensor
    keeps_graph = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("order", line_of(self.supports))
        half = max(shape.hidden // 2, 1)
        self.convolve = nn.Conv1d(shape.features, half, KERNEL, padding=KERNEL // 2)
        self.station_score = nn.Sequential(nn.Linear(half, half), nn.Tanh(), nn.Linear(half, 1, bias=False))
        self.encoder = nn.LSTM(2 * half, shape.hidden, batch_first=True)
        self.attention = RowAttention(shape.hidden)
        self.make_head(shape)

    @classmethod
    def choose_drivers(cls, values: Floats, drivers: DriverRows, *, lag: int) -> DriverRows:
        """Return the channels that have mutual information with the movement."""
        return drivers.only(choose_drivers(values, drivers, lag=lag))

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return the quantiles of the scaled residual."""
        batch, stations, window = rows.shape[:3]
        alive = find_alive(rows).permute(1, 2, 0)[..., self.order]
        lined = (rows[:, self.order].permute(0, 2, 3, 1) * alive.unsqueeze(1)).flatten(0, 1)
        patterns = nn.functional.gelu(self.convolve(lined)).reshape(batch, window, -1, stations).transpose(2, 3)
        scores = self.station_score(patterns).squeeze(-1).masked_fill(alive == 0, -1e9)
        station_weights = torch.softmax(scores, dim=-1)
        slope = (station_weights.unsqueeze(-1) * patterns).sum(dim=2, keepdim=True).expand_as(patterns)
        states, _ = self.encoder(torch.cat([patterns, slope], dim=-1).transpose(1, 2).flatten(0, 1))
        state = self.attention(states).reshape(batch, stations, -1)
        return self.predict_quantiles(self.dropout(state), known)[:, torch.argsort(self.order)]
