"""The convolutional autoencoder `conv-ae`: a window folded to a quarter of its length and unfolded again."""

import torch
from torch import nn


class ConvAutoencoder(nn.Module):
    """Two strided convolutions and their transposes (Masci et al. 2011), along time."""

    def __init__(self, hidden: int = 8, code: int = 4) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv1d(2, hidden, 5, stride=2, padding=2), nn.Tanh(),
            nn.Conv1d(hidden, code, 5, stride=2, padding=2), nn.Tanh(),
        )  # fmt: skip
        self.decode = nn.Sequential(
            nn.ConvTranspose1d(code, hidden, 4, stride=2, padding=1), nn.Tanh(),
            nn.ConvTranspose1d(hidden, 1, 4, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        out: torch.Tensor = self.decode(self.encode(torch.stack([values, mask], dim=1)))
        return out[:, 0, : values.shape[1]]
