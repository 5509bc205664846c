"""Autoencoders of one series: a window squeezed through a few numbers and told again from them."""

import torch
from torch import nn

from detection.anomaly.neural.training import WIDTH

HIDDEN, CODE = 16, 4


class DenseAutoencoder(nn.Module):
    """Window and mask in, window out, through a bottleneck (Hinton and Salakhutdinov 2006, without pretraining)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CODE), nn.Tanh())
        self.decode = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        out: torch.Tensor = self.decode(self.encode(torch.cat([values, mask], dim=1)))
        return out
