"""The variational autoencoder `vae`: a window becomes a cloud of codes, and is unfolded from one of them."""

import torch
from torch import nn

from detection.anomaly.neural.training import WIDTH

# Of the divergence from a standard normal law, beside the mean error over 30 cells. The paper's bound takes sums: there
# it is a weight of 0.6, where 1 is the bound itself (Higgins et al. 2017 call it beta).
WEIGHT = 0.02


class VariationalAutoencoder(nn.Module):
    """Kingma and Welling (2014), with Huber's loss in place of a normal law; scores take the middle of the cloud.

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
