"""Report on landslide maps: pooled over pixels, by image and by object, with bootstrap intervals over images."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.metrics import Confusion, count, score, why_undefined
from detection.imagery.data.patches import IGNORED
from detection.imagery.training.objects import ObjectCount
from detection.imagery.weights_file import ScoreDifference

EDGES = (0.6, 0.7, 0.8, 0.9)
WORST = 5
DRAWS = 1000
NAMES = {"mean_f1": "mf1", "accuracy": "oa"}
"""Names in the report that differ from those of `metrics.score`. `pa` is the same as `oa`."""
COUNTS = ("tp", "fp", "fn", "tn", "nodata")
INTERVALS = ("precision", "recall", "f1", "iou", "miou")


@dataclass(frozen=True, slots=True)
class ScoringResult:
    """A report, and the counts (tp, fp, fn, tn) of each image for comparisons."""

    report: dict[str, Any]
    names: tuple[str, ...]
    confusions: NDArray[np.int64]


def score_maps(
    maps: Iterable[tuple[str, NDArray[np.floating], NDArray[np.uint8]]],
    threshold: float,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    objects: bool = True,
) -> ScoringResult:
    """Score probability maps against masks.

    Args:
        maps: name, probabilities H x W and mask H x W (0, 1, 255 = not known) of each image.
        draws: of the bootstrap; 0 leaves the intervals out.
        objects: also score objects, which takes most of the time.
    """
    names, counts, per_image = [], [], []
    total, object_count = Confusion(), ObjectCount()
    for name, probabilities, mask in maps:
        predicted, truth, valid = probabilities >= threshold, mask == 1, mask != IGNORED
        confusion = count(predicted, truth, valid)
        total += confusion
        names.append(name)
        counts.append((confusion.tp, confusion.fp, confusion.fn, confusion.tn))
        per_image.append(score(confusion)["miou"])
        if objects:
            object_count.add(probabilities, predicted, truth, valid)
    confusions = np.array(counts, np.int64).reshape(-1, 4)
    pooled = score(total)
    report: dict[str, Any] = {NAMES.get(name, name): value for name, value in pooled.items() if name not in COUNTS}
    report |= {"pa": pooled["accuracy"], "confusion": {name: pooled[name] for name in COUNTS}}
    report["undefined"] = {NAMES.get(name, name): reason for name, reason in why_undefined(total).items()}
    report["image_miou"] = summarise_images(names, per_image)
    if objects:
        report |= object_count.report()
    if draws:
        report["intervals"] = {"level": 0.95, "draws": draws, "seed": seed, **bootstrap(confusions, seed, draws)}
    report |= {"threshold": threshold, "images": len(names)}
    return ScoringResult(report, tuple(names), confusions)


def summarise_images(names: Sequence[str], values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, median, shares by half-open classes and the images with the least mean IoU.

    >>> summarise_images(["a", "b"], [0.65, 0.95])["histogram"]
    {'<0.6': 0.0, '0.6-0.7': 0.5, '0.7-0.8': 0.0, '0.8-0.9': 0.0, '>=0.9': 0.5}
    """
    defined = [(value, name) for value, name in zip(values, names, strict=True) if value is not None]
    labels = [f"<{EDGES[0]}", *(f"{a}-{b}" for a, b in pairwise(EDGES)), f">={EDGES[-1]}"]
    places = np.searchsorted(EDGES, [value for value, _ in defined], side="right")
    return {
        "mean": statistics.fmean(value for value, _ in defined) if defined else None,
        "median": statistics.median(value for value, _ in defined) if defined else None,
        "histogram": {
            label: float(np.mean(places == number)) if defined else None for number, label in enumerate(labels)
        },
        "worst": [name for _, name in sorted(defined)[:WORST]],
    }


def bootstrap(confusions: NDArray[np.int64], seed: int, draws: int = DRAWS) -> dict[str, list[float] | None]:
    """Return 95 % intervals of pooled scores by drawing images with replacement; None where a score is undefined."""
    drawn = _draw(len(confusions), seed, draws) @ confusions
    out: dict[str, list[float] | None] = {}
    for name, values in zip(INTERVALS, _scores(drawn), strict=True):
        usable = values[np.isfinite(values)]
        out[name] = [round(float(q), 5) for q in np.quantile(usable, [0.025, 0.975])] if usable.size else None
    return out


def pool_blocks(counts: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of counts (images x (tp, fp, fn, tn)) by block."""
    names, places = np.unique(blocks, return_inverse=True)
    pooled = np.zeros((len(names), 4), np.int64)
    np.add.at(pooled, places, counts)
    return pooled


def compare(one: NDArray[np.int64], other: NDArray[np.int64], seed: int = 0, draws: int = DRAWS) -> ScoreDifference:
    """Return the difference of F1, `one` minus `other`, with a paired bootstrap interval over images.

    Args:
        one: images x (tp, fp, fn, tn).
        other: the same of another map of the same images.
    """
    if one.shape != other.shape:
        raise ValueError("the counts are not of the same images")
    weights = _draw(len(one), seed, draws)
    differences = _scores(weights @ one)[2] - _scores(weights @ other)[2]
    usable = differences[np.isfinite(differences)]
    point = float((_scores(one.sum(axis=0)[None])[2] - _scores(other.sum(axis=0)[None])[2])[0])
    low, high = (float(q) for q in np.quantile(usable, [0.025, 0.975])) if usable.size else (np.nan, np.nan)
    return {
        "difference": round(point, 5) if np.isfinite(point) else None,
        "interval": [round(low, 5), round(high, 5)] if usable.size else None,
        "carries": bool(low > 0 or high < 0),
    }


def _draw(total: int, seed: int, draws: int) -> NDArray[np.int64]:
    if total == 0:
        return np.zeros((draws, 0), np.int64)
    return np.random.default_rng(seed).multinomial(total, np.full(total, 1 / total), size=draws)


def _scores(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Return the scores of `INTERVALS` for rows of counts (tp, fp, fn, tn); NaN where undefined."""
    tp, fp, fn, tn = (counts[:, column].astype(np.float64) for column in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        iou, background = tp / (tp + fp + fn), tn / (tn + fp + fn)
        return tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), iou, (iou + background) / 2
