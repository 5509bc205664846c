"""The recurrent autoencoders `lstm-ae` and `gru-ae`: a window read into one state and told again from it."""

import torch
from torch import nn


class LstmAutoencoder(nn.Module):
    """LSTM encoder-decoder (Malhotra et al. 2016); the decoder hears the code at every step."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.encoder = self.make_layer(2, hidden)
        self.decoder = self.make_layer(hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    @staticmethod
    def make_layer(inputs: int, hidden: int) -> nn.Module:
        """One recurrent layer."""
        return nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        read, _ = self.encoder(torch.stack([values, mask], dim=2))
        told, _ = self.decoder(read[:, -1:].expand(-1, values.shape[1], -1).contiguous())
        out: torch.Tensor = self.head(told).squeeze(2)
        return out


class GruAutoencoder(LstmAutoencoder):
    """The same with gated recurrent units (Cho et al. 2014), which hold a quarter fewer numbers."""

    @staticmethod
    def make_layer(inputs: int, hidden: int) -> nn.Module:
        """One recurrent layer."""
        return nn.GRU(inputs, hidden, batch_first=True)
