"""Base classes of networks: their sizes, inputs and outputs, and the layer of the quantiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecasting.data.driver_rows import DriverRows
from forecasting.data.features import FEATURES
from forecasting.data.series import Floats

if TYPE_CHECKING:
    from forecasting.neural.learner import Examples

_OBSERVED = FEATURES.index("observed")
_SEASON_INPUTS = 3  # sine, cosine and mask


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network."""

    # inputs of a row, F: the motion, features derived from it, then value and mask of each driver and station property
    features: int
    window: int  # rows of a window, W
    horizons: int  # horizons of the output, H
    hidden: int  # width of the state
    dropout: float  # share of the state that is dropped in training
    supports: Tensor | None = None  # graphs between the stations, shape (G, S, S); None for a network without graphs
    kinds: tuple[str, ...] = ()  # kind of each driver channel, C of them
    turns: tuple[float, ...] = ()  # angle of the year until each horizon, radians
    steps: tuple[int, ...] = ()  # rows until each horizon

    @property
    def turns_season(self) -> bool:
        """Whether the network reads both sine and cosine of the season."""
        return self.kinds.count("season") == 2

    @property
    def ahead(self) -> int:
        """How many inputs `Network.ahead` returns for all horizons together."""
        inputs_of_horizon = 2 * self.kinds.count("outlook") + (_SEASON_INPUTS if self.turns_season else 0)
        return self.horizons * inputs_of_horizon


class Network(nn.Module):
    """A network from windows to quantiles of the scaled residual.

    Inputs are the motion (B, S, W, 4), drivers (B, W, C, 2) and properties of stations (B, S, A, 2). The output has
    shape (B, S, H, 5). A subclass defines `head` and `answer`. Drivers are added to the rows of every station. Inputs
    about the time after the origin (expected rain, season) go to the head together with the state.
    """

    needs_graph = False  # whether the stations are read together; they are then those of the training, in its order
    directed = False  # whether edges of the graphs lead from an earlier to a later station
    derived_features = 0  # inputs of each row that `derive_features` computes
    is_fitted_directly = False  # whether `fit_examples` determines the weights, instead of gradient descent

    head: nn.Module

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._silence = shape.dropout
        self._channels = len(shape.kinds)
        self._turns = shape.turns
        kinds = sorted(set(shape.kinds))
        self._source = [kinds.index(kind) for kind in shape.kinds]
        self._outlook = [i for i, kind in enumerate(shape.kinds) if kind == "outlook"]
        # An angle needs sine and cosine. One of them alone is a channel like the others.
        self._season = [i for i, kind in enumerate(shape.kinds) if kind == "season"] if shape.turns_season else []

    def forward(self, inputs: Tensor, drivers: Tensor | None = None, static: Tensor | None = None) -> Tensor:
        """Return the quantiles of every station."""
        remaining = self.drop_sources(inputs, drivers)
        return self.answer(self.with_drivers(inputs, remaining, static), self.ahead(remaining))

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return quantiles, shape (B, S, H, 5).

        Args:
            rows: Inputs of each row, shape (B, S, W, F).
            known: Inputs about the time after the origin, shape (B, H, K), or None.
        """
        raise NotImplementedError

    def drop_sources(self, inputs: Tensor, drivers: Tensor | None) -> Tensor | None:
        """Return the drivers (B, W, C, 2); None for a network without drivers.

        In training, all channels of a kind are set to 0 at random, so that the network learns to work without each.
        """
        if not self._channels:
            return None
        batch, window = inputs.shape[0], inputs.shape[2]
        if drivers is None:
            return inputs.new_zeros(batch, window, self._channels, 2)
        if not self.training or self._silence == 0.0:
            return drivers
        is_kept = torch.rand(batch, max(self._source) + 1, device=inputs.device) >= self._silence
        return drivers * is_kept[:, None, self._source, None].to(drivers.dtype)

    def with_drivers(self, inputs: Tensor, drivers: Tensor | None, static: Tensor | None) -> Tensor:
        """Return motion, drivers and station properties of each row, (B, S, W, F).

        They are 0 for a station without any reading in its window.
        """
        additions = [] if drivers is None else [drivers.flatten(2).unsqueeze(1)]
        additions += [] if static is None else [static.flatten(2).unsqueeze(2)]
        if not additions:
            return inputs
        alive = find_alive(inputs).transpose(0, 1).unsqueeze(-1)
        shape = inputs.shape[:3]
        return torch.cat([inputs, *((tensor * alive).expand(*shape, -1) for tensor in additions)], dim=-1)

    def ahead(self, drivers: Tensor | None) -> Tensor | None:
        """Return the inputs about the time after the origin, (B, H, K); None without any.

        They are the expected rain as known at the origin (value and mask of each channel) and the season of the target
        (sine, cosine and mask).
        """
        if drivers is None or not (self._outlook or self._season):
            return None
        newest = drivers[:, -1]
        turns = newest.new_tensor(self._turns)
        parts = [newest[:, self._outlook].flatten(1).unsqueeze(1).expand(-1, len(self._turns), -1)]
        if self._season:
            mask = newest[:, self._season[0], 1:].expand(-1, len(self._turns))
            sine, cosine = (newest[:, i, :1] for i in self._season)
            target_sine = sine * turns.cos() + cosine * turns.sin()
            target_cosine = cosine * turns.cos() - sine * turns.sin()
            parts.append(torch.stack((target_sine, target_cosine, mask), dim=-1))
        return torch.cat(parts, dim=-1)

    def predict_quantiles(self, state: Tensor, known: Tensor | None, *, batch_first: bool = True) -> Tensor:
        """Return the quantiles of the head.

        Args:
            state: Shape (B, S, width), or (S, B, width) if `batch_first` is False.
            known: Inputs about the time after the origin, as `ahead` returns them.
        """
        if known is not None:
            repeated = known.flatten(1).unsqueeze(1 if batch_first else 0)
            state = torch.cat([state, repeated.expand(*state.shape[:2], -1)], dim=-1)
        quantiles: Tensor = self.head(state)
        return quantiles

    def penalty(self, examples: "Examples", quantiles: Tensor) -> Tensor | None:
        """Return a term that is added to the loss in training; None for most networks.

        Args:
            examples: Examples of the last forward pass.
            quantiles: Output of the last forward pass, shape (N, S, H, 5).
        """
        del examples, quantiles
        return None

    @classmethod
    def derive_features(cls, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return further inputs of each row, computed from the window of motion alone; most networks have none.

        The inputs are computed once for all epochs of a training, so that they may take longer than a forward pass.
        They are the inputs of a row after those of `forecasting.data.features.FEATURES`.

        Args:
            windows: Windows with the features `FEATURES`, shape (N, S, W, 4). No row after an origin is included.

        Returns:
            Shape (N, S, W, `derived_features`).
        """
        return windows[..., :0]

    @classmethod
    def choose_drivers(cls, values: Floats, drivers: DriverRows, *, lag: int) -> DriverRows:
        """Return the driver channels that the network reads; all of them for most networks.

        Args:
            values: Displacement on the rows of the fit block, mm, shape (T, S). Later rows must not be used.
            drivers: Drivers on these rows or more.
            lag: Rows over which the scale of a window takes its changes.
        """
        del values, lag
        return drivers

    def fit_examples(self, fit: "Sequence[Examples]", early_stop: "Examples", *, seed: int) -> None:
        """Determine the weights of a network with `is_fitted_directly`.

        Args:
            fit: Examples of the fit block, one item for each record.
            early_stop: Examples of the early-stop block.
            seed: Seed of the training.
        """
        raise NotImplementedError


class StationNetwork(Network):
    """A network that reads each station separately, with the same weights. A subclass defines `encode`.

    Args:
        width: Width of the state that `encode` returns; default is the hidden width.
    """

    def __init__(self, shape: Shape, width: int | None = None) -> None:
        super().__init__(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead((width or shape.hidden) + shape.ahead, shape.horizons)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the state of each window, (N, W, F) -> (N, width)."""
        raise NotImplementedError

    def answer(self, rows: Tensor, known: Tensor | None) -> Tensor:
        """Return the quantiles of each station."""
        state: Tensor = self.dropout(self.encode(rows.flatten(0, 1)))
        return self.predict_quantiles(state.reshape(*rows.shape[:2], -1), known)


class SiteNetwork(Network):
    """A network that reads all stations of a site together, connected by graphs."""

    needs_graph = True
    keeps_graph = True  # whether the graphs are stored with the weights
    supports: Tensor  # the graphs, shape (G, S, S)

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("supports", require_supports(shape, type(self).__name__), persistent=self.keeps_graph)

    def make_head(self, shape: Shape) -> None:
        """Add the last layers: dropout, and the quantiles of a state of the hidden width."""
        self.dropout = nn.Dropout(shape.dropout)
        self.head = QuantileHead(shape.hidden + shape.ahead, shape.horizons)


def require_supports(shape: Shape, name: str) -> Tensor:
    """Return the graphs of a network that needs them.

    Raises:
        ValueError: There are none.
    """
    if shape.supports is None:
        raise ValueError(f"{name} needs supports")
    return shape.supports.float()


def find_alive(inputs: Tensor) -> Tensor:
    """Return 1 for a station with an observed row in its window, else 0, (B, S, W, F) -> (S, B, 1).

    A station without any does not affect the forecasts of the others.
    """
    return (inputs[..., _OBSERVED].amax(dim=2) > 0).to(inputs.dtype).transpose(0, 1).unsqueeze(-1)


def mix(nodes: Tensor, graphs: Tensor) -> Tensor:
    """Return the values of each station followed by those of its neighbours in each graph.

    The shape changes from (S, ..., C) to (S, ..., (1 + G) C).
    """
    stations = nodes.shape[0]
    mixed = graphs.flatten(0, 1) @ nodes.reshape(stations, -1)
    return torch.cat([nodes, *mixed.reshape(-1, *nodes.shape).unbind(0)], dim=-1)


QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)

# In units of the median |error| of a Gaussian (0.6745 sigma), the 90 % quantile is 1.90 and the 97.5 % quantile 2.91.
_INNER = math.log(math.expm1(1.90))
_OUTER = math.log(math.expm1(1.01))


class QuantileHead(nn.Module):
    """Layer from a state (..., hidden) to quantiles (..., H, 5) of the scaled residual.

    The other quantiles are the median plus or minus sums of softplus values, so that they never cross. All weights are
    0 at first: the median is then 0, so that the forecast is the simple forecast, and the fan is that of a Gaussian.
    """

    def __init__(self, hidden: int, horizons: int) -> None:
        super().__init__()
        self.horizons = horizons
        self.linear = nn.Linear(hidden, horizons * len(QUANTILES))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, state: Tensor) -> Tensor:
        """Return quantiles in the order of `QUANTILES`, shape (..., H, 5)."""
        raw = self.linear(state).unflatten(-1, (self.horizons, len(QUANTILES)))
        median = raw[..., 0]
        up = nn.functional.softplus(raw[..., 1] + _INNER)
        up_far = nn.functional.softplus(raw[..., 2] + _OUTER)
        down = nn.functional.softplus(raw[..., 3] + _INNER)
        down_far = nn.functional.softplus(raw[..., 4] + _OUTER)
        return torch.stack([median - down - down_far, median - down, median, median + up, median + up + up_far], dim=-1)
