"""Score landslide maps: pooled over pixels, by image and by object, with bootstrap intervals over images."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.metrics import Confusion, compute_scores, count_confusion, why_undefined
from detection.imagery.data.patches import IGNORED
from detection.imagery.training.objects import ObjectCount
from detection.imagery.weights_file import ScoreDifference

# Limits of the classes of the histogram of mean IoU.
HISTOGRAM_LIMITS = (0.6, 0.7, 0.8, 0.9)
# A report lists this many images with the least mean IoU.
WORST_COUNT = 5
# Draws of the bootstrap.
DRAWS = 1000
# Names in the report that differ from those of `metrics.compute_scores`. `pa` is the same as `oa`.
REPORT_NAMES = {"mean_f1": "mf1", "accuracy": "oa"}
COUNTS = ("tp", "fp", "fn", "tn", "nodata")
# Scores with an interval.
INTERVALS = ("precision", "recall", "f1", "iou", "miou")


@dataclass(frozen=True, slots=True)
class ScoringResult:
    """Scores of the maps of several images."""

    report: dict[str, Any]
    names: tuple[str, ...]  # of the images
    confusions: NDArray[np.int64]  # images x (tp, fp, fn, tn), to compare two maps of the same images


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
        threshold: probability from which a pixel is a landslide.
        seed: of the bootstrap.
        draws: of the bootstrap. 0: the report contains no intervals.
        objects: whether objects are scored too, which takes most of the time.
    """
    names = []
    counts = []
    image_mious = []
    total = Confusion()
    object_count = ObjectCount()
    for name, probabilities, mask in maps:
        predicted = probabilities >= threshold
        truth = mask == 1
        valid = mask != IGNORED
        confusion = count_confusion(predicted, truth, valid)
        total += confusion
        names.append(name)
        counts.append((confusion.tp, confusion.fp, confusion.fn, confusion.tn))
        image_mious.append(compute_scores(confusion)["miou"])
        if objects:
            object_count.add(probabilities, predicted, truth, valid)
    confusions = np.array(counts, np.int64).reshape(-1, 4)
    pooled = compute_scores(total)
    report: dict[str, Any] = {
        REPORT_NAMES.get(name, name): value for name, value in pooled.items() if name not in COUNTS
    }
    report |= {"pa": pooled["accuracy"], "confusion": {name: pooled[name] for name in COUNTS}}
    report["undefined"] = {REPORT_NAMES.get(name, name): reason for name, reason in why_undefined(total).items()}
    report["image_miou"] = summarise_images(names, image_mious)
    if objects:
        report |= object_count.report()
    if draws:
        report["intervals"] = {"level": 0.95, "draws": draws, "seed": seed, **bootstrap(confusions, seed, draws)}
    report |= {"threshold": threshold, "images": len(names)}
    return ScoringResult(report, tuple(names), confusions)


def summarise_images(names: Sequence[str], values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, median and histogram of the mean IoU of images, and the images with the least.

    A class of the histogram contains its lower limit.

    >>> summarise_images(["a", "b"], [0.65, 0.95])["histogram"]
    {'<0.6': 0.0, '0.6-0.7': 0.5, '0.7-0.8': 0.0, '0.8-0.9': 0.0, '>=0.9': 0.5}
    """
    defined = [(value, name) for value, name in zip(values, names, strict=True) if value is not None]
    labels = [
        f"<{HISTOGRAM_LIMITS[0]}",
        *(f"{a}-{b}" for a, b in pairwise(HISTOGRAM_LIMITS)),
        f">={HISTOGRAM_LIMITS[-1]}",
    ]
    classes = np.searchsorted(HISTOGRAM_LIMITS, [value for value, _ in defined], side="right")
    return {
        "mean": statistics.fmean(value for value, _ in defined) if defined else None,
        "median": statistics.median(value for value, _ in defined) if defined else None,
        "histogram": {
            label: float(np.mean(classes == number)) if defined else None for number, label in enumerate(labels)
        },
        "worst": [name for _, name in sorted(defined)[:WORST_COUNT]],
    }


def bootstrap(confusions: NDArray[np.int64], seed: int, draws: int = DRAWS) -> dict[str, list[float] | None]:
    """Return 95 % intervals of pooled scores by drawing images with replacement; None for a score that is undefined."""
    drawn = _draw_images(len(confusions), seed, draws) @ confusions
    intervals: dict[str, list[float] | None] = {}
    for name, values in zip(INTERVALS, _compute_interval_scores(drawn), strict=True):
        usable = values[np.isfinite(values)]
        intervals[name] = [round(float(q), 5) for q in np.quantile(usable, [0.025, 0.975])] if usable.size else None
    return intervals


def pool_blocks(counts: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts of blocks (blocks x (tp, fp, fn, tn)) from those of images.

    Args:
        counts: images x (tp, fp, fn, tn).
        blocks: number of the block of each image.
    """
    names, rows = np.unique(blocks, return_inverse=True)
    pooled = np.zeros((len(names), 4), np.int64)
    np.add.at(pooled, rows, counts)
    return pooled


def compare(one: NDArray[np.int64], other: NDArray[np.int64], seed: int = 0, draws: int = DRAWS) -> ScoreDifference:
    """Return the difference of F1, `one` minus `other`, with a paired bootstrap interval over images.

    Args:
        one: images x (tp, fp, fn, tn) of a map.
        other: counts of another map of the same images.

    Raises:
        ValueError: the numbers of images differ.
    """
    if one.shape != other.shape:
        raise ValueError("the counts are not of the same images")
    weights = _draw_images(len(one), seed, draws)
    differences = _compute_interval_scores(weights @ one)[2] - _compute_interval_scores(weights @ other)[2]
    usable = differences[np.isfinite(differences)]
    point = float(
        (_compute_interval_scores(one.sum(axis=0)[None])[2] - _compute_interval_scores(other.sum(axis=0)[None])[2])[0]
    )
    low, high = (float(q) for q in np.quantile(usable, [0.025, 0.975])) if usable.size else (np.nan, np.nan)
    return {
        "difference": round(point, 5) if np.isfinite(point) else None,
        "interval": [round(low, 5), round(high, 5)] if usable.size else None,
        "carries": bool(low > 0 or high < 0),
    }


def _draw_images(total: int, seed: int, draws: int) -> NDArray[np.int64]:
    """Return how often each image is drawn, draws x images."""
    if total == 0:
        return np.zeros((draws, 0), np.int64)
    return np.random.default_rng(seed).multinomial(total, np.full(total, 1 / total), size=draws)


def _compute_interval_scores(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Return the scores of `INTERVALS` for rows of counts (tp, fp, fn, tn); NaN where undefined."""
    tp, fp, fn, tn = (counts[:, column].astype(np.float64) for column in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        iou, background = tp / (tp + fp + fn), tn / (tn + fp + fn)
        return tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), iou, (iou + background) / 2
