"""From a study file to a model with its card: sample, blocks, nested validation, the learner, calibration, classes."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slopeward_earth.susceptibility.encoding import fit_encoder
from slopeward_earth.susceptibility.factors import Factors, list_cautions
from slopeward_earth.susceptibility.model import SusceptibilityModel, save_model
from slopeward_earth.susceptibility.records import SusceptibilityCard, SusceptibilityScores
from slopeward_earth.susceptibility.sampling import CellSample, draw_sample
from slopeward_earth.susceptibility.study import InventoryError, Study, StudyError, read_study
from slopeward_earth.susceptibility.validation import (
    Fits,
    ValidationCells,
    bound_auc,
    choose,
    measure_auc,
    measure_calibration,
    measure_importance,
    validate,
)

# Shares of the landslides (left out) that lie in the classes from very high down; the rest is very low.
LANDSLIDE_SHARES: Final = (0.5, 0.75, 0.9, 0.97)
AREA_SHARES: Final = (0.05, 0.15, 0.35, 0.65)
RULES: Final = {"landslides": LANDSLIDE_SHARES, "area": AREA_SHARES}
Progress = Callable[[str, float], None]


FOLDS: Final = 5
BLOCKS: Final = 100  # squares that the area is divided into where nobody says their side


def find_blocks(sample: CellSample, side_m: float) -> NDArray[np.int64]:
    """Return the number of the block of each cell, 0 on; all cells of a landslide are in one block."""
    squares = np.floor(sample.place_m / side_m).astype(np.int64)
    return np.asarray(np.unique(squares, axis=0, return_inverse=True)[1]).ravel()


def deal_folds(sample: CellSample, block: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Deal the blocks into folds with about as many landslides each; returns the fold of each cell.

    Raises InventoryError: landslides lie in fewer blocks than there are folds.
    """
    number = int(block.max()) + 1
    pairs = np.unique(np.stack([block[sample.label == 1], sample.slide[sample.label == 1]], axis=1), axis=0)
    slides = np.bincount(pairs[:, 0], minlength=number)
    others = np.bincount(block[sample.label == 0], minlength=number)
    if np.count_nonzero(slides) < FOLDS:
        raise InventoryError(
            f"landslides lie in {np.count_nonzero(slides)} blocks only, {FOLDS} are needed: smaller --block-m"
        )
    order = np.random.default_rng(seed).permutation(number)
    order = order[np.argsort(-slides[order], kind="stable")]
    dealt, load = np.zeros(number, np.int64), np.zeros((FOLDS, 2), np.int64)
    for one in order:
        fold = min(range(FOLDS), key=lambda k: (load[k, 0] if slides[one] else load[k, 1], load[k, 1], k))
        dealt[one] = fold
        load[fold] += slides[one], others[one]
    if not load.all():
        raise InventoryError("hardly any ground without landslides in one of the parts: smaller --block-m")
    return np.asarray(dealt[block])


@dataclass(frozen=True, slots=True)
class SusceptibilityTrainingRequest:
    """How to train."""

    study: Path  # the study file
    out: Path  # the JSON file to write
    day: date  # of the training, as the card says
    learners: tuple[str, ...] = ("logistic", "boosting")  # ids to choose from
    block_m: float | None = None  # side of the blocks; None: a hundred blocks cover the area
    classes: str = "landslides"  # rule of the five classes: `landslides` or `area`
    seed: int = 0  # of everything that is drawn


def train(request: SusceptibilityTrainingRequest, progress: Progress = lambda *_: None) -> SusceptibilityCard:
    """Train and write a model and its card; returns the card with the path of the model and its hash.

    Raises ImageryError: a subclass for each cause, with one clear line.
    """
    study = read_study(request.study)
    if study.inventory is None:
        raise StudyError(f"{study.path}: [inventory] is missing: a model is learned from landslides")
    with tempfile.TemporaryDirectory(prefix="susceptibility-") as folder, Factors(study, Path(folder)) as factors:
        sample = draw_sample(factors, study, Path(folder), seed=request.seed, progress=lambda s: progress("factors", s))
        grid = factors.grid
        about = {"crs": grid.crs_name, "width": grid.width, "height": grid.height}
    encoder = fit_encoder(study.factors, sample.values)
    # blocks must be larger than the distance over which landslides and factors resemble themselves; nobody knows it
    # beforehand, and a side of a tenth of the area is what the literature takes most often
    side_m = request.block_m or float(np.sqrt(sample.cells * sample.cell_m2 / BLOCKS))
    block = find_blocks(sample, side_m)
    cells = encoder.encode(sample.values).T.copy()
    ground = ValidationCells(cells, sample.label, sample.weight, block, deal_folds(sample, block, request.seed))
    fits = Fits(ground, request.seed)
    nested = validate(fits, request.learners)
    learner, calibrator, aucs = choose(fits, request.learners)
    fitted = fits.without(learner)
    left_out = calibrator.apply(fits.left_out(learner))
    # the four probabilities between the five classes, by left-out cells
    weight = sample.weight * (sample.label if request.classes == "landslides" else 1.0)
    order = np.argsort(-left_out, kind="stable")
    places = np.searchsorted(np.cumsum(weight[order]) / weight.sum(), RULES[request.classes])
    bounds = tuple(sorted(float(one) for one in left_out[order][np.minimum(places, len(order) - 1)]))
    model = SusceptibilityModel(
        learner, encoder, fitted, tuple(fits.without(learner, fold) for fold in range(FOLDS)), calibrator, bounds, {}
    )
    progress("scores", 0.0)
    scored: SusceptibilityScores = {
        "auc": measure_auc(nested.chance, sample.label, sample.weight),
        "interval": list(bound_auc(nested.chance, sample.label, sample.weight, block, request.seed)),
        "chosen_by_fold": list(nested.chosen),
        "by_learner": aucs,
        "calibration": {"kind": calibrator.kind, **measure_calibration(nested.chance, sample.label, sample.weight)},
        "importance": measure_importance(fits, nested, encoder),
    }
    card = _make_card(request, study, sample, about, (side_m, int(block.max()) + 1), model, scored)
    model_hash = save_model(request.out, replace(model, card=card))
    progress("scores", 1.0)
    return {**card, "model": str(request.out), "model_hash": model_hash}


def _make_card(
    request: SusceptibilityTrainingRequest,
    study: Study,
    sample: CellSample,
    grid: dict[str, Any],
    blocks: tuple[float, int],
    model: SusceptibilityModel,
    scored: SusceptibilityScores,
) -> SusceptibilityCard:
    inventory = study.inventory
    assert inventory is not None
    side_m, number = blocks
    warnings = [*list_cautions(study), *sample.notes]
    if sample.left_out:
        warnings.append(f"{sample.left_out} landslides of {inventory.path.name} lie where no factor is known")
    if inventory.first is None:
        warnings.append("the inventory has no dates: nobody can say which time the map stands for")
    return {
        "made_on": request.day.isoformat(),
        "seed": request.seed,
        "learner": model.learner,
        "learners": list(request.learners),
        "software": {name: version(name) for name in ("scikit-learn", "numpy")},
        "grid": {**grid, "cell_m2": sample.cell_m2},
        "factors": [
            {
                "name": one.name,
                "kind": one.kind,
                "file": one.path.name,
                "date": one.day.isoformat() if one.day else None,
            }
            for one in study.factors
        ],
        "inventory": {
            "file": inventory.path.name,
            "source": inventory.source,
            "licence": inventory.licence,
            "from": inventory.first.isoformat() if inventory.first else None,
            "to": inventory.last.isoformat() if inventory.last else None,
            "landslides": sample.landslides,
            "left_out": sample.left_out,
        },
        "sample": {
            "area_cells": sample.cells,
            "landslide_cells": sample.slide_cells,
            "taken_of_landslides": int(sample.label.sum()),
            "taken_of_other_ground": int((sample.label == 0).sum()),
        },
        "blocks": {"side_m": side_m, "number": number, "folds": FOLDS},
        "classes": {"rule": request.classes, "bounds": list(model.bounds)},
        "scores": scored,
        "warnings": warnings,
    }
