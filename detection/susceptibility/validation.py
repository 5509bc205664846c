"""Spatial cross-validation: the learner is chosen inside, the score comes from blocks that the choice never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.susceptibility.calibration import Calibrator, fit_calibrator
from detection.susceptibility.encoding import Encoder
from detection.susceptibility.learners.table import Columns, FittedLearner, Numbers, fit
from detection.susceptibility.records import Importance
from detection.susceptibility.scoring import measure_auc

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
