"""What a network of a whole site reads: residuals of all stations, and of other quantities on the cells of these."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from detection.anomaly.parts import lay_out
from detection.anomaly.records import Beside
from detection.anomaly.robust import drift_residual
from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.windows import Series, scaled_residuals

LEAST_SHARE: Final = 0.8  # of the readings of a cell, or their sum is unknown: it is not small
KEPT: Final = 0.9  # of what fell, the next day: a network reads what the last ten days left


def lay_beside(samples: Mapping[str, Series], beside: Mapping[str, Beside]) -> dict[str, Series]:
    """Other quantities on the cells of those series that are scored.

    A cell holds what came after the end of the cell before it, up to the earliest reading that is scored in it: their
    mean, or of amounts what their sums of the last ten days left. What is slower is missing between.
    """
    if not beside:
        return {}
    names, table, _, places = lay_out(samples)
    step_s, ends_s = samples[names[0]].step_s, np.full(table.shape[1], np.nan)
    for name, place in zip(names, places, strict=True):
        mine = slice(place, place + len(samples[name].times_s))
        ends_s[mine] = np.fmin(ends_s[mine], samples[name].times_s)
    plain = ends_s[0] + step_s * np.arange(len(ends_s))
    ends_s = np.maximum.accumulate(np.where(np.isfinite(ends_s), ends_s, plain))
    return {name: Series(ends_s, _gather(one, ends_s, step_s), step_s) for name, one in sorted(beside.items())}


def _gather(one: Beside, ends_s: Array, step_s: float) -> Array:
    times_s, values = np.asarray(one.times_s, dtype=np.float64), np.asarray(one.values, dtype=np.float64)
    known = np.isfinite(values) & (times_s > ends_s[0] - step_s) & (times_s <= ends_s[-1])
    cells = np.searchsorted(ends_s, times_s[known], side="left")
    counts = np.bincount(cells, minlength=len(ends_s))
    sums = np.bincount(cells, weights=values[known], minlength=len(ends_s))
    if not one.adds:
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    is_whole = counts >= max(1.0, LEAST_SHARE * step_s / one.interval_s)
    keep, left, out = KEPT ** (step_s / DAY_S), 0.0, np.full(len(ends_s), np.nan)
    for k, amount in enumerate(sums.tolist()):
        left = keep * left + amount
        out[k] = left if is_whole[k] else np.nan
    return out


def stack_site(
    samples: Mapping[str, Series], stations: Sequence[str], beside: Mapping[str, Series], channels: Sequence[str]
) -> tuple[Array, dict[str, int]]:
    """Of all stations the residual to the median of a week, then that to the line of sixty days; then of all channels.

    Args:
        samples: what is scored.
        stations: which columns there are; one that is gone is missing.
        beside: what is read alone, on the same interval.
        channels: which columns of these there are.

    Returns:
        The table, NaN where unknown, shape (cells, 2 stations + 2 channels), and the first cell of each station.
    """
    names, table, _, begins = lay_out(samples)
    begin_s = min(float(one.times_s[0]) for one in samples.values())
    places = dict(zip(names, begins, strict=True))
    out = np.full((table.shape[1], 2 * (len(stations) + len(channels))), np.nan)
    for known, columns, begin in ((samples, stations, 0), (beside, channels, 2 * len(stations))):
        for column, name in enumerate(columns):
            if name in known:
                series = known[name]
                place = int(np.floor((float(series.times_s[0]) - begin_s) / series.step_s + 0.5))
                rows = slice(max(place, 0), max(place + len(series.values), 0))
                cut = slice(rows.start - place, rows.start - place + len(out[rows]))
                out[rows, begin + column] = scaled_residuals(series)[cut]
                out[rows, begin + len(columns) + column] = drift_residual(series)[cut]
    return out, places
