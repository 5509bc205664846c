"""The dense autoencoder `ae`: a window squeezed through four numbers and unfolded again."""

import torch
from torch import nn

from detection.anomaly.neural.training import WIDTH


class DenseAutoencoder(nn.Module):
    """Window and mask in, window out, through a bottleneck (Hinton and Salakhutdinov 2006, without pretraining)."""

    def __init__(self, width: int = WIDTH, hidden: int = 16, code: int = 4) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * width, hidden), nn.Tanh(), nn.Linear(hidden, code), nn.Tanh())
        self.decode = nn.Sequential(nn.Linear(code, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        out: torch.Tensor = self.decode(self.encode(torch.cat([values, mask], dim=1)))
        return out
