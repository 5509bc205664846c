"""Convolutional network over the rows of a window (LeCun and Bengio 1995; one of the seven of Nava et al. 2023)."""

import torch
from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork
from slopeward_lab.forecasters.row_convolution import KERNEL, RowConvolution


class Cnn(StationNetwork):
    """(N, W, F) -> two convolutions -> mean over the rows beside the last row, (N, 2 hidden)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 2 * shape.hidden)
        self.front = RowConvolution(shape)
        self.second = nn.Conv1d(self.front.width, shape.hidden, KERNEL, padding=KERNEL // 2)
        self.bend = nn.GELU()

    def encode(self, rows: Tensor) -> Tensor:
        """What the window holds on the whole, and at its end."""
        found = self.bend(self.second(self.front(rows).transpose(1, 2)))
        return torch.cat([found.mean(dim=-1), found[..., -1]], dim=-1)
