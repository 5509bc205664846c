"""Anomaly scores of every detector beside what they were judged by; times in which a series speaks another unit."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, func, select

from detection.anomaly.records import FACTORS, InputError
from monitor.api.database import insert_rows, message_to_cells
from monitor.api.queries.alerts import load_maintenance_between
from monitor.api.queries.readings import SeriesRow, load_readings, load_series
from monitor.api.readings import is_fit
from monitor.api.sites import SeriesGroup, Site, list_groups
from monitor.api.tables import series
from monitor.api.text import epoch_s, format_iso, from_epoch_s
from monitor.features.anomalies.tables import anomaly

if TYPE_CHECKING:
    from detection.anomaly.certain.unit_jump import UnitChange


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """The score of one detector at one epoch of one series.

    `alerted`: it is over its threshold, and no echo of what was alerted of the series before. An echo is held back.
    """

    series_id: int
    at: datetime
    detector: str
    score: float
    threshold: float
    budget: float  # false alarms per sensor-month the threshold was set for
    kind: str
    alerted: bool
    model_hash: str | None = None
    factor: float = 1.0  # by which the counted threshold was raised
    compared_with: str | None = None  # in words


@dataclass(frozen=True, slots=True)
class HeldAnomaly:
    """A series that is still strange and was not alerted of again: it is taken for the same happening."""

    station: str
    quantity: str
    detector: str  # that scored it
    at: datetime  # newest epoch that was held back
    score: float  # of it, in units of its threshold
    kind: str  # what it looked like
    notified_at: datetime | None  # newest epoch before it that was alerted of; None: the sensor was stuck


_CELLS: Final = attrgetter("detector", "score", "threshold", "budget", "kind", "alerted", "model_hash")
ECHO: Final = timedelta(days=90)  # longer than what was alerted of stays in any part


def add_anomalies(c: Connection, rows: Sequence[AnomalyRow], now: datetime) -> int:
    """Add scores; an epoch is scored once per detector. Returns how many were new."""
    spelled, scored_at = {at: format_iso(at) for at in {row.at for row in rows}}, format_iso(now)  # many have the same
    values = [
        (r.series_id, spelled[r.at], *_CELLS(r), scored_at, r.factor, *message_to_cells(r.compared_with)) for r in rows
    ]
    return insert_rows(c, anomaly, values, unless_there=True)


def latest_by_series(
    c: Connection, site: str, detector: str, *, notified: tuple[datetime, datetime] | None = None
) -> dict[int, datetime]:
    """The newest epoch that a detector has scored, by series; or that it alerted of in a time."""
    a, s = anomaly.c, series.c
    query = select(a.series_id, func.max(a.at)).join(series, s.id == a.series_id).group_by(a.series_id)
    if notified is not None:
        query = query.where(a.alerted, a.at > notified[0], a.at <= notified[1])
    return dict(c.execute(query.where(s.site == site, a.detector == detector)).all())


def find_newest_alert(c: Connection, series_id: int, detector: str, until: datetime) -> datetime | None:
    """The newest epoch up to an instant at which a detector alerted of a series, or None."""
    a = anomaly.c
    query = select(a.at).where(a.series_id == series_id, a.at <= until, a.detector == detector, a.alerted)
    value: datetime | None = c.execute(query.order_by(a.at.desc()).limit(1)).scalar()
    return value


def load_held(c: Connection, site: str, since: datetime, now: datetime) -> list[HeldAnomaly]:
    """What was held back since an instant of each series and detector, where no alert came after it; newest first."""
    a, notified = anomaly.c, dict[str, dict[int, datetime]]()
    rows = c.execute(
        select(a.series_id, series.c.station, series.c.quantity, a.detector, a.at, a.score, a.threshold, a.kind)
        .join(series, series.c.id == a.series_id)
        .where(series.c.site == site, a.at > since, a.at <= now, a.score > a.threshold, a.alerted.is_(False))
        .order_by(a.at)
    )
    found = []
    for r in {(row.series_id, row.detector): row for row in rows}.values():
        if r.detector not in notified:
            notified[r.detector] = latest_by_series(c, site, r.detector, notified=(since - ECHO, now))
        notified_at = notified[r.detector].get(r.series_id)
        if notified_at is None or notified_at < r.at:
            found.append(
                HeldAnomaly(r.station, r.quantity, r.detector, r.at, r.score / r.threshold, r.kind, notified_at)
            )
    return sorted(found, key=lambda one: (one.at, one.station, one.quantity), reverse=True)


CHECK: Final = "unit-jump"
BACK: Final = math.log(2.0)  # what is less than twice as large is the unit of before: no two units are so close
JUDGED: Final = 20  # intervals up to an instant, by which it is judged
LOOKED_AT: Final = 240  # intervals up to an alert, from which the check finds the same again


@dataclass(frozen=True, slots=True)
class WrongUnit:
    """A time in which a series speaks another unit than before."""

    series_id: int
    station: str
    quantity: str
    from_at: datetime  # its first reading in another unit
    found_at: datetime  # the reading that made it certain
    to_at: datetime | None  # when it ended; None: it lasts
    back_at: datetime | None = None  # the alert by which the check found its way back; None: it found none


def list_wrong_units(c: Connection, site: Site, series_ids: Collection[int], now: datetime) -> list[WrongUnit]:
    """Times of some series, as known at an instant; oldest first of each.

    One ends when the readings are again what they were, and when work on the station begins. Where the site file
    declares another unit than the stored one, there is none.
    """
    a = anomaly.c
    query = select(a.series_id, a.at).where(a.series_id.in_(series_ids), a.at <= now, a.detector == CHECK, a.alerted)
    alerts = c.execute(query.order_by(a.series_id, a.at)).all()
    if not alerts:
        return []
    rows = {one.id: one for one in load_series(c, site.id)}
    groups = list_groups(site, {(one.station, one.quantity): one.id for one in rows.values()})
    group_of = {one.series_id: group for group in groups for one in group.series}
    works = load_maintenance_between(c, site.id, min(row.at for row in alerts), now)
    found = []
    for series_id in dict.fromkeys(row.series_id for row in alerts):
        one, group = rows[series_id], group_of.get(series_id)
        spec = site.series(one.station, one.quantity)
        if group is None or spec is None or spec.unit != one.unit:
            continue
        mine = [w.from_at for w in works if w.station == one.station]
        changes = (_recall(c, series_id, group, row.at, now) for row in alerts if row.series_id == series_id)
        found += _list_times(c, one, group, [change for change in changes if change is not None], mine, now)
    return found


def _recall(c: Connection, series_id: int, group: SeriesGroup, at: datetime, now: datetime) -> "UnitChange | None":
    """The change that an alert was of; None where its readings were corrected since."""
    # most pages and commands do without numpy
    from detection.anomaly.certain.unit_jump import find_changes
    from detection.anomaly.windows import build_series

    begin = at - timedelta(seconds=LOOKED_AT * group.step_s)
    fit = [r for r in load_readings(c, series_id, begin, at, now) if is_fit(r)]
    try:
        series = build_series([epoch_s(r.observed_at) for r in fit], [r.value for r in fit], group.step_s)
    except InputError:
        return None
    changes = find_changes(series, FACTORS[group.watch.units])
    return next((k for k in changes if abs(k.at_s - epoch_s(at)) < group.step_s), None)


def _list_times(
    c: Connection,
    one: SeriesRow,
    group: SeriesGroup,
    changes: "Sequence[UnitChange]",
    works: Sequence[datetime],
    now: datetime,
) -> list[WrongUnit]:
    """The times of one series from its changes, in order of time, and the beginnings of works on its station."""
    found, last = list[WrongUnit](), None
    for k, change in enumerate(changes):
        begin, found_at = from_epoch_s(change.begin_s), from_epoch_s(change.at_s)
        if found and last is not None:
            to_at, is_back = found[-1].to_at, abs(math.log(change.times * last.times)) < BACK
            if is_back and to_at is not None and found[-1].back_at is None:
                found[-1] = replace(found[-1], back_at=found_at)
            if to_at is None or begin <= to_at + JUDGED * timedelta(seconds=group.step_s):
                continue  # it is the way back, or another unit yet
            if is_back:
                continue  # the way back after work on the station
        last = change
        bounds = [*(from_epoch_s(later.begin_s) for later in changes[k + 1 :]), now]
        ends = [work for work in works if work > found_at][:1]
        ends += [back] if (back := _find_back(c, one.id, group, change, bounds, now)) is not None else []
        found.append(WrongUnit(one.id, one.station, one.quantity, begin, found_at, min(ends, default=None)))
    return found


def _find_back(
    c: Connection, series_id: int, group: SeriesGroup, change: "UnitChange", bounds: Sequence[datetime], now: datetime
) -> datetime | None:
    """When readings were first those of before again, to an interval; looked for up to each bound by halves."""
    step = timedelta(seconds=group.step_s)
    low = from_epoch_s(change.at_s)
    for bound in bounds:
        high = bound
        if high > low and _is_back(c, series_id, step, change, high, now):
            while high - low > step:
                middle = low + (high - low) / 2
                if _is_back(c, series_id, step, change, middle, now):
                    high = middle
                else:
                    low = middle
            return high
        low = max(low, bound)
    return None


def _is_back(c: Connection, series_id: int, step: timedelta, change: "UnitChange", at: datetime, now: datetime) -> bool:
    """Whether level and noise up to an instant are nearer to those before a change than to those after it."""
    from detection.anomaly.certain.unit_jump import is_as_before  # as above

    begin = max(at - JUDGED * step, from_epoch_s(change.begin_s) - step / 2)
    values = [r.value for r in load_readings(c, series_id, begin, at, now) if is_fit(r)]
    return is_as_before(values, change)


class CurveScore(NamedTuple):
    """Score of a reading, beside the threshold of its detector."""

    at: datetime
    detector: str
    score: float
    threshold: float


def load_scores(c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime) -> list[CurveScore]:
    """Return the newest 4000 scores of some series in a range, oldest first."""
    a = anomaly.c
    query = (
        select(a.at, a.detector, a.score, a.threshold)
        .where(a.series_id.in_(series_ids), a.at > from_at, a.at <= to_at)
        .order_by(a.at.desc())
        .limit(4000)
    )
    return [CurveScore(*row) for row in c.execute(query)][::-1]
