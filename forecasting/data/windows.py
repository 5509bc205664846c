"""Trailing means and slopes over gaps: the two numbers every simple forecast is made of."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from forecasting.data.series import Floats, Ints

HOLD_STEPS = 3  # A last value is carried at most this many rows; beyond that the series is stale
IN_CACHE = 25_000
"""Sums of windows that are worked on at a time: more do not stay in the nearest memory, and it takes twice as long."""


@dataclass(frozen=True, slots=True)
class Trailing:
    """Moments of the last `length` rows at each origin, shapes (N, S)."""

    count: Floats  # observed rows
    mean: Floats  # mean of the observed values, NaN where there is none
    age: Floats  # mean distance of the observed rows from the origin, in rows
    slope: Floats  # least-squares slope per row, 0 where fewer than two rows are observed


def trailing(values: Floats, origins: Ints, lengths: Iterable[int]) -> dict[int, Trailing]:
    """Moments over the last m rows, origin included, for every m of `lengths` in one pass.

    Sums run lag by lag in a fixed order and read nothing after the origin, so a later value cannot change one bit.
    """
    wanted = set(lengths)
    width = max(1, IN_CACHE // max(1, origins.size))
    starts = range(0, max(1, values.shape[1]), width)
    parts = [_trail(values[:, s : s + width], origins, wanted) for s in starts]
    if len(parts) == 1:
        return parts[0]

    names = [field.name for field in fields(Trailing)]
    return {
        m: Trailing(*(np.concatenate([getattr(part[m], n) for part in parts], axis=1) for n in names)) for m in wanted
    }


def _trail(values: Floats, origins: Ints, wanted: set[int]) -> dict[int, Trailing]:
    shape = (origins.size, values.shape[1])
    first = max(0, int(origins.min(initial=values.shape[0])) - max(wanted) + 1)
    values, origins = values[first:], origins - first
    known = np.isfinite(values)
    seen, plain = known.astype(np.float64), np.where(known, values, 0.0)
    n, x, xx, y, xy, spare = (np.zeros(shape) for _ in range(6))
    # consecutive origins, as a history asks for them, are read in place
    begin = int(origins[0]) if origins.size and (np.diff(origins) == 1).all() else None
    out: dict[int, Trailing] = {}
    for lag in range(max(wanted)):
        if begin is None:
            rows = np.maximum(origins - lag, 0)
            there, value, before = seen[rows], plain[rows], 0
            there[origins < lag] = value[origins < lag] = 0.0
        else:
            before = min(max(lag - begin, 0), origins.size)  # origins whose row lies before the record
            own = slice(begin + before - lag, max(begin + origins.size - lag, 0))
            there, value = seen[own], plain[own]
        term = spare[before:]
        n[before:] += there
        y[before:] += value
        if lag:
            x[before:] += np.multiply(there, lag, out=term)
            xx[before:] += np.multiply(term, lag, out=term)
            xy[before:] += np.multiply(value, lag, out=term)
        if lag + 1 in wanted:
            out[lag + 1] = _moments(n, x, xx, y, xy)
    return out


def lagged(values: Floats, origins: Ints, lag: int) -> Floats:
    """Rows `origins - lag` as a fresh array (N, S), NaN before the beginning of the record."""
    rows = origins - lag
    out: Floats = values[np.maximum(rows, 0)]  # fancy indexing copies
    if rows.size and rows.min() < 0:
        out[rows < 0] = np.nan
    return out


def last_value(values: Floats, origins: Ints) -> tuple[Floats, Floats]:
    """The newest value not older than 3 rows and its age in rows, each (N, S), NaN where there is none."""
    level = lagged(values, origins, 0)
    age = np.where(np.isfinite(level), 0.0, np.nan)
    for lag in range(1, HOLD_STEPS + 1):
        empty = np.isnan(level)
        if not empty.any():
            break
        older = lagged(values, origins, lag)
        fill = empty & np.isfinite(older)
        level[fill] = older[fill]
        age[fill] = lag
    return level, age


def known_median(values: Floats) -> Floats:
    """Median over the first axis of what is known; NaN where nothing is."""
    ranked = np.sort(values, axis=0)  # NaN comes last
    count = np.isfinite(ranked).sum(axis=0, keepdims=True)
    low, high = (np.take_along_axis(ranked, np.maximum(rank, 0), axis=0) for rank in ((count - 1) // 2, count // 2))
    out: Floats = np.where(count % 2 == 1, low, (low + high) / 2.0)[0]
    return out


def targets(values: Floats, origins: Ints, steps: int) -> Floats:
    """What was observed `steps` rows after each origin, shape (N, S), NaN beyond the record."""
    rows = origins + steps
    inside = rows < values.shape[0]
    out = np.full((origins.size, values.shape[1]), np.nan)
    out[inside] = values[rows[inside]]
    return out


def _moments(n: Floats, x: Floats, xx: Floats, y: Floats, xy: Floats) -> Trailing:
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = n * xx - x * x
        # lags grow into the past, so the slope in time has the opposite sign
        slope = np.where(spread > 0, -(n * xy - x * y) / spread, 0.0)
        return Trailing(n.copy(), np.where(n > 0, y / n, np.nan), np.where(n > 0, x / n, np.nan), slope)
