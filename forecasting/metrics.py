"""Scores of forecasts. Missing values are left out.

scikit-learn does not accept missing values. Without them it gives the same scores to 1e-12
(`test_beside_libraries.py`).
"""

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import Floats


def or_none(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON does not support."""
    return float(value) if np.isfinite(value) else None


def mae(error: Floats) -> float:
    """Return the mean absolute error of the finite entries; NaN without any."""
    finite = error[np.isfinite(error)]
    return float(np.abs(finite).mean()) if finite.size else float("nan")


def rmse(error: Floats) -> float:
    """Return the root mean square error of the finite entries; NaN without any."""
    finite = error[np.isfinite(error)]
    return float(np.sqrt((finite**2).mean())) if finite.size else float("nan")


def skill(score: float, reference: float) -> float:
    """Return 1 - score / reference. Above 0 is better than the reference; NaN if the reference is 0 or unknown.

    >>> skill(1.5, 2.0)
    0.25
    """
    return 1.0 - score / reference if np.isfinite(reference) and reference > 0 else float("nan")


def pinball(error: Floats, quantile: float) -> float:
    """Return the mean quantile loss of errors, observed minus forecast quantile (Koenker and Bassett 1978)."""
    finite = error[np.isfinite(error)]
    if not finite.size:
        return float("nan")
    return float(np.maximum(quantile * finite, (quantile - 1.0) * finite).mean())


def winkler(low: Floats, high: Floats, observed: Floats, nominal: float) -> float:
    """Return the mean interval score (Winkler 1972): the width plus 2 / alpha times the distance outside.

    Args:
        nominal: Nominal coverage, 1 - alpha.
    """
    is_complete = np.isfinite(low) & np.isfinite(high) & np.isfinite(observed)
    if not is_complete.any():
        return float("nan")
    width = (high - low)[is_complete]
    outside = (np.maximum(low - observed, 0.0) + np.maximum(observed - high, 0.0))[is_complete]
    return float((width + 2.0 / (1.0 - nominal) * outside).mean())


def inside(low: Floats, high: Floats, observed: Floats) -> Floats:
    """Return 1 where a value is within its interval, 0 where it is not, and NaN where one of them is missing."""
    is_complete: NDArray[np.bool_] = np.isfinite(low) & np.isfinite(high) & np.isfinite(observed)
    with np.errstate(invalid="ignore"):
        return np.where(is_complete, ((low <= observed) & (observed <= high)).astype(np.float64), np.nan)


def coverage(low: Floats, high: Floats, observed: Floats, *, minimum: int = 20) -> tuple[float, float]:
    """Return the share of values within their intervals, of all stations and of the station with the lowest share.

    Args:
        minimum: Values that a station (column) needs for a share of its own. If no station has so many, the second
            number equals the first.
    """
    is_inside = inside(low, high, observed)
    is_known = np.isfinite(is_inside)
    if not is_known.any():
        return float("nan"), float("nan")
    count = is_known.sum(axis=0)
    share = np.where(is_known, is_inside, 0.0).sum(axis=0) / np.maximum(count, 1)
    station_shares = share[count >= minimum]
    overall = float(is_inside[is_known].mean())
    return overall, float(station_shares.min()) if station_shares.size else overall


def mape(error: Floats, moved: Floats, noise_mm: Floats) -> float:
    """Return the mean of |error| / |movement| over the horizon.

    The error is divided by the movement, because the zero of displacement is arbitrary. NaN if more than a tenth of the
    movements is smaller than twice the noise.
    """
    is_known = np.isfinite(error) & np.isfinite(moved)
    is_large = is_known & (np.abs(moved) > 2.0 * noise_mm)
    if not is_known.any() or is_large.sum() < 0.9 * is_known.sum():
        return float("nan")
    return float((np.abs(error[is_large]) / np.abs(moved[is_large])).mean())


def sum_lags(centred: Floats, reach: int) -> float:
    """Return the sum of squares with autocovariances up to lag `reach` (Bartlett weights; Newey and West 1987)."""
    total = float(centred @ centred)
    for lag in range(1, reach + 1):
        total += 2.0 * (1.0 - lag / (reach + 1)) * float(centred[lag:] @ centred[:-lag])
    return total
