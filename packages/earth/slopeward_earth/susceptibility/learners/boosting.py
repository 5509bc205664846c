"""Gradient-boosted trees of depth three: fitted by scikit-learn, kept as plain arrays that answer the same."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slopeward_earth.susceptibility.learners.table import Columns, Numbers

DEPTH: Final = 3
TREES: Final = 60
SPLITS: Final = 2**DEPTH - 1
NEVER: Final = float(np.finfo(np.float32).max)  # a split that every value passes to the left
CHUNK: Final = 1 << 16  # pixels at a time: what stays in the cache


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete trees: split k leads to splits 2k + 1 (at most the bound) and 2k + 2; the last ones to leaves."""

    start: float  # log-odds before the first tree
    column: NDArray[np.int64]  # trees x splits
    bound: Numbers  # trees x splits
    leaf: Numbers  # trees x leaves

    def score(self, columns: Columns) -> Numbers:
        """Return log-odds of columns x anything."""
        flat = np.ascontiguousarray(columns.reshape(len(columns), -1))
        # the greatest float32 that is not above the bound splits float32 values as the bound itself does
        bound = self.bound.astype(np.float32)
        bound = np.where(bound > self.bound, np.nextafter(bound, np.float32(-np.inf)), bound)
        total = np.empty(flat.shape[1])
        for first in range(0, flat.shape[1], CHUNK):
            part = flat[:, first : first + CHUNK]
            own = np.full(part.shape[1], self.start)
            for column, split, leaf in zip(self.column, bound, self.leaf, strict=True):
                above = [part[c] > b for c, b in zip(column, split, strict=True)]
                second = np.where(above[0], above[2], above[1])
                third = np.where(above[0], np.where(second, above[6], above[5]), np.where(second, above[4], above[3]))
                own += leaf[(above[0].view(np.uint8) << 2) | (second.view(np.uint8) << 1) | third.view(np.uint8)]
            total[first : first + CHUNK] = own
        return total.reshape(columns.shape[1:])


def fit(cells: Columns, label: NDArray[np.int64], seed: int) -> Trees:
    """Fit by scikit-learn and take its trees out."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return export(
        HistGradientBoostingClassifier(
            max_iter=TREES,
            max_depth=DEPTH,
            learning_rate=0.1,
            min_samples_leaf=20,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        ).fit(cells, label)
    )


def export(model: Any) -> Trees:
    """Return the trees of a fitted model of scikit-learn (two classes, no category, depth three at most)."""
    grown = [iteration[0].nodes for iteration in model._predictors]  # noqa: SLF001 - a test holds both to be equal
    column = np.zeros((len(grown), SPLITS), np.int64)
    bound = np.full((len(grown), SPLITS), NEVER)
    leaf = np.zeros((len(grown), 2**DEPTH))
    for number, nodes in enumerate(grown):
        _walk(nodes, 0, 0, 0, (column[number], bound[number], leaf[number]))
    return Trees(float(model._baseline_prediction.ravel()[0]), column, bound, leaf)  # noqa: SLF001 - the same


def _walk(nodes: Any, here: int, place: int, depth: int, into: tuple[NDArray[Any], Numbers, Numbers]) -> None:
    column, bound, leaf = into
    node = nodes[here]
    if depth == DEPTH:
        leaf[place - SPLITS] = node["value"]
        return
    is_leaf = bool(node["is_leaf"])
    if not is_leaf:
        column[place], bound[place] = node["feature_idx"], node["num_threshold"]
    for side, child in ((1, "left"), (2, "right")):
        _walk(nodes, here if is_leaf else int(node[child]), 2 * place + side, depth + 1, into)


def read(start: float, column: Any, bound: Any, leaf: Any) -> Trees:
    """Read back the fields as a file has them."""
    numbers = np.asarray(column, np.int64), np.asarray(bound, np.float64), np.asarray(leaf, np.float64)
    trees = Trees(float(start), *numbers)
    if trees.column.shape != trees.bound.shape or trees.leaf.shape != (len(trees.column), SPLITS + 1):
        raise ValueError("trees of another shape")
    return trees
