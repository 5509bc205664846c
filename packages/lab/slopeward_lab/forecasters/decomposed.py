"""Networks that read the parts of a decomposed window, and add up a forecast for each part.

Published systems of this kind decompose the whole record before they divide it into training and test, so that their
parts depend on later values. These networks decompose the window of each issue time by itself
(`slopeward_lab.decompositions.windows`), so that no later reading changes a forecast.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.network import Shape, StationNetwork
from slopeward_lab.decompositions.windows import PARTS, split_windows

_OBSERVED = FEATURES.index("observed")
_FIRST_PART = len(FEATURES)


class DecomposedRecurrent(StationNetwork):
    """A recurrent layer for each part of the window, (N, W, F) -> their states side by side, (N, 4 (hidden // 2)).

    The last layer is linear in the states, so that the median is the sum of one forecast for each part. Each recurrent
    layer also reads the mask of observed rows and the drivers. A subclass names the decomposition and the layer.
    """

    derived_features = PARTS
    decomposition: ClassVar[str]
    layer: Callable[..., nn.Module]

    def __init__(self, shape: Shape) -> None:
        width = max(shape.hidden // 2, 1)
        super().__init__(shape, PARTS * width)
        inputs = 2 + shape.features - _FIRST_PART - PARTS
        self.encoders = nn.ModuleList([self.layer(inputs, width, batch_first=True) for _ in range(PARTS)])

    @classmethod
    def derive_features(cls, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the parts of the displacement in each window, shape (N, S, W, 4)."""
        return split_windows(windows, cls.decomposition)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the last states of the layers."""
        beside = [rows[..., _OBSERVED : _OBSERVED + 1], rows[..., _FIRST_PART + PARTS :]]
        parts = rows[..., _FIRST_PART : _FIRST_PART + PARTS].chunk(PARTS, dim=-1)
        states = []
        for encoder, part in zip(self.encoders, parts, strict=True):
            _, last = encoder(torch.cat([part, *beside], dim=-1))
            state = last[0] if isinstance(last, tuple) else last
            states.append(state[-1])
        return torch.cat(states, dim=-1)


class EmdGru(DecomposedRecurrent):
    """Empirical mode decomposition (Huang et al. 1998) and a GRU for each part."""

    decomposition = "emd"
    layer = nn.GRU


class EmdLstm(DecomposedRecurrent):
    """Empirical mode decomposition (Huang et al. 1998) and an LSTM for each part."""

    decomposition = "emd"
    layer = nn.LSTM


class CeemdanGru(DecomposedRecurrent):
    """CEEMDAN (Torres et al. 2011) and a GRU for each part."""

    decomposition = "ceemdan"
    layer = nn.GRU


class CeemdanLstm(DecomposedRecurrent):
    """CEEMDAN (Torres et al. 2011) and an LSTM for each part."""

    decomposition = "ceemdan"
    layer = nn.LSTM


class VmdGru(DecomposedRecurrent):
    """Variational mode decomposition (Dragomiretskiy and Zosso 2014) and a GRU for each part."""

    decomposition = "vmd"
    layer = nn.GRU


class VmdLstm(DecomposedRecurrent):
    """Variational mode decomposition (Dragomiretskiy and Zosso 2014) and an LSTM for each part."""

    decomposition = "vmd"
    layer = nn.LSTM
