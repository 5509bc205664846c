"""The parts of `rules`: what each measures at a station, and what it makes of what the neighbours do not explain."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.neighbours import explain_by_neighbours
from detection.anomaly.robust import drift_residual, root_mean_square, scaled_steps, smooth
from detection.anomaly.windows import Array, Series, scaled_residuals


@dataclass(frozen=True, slots=True)
class Part:
    """One rule in two steps.

    Attributes:
        signed: strangeness of one station with its sign, in robust scales, shape (n,).
        judged: the score from what the neighbours leave of it, shape (n,).
        kind: what an alarm of this part is called; None: what the residual looks like (`name_kinds`).
    """

    signed: Callable[[Series], Array]
    judged: Callable[[Array, Series], Array]
    kind: str | None = None


def _size(z: Array, _: Series) -> Array:
    return np.abs(z)


def _mean(z: Array, _: Series) -> Array:
    return smooth(z)


def _spread(z: Array, series: Series) -> Array:
    return np.where(np.isfinite(z), root_mean_square(z, series.steps(8.0, at_least=6)), np.nan)


PARTS: Final[Mapping[str, Part]] = {
    "level": Part(scaled_residuals, _size),  # distance from the median of seven days
    "trend": Part(lambda series: drift_residual(series, 10.0, at_least=8), _size),  # from the line of ten days
    "drift": Part(drift_residual, _mean, "drift"),  # smoothed distance from the line of sixty days
    "bend": Part(lambda series: drift_residual(series, 30.0), _mean, "drift"),  # of thirty days
    "noise": Part(scaled_steps, _spread, "burst"),  # size of the increments of eight days
}


def score_parts(samples: Mapping[str, Series], parts: Collection[str] | None = None) -> dict[str, dict[str, Array]]:
    """Scores of each part and station; `parts` names those wanted (all by default)."""
    out = {}
    for name, part in PARTS.items():
        if parts is not None and name not in parts:
            continue
        left = explain_by_neighbours({key: part.signed(series) for key, series in samples.items()}, samples)
        out[name] = {key: part.judged(left[key], series) for key, series in samples.items()}
    return out
