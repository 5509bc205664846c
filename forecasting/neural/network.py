"""What every network has in common: how it is built, what goes in and out, and how one station's window is read."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES

_OBSERVED = FEATURES.index("observed")
_SEASON = 3  # sine, cosine and mask


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes a network is built for."""

    features: int  # inputs of a row, F: the motion, then value and mask of each driver, then those of each fixed fact
    window: int  # rows it sees, W
    horizons: int  # horizons it answers for, H
    hidden: int  # width of its state
    dropout: float  # share dropped before the head in training
    supports: Tensor | None = None  # graphs between the stations, shape (G, S, S), or None for a network without graph
    kinds: tuple[str, ...] = ()  # source of each driver channel, C of them
    turns: tuple[float, ...] = ()  # how far the year turns until each horizon, radians

    @property
    def turns_season(self) -> bool:
        """Whether both parts of the angle of the year are read."""
        return self.kinds.count("season") == 2

    @property
    def ahead(self) -> int:
        """Numbers that `Network.ahead` gives for all horizons together; 0 where nothing is known of them."""
        each = 2 * self.kinds.count("outlook") + (_SEASON if self.turns_season else 0)
        return self.horizons * each


class Network(nn.Module):
    """(B, S, W, 4), drivers (B, W, C, 2), fixed facts (B, S, A, 2) -> (B, S, H, 5): quantiles of the scaled residual.

    A subclass gives `head` and `answer`. What drives the slope is joined to the rows of every station, as node
    attributes are in a graph; what is known of the time ahead goes to the head beside the state.
    """

    needs_graph = False  # whether the stations are read together: they are then those of training, in their order
    directed = False  # whether the graphs say who leads whom, instead of who is alike

    head: nn.Module

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._silence = shape.dropout
        self._channels, self._turns = len(shape.kinds), shape.turns
        sources = sorted(set(shape.kinds))
        self._source = [sources.index(kind) for kind in shape.kinds]
        self._outlook = [i for i, kind in enumerate(shape.kinds) if kind == "outlook"]
        # an angle needs both its parts; one alone is a number of its row like others
        self._season = [i for i, kind in enumerate(shape.kinds) if kind == "season"] if shape.turns_season else []

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Quantiles of every station."""
        drivers_seen = self.drop_sources(inputs, drivers)
        return self.answer(self.with_drivers(inputs, drivers_seen, static), self.ahead(drivers_seen))

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """(B, S, W, F), and what is known of each horizon (B, H, K) or None -> (B, S, H, 5)."""
        raise NotImplementedError

    def drop_sources(self, inputs: Tensor, drivers: Tensor | None) -> Tensor | None:
        """The drivers (B, W, C, 2), None for a network without; in training whole sources fall silent at random.

        So it learns to do without each of them.
        """
        if not self._channels:
            return None
        batch, window = inputs.shape[0], inputs.shape[2]
        if drivers is None:
            return inputs.new_zeros(batch, window, self._channels, 2)
        if not self.training or self._silence == 0.0:
            return drivers
        speaks = torch.rand(batch, max(self._source) + 1, device=inputs.device) >= self._silence
        return drivers * speaks[:, None, self._source, None].to(drivers.dtype)

    def with_drivers(self, inputs: Tensor, drivers_seen: Tensor | None, static: Tensor | None) -> Tensor:
        """Motion, drivers and fixed facts of each row, (B, S, W, F); a station without any reading sends zeros."""
        more = [] if drivers_seen is None else [drivers_seen.flatten(2).unsqueeze(1)]
        more += [] if static is None else [static.flatten(2).unsqueeze(2)]
        if not more:
            return inputs
        alive = find_alive(inputs).transpose(0, 1).unsqueeze(-1)
        whole = inputs.shape[:3]
        return torch.cat([inputs, *((one * alive).expand(*whole, -1) for one in more)], dim=-1)

    def ahead(self, drivers_seen: Tensor | None) -> Tensor | None:
        """What is known at the origin of each horizon, (B, H, K); None where nothing is.

        Expected rain as it was known then (value and mask of each source) and the season of the target (sine, cosine,
        mask).
        """
        if drivers_seen is None or not (self._outlook or self._season):
            return None
        last = drivers_seen[:, -1]
        turns = last.new_tensor(self._turns)
        parts = [last[:, self._outlook].flatten(1).unsqueeze(1).expand(-1, len(self._turns), -1)]
        if self._season:
            known = last[:, self._season[0], 1:].expand(-1, len(self._turns))
            sine, cosine = (last[:, i, :1] for i in self._season)
            turned = sine * turns.cos() + cosine * turns.sin(), cosine * turns.cos() - sine * turns.sin(), known
            parts.append(torch.stack(turned, dim=-1))
        return torch.cat(parts, dim=-1)

    def predict_quantiles(self, state: Tensor, known: Tensor | None, *, batch_first: bool = True) -> Tensor:
        """Quantiles from a state (B, S, width), or (S, B, width), and what is known of the horizons beside it."""
        if known is not None:
            every = known.flatten(1).unsqueeze(1 if batch_first else 0)
            state = torch.cat([state, every.expand(*state.shape[:2], -1)], dim=-1)
        out: Tensor = self.head(state)
        return out

    def penalty(self) -> Tensor | None:
        """What the last pass adds to the loss besides the error; None for most networks."""
        return None


class StationNetwork(Network):
    """A network that reads each station by itself with shared weights; subclasses only encode a window.

    `width`: width of what `encode` returns; the hidden width by default.
    """

    def __init__(self, shape: Shape, width: int | None = None) -> None:
        super().__init__(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead((width or shape.hidden) + shape.ahead, shape.horizons)

    def encode(self, rows: Tensor) -> Tensor:
        """(N, W, F) -> (N, width)."""
        raise NotImplementedError

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Every station by itself."""
        state: Tensor = self.dropout(self.encode(rows.flatten(0, 1)))
        return self.predict_quantiles(state.reshape(*rows.shape[:2], -1), known)


class SiteNetwork(Network):
    """A network that reads the stations of one site together, tied by graphs."""

    needs_graph = keeps_graph = True  # keeps: the graphs are among its weights; what is made of them may do
    supports: Tensor  # those of its shape, (G, S, S)

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("supports", require_supports(shape, type(self).__name__), persistent=self.keeps_graph)

    def make_head(self, shape: Shape) -> None:
        """The last layers: dropout, and quantiles from a state as wide as the hidden ones."""
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead(shape.hidden + shape.ahead, shape.horizons)


def require_supports(shape: Shape, name: str) -> Tensor:
    """The graphs of a network that needs them."""
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


QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)

# In units of the median |error| of a Gaussian (0.6745 sigma) the 90 % quantile lies at 1.90 and the 97.5 % one at 2.91.
_INNER = math.log(math.expm1(1.90))
_OUTER = math.log(math.expm1(1.01))


class QuantileHead(nn.Module):
    """Maps a state (..., hidden) to quantiles (..., H, 5) of the scaled residual to `lld`.

    The median is free; the others are stacked on it by cumulative softplus, so they never cross. Weights start at zero:
    the median is then exactly 0 (the forecast is `lld`) and the fan that of a Gaussian.
    """

    def __init__(self, hidden: int, horizons: int) -> None:
        super().__init__()
        self.horizons = horizons
        self.linear = nn.Linear(hidden, horizons * len(QUANTILES))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, state: Tensor) -> Tensor:
        """Quantiles in the order of `QUANTILES`, shape (..., H, 5)."""
        raw = self.linear(state).unflatten(-1, (self.horizons, len(QUANTILES)))
        middle = raw[..., 0]
        up = nn.functional.softplus(raw[..., 1] + _INNER)
        up_far = nn.functional.softplus(raw[..., 2] + _OUTER)
        down = nn.functional.softplus(raw[..., 3] + _INNER)
        down_far = nn.functional.softplus(raw[..., 4] + _OUTER)
        return torch.stack([middle - down - down_far, middle - down, middle, middle + up, middle + up + up_far], dim=-1)
