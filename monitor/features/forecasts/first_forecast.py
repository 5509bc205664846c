"""When the first forecast of a series is expected, if its readings continue.

The page, `slopeward status`, `slopeward forecast run`, the view `why_not_shown` and the core process, which starts the
jobs early, all get rows and dates from here. A date follows from the readings alone: it stays the same, whenever and
wherever it is computed, while each interval brings a reading.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from forecasting.combination.intervals import FEWEST_ERRORS
from forecasting.data.windows import STALE_ROWS
from forecasting.registry import TRAINING_ROWS, count_needed
from monitor.api.queries.models import FRESH_STEPS, find_history_start
from monitor.api.queries.readings import Extent, load_extents, stream_readings
from monitor.api.readings import is_fit
from monitor.api.sites import WatchedSeries
from monitor.api.text import epoch_s, from_epoch_s

# Codes of `Lack.reason` of a forecast for which the record is too short.
LACKS_ROWS: Final = frozenset({"forecast.lack.errors"})
# A record with more readings than this is taken to have no empty cell, so that a check of a site stays quick.
MOST_COUNTED: Final = 20_000


@dataclass(frozen=True, slots=True)
class ObservedCells:
    """The cells of the grid of a panel that have a usable reading of one series.

    Attributes:
        first_s: Instant of the first reading, epoch seconds.
        newest_s: Instant of the newest reading, epoch seconds.
        interval_s: Declared interval of the series, seconds.
        step_s: Length of a cell, seconds.
        cells: Numbers of the cells, ascending from 0.
    """

    first_s: float
    newest_s: float
    interval_s: float
    step_s: float
    cells: Sequence[int]

    def find_instant(self, rows_ahead: int) -> datetime:
        """Return when the first reading in a cell after the newest cell is due."""
        cell_begin_s = self.first_s + (self.cells[-1] + rows_ahead - 0.5) * self.step_s
        intervals = math.ceil(round((cell_begin_s - self.newest_s) / self.interval_s, 6))
        return from_epoch_s(self.newest_s + intervals * self.interval_s)


class Expectation(NamedTuple):
    """How far a record has come.

    Attributes:
        rows: Rows that count so far.
        needed: Rows that are needed.
        at: When they will be there; None if they are there, or the readings have stopped.
        has_stopped: Whether the readings of the series have stopped.
    """

    rows: int
    needed: int
    at: datetime | None
    has_stopped: bool = False


def expect_forecast(observed: ObservedCells, steps: int) -> Expectation:
    """Return when a series has its first forecast `steps` rows ahead.

    Its interval needs `FEWEST_ERRORS` errors. A reading gives an error if a forecast for it was possible `steps` cells
    before, that is, if a reading then was at most `STALE_ROWS` cells old.

    >>> expectation = expect_forecast(ObservedCells(0.0, 32400.0, 3600.0, 3600.0, range(10)), 4)
    >>> expectation.rows, expectation.needed, f"{expectation.at:%H:%M}"
    (10, 24, '23:00')
    >>> expect_forecast(ObservedCells(0.0, 68400.0, 3600.0, 3600.0, [0, *range(10, 20)]), 4).rows
    10
    """
    cells = {*observed.cells}

    def gives_error(cell: int) -> bool:
        origin = cell - steps
        return any(earlier in cells for earlier in range(origin, origin - STALE_ROWS - 1, -1))

    errors = sum(gives_error(cell) for cell in observed.cells)
    newest = observed.cells[-1]
    missing = 0
    while errors < FEWEST_ERRORS:
        missing += 1
        cells.add(newest + missing)
        errors += gives_error(newest + missing)
    return _expect(observed, steps + FEWEST_ERRORS, missing)


def expect_training(observed: ObservedCells, network: str) -> Expectation:
    """Return when the record of a series suffices for the training of a network."""
    needed = count_needed(network)
    return _expect(observed, needed, needed - len(observed.cells))


def _expect(observed: ObservedCells, needed: int, missing: int) -> Expectation:
    return Expectation(needed - missing, needed, observed.find_instant(missing) if missing > 0 else None)


def find_expectation(
    connection: Connection,
    series: Iterable[WatchedSeries],
    step_s: float,
    now: datetime,
    expect: Callable[[ObservedCells], Expectation],
) -> Expectation | None:
    """Return the expectation of the series that has come furthest; None if no series has readings.

    Series whose readings have stopped count only if there are no others, and then no instant is expected.

    Args:
        step_s: Length of a cell, seconds.
        expect: `expect_forecast` or `expect_training`, as a function of the cells alone.
    """
    by_id = {watched.series_id: watched for watched in series}
    extents = load_extents(connection, list(by_id), find_history_start(now, step_s, TRAINING_ROWS), now)
    fresh_from = find_history_start(now, step_s, FRESH_STEPS)
    fresh = {series_id: extent for series_id, extent in extents.items() if extent.last >= fresh_from}
    candidates = fresh or extents
    # A series cannot have more rows than its span has cells, so that most series need not be loaded.
    best: Expectation | None = None
    for series_id in sorted(candidates, key=lambda i: (-_count_cells(candidates[i], step_s), candidates[i].first)):
        extent = candidates[series_id]
        if best is not None and best.rows >= min(best.needed, _count_cells(extent, step_s)):
            break
        observed = load_observed_cells(connection, by_id[series_id], extent, step_s, now)
        expected = None if observed is None else expect(observed)
        if best is None or (expected is not None and expected.rows > best.rows):
            best = expected
    return best if best is None or fresh else best._replace(at=None, has_stopped=True)


def load_observed_cells(
    connection: Connection, series: WatchedSeries, extent: Extent, step_s: float, now: datetime
) -> ObservedCells | None:
    """Return the cells with a usable reading within the extent of a series; None if there is none.

    Args:
        step_s: Length of a cell, seconds.
    """
    interval_s = series.spec.interval_s
    if extent.count > MOST_COUNTED:
        cells: Sequence[int] = range(_count_cells(extent, step_s))
        return ObservedCells(epoch_s(extent.first), epoch_s(extent.last), interval_s, step_s, cells)
    readings = stream_readings(connection, series.series_id, extent.first - timedelta(seconds=1), extent.last, now)
    times_s = [epoch_s(reading.observed_at) for reading in readings if is_fit(reading)]
    if not times_s:
        return None
    cells = sorted({math.floor((time_s - times_s[0]) / step_s + 0.5) for time_s in times_s})
    return ObservedCells(times_s[0], times_s[-1], interval_s, step_s, cells)


def _count_cells(extent: Extent, step_s: float) -> int:
    """Return how many cells the span of a series has."""
    return math.floor((extent.last - extent.first).total_seconds() / step_s + 0.5) + 1
