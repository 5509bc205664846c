"""Fit lines through windows of many readings, as arrays.

A rate over a day reads a thousand readings for each of its values. Arrays make that fast. Sums are taken with
`math.fsum` all the same, so that a value depends on its readings alone and not on the processor.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.features.derived.samples import InputSamples, Sample, SampleWindow, Series, Used, Value, find_at_s

LEAST_READINGS: Final = 3  # of a line


class SampleColumns:
    """The readings of one series as arrays, by rising instant."""

    def __init__(self, rows: list[Sample]) -> None:
        self.rows = rows
        self.at_s: NDArray[np.float64] = np.array([row.at_s for row in rows], dtype=np.float64)
        self.values: NDArray[np.float64] = np.array([row.value for row in rows], dtype=np.float64)
        # Standard deviations; NaN where a reading has none.
        sigmas = [math.nan if row.sigma is None else row.sigma for row in rows]
        self.sigmas: NDArray[np.float64] = np.array(sigmas, dtype=np.float64)
        self.flagged: NDArray[np.bool_] = np.array([bool(row.flags) for row in rows], dtype=np.bool_)
        # Whether a reading was corrected after it had arrived.
        self.changed: NDArray[np.bool_] = np.array([row.is_changed for row in rows], dtype=np.bool_)

    def extend(self, rows: list[Sample]) -> "SampleColumns":
        """Return columns that continue with later readings; these columns stay as they are."""
        added = SampleColumns(rows)
        longer = SampleColumns([])
        longer.rows = self.rows + rows
        for name in ("at_s", "values", "sigmas", "flagged", "changed"):
            setattr(longer, name, np.concatenate((getattr(self, name), getattr(added, name))))
        return longer

    def square_errors(
        self, windows: "Sequence[tuple[SampleWindow, float]]", points: Sequence[tuple[Sample, float]]
    ) -> list[float] | None:
        """Return the squared error that each reading of a series contributes; None where one of them has no sigma.

        Windows of one series overlap, and a reading in two of them is the same reading: its slopes are added first.
        """
        slopes = np.zeros(len(self.rows))
        for window, factor in windows:
            slopes[window.picks] += factor * window.slopes
        for sample, slope in points:
            slopes[bisect_right(self.rows, sample.at_s, key=find_at_s) - 1] += slope
        with np.errstate(all="ignore"):
            errors = slopes * self.sigmas
            squares = errors[slopes != 0.0] ** 2
        known = self.sigmas[slopes != 0.0]
        return None if np.isnan(known).any() else list(squares.tolist())


@dataclass(slots=True, eq=False)
class LineWindow:
    """Many readings of one series that a value uses, each with the change of the value per unit of the reading."""

    series: Series
    columns: SampleColumns
    picks: NDArray[Any]  # indices of the readings
    slopes: NDArray[np.float64]  # one for each pick

    @property
    def newest_s(self) -> float:
        """Return the instant of the newest reading."""
        return float(self.columns.at_s[self.picks].max())

    def list_flags(self) -> set[str]:
        """Return the flags of the readings."""
        flagged = self.picks[self.columns.flagged[self.picks]]
        return {flag for index in flagged.tolist() for flag in self.columns.rows[index].flags}

    @property
    def is_changed(self) -> bool:
        """Return whether one of the readings was corrected after it had arrived."""
        return bool(self.columns.changed[self.picks].any())


def find_columns(samples: InputSamples, series: Series) -> SampleColumns:
    """Return the readings of a series as arrays."""
    columns: SampleColumns | None = samples.columns.get(series)
    if columns is None:
        columns = samples.columns[series] = SampleColumns(list(samples.by_series[series]))
    return columns


def fit_line(samples: InputSamples, what: Series, over: Series | None, at_s: float, span_s: float) -> Value | None:
    """Return the slope of a line by least squares, with the readings that it uses.

    Args:
        what: the series whose change is asked for.
        over: the series with which it changes; None: time.
        at_s: end of the window, which contains its end and not its begin.
        span_s: length of the window.
    """
    columns = find_columns(samples, what)
    begin, end = np.searchsorted(columns.at_s, (at_s - span_s, at_s), side="right").tolist()
    if end - begin < LEAST_READINGS:
        return None
    picks = np.arange(begin, end)
    used: Used = {}
    if over is None:
        x = columns.at_s[begin:end] - at_s
    else:
        others = find_columns(samples, over)
        found = _find_all(samples, others, columns.at_s[begin:end])
        picks = picks[found >= 0]
        found = found[found >= 0]
        x = others.values[found]
        if len(picks) >= LEAST_READINGS:
            # the error of the explaining series is small beside what it explains, or it explains nothing
            distinct = np.unique(found)
            used[LineWindow(over, others, distinct, np.zeros(len(distinct)))] = 1.0
    if len(picks) < LEAST_READINGS or columns.at_s[picks[-1]] - columns.at_s[picks[0]] < span_s / 2.0:
        return None
    centred = x - math.fsum(x.tolist()) / len(x)
    spread = math.fsum((centred * centred).tolist())
    if spread <= 0.0:
        return None
    slopes = centred / spread
    used[LineWindow(what, columns, picks, slopes)] = 1.0
    return math.fsum((slopes * columns.values[picks]).tolist()), used


def _find_all(samples: InputSamples, columns: SampleColumns, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each instant the index of the reading that stands for it, as `InputSamples.find` does; -1 for none."""
    at_s = columns.at_s
    if not len(at_s):
        return np.full(len(instants_s), -1)
    after = np.searchsorted(at_s, instants_s, side="right")
    before = after - 1
    found = np.where(before >= 0, before, 0)
    if samples.hold_s:
        is_near = (before >= 0) & (instants_s - at_s[found] <= samples.hold_s)
        return np.where(is_near, found, -1)
    following = np.minimum(after, len(at_s) - 1)
    is_following_nearer = (after < len(at_s)) & (
        (before < 0) | (at_s[following] - instants_s < instants_s - at_s[found])
    )
    found = np.where(is_following_nearer, following, found)
    return np.where(np.abs(at_s[found] - instants_s) <= samples.within_s, found, -1)
