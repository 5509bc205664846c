"""Trailing means and slopes of a panel with gaps, and values before and after given rows."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from forecasting.data.series import Floats, Ints

STALE_ROWS = 3
"""Rows without a reading for which the last one is carried forward. A station with an older one has no forecast."""
# Numbers of one intermediate array that fit into the processor cache. With larger arrays the sums take twice as long.
IN_CACHE = 25_000


@dataclass(frozen=True, slots=True)
class Trailing:
    """Moments of the last rows at each origin, shapes (N, S)."""

    count: Floats  # observed rows
    mean: Floats  # mean of the observed values, NaN where there is none
    age: Floats  # mean distance of the observed rows from the origin, in rows
    slope: Floats  # least-squares slope per row, 0 if fewer than two rows are observed


def trailing(values: Floats, origins: Ints, lengths: Iterable[int]) -> dict[int, Trailing]:
    """Return the moments of the last m rows, including the origin, for every m of `lengths`.

    All lengths are computed in one pass. The sums are added in a fixed order and read no row after the origin, so a
    later value does not change any bit of the result.
    """
    length_set = set(lengths)
    width = max(1, IN_CACHE // max(1, origins.size))
    starts = range(0, max(1, values.shape[1]), width)
    parts = [_sum_moments(values[:, first : first + width], origins, length_set) for first in starts]
    if len(parts) == 1:
        return parts[0]

    names = [field.name for field in fields(Trailing)]
    joined = {}
    for length in length_set:
        columns = [np.concatenate([getattr(part[length], name) for part in parts], axis=1) for name in names]
        joined[length] = Trailing(*columns)
    return joined


def _sum_moments(values: Floats, origins: Ints, lengths: set[int]) -> dict[int, Trailing]:
    shape = (origins.size, values.shape[1])
    first = max(0, int(origins.min(initial=values.shape[0])) - max(lengths) + 1)
    values = values[first:]
    origins = origins - first
    is_observed = np.isfinite(values)
    observed = is_observed.astype(np.float64)
    filled = np.where(is_observed, values, 0.0)
    # sums over the rows of a window, with x the lag of a row: 1, x, x², y and xy
    n, x, xx, y, xy, scratch = (np.zeros(shape) for _ in range(6))
    # consecutive origins are read as slices, without a copy
    begin = int(origins[0]) if origins.size and (np.diff(origins) == 1).all() else None
    moments: dict[int, Trailing] = {}
    for lag in range(max(lengths)):
        if begin is None:
            rows = np.maximum(origins - lag, 0)
            row_observed = observed[rows]
            row_values = filled[rows]
            row_observed[origins < lag] = 0.0
            row_values[origins < lag] = 0.0
            skipped = 0
        else:
            skipped = min(max(lag - begin, 0), origins.size)  # origins whose row is before the record
            span = slice(begin + skipped - lag, max(begin + origins.size - lag, 0))
            row_observed = observed[span]
            row_values = filled[span]
        product = scratch[skipped:]
        n[skipped:] += row_observed
        y[skipped:] += row_values
        if lag:
            x[skipped:] += np.multiply(row_observed, lag, out=product)
            xx[skipped:] += np.multiply(product, lag, out=product)
            xy[skipped:] += np.multiply(row_values, lag, out=product)
        if lag + 1 in lengths:
            moments[lag + 1] = _make_trailing(n, x, xx, y, xy)
    return moments


def lagged(values: Floats, origins: Ints, lag: int) -> Floats:
    """Return a copy of the rows `origins - lag`, shape (N, S); NaN before the record begins."""
    rows = origins - lag
    row_values: Floats = values[np.maximum(rows, 0)]
    if rows.size and rows.min() < 0:
        row_values[rows < 0] = np.nan
    return row_values


def last_value(values: Floats, origins: Ints) -> tuple[Floats, Floats]:
    """Return the newest value that is at most `STALE_ROWS` rows old, and its age in rows, each (N, S).

    Both are NaN if there is none.
    """
    newest = lagged(values, origins, 0)
    age_rows = np.where(np.isfinite(newest), 0.0, np.nan)
    for lag in range(1, STALE_ROWS + 1):
        is_empty = np.isnan(newest)
        if not is_empty.any():
            break
        older = lagged(values, origins, lag)
        is_filled = is_empty & np.isfinite(older)
        newest[is_filled] = older[is_filled]
        age_rows[is_filled] = lag
    return newest, age_rows


def known_median(values: Floats) -> Floats:
    """Return the median of the finite values along the first axis; NaN if there is none."""
    ranked = np.sort(values, axis=0)  # NaN is last
    count = np.isfinite(ranked).sum(axis=0, keepdims=True)
    low = np.take_along_axis(ranked, np.maximum((count - 1) // 2, 0), axis=0)
    high = np.take_along_axis(ranked, np.maximum(count // 2, 0), axis=0)
    median: Floats = np.where(count % 2 == 1, low, (low + high) / 2.0)[0]
    return median


def targets(values: Floats, origins: Ints, steps: int) -> Floats:
    """Return the values `steps` rows after each origin, shape (N, S); NaN after the end of the record."""
    rows = origins + steps
    is_inside = rows < values.shape[0]
    target_values = np.full((origins.size, values.shape[1]), np.nan)
    target_values[is_inside] = values[rows[is_inside]]
    return target_values


def _make_trailing(n: Floats, x: Floats, xx: Floats, y: Floats, xy: Floats) -> Trailing:
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = n * xx - x * x
        # lags increase into the past, so the slope in time has the opposite sign
        slope = np.where(spread > 0, -(n * xy - x * y) / spread, 0.0)
        return Trailing(n.copy(), np.where(n > 0, y / n, np.nan), np.where(n > 0, x / n, np.nan), slope)
