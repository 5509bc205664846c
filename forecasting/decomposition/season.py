"""Split one series into trend, season and remainder for display. Forecasts do not use the split.

Series with eight readings a day or more have two seasons, the day and the year, which MSTL separates (Bandara, Hyndman
and Bergmeir 2021). Slower series have the season of the year, by STL (Cleveland et al. 1990) on days or months. Both
are computed by statsmodels. The season of the year is the same in every year. Differences from it are the remainder.
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

# Rows of a year on the grids of days and of months.
DAYS, MONTHS = 365, 12
# Parts of a day, of three hours each, if the season of the day is computed too, and parts of a year.
PARTS: Final = 8
PARTS_OF_YEAR: Final = 2922
# Days over which the season of the day is smoothed. It changes with the height of the sun in the year.
DAY_SPAN: Final = 61
# Full years that a season needs.
YEARS: Final = 2
# Share of the rows that must be observed.
KNOWN: Final = 0.8
# Longest gap, as a share of a year. Gaps are filled with the value before them, which would distort a season.
LONGEST_GAP: Final = 0.25
# Series with a longer usual interval have a grid of months.
DAILY_UP_TO_S: Final = 1.5 * DAY_S


@dataclass(frozen=True, slots=True)
class Season:
    """The split of one series, or the reason why there is none."""

    grid: str  # `day` or `month`; a row is the mean of its readings, UTC
    period_rows: int  # rows of one year
    rows: int = 0  # from the first to the last reading
    first_s: float = 0.0  # begin of the first row, epoch seconds; 0 without readings
    last_s: float = 0.0  # begin of the last row, epoch seconds
    reason: Reason | None = None  # why there is no split; None if there is one
    at_s: tuple[float, ...] = ()  # begin of each observed row, epoch seconds, shape (n,)
    # observed values in the unit of the series, shape (n,): the sum of trend, season and remainder
    value: tuple[float, ...] = ()
    trend: tuple[float, ...] = ()  # shape (n,)
    season: tuple[float, ...] = ()  # shape (n,)
    remainder: tuple[float, ...] = ()  # shape (n,)
    trend_strength: float | None = None  # 0 to 1 (Wang, Smith and Hyndman 2006); None without a split
    season_strength: float | None = None  # the same for the season, minus the strength that noise alone would have
    season_range: float | None = None  # maximum minus minimum of the season in the last year
    parameters: dict[str, str] = field(default_factory=dict)  # of the method, with the version of statsmodels
    method: str = ""  # `STL`, or `MSTL` if the season of the day was computed; empty without a split
    day_strength: float | None = None  # strength of the season of the day; None if it was not computed
    day_range: float | None = None  # maximum minus minimum of `day_parts`
    # mean season of the day in the newest `DAY_SPAN` days, by part of the UTC day
    day_parts: tuple[float, ...] = ()


def split_season(times_s: Sequence[float], values: Sequence[float]) -> Season:
    """Split a series into trend, season and remainder, or return the reason why there is no split.

    >>> season = split_season([30.5 * 86400.0 * k for k in range(14)], [0.0] * 14)
    >>> print(season.grid, season.reason)
    month season.years.month: n=14, needed=24
    """
    epochs_s = np.asarray(times_s, dtype=np.float64)
    observed = np.asarray(values, dtype=np.float64)
    if not epochs_s.size:
        return Season("day", DAYS, reason=Reason("season.no_readings"))
    interval_s = float(np.median(np.diff(epochs_s))) if epochs_s.size > 1 else np.inf
    is_daily = interval_s <= DAILY_UP_TO_S
    cells = _number_cells(epochs_s, DAY_S) if is_daily else np.array([*map(_number_month, epochs_s)], dtype=np.int64)
    first, series = _average_cells(cells, observed)
    begins_s = tuple(_find_begin(cell, is_daily=is_daily) for cell in range(first, first + series.size))
    grid = "day" if is_daily else "month"
    unsplit = Season(grid, DAYS if is_daily else MONTHS, series.size, begins_s[0], begins_s[-1])
    reason = _refuse(series, unsplit.period_rows, is_daily=is_daily)
    if reason is not None:
        return replace(unsplit, reason=reason)
    if interval_s <= 1.5 * DAY_S / PARTS:
        first, parts = _average_cells(_number_cells(epochs_s, DAY_S / PARTS), observed)
        # add the missing parts of the first and the last day
        parts = np.pad(parts, (first % PARTS, -(first + parts.size) % PARTS), constant_values=np.nan)
        if parts.size > YEARS * PARTS_OF_YEAR and _refuse(parts, PARTS_OF_YEAR, is_daily=is_daily) is None:
            return _split_two_seasons(unsplit, series, begins_s, parts)
    return _split_one_season(unsplit, series, begins_s)


def _split_one_season(unsplit: Season, series: Floats, begins_s: tuple[float, ...]) -> Season:
    stl = configure(fill_forward(series), unsplit.period_rows, steady=True)
    fit = stl.fit()
    settings = {name: str(value) for name, value in stl.config.items()}
    return _make_season(unsplit, "STL", series, begins_s, fit.trend, fit.seasonal, settings)


def _split_two_seasons(unsplit: Season, series: Floats, begins_s: tuple[float, ...], parts: Floats) -> Season:
    observed = np.flatnonzero(np.isfinite(parts))
    # the first value also fills the parts before it
    filled = fill_forward(np.where(np.arange(parts.size) < observed[0], parts[observed[0]], parts))
    mstl, mstl_settings = configure_two(filled, (PARTS, PARTS_OF_YEAR), DAY_SPAN)
    fit = mstl.fit()
    settings = {name: str(value) for name, value in mstl_settings.items()}
    day_season, year_season = fit.seasonal.T
    mean_day = day_season[-PARTS * DAY_SPAN :].reshape(-1, PARTS).mean(axis=0)
    trend = fit.trend.reshape(-1, PARTS).mean(axis=1)
    year_season = year_season.reshape(-1, PARTS).mean(axis=1)
    remainder = fit.resid[observed]
    return replace(
        _make_season(unsplit, "MSTL", series, begins_s, trend, year_season, settings),
        day_strength=_compute_strength(day_season[observed] + remainder, float(np.var(remainder))),
        day_range=float(np.ptp(mean_day)),
        day_parts=tuple(mean_day.tolist()),
    )


def _make_season(
    unsplit: Season,
    method: str,
    series: Floats,
    begins_s: tuple[float, ...],
    trend: Floats,
    season: Floats,
    settings: dict[str, str],
) -> Season:
    """Return the split of the observed rows. The remainder is the value minus trend and season."""
    remainder = series - trend - season
    observed = np.flatnonzero(np.isfinite(series))
    variance = float(np.var(remainder[observed]))
    # A season that is fitted to n years contains an n-th of the variance of the noise, which the remainder lacks.
    years = series.size / unsplit.period_rows
    return replace(
        unsplit,
        at_s=tuple(begins_s[row] for row in observed),
        value=tuple(series[observed].tolist()),
        trend=tuple(trend[observed].tolist()),
        season=tuple(season[observed].tolist()),
        remainder=tuple(remainder[observed].tolist()),
        trend_strength=_compute_strength((trend + remainder)[observed], variance),
        season_strength=_compute_strength((season + remainder)[observed], variance * years / (years - 1.0)),
        season_range=float(np.ptp(season[-unsplit.period_rows :])),
        parameters={"method": method, "statsmodels": version("statsmodels")} | settings,
        method=method,
    )


def _refuse(series: Floats, period: int, *, is_daily: bool) -> Reason | None:
    """Return why a series has no season; None if it has one."""
    least_rows = YEARS * period
    if series.size < least_rows:
        values = {"n": series.size, "needed": least_rows}
        return Reason("season.years.day" if is_daily else "season.years.month", values)
    observed = np.flatnonzero(np.isfinite(series))
    if observed.size < KNOWN * series.size:
        percent = 100 * observed.size // series.size
        return Reason("season.known.day" if is_daily else "season.known.month", {"percent": percent})
    longest = int(np.diff(observed).max()) - 1
    if longest > LONGEST_GAP * period:
        values = {"n": longest, "most": int(LONGEST_GAP * period)}
        return Reason("season.gap.day" if is_daily else "season.gap.month", values)
    return None


def _number_cells(epochs_s: Floats, step_s: float) -> Ints:
    return np.floor(epochs_s / step_s).astype(np.int64)


def _number_month(epoch_s: float) -> int:
    month = datetime.fromtimestamp(epoch_s, UTC)
    return 12 * month.year + month.month - 1


def _find_begin(cell: int, *, is_daily: bool) -> float:
    """Return the begin of a day or month from its number, epoch seconds."""
    return cell * DAY_S if is_daily else datetime(cell // 12, cell % 12 + 1, 1, tzinfo=UTC).timestamp()


def _average_cells(cells: Ints, observed: Floats) -> tuple[int, Floats]:
    """Return the number of the first cell, and the mean of the readings in each cell from it on; NaN without any."""
    first = int(cells[0])
    cell_count = int(cells[-1]) - first + 1
    sums = np.bincount(cells - first, observed, cell_count)
    counts = np.bincount(cells - first, minlength=cell_count)
    return first, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _compute_strength(with_remainder: Floats, remainder_variance: float) -> float:
    """Return the strength of a component from its sum with the remainder, 0 to 1 (Wang, Smith and Hyndman 2006)."""
    variance = float(np.var(with_remainder))
    return max(0.0, 1.0 - remainder_variance / variance) if variance > 0.0 else 0.0
