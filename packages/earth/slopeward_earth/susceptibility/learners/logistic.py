"""Logistic regression on standardised columns: the learner that a person can read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slopeward_earth.susceptibility.learners.table import Columns, Numbers


@dataclass(frozen=True, slots=True)
class Logistic:
    """Log-odds = intercept + sum of weight x (column - mean) / deviation."""

    mean: Numbers
    deviation: Numbers
    weights: Numbers
    intercept: float

    def score(self, columns: Columns) -> Numbers:
        """Return log-odds of columns x anything."""
        slopes = self.weights / self.deviation
        return np.asarray(np.tensordot(slopes, columns, axes=1) + (self.intercept - float(slopes @ self.mean)))


def fit(cells: Columns, label: NDArray[np.int64], seed: int) -> Logistic:  # noqa: ARG001 - nothing is drawn
    """Fit by L2-penalised maximum likelihood (scikit-learn, C = 1)."""
    from sklearn.linear_model import LogisticRegression

    columns = cells.astype(np.float64)
    mean, deviation = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-9)
    model = LogisticRegression(max_iter=2000).fit((columns - mean) / deviation, label)
    return Logistic(mean, deviation, np.asarray(model.coef_[0], np.float64), float(model.intercept_[0]))


def read(mean: Any, deviation: Any, weights: Any, intercept: float) -> Logistic:
    """Read back the fields as a file has them."""
    numbers = (np.asarray(mean, np.float64), np.asarray(deviation, np.float64), np.asarray(weights, np.float64))
    return Logistic(*numbers, float(intercept))
