"""Joins point forecasts, network quantiles and conformal margins into five quantiles per target."""

from dataclasses import dataclass

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.data.windows import targets
from forecasting.serving.conformal import ConformalState, replay
from forecasting.serving.experience import Pace, see_pace
from forecasting.simple.baselines import Baseline

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
NORMAL = np.array([-1.959964, -1.281552, 0.0, 1.281552, 1.959964])  # the same quantiles of a normal distribution
LEVELS = {0.8: (1, 3), 0.95: (0, 4)}  # nominal coverage to the positions of its two quantiles


@dataclass(frozen=True, slots=True)
class Conformed:
    """Margins of past fans and the state they lead to."""

    margins: dict[float, Floats]  # level to margins in mm at each origin, shape (N, S), NaN in the warm-up
    states: dict[float, list[ConformalState]]  # level to one state per station after the last origin


def repeat_point(point: Floats) -> Floats:
    """Quantiles without width, shape (N, S) -> (N, S, 5): all width then comes from past errors."""
    return np.repeat(point[..., None], len(QUANTILES), axis=-1)


def simple_fans(fitted: Baseline, values: Floats, origins: Ints) -> list[Floats]:
    """Quantiles (N, S, 5) per horizon of a simple forecast, without width."""
    points = fitted.predict(values, origins)
    return [repeat_point(points[:, :, i]) for i in range(points.shape[2])]


def conform(quantiles: Floats, values: Floats, origins: Ints, steps: int, pace: Pace | None = None) -> Conformed:
    """Run adaptive conformal intervals over consecutive past origins, feedback delayed by the horizon.

    `pace`: at the origins, where several horizons share it.
    """
    observed = targets(values, origins, steps)
    stretch = (pace or see_pace(values, origins)).stretch_over(steps)
    scores = {
        level: np.maximum(quantiles[..., low] - observed, observed - quantiles[..., high])
        for level, (low, high) in LEVELS.items()
    }
    first = next(iter(scores.values()))
    found: list[tuple[Floats, list[ConformalState]]] = []
    if all(np.array_equal(first, other, equal_nan=True) for other in scores.values()):
        # no width, as simple forecasts have: all levels miss by the same
        found = replay(first, steps=steps, nominals=tuple(scores), stretch=stretch)
    else:
        for level, own in scores.items():
            found += replay(own, steps=steps, nominals=(level,), stretch=stretch)
    margins, states = zip(*found, strict=True)
    return Conformed(dict(zip(scores, margins, strict=True)), dict(zip(scores, states, strict=True)))


def widen(quantiles: Floats, margins: dict[float, Floats]) -> Floats:
    """The published quantiles, shape (N, S, 5): margins added outwards, then ordered around the median."""
    out = quantiles.copy()
    for level, (low, high) in LEVELS.items():
        out[..., low] -= margins[level]
        out[..., high] += margins[level]
    middle = out[..., 2]
    # a negative margin must not turn an interval inside out
    out[..., 1] = np.minimum(out[..., 1], middle)
    out[..., 3] = np.maximum(out[..., 3], middle)
    out[..., 0] = np.minimum(out[..., 0], out[..., 1])
    out[..., 4] = np.maximum(out[..., 4], out[..., 3])
    return out


def bounds(quantiles: Floats, level: float) -> tuple[Floats, Floats]:
    """Low and high of one level."""
    low, high = LEVELS[level]
    return quantiles[..., low], quantiles[..., high]
