"""The autoencoder of a whole site: each station is told from the others and from its own past."""

import torch
from torch import nn

HIDDEN = 32
HIDDEN_SHARE = 0.3  # of the columns whose newest cells are hidden when it learns
LAST = 3


class SiteAutoencoder(nn.Module):
    """Convolutions along time over all columns at once, as a denoising autoencoder (Vincent et al. 2008).

    It has no narrow place: it learns to fill what is hidden. Readings that are missing are hidden in the same way.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2 * columns, HIDDEN, 5, padding=2), nn.Tanh(),
            nn.Conv1d(HIDDEN, HIDDEN, 5, padding=2), nn.Tanh(),
            nn.Conv1d(HIDDEN, columns, 1),
        )  # fmt: skip

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Fill in; `values` and `mask` (batch, width, columns), zero where unknown; returns values of that shape."""
        if self.training:
            mask = hide_newest(mask, torch.rand(mask.shape[0], 1, mask.shape[2]) < HIDDEN_SHARE)
        out: torch.Tensor = self.layers(torch.cat([values * mask, mask], dim=2).transpose(1, 2))
        return out.transpose(1, 2)


def hide_newest(mask: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The mask without the newest cells of the chosen columns; `chosen` (batch, 1, columns)."""
    newest = torch.arange(mask.shape[1]) >= mask.shape[1] - LAST
    return mask * ~(newest[None, :, None] & chosen)
