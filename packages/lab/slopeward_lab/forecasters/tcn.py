"""Temporal convolutional network: causal, dilated, residual (Bai et al. 2018, arXiv:1803.01271)."""

from torch import Tensor, nn

from forecasting.neural.network import Shape, StationNetwork

KERNEL = 3


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int, dilation: int) -> None:
        super().__init__()
        pad = nn.ConstantPad1d(((KERNEL - 1) * dilation, 0), 0.0)
        self.convolve = nn.Sequential(
            pad,
            nn.Conv1d(inputs, width, KERNEL, dilation=dilation),
            nn.GELU(),
            pad,
            nn.Conv1d(width, width, KERNEL, dilation=dilation),
            nn.GELU(),
        )
        self.straight = nn.Conv1d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.convolve(rows) + self.straight(rows)
        return out


class Tcn(StationNetwork):
    """(N, W, F) -> blocks with dilation 1, 2, 4, ... until the window is seen -> last row (N, hidden // 2)."""

    def __init__(self, shape: Shape) -> None:
        width = max(shape.hidden // 2, 1)
        super().__init__(shape, width)
        blocks, dilation, seen, inputs = [], 1, 1, shape.features
        while seen < shape.window:
            blocks.append(_Block(inputs, width, dilation))
            seen += 2 * (KERNEL - 1) * dilation
            dilation, inputs = 2 * dilation, width
        self.blocks = nn.Sequential(*blocks)

    def encode(self, rows: Tensor) -> Tensor:
        """What the last row sees of the window."""
        out: Tensor = self.blocks(rows.transpose(1, 2))
        return out[..., -1]
