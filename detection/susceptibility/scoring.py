"""What a ranking of the ground is worth: AUC with an interval by blocks, calibration, success and prediction rate."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.susceptibility.learners.table import Numbers
from detection.susceptibility.records import CalibrationScores

RESAMPLED: Final = 500
BINS: Final = 10
AREA_SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def measure_auc(score: Numbers, label: NDArray[np.int64], weight: Numbers) -> float:
    """Return the chance that a landslide's cell ranks above another one; ties count half. NaN with one class only.

    >>> measure_auc(np.array([.1, .4, .35, .8]), np.array([0, 0, 1, 1]), np.ones(4))
    0.75
    """
    return _auc_of_ranks(*_rank(score), label, weight)


def _rank(score: Numbers) -> tuple[NDArray[np.int64], int]:
    """The place of each value among the distinct ones, and how many there are."""
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


def trace_rate(chance: Numbers, label: NDArray[np.int64], weight: Numbers) -> list[dict[str, float]]:
    """Return which share of the landslides lies on the most susceptible shares of the area.

    Of cells that were learned from it is the success rate, of cells left out the prediction rate (Chung and Fabbri
    2003).
    """
    order = np.argsort(-chance, kind="stable")
    area = np.cumsum(weight[order]) / weight.sum()
    slides = np.cumsum((weight * label)[order]) / (weight * label).sum()
    return [{"area": share, "landslides": float(np.interp(share, area, slides))} for share in AREA_SHARES]
