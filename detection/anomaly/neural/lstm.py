"""The recurrent autoencoder `lstm-ae`: a window read into one state and told again from it."""

import torch
from torch import nn


class LstmAutoencoder(nn.Module):
    """LSTM encoder-decoder (Malhotra et al. 2016); the decoder hears the code at every step."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.encoder = nn.LSTM(2, hidden, batch_first=True)
        self.decoder = nn.LSTM(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reconstruct; `values` and `mask` (batch, width), zero where unknown; returns (batch, width)."""
        _, (state, _) = self.encoder(torch.stack([values, mask], dim=2))
        told, _ = self.decoder(state[-1].unsqueeze(1).expand(-1, values.shape[1], -1).contiguous())
        out: torch.Tensor = self.head(told).squeeze(2)
        return out
