"""Random forest, gradient boosting and support vectors on lags, for the tables of the field; never served.

Breiman 2001, Friedman 2001 and Vapnik 1995 as scikit-learn builds them. The library is the optional extra
`slopeward[compare]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.errors import MissingExtraError
from forecasting.registry import load
from forecasting.simple.least_squares import measure_steps
from forecasting.simple.ridge import lag_table, usable_lags

MOST_PAIRS = 6000
"""Rows a learner is given, evenly taken from all pairs: support vectors cost the square of them."""
_FLOOR_MM = 1e-6


@dataclass(frozen=True, slots=True)
class LagLearner:
    """One learner per horizon for all stations, on each station's own scale.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        lags: Lags in rows.
        scale_mm: Root mean square step of each station before the end of learning.
        learners: One fitted regressor per horizon; None where there were too few pairs.
    """

    name: str
    steps: tuple[int, ...]
    lags: tuple[int, ...]
    scale_mm: tuple[float, ...]
    learners: tuple[Any, ...]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        level, moved = lag_table(values, origins, self.lags)
        scale = np.asarray(self.scale_mm)
        out = np.full((*level.shape, len(self.steps)), np.nan)
        known = np.isfinite(level)
        if known.any():
            inputs = (moved / scale).transpose(1, 2, 0)[known]
            for i, learner in enumerate(self.learners):
                if learner is not None:
                    ahead = np.full(level.shape, np.nan)
                    ahead[known] = learner.predict(inputs)
                    out[:, :, i] = level + ahead * scale
        return out


def fit_comparison(name: str, panel: Panel, calibration: Block, steps: Sequence[int], *, seed: int = 7) -> LagLearner:
    """Fit one learner per horizon on pairs that end before the end of `calibration`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError(f"{name} needs scikit-learn: pip install 'slopeward[compare]'") from error
    make = load(name)
    values = panel.values[: calibration.end]
    known = Block(0, calibration.end)
    lags = usable_lags(calibration.end)
    origins = np.arange(max(lags), calibration.end, dtype=np.int64)
    level, moved = lag_table(values, origins, lags)
    scale = measure_steps(values, _FLOOR_MM)
    inputs = (moved / scale).transpose(1, 2, 0)
    learners = []
    for h in steps:
        wanted = (known.targets(values, origins, h) - level) / scale
        use = np.isfinite(wanted)
        x, y = inputs[use], wanted[use]
        thin = max(1, -(-y.size // MOST_PAIRS))
        learners.append(make(seed).fit(x[::thin], y[::thin]) if y.size >= 4 * len(lags) else None)
    return LagLearner(name, tuple(steps), lags, tuple(float(v) for v in scale), tuple(learners))


def make_forest(seed: int) -> Any:
    """A random forest of 100 trees, five samples a leaf."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(100, min_samples_leaf=5, max_features=0.5, random_state=seed, n_jobs=1)


def make_boosting(seed: int) -> Any:
    """Gradient boosting on histograms, absolute error."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=0.05, max_iter=150, max_leaf_nodes=15, random_state=seed
    )


def make_svr(seed: int) -> Any:
    """Support vector regression with a Gaussian kernel on standardised lags; knows no chance."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    del seed
    return make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.1))
