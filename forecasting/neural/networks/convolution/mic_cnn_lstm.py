"""CNN over stations, LSTM over rows, attention over both, drivers by MIC (Yang et al. 2023, doi:10.3390/rs15204971)."""

import torch
from torch import Tensor, nn

from forecasting.neural.attention import RowAttention
from forecasting.neural.network import Shape, SiteNetwork, find_alive
from forecasting.neural.networks.convolution.conv_lstm import KERNEL, line_of


class MicCnnLstm(SiteNetwork):
    """(B, S, W, F) -> patterns along a line of stations -> what the slope does in each row -> LSTM -> (B, S, H, 5).

    Spatial attention says which station counts in a row, temporal attention which row counts for a station. Drivers are
    chosen by their maximal information coefficient with the movement on the fit block (`forecasting/data/mic.py`); the
    others are not read. The paper puts stations in the order of their numbers and forecasts one step of each. Here they
    stand along the line of `conv-lstm`, and the LSTM reads a station's own pattern beside that of the slope.
    A station that is silent in the whole window sends zeros, and nobody looks at it.
    """

    chooses_drivers = True

    order: Tensor
    keeps_graph = False

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("order", line_of(self.supports))
        half = max(shape.hidden // 2, 1)
        self.convolve = nn.Conv1d(shape.features, half, KERNEL, padding=KERNEL // 2)
        self.score = nn.Sequential(nn.Linear(half, half), nn.Tanh(), nn.Linear(half, 1, bias=False))
        self.encoder = nn.LSTM(2 * half, shape.hidden, batch_first=True)
        self.attention = RowAttention(shape.hidden)
        self.make_head(shape)
        self.looks: Tensor | None = None

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Quantiles of the scaled residual to `lld`."""
        batch, stations, window = rows.shape[:3]
        alive = find_alive(rows).permute(1, 2, 0)[..., self.order]
        lined = (rows[:, self.order].permute(0, 2, 3, 1) * alive.unsqueeze(1)).flatten(0, 1)
        found = nn.functional.gelu(self.convolve(lined)).reshape(batch, window, -1, stations).transpose(2, 3)
        score = self.score(found).squeeze(-1).masked_fill(alive == 0, -1e9)
        looks = torch.softmax(score, dim=-1)
        self.looks = looks.detach()
        slope = (looks.unsqueeze(-1) * found).sum(dim=2, keepdim=True).expand_as(found)
        read = torch.cat([found, slope], dim=-1).transpose(1, 2).flatten(0, 1)
        states, _ = self.encoder(read)
        state = self.attention(states).reshape(batch, stations, -1)
        return self.tell(self.dropout(state), known)[:, torch.argsort(self.order)]

    def maps(self) -> list[tuple[str, Tensor, str]]:
        """Which stations counted in the last pass, mean over windows and rows, in the order of the record."""
        if self.looks is None:
            return []
        mean = self.looks.mean(dim=(0, 1))[torch.argsort(self.order)]
        return [("attention over stations", mean, "stations in the order of training")]
