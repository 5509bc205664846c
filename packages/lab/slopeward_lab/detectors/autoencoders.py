"""Autoencoders of windows of one series, for `WindowNetwork`."""

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from slopeward_lab.detectors.window_network import WIDTH, WindowNetwork

HIDDEN: Final = 16
CODE: Final = 4
# Weight of the divergence from a standard normal distribution, beside the mean error over 30 cells. The bound of the
# paper is a sum, where this is a weight of 0.6. A weight of 1 is the bound itself (Higgins et al. 2017: beta).
DIVERGENCE_WEIGHT: Final = 0.02


class DenseAutoencoder(nn.Module):
    """A dense network with a bottleneck (Hinton and Salakhutdinov 2006, without pretraining)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CODE), nn.Tanh())
        self.decode = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct windows from values, with zero where unknown, and their mask; all of shape (batch, width)."""
        reconstructed: torch.Tensor = self.decode(self.encode(torch.cat([values, mask], dim=1)))
        return reconstructed


class ConvAutoencoder(nn.Module):
    """Two strided convolutions along time and their transposes (Masci et al. 2011)."""

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
        """Reconstruct windows, as `DenseAutoencoder`."""
        reconstructed: torch.Tensor = self.decode(self.encode(torch.stack([values, mask], dim=1)))
        return reconstructed[:, 0, : values.shape[1]]


class LstmAutoencoder(nn.Module):
    """An LSTM encoder and decoder (Malhotra et al. 2016). The decoder reads the code at every step."""

    layer: Callable[..., nn.Module] = nn.LSTM

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.layer(2, HIDDEN, batch_first=True)
        self.decoder = self.layer(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct windows, as `DenseAutoencoder`."""
        encoded, _ = self.encoder(torch.stack([values, mask], dim=2))
        decoded, _ = self.decoder(encoded[:, -1:].expand(-1, values.shape[1], -1).contiguous())
        reconstructed: torch.Tensor = self.head(decoded).squeeze(2)
        return reconstructed


class GruAutoencoder(LstmAutoencoder):
    """The same with gated recurrent units (Cho et al. 2014), which have a quarter fewer parameters."""

    layer = nn.GRU


class VariationalAutoencoder(nn.Module):
    """A variational autoencoder (Kingma and Welling 2014) with Huber's loss instead of a normal distribution.

    Scores use the mean of the code.

    Attributes:
        penalty: Weighted divergence of the codes of the newest batch from a standard normal distribution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * WIDTH, HIDDEN), nn.Tanh())
        self.mean = nn.Linear(HIDDEN, CODE)
        self.log_variance = nn.Linear(HIDDEN, CODE)
        self.decode = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))
        self.penalty = torch.zeros(())

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct windows, as `DenseAutoencoder`."""
        encoded = self.encode(torch.cat([values, mask], dim=1))
        mean, log_variance = self.mean(encoded), self.log_variance(encoded).clamp(-8.0, 8.0)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
        self.penalty = DIVERGENCE_WEIGHT * divergence.sum(dim=1).mean()
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        reconstructed: torch.Tensor = self.decode(code)
        return reconstructed


DENSE: Final = WindowNetwork(DenseAutoencoder)
CONV: Final = WindowNetwork(ConvAutoencoder)
LSTM: Final = WindowNetwork(LstmAutoencoder)
GRU: Final = WindowNetwork(GruAutoencoder)
VARIATIONAL: Final = WindowNetwork(VariationalAutoencoder)
