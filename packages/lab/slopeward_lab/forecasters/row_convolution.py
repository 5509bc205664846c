"""Convolution over the rows of a window, and what is stacked on it: the front half of every network named cnn."""

from torch import Tensor, nn

from forecasting.neural.network import Shape

KERNEL = 5


class RowConvolution(nn.Module):
    """(N, W, F) -> (N, W // 2, hidden // 2): convolution, GELU, halved by the larger of two rows."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = max(shape.hidden // 2, 1)
        self.convolve = nn.Conv1d(shape.features, self.width, KERNEL, padding=KERNEL // 2)
        self.rest = nn.Sequential(nn.GELU(), nn.MaxPool1d(2))

    def forward(self, rows: Tensor) -> Tensor:
        """Local patterns of the window, in their order."""
        out: Tensor = self.rest(self.convolve(rows.transpose(1, 2)))
        return out.transpose(1, 2)
