"""Ridge regression by normal equations, and weights that limit what a single large miss changes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import Floats

USUAL_MISSES: Final = 3.0  # a miss above this many usual ones counts less in a fit (Huber)


def solve_ridge(square: Floats, product: Floats, penalty: float) -> Floats:
    """Return the coefficients of several regressions.

    Args:
        square: Weighted sums of the products of features, shape (..., features, features).
        product: Weighted sums of the products of features and targets, shape (..., features).
        penalty: Ridge penalty, as a number of observations of a unit feature.
    """
    ridge = penalty * np.eye(square.shape[-1])
    return np.asarray(np.linalg.solve(square + ridge, product[..., None])[..., 0], dtype=np.float64)


def weigh_misses(
    miss: Floats, usual: Floats, is_known: NDArray[np.bool_], keep: Floats | float
) -> tuple[Floats, Floats]:
    """Return the weights of new observations, and the usual misses once these observations count.

    Args:
        miss: Absolute misses of the fit before the observation, any shape.
        usual: Usual misses, NaN before the first.
        is_known: Where there is an observation; elsewhere the weight is 0 and the usual miss stays.
        keep: Share of the usual miss that a new observation leaves.
    """
    before = np.where(np.isfinite(usual), usual, miss)
    limit = USUAL_MISSES * before
    is_large = miss > limit
    weight = is_known * np.where(is_large, limit / np.where(is_large, miss, 1.0), 1.0)
    after = before + (np.minimum(miss, limit) - before) * (1.0 - keep)
    return np.asarray(weight), np.where(is_known, after, usual)
