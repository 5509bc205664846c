"""From log-odds of a sample to the share of ground that lies in landslides, learned on blocks that were left out."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.susceptibility.learners.table import Numbers

LEAST_CHANCE: Final = 1e-6  # nothing is impossible because no cell of a sample showed it
STEPS: Final = 50
LEAST_FOR_STEPS: Final = 200  # landslide cells from which steps may be better than a line


@dataclass(frozen=True, slots=True)
class Calibrator:
    """`platt`: a line in log-odds; `isotonic`: steps between knots. `x` and `y` are knots, or slope and intercept."""

    kind: str
    x: Numbers
    y: Numbers

    def apply(self, score: Numbers) -> Numbers:
        """Return probabilities."""
        is_line = self.kind == "platt"
        chance = _sigmoid(self.x[0] * score + self.y[0]) if is_line else np.interp(score, self.x, self.y)
        return np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)


def read_calibrator(kind: str, x: Any, y: Any) -> Calibrator:
    """Read back its fields as a file has them."""
    found = Calibrator(kind, np.asarray(x, np.float64), np.asarray(y, np.float64))
    if kind not in {"platt", "isotonic"} or found.x.shape != found.y.shape or not len(found.x):
        raise ValueError("no calibration")
    return found


def _sigmoid(value: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -60, 60))))


def fit_platt(score: Numbers, label: NDArray[np.int64], weight: Numbers) -> Calibrator:
    """Fit a line in log-odds (Platt 1999) by Newton's steps."""
    ready = np.stack([score, np.ones_like(score)], axis=1)
    base = float(np.average(label, weights=weight))
    found = np.array([1.0, np.log(base / (1 - base)) - float(np.average(score, weights=weight))])
    share = weight / weight.sum()
    for _ in range(STEPS):
        chance = _sigmoid(ready @ found)
        bend = share * np.maximum(chance * (1 - chance), 1e-9)
        step = np.linalg.solve(
            ready.T @ (bend[:, None] * ready) + 1e-9 * np.eye(2), ready.T @ (share * (label - chance))
        )
        found = found + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    # a ranking that is no better than chance must not be turned round
    return Calibrator("platt", np.array([max(0.0, found[0])]), np.array([found[1]]))


def fit_isotonic(score: Numbers, label: NDArray[np.int64], weight: Numbers) -> Calibrator:
    """Fit steps that never fall, as scikit-learn does."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(score, label, sample_weight=weight)
    return Calibrator("isotonic", np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_))


def fit_calibrator(score: Numbers, label: NDArray[np.int64], weight: Numbers, fold: NDArray[np.int64]) -> Calibrator:
    """Take the line, or the steps where these said more of each fold that they had not seen."""
    if label.sum() < LEAST_FOR_STEPS:
        return fit_platt(score, label, weight)
    lost = {fit_platt: 0.0, fit_isotonic: 0.0}
    for one in np.unique(fold):
        own = fold == one
        for make in lost:
            chance = make(score[~own], label[~own], weight[~own]).apply(score[own])
            gained = np.where(label[own] == 1, np.log(chance), np.log1p(-chance))
            lost[make] -= float((weight[own] * gained).sum())
    return min(lost, key=lambda make: lost[make])(score, label, weight)
