"""Store and load anomaly scores, and find periods in which a series is in another unit."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, func, select

from detection.anomaly.records import FACTORS, LEAST, InputError
from monitor.api.database import insert_rows, message_to_cells
from monitor.api.queries.alerts import load_maintenance_between
from monitor.api.queries.readings import SeriesRow, in_chunks, load_readings, load_series
from monitor.api.readings import is_fit
from monitor.api.sites import SeriesGroup, Site, list_groups
from monitor.api.tables import series
from monitor.api.text import epoch_s, format_iso, from_epoch_s
from monitor.features.anomalies.tables import anomaly

if TYPE_CHECKING:
    from detection.anomaly.certain.unit_jump import UnitChange

# An echo is a high score for which an earlier alarm of the series is the reason. No echo comes later than this after
# its alarm, because all parts of `rules` have shorter windows.
ECHO: Final = timedelta(days=90)
MAX_CURVE_SCORES: Final = 4000
# Bounds the memory of the values that are passed to the database.
ROWS_PER_STATEMENT: Final = 1000


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """The score of one detector for one reading.

    Attributes:
        budget: False alarms per sensor-month for which the threshold was chosen.
        alerted: Whether the score is above its threshold, and no echo of an earlier alarm of the series.
        factor: Factor that the labels of people give to the threshold; `threshold` includes it.
        compared_with: Text that states what the reading was compared with.
    """

    series_id: int
    at: datetime
    detector: str
    score: float
    threshold: float
    budget: float
    kind: str
    alerted: bool
    model_hash: str | None = None
    factor: float = 1.0
    compared_with: str | None = None


@dataclass(frozen=True, slots=True)
class EchoOfAnomaly:
    """The newest unusual reading of a series, if it was not alerted because it is an echo of an earlier alarm.

    Attributes:
        at: Time of the reading.
        score: Its score in multiples of its threshold.
        notified_at: The newest reading before it that was alerted; None if the sensor was stuck before.
    """

    station: str
    quantity: str
    detector: str
    at: datetime
    score: float
    kind: str
    notified_at: datetime | None


_CELLS: Final = attrgetter("detector", "score", "threshold", "budget", "kind", "alerted", "model_hash")


def add_anomalies(c: Connection, rows: Sequence[AnomalyRow], now: datetime) -> int:
    """Store scores, and return how many were new. A reading is scored once by each detector."""
    # Many rows have the same time.
    iso_of = {at: format_iso(at) for at in {row.at for row in rows}}
    scored_at = format_iso(now)
    added = 0
    for chunk in in_chunks(rows, ROWS_PER_STATEMENT):
        values = [
            (
                row.series_id,
                iso_of[row.at],
                *_CELLS(row),
                scored_at,
                row.factor,
                *message_to_cells(row.compared_with),
            )
            for row in chunk
        ]
        added += insert_rows(c, anomaly, values, unless_there=True)
    return added


def compute_ratio(score: float, threshold: float) -> float:
    """Return a score in multiples of its threshold.

    If nothing in a record had a score, its threshold is 0. It then counts as `LEAST`, as in the detectors.
    """
    return score / (threshold or LEAST)


def load_newest_scored(
    c: Connection, site: str, detector: str, *, alerted: tuple[datetime, datetime] | None = None
) -> dict[int, datetime]:
    """Load the time of the newest reading of each series that a detector has scored.

    Args:
        alerted: Consider only readings in this range (from, to] that were alerted. None: all scored readings.
    """
    a, s = anomaly.c, series.c
    query = select(a.series_id, func.max(a.at)).join(series, s.id == a.series_id).group_by(a.series_id)
    if alerted is not None:
        query = query.where(a.alerted, a.at > alerted[0], a.at <= alerted[1])
    return dict(c.execute(query.where(s.site == site, a.detector == detector)).all())


def find_newest_alert(c: Connection, series_id: int, detector: str, until: datetime) -> datetime | None:
    """Return the time of the newest reading of a series up to an instant that a detector alerted, or None."""
    a = anomaly.c
    query = select(a.at).where(a.series_id == series_id, a.at <= until, a.detector == detector, a.alerted)
    value: datetime | None = c.execute(query.order_by(a.at.desc()).limit(1)).scalar()
    return value


def load_echoes(c: Connection, site: str, since: datetime, now: datetime) -> list[EchoOfAnomaly]:
    """Load the newest echo of each series and detector in (since, now], newest first.

    Echoes that are followed by an alert are left out.
    """
    a = anomaly.c
    rows = c.execute(
        select(a.series_id, series.c.station, series.c.quantity, a.detector, a.at, a.score, a.threshold, a.kind)
        .join(series, series.c.id == a.series_id)
        .where(series.c.site == site, a.at > since, a.at <= now, a.score > a.threshold, a.alerted.is_(False))
        .order_by(a.at)
    )
    newest_rows = {(row.series_id, row.detector): row for row in rows}
    alerted_of_detector: dict[str, dict[int, datetime]] = {}
    echoes = []
    for row in newest_rows.values():
        if row.detector not in alerted_of_detector:
            alerted_of_detector[row.detector] = load_newest_scored(c, site, row.detector, alerted=(since - ECHO, now))
        notified_at = alerted_of_detector[row.detector].get(row.series_id)
        if notified_at is None or notified_at < row.at:
            score = compute_ratio(row.score, row.threshold)
            echoes.append(EchoOfAnomaly(row.station, row.quantity, row.detector, row.at, score, row.kind, notified_at))
    return sorted(echoes, key=lambda echo: (echo.at, echo.station, echo.quantity), reverse=True)


UNIT_CHECK: Final = "unit-jump"
# A second change of the unit reverses the first one if the product of their factors is between 1/2 and 2, because the
# factor between two units is larger.
MAX_REVERSAL_ERROR: Final = math.log(2.0)
# The unit at an instant is found from the readings of this many intervals before it.
UNIT_READINGS: Final = 20
# The change behind an alert is found again from the readings of this many intervals before the alert.
CHANGE_READINGS: Final = 240


@dataclass(frozen=True, slots=True)
class WrongUnit:
    """A period in which a series is in another unit than before.

    Attributes:
        from_at: Time of the first reading in the other unit.
        found_at: Time of the reading with which the change was found.
        to_at: End of the period; None if it continues.
        back_at: Time of the alert of the check about the change back to the former unit; None if there is none.
    """

    series_id: int
    station: str
    quantity: str
    from_at: datetime
    found_at: datetime
    to_at: datetime | None
    back_at: datetime | None = None


def list_wrong_units(c: Connection, site: Site, series_ids: Collection[int], now: datetime) -> list[WrongUnit]:
    """Return the periods in which series are in another unit, as known at an instant; of each series oldest first.

    A period ends when the readings are as before, or when work on the station starts. A series whose declared unit
    differs from the stored one has no periods.
    """
    a = anomaly.c
    query = select(a.series_id, a.at).where(
        a.series_id.in_(series_ids), a.at <= now, a.detector == UNIT_CHECK, a.alerted
    )
    alerts = c.execute(query.order_by(a.series_id, a.at)).all()
    if not alerts:
        return []
    stored = {row.id: row for row in load_series(c, site.id)}
    groups = list_groups(site, {(row.station, row.quantity): row.id for row in stored.values()})
    group_of = {watched.series_id: group for group in groups for watched in group.series}
    maintenance = load_maintenance_between(c, site.id, min(row.at for row in alerts), now)
    periods: list[WrongUnit] = []
    for series_id in dict.fromkeys(row.series_id for row in alerts):
        row, group = stored[series_id], group_of.get(series_id)
        spec = site.series(row.station, row.quantity)
        if group is None or spec is None or spec.unit != row.unit:
            continue
        work_starts = [work.from_at for work in maintenance if work.station == row.station]
        changes = (_find_change(c, series_id, group, alert.at, now) for alert in alerts if alert.series_id == series_id)
        known_changes = [change for change in changes if change is not None]
        periods += _list_periods(c, row, group, known_changes, work_starts, now)
    return periods


def _find_change(c: Connection, series_id: int, group: SeriesGroup, at: datetime, now: datetime) -> "UnitChange | None":
    """Return the change of the unit behind an alert; None if its readings were corrected since."""
    # The import of numpy would slow down the pages and commands that do not need it.
    from detection.anomaly.certain.unit_jump import find_changes
    from detection.anomaly.windows import build_series

    begin = at - timedelta(seconds=CHANGE_READINGS * group.step_s)
    readings = [reading for reading in load_readings(c, series_id, begin, at, now) if is_fit(reading)]
    times_s = [epoch_s(reading.observed_at) for reading in readings]
    try:
        gridded = build_series(times_s, [reading.value for reading in readings], group.step_s)
    except InputError:
        return None
    changes = find_changes(gridded, FACTORS[group.watch.units])
    return next((change for change in changes if abs(change.found_s - epoch_s(at)) < group.step_s), None)


def _list_periods(
    c: Connection,
    row: SeriesRow,
    group: SeriesGroup,
    changes: "Sequence[UnitChange]",
    work_starts: Sequence[datetime],
    now: datetime,
) -> list[WrongUnit]:
    """Return the periods in which one series is in another unit.

    Args:
        changes: Changes of its unit, oldest first.
        work_starts: Starts of announced work on its station, oldest first.
    """
    periods: list[WrongUnit] = []
    last: UnitChange | None = None
    for k, change in enumerate(changes):
        begin = from_epoch_s(change.begin_s)
        found_at = from_epoch_s(change.found_s)
        if periods and last is not None:
            to_at = periods[-1].to_at
            is_reversal = abs(math.log(change.factor * last.factor)) < MAX_REVERSAL_ERROR
            if is_reversal and to_at is not None and periods[-1].back_at is None:
                periods[-1] = replace(periods[-1], back_at=found_at)
            if to_at is None or begin <= to_at + UNIT_READINGS * timedelta(seconds=group.step_s):
                continue  # This is the change back, or a change to a third unit.
            if is_reversal:
                continue  # This is the change back after work on the station.
        last = change
        bounds = [*(from_epoch_s(later.begin_s) for later in changes[k + 1 :]), now]
        ends = [start for start in work_starts if start > found_at][:1]
        back_at = _find_return(c, row.id, group, change, bounds, now)
        if back_at is not None:
            ends.append(back_at)
        periods.append(WrongUnit(row.id, row.station, row.quantity, begin, found_at, min(ends, default=None)))
    return periods


def _find_return(
    c: Connection, series_id: int, group: SeriesGroup, change: "UnitChange", bounds: Sequence[datetime], now: datetime
) -> datetime | None:
    """Return when the readings were first in the former unit again, exact to one interval; None if they never were.

    Args:
        bounds: Instants, ascending. The search bisects the time up to the first bound at which the readings are in
            the former unit.
    """
    step = timedelta(seconds=group.step_s)
    low = from_epoch_s(change.found_s)
    for bound in bounds:
        high = bound
        if high > low and _is_in_former_unit(c, series_id, step, change, high, now):
            while high - low > step:
                middle = low + (high - low) / 2
                if _is_in_former_unit(c, series_id, step, change, middle, now):
                    high = middle
                else:
                    low = middle
            return high
        low = max(low, bound)
    return None


def _is_in_former_unit(
    c: Connection, series_id: int, step: timedelta, change: "UnitChange", at: datetime, now: datetime
) -> bool:
    """Return whether level and noise up to an instant are closer to those before a change than to those after it."""
    from detection.anomaly.certain.unit_jump import is_as_before  # see `_find_change`

    begin = max(at - UNIT_READINGS * step, from_epoch_s(change.begin_s) - step / 2)
    values = [reading.value for reading in load_readings(c, series_id, begin, at, now) if is_fit(reading)]
    return is_as_before(values, change)


class CurveScore(NamedTuple):
    """Score of a reading, and the threshold of its detector."""

    at: datetime
    detector: str
    score: float
    threshold: float


def load_scores(c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime) -> list[CurveScore]:
    """Load the newest `MAX_CURVE_SCORES` scores of some series in a range, oldest first."""
    a = anomaly.c
    query = (
        select(a.at, a.detector, a.score, a.threshold)
        .where(a.series_id.in_(series_ids), a.at > from_at, a.at <= to_at)
        .order_by(a.at.desc())
        .limit(MAX_CURVE_SCORES)
    )
    return [CurveScore(*row) for row in c.execute(query)][::-1]
