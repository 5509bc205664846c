"""The variational autoencoder `vae`: a window becomes a cloud of codes, and is unfolded from one of them."""

import torch
from torch import nn

from detection.anomaly.neural.training import WIDTH

WEIGHT = 0.02  # of the distance of the clouds from a standard normal law, beside the error of reconstruction


class VariationalAutoencoder(nn.Module):
    """Kingma and Welling (2014); when scoring, the middle of the cloud is taken.

    Attributes:
        penalty: of the newest batch: distance of its codes from a standard normal law.
    """

    def __init__(self, width: int = WIDTH, hidden: int = 16, code: int = 4) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * width, hidden), nn.Tanh())
        self.middle = nn.Linear(hidden, code)
        self.spread = nn.Linear(hidden, code)
        self.decode = nn.Sequential(nn.Linear(code, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.penalty = torch.zeros(())

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        seen = self.encode(torch.cat([values, mask], dim=1))
        middle, log_variance = self.middle(seen), self.spread(seen).clamp(-8.0, 8.0)
        distance = 0.5 * (middle.square() + log_variance.exp() - 1.0 - log_variance)
        self.penalty = WEIGHT * distance.sum(dim=1).mean()
        code = middle
        if self.training:
            code = middle + torch.randn_like(middle) * (0.5 * log_variance).exp()
        out: torch.Tensor = self.decode(code)
        return out
