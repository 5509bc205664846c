"""Autoencoders of the windows of one series, trained and scored by `detection.anomaly.neural.training`."""

from collections.abc import Callable

import torch
from torch import nn

from detection.anomaly.neural.autoencoders import CODE, HIDDEN
from detection.anomaly.neural.training import WIDTH

# Of the divergence from a standard normal law, beside the mean error over 30 cells. The paper's bound takes sums: there
# it is a weight of 0.6, where 1 is the bound itself (Higgins et al. 2017 call it beta).
WEIGHT = 0.02


class ConvAutoencoder(nn.Module):
    """Two strided convolutions and their transposes (Masci et al. 2011), along time."""

    def __init__(self) -> None:
        super().__init__()
        narrow = HIDDEN // 2
        self.encode = nn.Sequential(
            nn.Conv1d(2, narrow, 5, stride=2, padding=2),
            nn.Tanh(),
            nn.Conv1d(narrow, CODE, 5, stride=2, padding=2),
            nn.Tanh(),
        )
        self.decode = nn.Sequential(
            nn.ConvTranspose1d(CODE, narrow, 4, stride=2, padding=1),
            nn.Tanh(),
            nn.ConvTranspose1d(narrow, 1, 4, stride=2, padding=1),
        )

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct, as the dense one."""
        out: torch.Tensor = self.decode(self.encode(torch.stack([values, mask], dim=1)))
        return out[:, 0, : values.shape[1]]


class LstmAutoencoder(nn.Module):
    """LSTM encoder-decoder (Malhotra et al. 2016); the decoder reads the code at every step."""

    layer: Callable[..., nn.Module] = nn.LSTM

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.layer(2, HIDDEN, batch_first=True)
        self.decoder = self.layer(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct, as the dense one."""
        read, _ = self.encoder(torch.stack([values, mask], dim=2))
        decoded, _ = self.decoder(read[:, -1:].expand(-1, values.shape[1], -1).contiguous())
        out: torch.Tensor = self.head(decoded).squeeze(2)
        return out


class GruAutoencoder(LstmAutoencoder):
    """The same with gated recurrent units (Cho et al. 2014), which hold a quarter fewer numbers."""

    layer = nn.GRU


class VariationalAutoencoder(nn.Module):
    """Kingma and Welling (2014), with Huber's loss in place of a normal law; scores take the middle of the cloud.

    Attributes:
        penalty: of the newest batch: distance of its codes from a standard normal law.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * WIDTH, HIDDEN), nn.Tanh())
        self.middle = nn.Linear(HIDDEN, CODE)
        self.spread = nn.Linear(HIDDEN, CODE)
        self.decode = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))
        self.penalty = torch.zeros(())

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct, as the dense one."""
        seen = self.encode(torch.cat([values, mask], dim=1))
        middle, log_variance = self.middle(seen), self.spread(seen).clamp(-8.0, 8.0)
        distance = 0.5 * (middle.square() + log_variance.exp() - 1.0 - log_variance)
        self.penalty = WEIGHT * distance.sum(dim=1).mean()
        code = middle
        if self.training:
            code = middle + torch.randn_like(middle) * (0.5 * log_variance).exp()
        out: torch.Tensor = self.decode(code)
        return out
