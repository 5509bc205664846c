"""Scores of a landslide map from pooled counts of pixels.

Unlike scikit-learn, these functions leave out pixels without data and return None for undefined scores. All other
scores agree with scikit-learn to 1e-12 (`test_scores.py`).
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Confusion:
    """Numbers of pixels by prediction and truth. Landslide is the positive class."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    nodata: int = 0  # pixels that count in no score

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(*(getattr(self, name) + getattr(other, name) for name in ("tp", "fp", "fn", "tn", "nodata")))


def count_confusion(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> Confusion:
    """Compare a prediction with the truth. Pixels that are not valid count as nodata only.

    >>> count_confusion(np.array([True, True, False]), np.array([True, False, False]))
    Confusion(tp=1, fp=1, fn=0, tn=1, nodata=0)
    """
    valid = np.ones(truth.shape, bool) if valid is None else valid
    return Confusion(
        tp=int(np.count_nonzero(predicted & truth & valid)),
        fp=int(np.count_nonzero(predicted & ~truth & valid)),
        fn=int(np.count_nonzero(~predicted & truth & valid)),
        tn=int(np.count_nonzero(~predicted & ~truth & valid)),
        nodata=int(np.count_nonzero(~valid)),
    )


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def compute_scores(confusion: Confusion) -> dict[str, float | int | None]:
    """Return precision, recall, F1 and similar scores; None for a score that is 0/0 and therefore undefined.

    `precision`, `recall`, `f1` and `iou` are of the landslide class. `mean_f1`, `mpa` (mean recall) and `miou` are
    means over landslide and background. They leave out a class that is absent from truth and prediction, and
    `classes_used` is the number of classes in `miou`. `fwiou` weights IoU by the share of each class in the truth.
    `kappa` is that of Cohen (1960), `mcc` the correlation of Matthews (1975). `accuracy` and `fwiou` are high for a map
    that finds no landslide: do not use them as a criterion.

    >>> scores = compute_scores(Confusion(tp=6, fp=2, fn=2, tn=90))
    >>> scores["f1"], scores["iou"], scores["accuracy"]
    (0.75, 0.6, 0.96)
    """
    tp, fp, fn, tn = confusion.tp, confusion.fp, confusion.fn, confusion.tn
    total = tp + fp + fn + tn
    f1, f1_background = _ratio(2 * tp, 2 * tp + fp + fn), _ratio(2 * tn, 2 * tn + fp + fn)
    iou, iou_background = _ratio(tp, tp + fp + fn), _ratio(tn, tn + fp + fn)
    recall, recall_background = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    weighted = [(tp + fn, iou), (tn + fp, iou_background)]
    by_chance = _ratio((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn), total * total)
    spread = math.sqrt((tp + fp) * (tp + fn)) * math.sqrt((tn + fp) * (tn + fn))
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": recall,
        "f1": f1,
        "f1_background": f1_background,
        "mean_f1": _mean([f1, f1_background]),
        "accuracy": _ratio(tp + tn, total),
        "mpa": _mean([recall, recall_background]),
        "iou": iou,
        "iou_background": iou_background,
        "miou": _mean([iou, iou_background]),
        "fwiou": _ratio(sum(share * (value or 0.0) for share, value in weighted), total),
        "kappa": None if by_chance is None else _ratio((tp + tn) / total - by_chance, 1 - by_chance),
        "mcc": _ratio(tp * tn - fp * fn, spread),
        "classes_used": sum(value is not None for value in (iou, iou_background)),
        **asdict(confusion),
    }


def why_undefined(confusion: Confusion) -> dict[str, str]:
    """Return the reason for each score that is 0/0.

    >>> why_undefined(Confusion(fn=3, tn=5))["precision"]
    'no pixel was called landslide'
    """
    tp, fp, fn, tn = confusion.tp, confusion.fp, confusion.fn, confusion.tn
    reasons = {
        "precision": "no pixel was called landslide",
        "recall": "no pixel is landslide",
        "f1": "landslide is neither in the truth nor in the map",
        "iou": "landslide is neither in the truth nor in the map",
        "f1_background": "background is neither in the truth nor in the map",
        "iou_background": "background is neither in the truth nor in the map",
        "mean_f1": "a class is neither in the truth nor in the map",
        "kappa": "truth and map are of one class only",
        "mcc": "truth or map is of one class only",
    }
    if tp + fp + fn + tn == 0:
        return {name: "no pixel is known" for name, value in compute_scores(confusion).items() if value is None}
    return {name: reasons[name] for name, value in compute_scores(confusion).items() if value is None}


def best_threshold(
    probabilities: NDArray[np.floating], truth: NDArray[np.bool_], thresholds: NDArray[np.floating] | None = None
) -> tuple[float, float]:
    """Return the threshold with the best F1 of the landslide class, the lowest of equals, and that F1.

    The F1 is 0 if it is undefined.

    Args:
        thresholds: to choose from; 0.10, 0.15, ..., 0.90 if None.
    """
    thresholds = np.arange(2, 19) * 0.05 if thresholds is None else thresholds
    scored = []
    for threshold in thresholds:
        f1 = compute_scores(count_confusion(probabilities >= threshold, truth))["f1"] or 0.0
        scored.append((f1, -float(threshold)))
    best_f1, negative_threshold = max(scored)
    return round(-negative_threshold, 4), float(best_f1)


def average_precision(ranked: list[tuple[float, bool]], truths: int) -> float | None:
    """Return the area under precision over recall, with non-increasing precision (Everingham et al. 2015).

    Args:
        ranked: (probability, is a landslide) of each object of the map.
        truths: number of landslides. With 0 the result is None.

    >>> average_precision([(0.9, True), (0.8, False), (0.7, True)], 2)
    0.8333333333333333
    """
    if truths == 0:
        return None
    hits = np.array([is_hit for _, is_hit in sorted(ranked, key=lambda item: -item[0])], float)
    if not hits.size:
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope * hits) / truths)
