"""A small GRU for each part of a decomposed window, summed (with CEEMD: Yang et al. 2022, doi:10.3390/s22041320)."""

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.decomposition.windows import PARTS
from forecasting.neural.network import Shape, StationNetwork

_OBSERVED = FEATURES.index("observed")


class EmdGru(StationNetwork):
    """A GRU for each part that EMD finds (Huang et al. 1998): (N, W, F) -> states side by side (N, 4 (hidden // 2)).

    The head is linear in the states, so that the median is the sum of one forecast for each part. Papers decompose the
    whole record first, and so know the future; here the newest 120 rows are decomposed at every issue. That costs about
    a millisecond of a processor for each station and issue.
    """

    decomposes = "emd"

    def __init__(self, shape: Shape) -> None:
        narrow = max(shape.hidden // 2, 1)
        super().__init__(shape, PARTS * narrow)
        self.own = len(FEATURES) + PARTS
        width = 2 + shape.features - self.own
        self.encoders = nn.ModuleList([nn.GRU(width, narrow, batch_first=True) for _ in range(PARTS)])

    def encode(self, rows: Tensor) -> Tensor:
        """The last state of each part; every one hears the drivers as well."""
        beside = [rows[..., _OBSERVED : _OBSERVED + 1], rows[..., self.own :]]
        parts = rows[..., len(FEATURES) : self.own].chunk(PARTS, dim=-1)
        heard = [
            encoder(torch.cat([part, *beside], dim=-1))[1][-1]
            for encoder, part in zip(self.encoders, parts, strict=True)
        ]
        return torch.cat(heard, dim=-1)
