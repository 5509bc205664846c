"""What every network has in common: how it is built, what goes in and out, and how one station's window is read."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.head import QuantileHead

_OBSERVED = FEATURES.index("observed")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes a network is built for.

    Attributes:
        features: Inputs of a row, F.
        window: Rows it sees, W.
        horizons: Horizons it answers for, H.
        hidden: Width of its state.
        dropout: Share dropped before the head in training.
        supports: Graphs between the stations, shape (G, S, S), or None for a network without graph.
        kinds: Source of each driver channel, for a network that reads drivers.
        off: Sources that are left out.
    """

    features: int
    window: int
    horizons: int
    hidden: int
    dropout: float
    supports: Tensor | None = None
    kinds: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


class Network(nn.Module):
    """(B, S, W, F) -> (B, S, H, 5): quantiles of the scaled residual to `lld`.

    Attributes:
        needs_graph: True when the stations are read together: they are then those of training, in their order.
        directed: True when the graphs say who leads whom, instead of who is alike.
        reads_drivers: True when it takes windows of drivers (B, W, C, 2) as a second input.
    """

    needs_graph = False
    directed = False
    reads_drivers = False

    def penalty(self) -> Tensor | None:
        """What the last pass adds to the loss besides the error; None for most networks."""
        return None


class StationNetwork(Network):
    """A network that reads each station by itself with shared weights; subclasses only encode a window.

    Args:
        shape: Sizes.
        width: Width of what `encode` returns; the hidden width by default.
    """

    def __init__(self, shape: Shape, width: int | None = None) -> None:
        super().__init__()
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead(width or shape.hidden, shape.horizons)

    def encode(self, rows: Tensor) -> Tensor:
        """(N, W, F) -> (N, width)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Quantiles of every station's window."""
        batch, stations = inputs.shape[:2]
        out: Tensor = self.head(self.dropout(self.encode(inputs.flatten(0, 1))))
        return out.reshape(batch, stations, *out.shape[1:])


def require_supports(shape: Shape, name: str) -> Tensor:
    """The graphs of a network that needs them.

    Raises:
        ValueError: There are none.
    """
    if shape.supports is None:
        raise ValueError(f"{name} needs supports")
    return shape.supports.float()


def find_alive(inputs: Tensor) -> Tensor:
    """1 for a station with any observed row in its window, else 0: (B, S, W, F) -> (S, B, 1).

    One that is silent in the whole window sends no state: the others are forecast as if it did not stand there.
    """
    return (inputs[..., _OBSERVED].amax(dim=2) > 0).to(inputs.dtype).transpose(0, 1).unsqueeze(-1)


def mix(nodes: Tensor, graphs: Tensor) -> Tensor:
    """Own values beside those of the neighbours in each graph, (S, ..., C) -> (S, ..., (1 + G) C)."""
    stations = nodes.shape[0]
    mixed = graphs.flatten(0, 1) @ nodes.reshape(stations, -1)
    return torch.cat([nodes, *mixed.reshape(-1, *nodes.shape).unbind(0)], dim=-1)
