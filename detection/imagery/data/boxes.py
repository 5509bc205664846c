"""Boxes around what a mask shows, and how well others agree with them: average precision at an overlap of one half."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.metrics import average_precision
from detection.imagery.raster.components import EIGHT

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels: outer edges, so that a single pixel has an area of one."""
LEAST_PX = 9  # a landslide of fewer pixels is no thing yet, as in footprints without a place
OVERLAP = 0.5
DRAWS = 1000
Found = Sequence[tuple[float, Box]]
"""Score and box, of one image."""
Matched = tuple[list[tuple[float, bool]], int]
"""Of one image: score of each box and whether it is right; how many are true."""


def find_boxes(mask: NDArray[np.integer], least_px: int = LEAST_PX) -> list[Box]:
    """Return the box of each 8-connected part of `mask == 1` of so many pixels.

    >>> find_boxes(np.pad(np.ones((3, 4), int), 2))
    [(2.0, 2.0, 6.0, 5.0)]
    """
    labels, _ = ndimage.label(mask == 1, EIGHT)
    sizes = np.bincount(labels.ravel())
    return [
        (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1)
        if sizes[number] >= least_px
    ]


def box_map(probabilities: NDArray[np.floating], threshold: float) -> list[tuple[float, Box]]:
    """Return the boxes of a map's footprints, each with the mean probability of its pixels, the surest first."""
    found = probabilities >= threshold
    labels, number = ndimage.label(found, EIGHT)
    means = ndimage.mean(probabilities, labels, np.arange(1, number + 1))
    boxes = [
        (float(mean), box)
        for one, mean in enumerate(np.atleast_1d(means), start=1)
        for box in find_boxes(labels == one, LEAST_PX)
    ]
    return sorted(boxes, key=lambda pair: -pair[0])


def overlap(one: Box, other: Box) -> float:
    """Area of two boxes in common over that of both.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def match(found: Found, truth: Sequence[Box]) -> Matched:
    """Give each box, the surest first, the true box that it overlaps most and that none has yet, from one half on.

    >>> match([(0.9, (0, 0, 2, 2)), (0.8, (0, 0, 2, 3))], [(0, 0, 2, 2)])
    ([(0.9, True), (0.8, False)], 1)
    """
    free, ranked = list(truth), []
    for score, box in sorted(found, key=lambda pair: -pair[0]):
        best = max(free, key=lambda true: overlap(box, true), default=None)
        hit = best is not None and overlap(box, best) >= OVERLAP
        if hit and best is not None:
            free.remove(best)
        ranked.append((score, hit))
    return ranked, len(truth)


def ap50(images: Sequence[Matched], times: Sequence[int] | NDArray[np.int64] | None = None) -> float | None:
    """Average precision over images, each counted so many times; None without true boxes."""
    counts = [1] * len(images) if times is None else [int(one) for one in times]
    ranked = [pair for (pairs, _), n in zip(images, counts, strict=True) for pair in pairs * n]
    return average_precision(ranked, sum(truths * n for (_, truths), n in zip(images, counts, strict=True)))


def draw_ap50(images: Sequence[Matched], seed: int = 0) -> dict[str, Any]:
    """AP50 with its 95 % interval over the images."""
    return _tell(ap50(images) or 0.0, _draw(images, seed))


def compare_boxes(one: Sequence[Matched], other: Sequence[Matched], seed: int = 0) -> dict[str, Any]:
    """AP50 of two ways to draw boxes on the same images, and their difference, with 95 % intervals over the images.

    Returns:
        `one`, `other`, `difference` (one minus other), each {ap50, interval}; `carries`: its interval leaves out 0.
    """
    points = [ap50(side) or 0.0 for side in (one, other)]
    drawn = [_draw(side, seed) for side in (one, other)]
    difference = _tell(points[0] - points[1], drawn[0] - drawn[1])
    low, high = difference["interval"]
    return {
        "one": _tell(points[0], drawn[0]), "other": _tell(points[1], drawn[1]), "difference": difference,
        "carries": low > 0 or high < 0,
    }  # fmt: skip


def _draw(images: Sequence[Matched], seed: int) -> NDArray[np.float64]:
    """AP50 of images drawn with replacement, the same images for the same seed."""
    times = np.random.default_rng(seed).multinomial(len(images), np.full(len(images), 1 / len(images)), size=DRAWS)
    return np.array([ap50(images, row) or 0.0 for row in times])


def _tell(point: float, drawn: NDArray[np.float64]) -> dict[str, Any]:
    return {"ap50": round(point, 4), "interval": [round(float(q), 4) for q in np.quantile(drawn, [0.025, 0.975])]}
