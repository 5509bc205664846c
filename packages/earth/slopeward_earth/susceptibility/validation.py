"""Spatial cross-validation: the learner is chosen inside, the score comes from blocks that the choice never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from slopeward_earth.susceptibility.encoding import Encoder
from slopeward_earth.susceptibility.learners.table import Columns, FittedLearner, Numbers, fit
from slopeward_earth.susceptibility.records import CalibrationScores, Importance

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
        chance = expit(self.x[0] * score + self.y[0]) if is_line else np.interp(score, self.x, self.y)
        return np.asarray(np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE))


def read_calibrator(kind: str, x: Any, y: Any) -> Calibrator:
    """Read back its fields as a file has them."""
    found = Calibrator(kind, np.asarray(x, np.float64), np.asarray(y, np.float64))
    if kind not in {"platt", "isotonic"} or found.x.shape != found.y.shape or not len(found.x):
        raise ValueError("no calibration")
    return found


def fit_platt(score: Numbers, label: NDArray[np.int64], weight: Numbers) -> Calibrator:
    """Fit a line in log-odds (Platt 1999) by Newton's steps."""
    ready = np.stack([score, np.ones_like(score)], axis=1)
    base = float(np.average(label, weights=weight))
    found = np.array([1.0, np.log(base / (1 - base)) - float(np.average(score, weights=weight))])
    share = weight / weight.sum()
    for _ in range(STEPS):
        chance = expit(ready @ found)
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


RESAMPLED: Final = 500
BINS: Final = 10


def measure_auc(score: Numbers, label: NDArray[np.int64], weight: Numbers) -> float:
    """Return the chance that a landslide's cell ranks above another one; ties count half. NaN with one class only.

    >>> measure_auc(np.array([.1, .4, .35, .8]), np.array([0, 0, 1, 1]), np.ones(4))
    0.75
    """
    return _auc_of_ranks(*_rank(score), label, weight)


def _rank(score: Numbers) -> tuple[NDArray[np.int64], int]:
    distinct, place = np.unique(score, return_inverse=True)
    return place.ravel(), len(distinct)


def _auc_of_ranks(place: NDArray[np.int64], number: int, label: NDArray[np.int64], weight: Numbers) -> float:
    slides = np.bincount(place, weight * (label == 1), number)
    others = np.bincount(place, weight * (label == 0), number)
    pairs = slides.sum() * others.sum()
    below = np.cumsum(others) - others
    return float((slides * (below + others / 2)).sum() / pairs) if pairs else float("nan")


def bound_auc(
    score: Numbers, label: NDArray[np.int64], weight: Numbers, block: NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % interval of the AUC: whole blocks are drawn again, for the cells of one resemble each other."""
    rng, number = np.random.default_rng(seed), int(block.max()) + 1
    place, distinct = _rank(score)
    found = []
    for _ in range(RESAMPLED):
        times = np.bincount(rng.integers(0, number, number), minlength=number)
        found.append(_auc_of_ranks(place, distinct, label, weight * times[block]))
    kept = [one for one in found if np.isfinite(one)]
    low, high = np.quantile(kept, (0.025, 0.975)) if kept else (np.nan, np.nan)
    return float(low), float(high)


def measure_calibration(chance: Numbers, label: NDArray[np.int64], weight: Numbers) -> CalibrationScores:
    """Return the Brier score, what it gains over saying the same everywhere, and ten bins of equal area."""
    base = float(np.average(label, weights=weight))
    brier = float(np.average((chance - label) ** 2, weights=weight))
    order = np.argsort(chance, kind="stable")
    filled = np.cumsum(weight[order]) / weight.sum()
    parts = np.split(order, np.searchsorted(filled, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = [
        {
            "said": float(np.average(chance[part], weights=weight[part])),
            "observed": float(np.average(label[part], weights=weight[part])),
            "cells": len(part),
            "landslide_cells": int(label[part].sum()),
            "area_share": float(weight[part].sum() / weight.sum()),
        }
        for part in parts
        if len(part)
    ]
    error = sum(one["area_share"] * abs(one["said"] - one["observed"]) for one in bins)
    return {
        "brier": brier,
        "brier_of_base_rate": base * (1 - base),
        "skill": 1 - brier / (base * (1 - base)),
        "base_rate": base,
        "expected_calibration_error": float(error),
        "bins": bins,
    }


REPEATS: Final = 3  # of a permutation


@dataclass(frozen=True, slots=True)
class ValidationCells:
    """Sampled cells with what they are scored by; arrays over cells."""

    cells: Columns  # cells x columns
    label: NDArray[np.int64]
    weight: Numbers
    block: NDArray[np.int64]
    fold: NDArray[np.int64]


@dataclass(slots=True)
class Fits:
    """Models by learner and by the folds that they did not see: those of the inner rounds serve several outer ones."""

    ground: ValidationCells
    seed: int
    _known: dict[tuple[str, frozenset[int]], FittedLearner] = field(default_factory=dict)

    def without(self, name: str, *folds: int) -> FittedLearner:
        """A model of all folds but these."""
        key = name, frozenset(folds)
        if key not in self._known:
            taken = ~np.isin(self.ground.fold, folds)
            self._known[key] = fit(name, self.ground.cells[taken], self.ground.label[taken], self.seed)
        return self._known[key]

    def left_out(self, name: str, outer: Sequence[int] = ()) -> Numbers:
        """Log-odds of each cell by the model that saw neither its fold nor `outer`; NaN in `outer`."""
        ground = self.ground
        score = np.full(len(ground.label), np.nan)
        for one in set(ground.fold.tolist()) - set(outer):
            own = ground.fold == one
            score[own] = self.without(name, one, *outer).score(ground.cells[own].T)
        return score


def mean_auc(score: Numbers, ground: ValidationCells) -> float:
    """Return the mean over folds: models of different folds need not agree on where their log-odds begin."""
    found = []
    for one in np.unique(ground.fold[np.isfinite(score)]):
        own = ground.fold == one
        found.append(measure_auc(score[own], ground.label[own], ground.weight[own]))
    return float(np.nanmean(found))


def choose(fits: Fits, names: Sequence[str], outer: Sequence[int] = ()) -> tuple[str, Calibrator, dict[str, float]]:
    """Take the learner with the best AUC on left-out folds, and calibrate it there; also the AUC of each."""
    ground = fits.ground
    scores = {name: fits.left_out(name, outer) for name in names}
    aucs = {name: mean_auc(score, ground) for name, score in scores.items()}
    best = max(names, key=lambda name: aucs[name])
    own = np.isfinite(scores[best])
    calibrator = fit_calibrator(scores[best][own], ground.label[own], ground.weight[own], ground.fold[own])
    return best, calibrator, aucs


@dataclass(frozen=True, slots=True)
class NestedValidation:
    """What came of the outer folds."""

    chance: Numbers  # calibrated probability of each cell by the procedure that never saw its fold
    chosen: tuple[str, ...]  # the learner that was chosen for each fold


def validate(fits: Fits, names: Sequence[str]) -> NestedValidation:
    """Choose, calibrate and fit without each fold in turn, then look at that fold."""
    ground = fits.ground
    chance = np.empty(len(ground.label))
    chosen = []
    for one in range(int(ground.fold.max()) + 1):
        name, calibrator, _ = choose(fits, names, (one,))
        own = ground.fold == one
        chance[own] = calibrator.apply(fits.without(name, one).score(ground.cells[own].T))
        chosen.append(name)
    return NestedValidation(chance, tuple(chosen))


def measure_importance(fits: Fits, nested: NestedValidation, encoder: Encoder) -> list[Importance]:
    """Return how much AUC is lost on left-out folds when a factor is shuffled there, the most first."""
    ground = fits.ground
    rng = np.random.default_rng(fits.seed)
    found: list[Importance] = []
    for name, places in encoder.places().items():
        lost = []
        for one, learner in enumerate(nested.chosen):
            own = np.flatnonzero(ground.fold == one)
            model, cells = fits.without(learner, one), ground.cells[own]
            label, weight = ground.label[own], ground.weight[own]
            whole = measure_auc(model.score(cells.T), label, weight)
            for _ in range(REPEATS):
                shuffled = cells.copy()
                shuffled[:, places] = cells[rng.permutation(len(own))][:, places]
                lost.append(whole - measure_auc(model.score(shuffled.T), label, weight))
        found.append(
            {
                "name": name,
                "auc_lost": float(np.nanmean(lost)),
                "least": float(np.nanmin(lost)),
                "most": float(np.nanmax(lost)),
            }
        )
    return sorted(found, key=lambda one: -one["auc_lost"])
