"""GRU with terms in the loss for what is known of slopes: creep, rain and acceleration (Voight 1988)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forecasting.data.features import FEATURES
from forecasting.neural.device import run_network
from forecasting.neural.network import QUANTILES, Shape, StationNetwork

if TYPE_CHECKING:
    from forecasting.neural.learner import Examples

CREEP_WEIGHT = 0.1
RAIN_WEIGHT = 0.1
VOIGHT_WEIGHT = 0.1
"""Weights of the terms beside the pinball loss, which is about 0.3 per target at first."""
ALPHA = 2.0
"""Exponent of `dv/dt = A v^alpha` (Voight 1988, doi:10.1038/332125a0). It is near 2 for most slopes."""
RAIN_STEP = 1.0
"""Standard deviations of rain that the rain term adds."""
FASTEST = 5.0
"""Largest velocity of the Voight relation, as a multiple of the present one. The relation itself has no limit."""
ACCELERATION = 1.25
"""Ratio of later to earlier velocity of a window from which on the Voight term counts."""
CLEAR_MOTION = 1.0
"""Motion over a quarter of the window, in units of the scale of the window, below which noise can be the cause."""
_VALUE = FEATURES.index("value")
_OBSERVED = FEATURES.index("observed")
_MEDIAN = QUANTILES.index(0.5)
_PIECES = 8  # pieces of a horizon over which the velocity is averaged


class PhysicsGru(StationNetwork):
    """GRU with physical terms in the loss, (N, W, F) -> (N, hidden).

    The terms act in training only, and softly: a forecast may break them if the data does.

    * Creep: the median does not move backwards from one horizon to the next.
    * Rain: more rain in the newest row does not slow the movement.
    * Voight: in a window that accelerates, the median follows `dv/dt = A v^alpha`, with A from two velocities of the
      window.

    Only displacement that is positive downslope fits the first two terms. For a component that can be negative, such as
    a tilt, use `gru`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder = nn.GRU(shape.features, shape.hidden, batch_first=True)
        self.lag = max(1, shape.window // 4)
        self.steps = shape.steps
        self.rain = [kind == "rain" for kind in shape.kinds]

    def encode(self, rows: Tensor) -> Tensor:
        """Return the state after the last row."""
        _, state = self.encoder(rows)
        return torch.as_tensor(state[-1])

    def penalty(self, examples: "Examples", quantiles: Tensor) -> Tensor:
        """Return the weighted sum of the terms."""
        simple_motion = torch.nan_to_num(examples.motion)
        motion = simple_motion + examples.unit * quantiles[..., _MEDIAN]
        motion = torch.where(torch.isfinite(examples.motion), motion, torch.zeros(()))
        total = CREEP_WEIGHT * creep_term(motion)
        if any(self.rain) and len(examples.inputs) > 1:
            total = total + RAIN_WEIGHT * self._compute_rain_term(examples.inputs)
        if self.steps:
            inputs = examples.inputs[0]
            values = torch.where(inputs[..., _OBSERVED] > 0, inputs[..., _VALUE], torch.nan)
            total = total + VOIGHT_WEIGHT * voight_term(values, motion, lag=self.lag, steps=self.steps)
        return total

    def _compute_rain_term(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the rain term, from forecasts with and without more rain and both without dropout."""
        motion, drivers, *static = inputs
        source_dropout = self._silence
        self._silence = 0.0
        self.dropout.eval()
        try:
            medians = run_network(self, motion, drivers, *static)[..., _MEDIAN]
            wetter = run_network(self, motion, add_rain(drivers, self.rain), *static)[..., _MEDIAN]
        finally:
            self._silence = source_dropout
            self.dropout.train()
        return rain_term(medians, wetter)


def creep_term(motion: Tensor) -> Tensor:
    """Return the mean motion backwards, from now to the first horizon and between horizons.

    Args:
        motion: Forecast motion from now to each horizon, shape (B, S, H), horizons in ascending order.
    """
    changes = torch.diff(motion, dim=-1, prepend=torch.zeros_like(motion[..., :1]))
    return torch.relu(-changes).mean()


def rain_term(medians: Tensor, wetter: Tensor) -> Tensor:
    """Return the mean motion that more rain takes away; both of shape (B, S, H)."""
    return torch.relu(medians - wetter).mean()


def add_rain(drivers: Tensor, is_rain: list[bool]) -> Tensor:
    """Return driver windows (B, W, C, 2) with more rain in the newest row of each known rain channel."""
    rain = torch.tensor(is_rain, dtype=drivers.dtype)
    wetter = drivers.clone()
    wetter[:, -1, :, 0] += RAIN_STEP * rain * drivers[:, -1, :, 1]
    return wetter


def voight_term(values: Tensor, motion: Tensor, *, lag: int, steps: tuple[int, ...]) -> Tensor:
    """Return the mean difference between forecast and Voight relation over windows that accelerate; 0 without any.

    Args:
        values: Displacement of the window in units of its scale, shape (B, S, W), NaN if missing.
        motion: Forecast motion from now to each horizon, in units of the scale, shape (B, S, H).
        lag: Rows of each of the two velocities.
        steps: Rows until each horizon.
    """
    if values.shape[-1] <= 2 * lag:
        return motion.sum() * 0.0
    earlier = values[..., -1 - lag] - values[..., -1 - 2 * lag]
    later = values[..., -1] - values[..., -1 - lag]
    accelerates = (earlier > CLEAR_MOTION) & (later > ACCELERATION * earlier)
    if not accelerates.any():
        return motion.sum() * 0.0
    ahead = torch.tensor(steps, dtype=motion.dtype)
    expected = extrapolate(earlier[accelerates] / lag, later[accelerates] / lag, float(lag), ahead)
    return (motion[accelerates] - expected).abs().mean()


def extrapolate(earlier: Tensor, later: Tensor, lag: float, ahead: Tensor) -> Tensor:
    """Return the motion from now to each horizon by `dv/dt = A v^alpha`, shape (..., H).

    By this relation, `v^(1 - alpha)` is linear in time. The two velocities are means over `lag` rows, so that the newer
    one is that of half such a span before now. The velocity is limited to `FASTEST` times the newer one.

    Args:
        earlier: Velocity of the older span, above 0, shape (...).
        later: Velocity of the newer span, above 0, shape (...).
        lag: Rows of a span.
        ahead: Rows until each horizon, shape (H,).
    """
    power = 1.0 - ALPHA
    newest = later**power
    slope = (newest - earlier**power) / lag
    fractions = (torch.arange(_PIECES, dtype=newest.dtype) + 0.5) / _PIECES
    rows_after = ahead[:, None] * fractions + lag / 2.0
    inverse = newest[..., None, None] + slope[..., None, None] * rows_after
    inverse = torch.maximum(inverse, (later * FASTEST)[..., None, None] ** power)
    return (inverse ** (1.0 / power)).mean(dim=-1) * ahead
