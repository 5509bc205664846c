"""Attention over the rows of a window: which of them the forecast looks at. A weight is not a cause."""

import torch
from torch import Tensor, nn


class RowAttention(nn.Module):
    """Additive attention (Bahdanau et al. 2015): (N, W, C) -> (N, C); `weights` keeps the last (N, W)."""

    weights: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """The mean of the rows, weighted by what the score says of each."""
        weights = torch.softmax(self.score(torch.tanh(self.project(rows))).squeeze(-1), dim=-1)
        self.weights = weights.detach()
        return (weights.unsqueeze(-1) * rows).sum(dim=1)
