"""The learners: id -> how it is fitted and read back; each answers log-odds and is kept as plain numbers."""

from dataclasses import fields
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Columns = NDArray[np.float32]


class FittedLearner(Protocol):
    """A learner that has learned."""

    def score(self, columns: Columns) -> Numbers:
        """Return log-odds of columns x anything."""
        ...


# id -> (module, what a person reads of it); each module has `fit(cells, label, seed)` and `read(**fields)`
LEARNERS: Final[dict[str, tuple[str, str]]] = {
    "logistic": ("slopeward_earth.susceptibility.learners.logistic", "logistic regression (scikit-learn, L2)"),
    "boosting": (
        "slopeward_earth.susceptibility.learners.boosting",
        "gradient-boosted trees (scikit-learn, histogram)",
    ),
}


def fit(name: str, cells: Columns, label: NDArray[np.int64], seed: int) -> FittedLearner:
    """Fit a learner on cells x columns."""
    fitted: FittedLearner = import_module(LEARNERS[name][0]).fit(cells, label, seed)
    return fitted


def read(name: str, **numbers: Any) -> FittedLearner:
    """Read back its fields as `write_numbers` gave them."""
    fitted: FittedLearner = import_module(LEARNERS[name][0]).read(**numbers)
    return fitted


def write_numbers(record: Any) -> dict[str, Any]:
    """The fields of a record as JSON has them: arrays are lists."""
    found = {one.name: getattr(record, one.name) for one in fields(record)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
