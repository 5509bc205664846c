"""Trend, season and remainder of one series as it stands now: for people who look back, never for a forecast.

Readings that come eight times a day or more have two seasons, the day and the year: MSTL (Bandara, Hyndman and Bergmeir
2021). Slower ones have the year: STL (Cleveland et al. 1990), on days or on months. Both as statsmodels computes them.
The season of the year is the same every year: what differs from it is the remainder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints
from forecasting.decomposition.components import fill_forward
from forecasting.decomposition.stl import configure, configure_two
from forecasting.reasons import Reason

DAYS, MONTHS = 365, 12  # rows of one year on either grid
PARTS: Final = 8  # of a day, where its season is found too: three hours each
PARTS_OF_YEAR: Final = 2922
DAY_SPAN: Final = 61  # days over which the season of the day is smoothed: the sun of June is not that of December
YEARS: Final = 2  # whole years without which no season is given
KNOWN: Final = 0.8  # share of the rows that must be observed
LONGEST_GAP: Final = 0.25
"""Of a year: a gap is filled with the value before it, and a season cannot be found across a long one."""
DAILY_UP_TO_S: Final = 1.5 * DAY_S
"""Usual spacing of readings up to which the grid is one of days; slower series are laid on months."""


@dataclass(frozen=True, slots=True)
class Season:
    """The split of one series, or why there is none."""

    grid: str  # `day` or `month`; a row is the mean of its readings, UTC
    period_rows: int  # rows of one year
    rows: int = 0  # from the first reading to the last
    first_s: float = 0.0  # begin of the first row, epoch seconds; 0 without any reading
    last_s: float = 0.0  # begin of the last row
    reason: Reason | None = None  # why there is no split; None if there is one
    at_s: tuple[float, ...] = ()  # begin of each observed row
    # what was observed, in the unit of the series, shape (n,); trend + season + remainder
    value: tuple[float, ...] = ()
    trend: tuple[float, ...] = ()  # shape (n,)
    season: tuple[float, ...] = ()  # shape (n,)
    remainder: tuple[float, ...] = ()  # shape (n,)
    trend_strength: float | None = None  # from 0 to 1 (Wang, Smith and Hyndman 2006); None without a split
    season_strength: float | None = None  # the same of the season, less what noise alone would give in so many years
    season_range: float | None = None  # highest less lowest season of the last year, in the unit of the series
    parameters: dict[str, str] = field(default_factory=dict)  # of the method, with the version of statsmodels
    method: str = ""  # `STL`, or `MSTL` where the season of the day was taken out; empty without a split
    # of the season of the day beside trend and remainder of its parts; None where it was not found
    day_strength: float | None = None
    day_range: float | None = None  # highest less lowest part of `day_parts`
    # what the season of the day was in the newest `DAY_SPAN` days, by part of the UTC day
    day_parts: tuple[float, ...] = ()


def split_season(times_s: Sequence[float], values: Sequence[float]) -> Season:
    """Split a series into trend, season and remainder, or return the reason why there is no split.

    >>> made = split_season([30.5 * 86400.0 * k for k in range(14)], [0.0] * 14)
    >>> print(made.grid, made.reason)
    month season.years.month: n=14, needed=24
    """
    at, observed = np.asarray(times_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not at.size:
        return Season("day", DAYS, reason=Reason("season.no_readings"))
    spacing_s = float(np.median(np.diff(at))) if at.size > 1 else np.inf
    daily = spacing_s <= DAILY_UP_TO_S
    grid, period = ("day", DAYS) if daily else ("month", MONTHS)
    row = _rows(at, DAY_S) if daily else np.array([_month(one) for one in at], dtype=np.int64)
    first, series = _lay(row, observed)
    count = series.size
    span = range(first, first + count)
    begins = tuple(k * DAY_S if daily else datetime(k // 12, k % 12 + 1, 1, tzinfo=UTC).timestamp() for k in span)
    found = Season(grid, period, count, begins[0], begins[-1])
    reason = _why_not(series, grid, period)
    if reason is not None:
        return replace(found, reason=reason)
    if spacing_s <= 1.5 * DAY_S / PARTS:
        begin, parts = _lay(_rows(at, DAY_S / PARTS), observed)
        # whole days
        parts = np.pad(parts, (begin % PARTS, -(begin + parts.size) % PARTS), constant_values=np.nan)
        if parts.size > YEARS * PARTS_OF_YEAR and _why_not(parts, grid, PARTS_OF_YEAR) is None:
            return _split_twice(found, series, begins, parts)
    return _split(found, series, begins)


def _split(found: Season, series: Floats, begins: tuple[float, ...]) -> Season:
    stl = configure(fill_forward(series), found.period_rows, steady=True)
    made = stl.fit()
    settings = {k: str(v) for k, v in stl.config.items()}
    return _state(found, "STL", series, begins, made.trend, made.seasonal, settings)


def _split_twice(found: Season, series: Floats, begins: tuple[float, ...], parts: Floats) -> Season:
    # what is missing before the first reading takes its value
    known = np.flatnonzero(np.isfinite(parts))
    filled = fill_forward(np.where(np.arange(parts.size) < known[0], parts[known[0]], parts))
    mstl, given = configure_two(filled, (PARTS, PARTS_OF_YEAR), DAY_SPAN)
    made, settings = mstl.fit(), {k: str(v) for k, v in given.items()}
    of_day, of_year = made.seasonal.T
    usual = of_day[-PARTS * DAY_SPAN :].reshape(-1, PARTS).mean(axis=0)
    days = (made.trend.reshape(-1, PARTS).mean(axis=1), of_year.reshape(-1, PARTS).mean(axis=1))
    split = _state(found, "MSTL", series, begins, *days, settings)
    return replace(
        split,
        day_strength=_strength(of_day[known] + made.resid[known], float(np.var(made.resid[known]))),
        day_range=float(np.ptp(usual)),
        day_parts=_plain(usual),
    )


def _state(
    found: Season,
    method: str,
    series: Floats,
    begins: tuple[float, ...],
    trend: Floats,
    season: Floats,
    settings: dict[str, str],
) -> Season:
    """The split as it is kept: the remainder is what trend and season leave."""
    rest = series - trend - season
    seen = np.flatnonzero(np.isfinite(series))
    left = float(np.var(rest[seen]))
    # a season of n years holds the n-th part of the noise, which the remainder lacks
    years = series.size / found.period_rows
    return Season(
        found.grid,
        found.period_rows,
        found.rows,
        found.first_s,
        found.last_s,
        at_s=tuple(begins[k] for k in seen),
        value=_plain(series[seen]),
        trend=_plain(trend[seen]),
        season=_plain(season[seen]),
        remainder=_plain(rest[seen]),
        trend_strength=_strength(trend[seen] + rest[seen], left),
        season_strength=_strength(season[seen] + rest[seen], left * years / (years - 1.0)),
        season_range=float(np.ptp(season[-found.period_rows :])),
        parameters={"method": method, "statsmodels": version("statsmodels")} | settings,
        method=method,
    )


def _why_not(series: Floats, grid: str, period: int) -> Reason | None:
    """Why there is no season; None where there is one."""
    is_daily = grid == "day"
    least = YEARS * period
    if series.size < least:
        values = {"n": series.size, "needed": least}
        return Reason("season.years.day" if is_daily else "season.years.month", values)
    seen = np.flatnonzero(np.isfinite(series))
    if seen.size < KNOWN * series.size:
        percent = 100 * seen.size // series.size
        return Reason("season.known.day" if is_daily else "season.known.month", {"percent": percent})
    longest = int(np.diff(seen).max()) - 1
    if longest > LONGEST_GAP * period:
        values = {"n": longest, "most": int(LONGEST_GAP * period)}
        return Reason("season.gap.day" if is_daily else "season.gap.month", values)
    return None


def _rows(at: Floats, step_s: float) -> Ints:
    return np.floor(at / step_s).astype(np.int64)


def _lay(row: Ints, observed: Floats) -> tuple[int, Floats]:
    """The first row, and the mean of the readings of each from there on; NaN where there is none."""
    first, count = int(row[0]), int(row[-1] - row[0]) + 1
    sums, known = np.bincount(row - first, observed, count), np.bincount(row - first, minlength=count)
    return first, np.where(known > 0, sums / np.maximum(known, 1), np.nan)


def _strength(with_rest: Floats, left: float) -> float:
    total = float(np.var(with_rest))
    return max(0.0, 1.0 - left / total) if total > 0.0 else 0.0


def _plain(values: Floats) -> tuple[float, ...]:
    return tuple(values.tolist())


def _month(at_s: float) -> int:
    at = datetime.fromtimestamp(at_s, UTC)
    return 12 * at.year + at.month - 1
