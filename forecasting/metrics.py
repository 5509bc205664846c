"""Scores of forecasts, blind to missing pairs; displacement is scored on increments, so levels cancel.

Ours because pairs may be missing; on full ones scikit-learn gives the same to 1e-12 (`test_beside_libraries.py`).
"""

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import Floats


def or_none(value: float) -> float | None:
    """A number as records keep it: None where it is none."""
    return float(value) if np.isfinite(value) else None


def mae(error: Floats) -> float:
    """Mean absolute error of the finite entries, NaN where there is none."""
    finite = error[np.isfinite(error)]
    return float(np.abs(finite).mean()) if finite.size else float("nan")


def rmse(error: Floats) -> float:
    """Root mean square error of the finite entries, NaN where there is none."""
    finite = error[np.isfinite(error)]
    return float(np.sqrt((finite**2).mean())) if finite.size else float("nan")


def skill(score: float, reference: float) -> float:
    """1 - score / reference: above 0 is better than the reference; NaN where the reference is 0 or unknown.

    >>> skill(1.5, 2.0)
    0.25
    """
    return 1.0 - score / reference if np.isfinite(reference) and reference > 0 else float("nan")


def pinball(error: Floats, quantile: float) -> float:
    """Mean quantile loss of error = observed - forecast quantile (Koenker and Bassett 1978)."""
    finite = error[np.isfinite(error)]
    if not finite.size:
        return float("nan")
    return float(np.maximum(quantile * finite, (quantile - 1.0) * finite).mean())


def winkler(low: Floats, high: Floats, observed: Floats, nominal: float) -> float:
    """Mean interval score (Winkler 1972): width plus 2 / alpha times the distance outside; lower is better."""
    pair = np.isfinite(low) & np.isfinite(high) & np.isfinite(observed)
    if not pair.any():
        return float("nan")
    lo, hi, y = low[pair], high[pair], observed[pair]
    outside = np.maximum(lo - y, 0.0) + np.maximum(y - hi, 0.0)
    return float((hi - lo + 2.0 / (1.0 - nominal) * outside).mean())


def inside(low: Floats, high: Floats, observed: Floats) -> Floats:
    """1 where the interval holds the value, 0 where not, NaN where one of them is missing."""
    known: NDArray[np.bool_] = np.isfinite(low) & np.isfinite(high) & np.isfinite(observed)
    with np.errstate(invalid="ignore"):
        return np.where(known, ((low <= observed) & (observed <= high)).astype(np.float64), np.nan)


def coverage(low: Floats, high: Floats, observed: Floats, *, minimum: int = 20) -> tuple[float, float]:
    """Share of values inside, over all and of the worst station (column) with at least `minimum` values."""
    hit = inside(low, high, observed)
    seen = np.isfinite(hit)
    if not seen.any():
        return float("nan"), float("nan")
    count = seen.sum(axis=0)
    share = np.where(seen, hit, 0.0).sum(axis=0) / np.maximum(count, 1)
    enough = share[count >= minimum]
    overall = float(hit[seen].mean())
    return overall, float(enough.min()) if enough.size else overall


def mape(error: Floats, moved: Floats, noise_mm: Floats) -> float:
    """Mean |error| / |movement| over the horizon; NaN where a tenth of the movements is lost in the noise.

    Displacement is counted from an arbitrary zero, so a percentage of its level means nothing; of the movement it does.
    """
    use = np.isfinite(error) & np.isfinite(moved)
    large = use & (np.abs(moved) > 2.0 * noise_mm)
    if not use.any() or large.sum() < 0.9 * use.sum():
        return float("nan")
    return float((np.abs(error[large]) / np.abs(moved[large])).mean())


def sum_lags(centred: Floats, reach: int) -> float:
    """Sum of squares with what neighbours up to `reach` rows apart share (Bartlett weights; Newey and West 1987)."""
    total = float(centred @ centred)
    for lag in range(1, reach + 1):
        total += 2.0 * (1.0 - lag / (reach + 1)) * float(centred[lag:] @ centred[:-lag])
    return total
