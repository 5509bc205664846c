"""Scores by object: landslides found by size, accuracy of edges, and average precision."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.metrics import average_precision
from detection.imagery.raster.components import EIGHT

BINS_PX = (10, 50, 200)
"""Limits of the size classes: below 10, 10 to 50, 50 to 200, and more pixels."""
LABELS = ("<10", "10-50", "50-200", ">=200")
LEAST_IOU = (0.1, 0.5)
EDGE_PX = (1, 2)


@dataclass(slots=True)
class ObjectCount:
    """Counts over images, which `add` adds up and `report` turns into scores."""

    # landslides in the truth, by size class
    truths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    # objects of the map, by size class
    predicted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    # (criterion, size class) -> landslides that were found by it; criteria: `iou_0.1`, `iou_0.5`, `covered_half`
    found: dict[tuple[str, str], int] = field(default_factory=dict)
    # (criterion, size class) -> objects of the map that overlap a landslide by that IoU
    right: dict[tuple[str, str], int] = field(default_factory=dict)
    # (mean probability, overlaps a landslide by an IoU of .5) of each object of the map
    ranked: list[tuple[float, bool]] = field(default_factory=list)
    # tolerance in px -> [edge pixels of the map near the truth's, all, of the truth near the map's, all]
    edges: dict[int, list[int]] = field(default_factory=lambda: {px: [0, 0, 0, 0] for px in EDGE_PX})

    def add(
        self,
        probabilities: NDArray[np.floating],
        predicted: NDArray[np.bool_],
        truth: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one image; pixels that are not valid belong to no object."""
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
            hits = [f"iou_{least}" for least in LEAST_IOU if best_true[number] >= least]
            for name in (*hits, *(["covered_half"] if covered[number] >= 0.5 else [])):
                self.found[name, size_class(area)] = self.found.get((name, size_class(area)), 0) + 1
        for number, area in enumerate(map_area):
            self.predicted[size_class(area)] += 1
            for least in LEAST_IOU:
                if best_map[number] >= least:
                    key = f"iou_{least}", size_class(area)
                    self.right[key] = self.right.get(key, 0) + 1
        if map_number:
            means = ndimage.mean(probabilities, map_labels, np.arange(1, map_number + 1))
            self.ranked += self._rank(np.asarray(means), iou)
        edge_map, edge_true = _edge(predicted), _edge(truth)
        for px, counts in self.edges.items():
            near_true, near_map = _widen(edge_true, px), _widen(edge_map, px)
            values = (edge_map & near_true, edge_map, edge_true & near_map, edge_true)
            for place, value in enumerate(values):
                counts[place] += int(np.count_nonzero(value))

    @staticmethod
    def _rank(means: NDArray[np.floating], iou: NDArray[np.floating]) -> list[tuple[float, bool]]:
        """Assign objects to landslides by falling probability; a landslide is assigned once."""
        taken = np.zeros(iou.shape[0], bool)
        ranked = []
        for number in np.argsort(-means, kind="stable"):
            free = np.where(taken, 0.0, iou[:, number])
            hit = bool(free.size and free.max() >= 0.5)
            if hit:
                taken[int(free.argmax())] = True
            ranked.append((float(means[number]), hit))
        return ranked

    def report(self) -> dict[str, object]:
        """Return object_recall and object_precision by criterion and size, boundary_f1 by tolerance, ap50."""
        recall = {
            name: {"all": _share(name, self.found, self.truths)}
            | {label: _share(name, self.found, self.truths, label) for label in LABELS}
            for name in ("iou_0.1", "iou_0.5", "covered_half")
        }
        precision = {
            name: {"all": _share(name, self.right, self.predicted)}
            | {label: _share(name, self.right, self.predicted, label) for label in LABELS}
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
    return LABELS[int(np.searchsorted(BINS_PX, area_px, side="right"))]


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask beside pixels outside of it."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask, border_value=1))


def _widen(edge: NDArray[np.bool_], px: int) -> NDArray[np.bool_]:
    return np.asarray(ndimage.maximum_filter(edge, size=2 * px + 1))


def _share(
    name: str, hits: dict[tuple[str, str], int], totals: dict[str, int], label: str | None = None
) -> float | None:
    labels = LABELS if label is None else (label,)
    total = sum(totals[size] for size in labels)
    return sum(hits.get((name, size), 0) for size in labels) / total if total else None
