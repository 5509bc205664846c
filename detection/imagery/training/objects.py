"""Scores by object: recall and precision by size, accuracy of edges, and average precision."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.metrics import average_precision
from detection.imagery.raster.components import EIGHT

# Size classes in pixels, and their lower limits except that of the first.
SIZE_LIMITS_PX = (10, 50, 200)
SIZE_CLASSES = ("<10", "10-50", "50-200", ">=200")
# An object and a landslide match if their IoU is at least this much.
IOU_LIMITS = (0.1, 0.5)
# Edges match if they are at most this far apart.
EDGE_TOLERANCES_PX = (1, 2)


@dataclass(slots=True)
class ObjectCount:
    """Counts of landslides and objects over several images. A landslide is of the truth, an object is of the map."""

    # number of landslides by size class
    truths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIZE_CLASSES, 0))
    # number of objects by size class
    predicted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIZE_CLASSES, 0))
    # number of landslides that an object matches, by (criterion, size class); criteria: `iou_0.1`, `iou_0.5`, and
    # `covered_half`, for which objects cover half of the landslide
    found: dict[tuple[str, str], int] = field(default_factory=dict)
    # number of objects that match a landslide, by (criterion, size class); criteria: `iou_0.1` and `iou_0.5`
    matched: dict[tuple[str, str], int] = field(default_factory=dict)
    # (mean probability, whether its IoU with a landslide is at least 0.5) of each object
    ranked: list[tuple[float, bool]] = field(default_factory=list)
    # by tolerance in px: [edge pixels of the map near an edge of the truth, all edge pixels of the map, edge pixels of
    # the truth near an edge of the map, all edge pixels of the truth]
    edges: dict[int, list[int]] = field(default_factory=lambda: {px: [0, 0, 0, 0] for px in EDGE_TOLERANCES_PX})

    def add(
        self,
        probabilities: NDArray[np.floating],
        predicted: NDArray[np.bool_],
        truth: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add the counts of one image. Pixels that are not valid belong to no object and no landslide."""
        if valid is not None:
            predicted, truth = predicted & valid, truth & valid
        true_labels, true_number = ndimage.label(truth, EIGHT)
        map_labels, map_number = ndimage.label(predicted, EIGHT)
        true_area = np.bincount(true_labels.ravel(), minlength=true_number + 1)[1:]
        map_area = np.bincount(map_labels.ravel(), minlength=map_number + 1)[1:]
        pairs = np.zeros((true_number, map_number), np.int64)
        both = predicted & truth
        np.add.at(pairs, (true_labels[both] - 1, map_labels[both] - 1), 1)
        iou = pairs / np.maximum(true_area[:, None] + map_area[None, :] - pairs, 1)
        best_true = iou.max(axis=1, initial=0.0)
        best_map = iou.max(axis=0, initial=0.0)
        covered = pairs.sum(axis=1) / np.maximum(true_area, 1)
        for number, area in enumerate(true_area):
            self.truths[size_class(area)] += 1
            criteria = [f"iou_{least}" for least in IOU_LIMITS if best_true[number] >= least]
            if covered[number] >= 0.5:
                criteria.append("covered_half")
            for criterion in criteria:
                key = criterion, size_class(area)
                self.found[key] = self.found.get(key, 0) + 1
        for number, area in enumerate(map_area):
            self.predicted[size_class(area)] += 1
            for least in IOU_LIMITS:
                if best_map[number] >= least:
                    key = f"iou_{least}", size_class(area)
                    self.matched[key] = self.matched.get(key, 0) + 1
        if map_number:
            means = ndimage.mean(probabilities, map_labels, np.arange(1, map_number + 1))
            self.ranked += self._rank(np.asarray(means), iou)
        edge_map, edge_true = _edge(predicted), _edge(truth)
        for px, counts in self.edges.items():
            near_true, near_map = _widen(edge_true, px), _widen(edge_map, px)
            values = (edge_map & near_true, edge_map, edge_true & near_map, edge_true)
            for index, pixels in enumerate(values):
                counts[index] += int(np.count_nonzero(pixels))

    @staticmethod
    def _rank(means: NDArray[np.floating], iou: NDArray[np.floating]) -> list[tuple[float, bool]]:
        """Assign objects to landslides by falling probability. Each landslide is assigned to one object at most."""
        is_assigned = np.zeros(iou.shape[0], bool)
        ranked = []
        for number in np.argsort(-means, kind="stable"):
            free = np.where(is_assigned, 0.0, iou[:, number])
            hit = bool(free.size and free.max() >= 0.5)
            if hit:
                is_assigned[int(free.argmax())] = True
            ranked.append((float(means[number]), hit))
        return ranked

    def report(self) -> dict[str, object]:
        """Return recall and precision by criterion and size class, F1 of edges by tolerance, and average precision."""
        recall = {
            name: {"all": _share(name, self.found, self.truths)}
            | {label: _share(name, self.found, self.truths, label) for label in SIZE_CLASSES}
            for name in ("iou_0.1", "iou_0.5", "covered_half")
        }
        precision = {
            name: {"all": _share(name, self.matched, self.predicted)}
            | {label: _share(name, self.matched, self.predicted, label) for label in SIZE_CLASSES}
            for name in ("iou_0.1", "iou_0.5")
        }
        boundary: dict[str, float | None] = {}
        for px, (near_map, all_map, near_true, all_true) in self.edges.items():
            precision_px, recall_px = near_map / max(all_map, 1), near_true / max(all_true, 1)
            both = precision_px + recall_px
            boundary[f"{px}px"] = (2 * precision_px * recall_px / both if both else 0.0) if all_map + all_true else None
        return {
            "object_recall": recall,
            "object_precision": precision,
            "objects": {"truth": dict(self.truths), "map": dict(self.predicted)},
            "boundary_f1": boundary,
            "ap50": average_precision(self.ranked, sum(self.truths.values())),
        }


def size_class(area_px: int) -> str:
    """Name the size class of an area in pixels.

    >>> [size_class(area) for area in (9, 10, 200)]
    ['<10', '10-50', '>=200']
    """
    return SIZE_CLASSES[int(np.searchsorted(SIZE_LIMITS_PX, area_px, side="right"))]


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that have a neighbour outside of it."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask, border_value=1))


def _widen(edge: NDArray[np.bool_], px: int) -> NDArray[np.bool_]:
    return np.asarray(ndimage.maximum_filter(edge, size=2 * px + 1))


def _share(
    name: str, hits: dict[tuple[str, str], int], totals: dict[str, int], label: str | None = None
) -> float | None:
    labels = SIZE_CLASSES if label is None else (label,)
    total = sum(totals[size] for size in labels)
    return sum(hits.get((name, size), 0) for size in labels) / total if total else None
