"""Since when series speak another unit, and until when: worked out anew from the alerts of the check."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from detection.anomaly.certain.units import FACTORS
from detection.anomaly.errors import InputError
from monitor.domain.instants import epoch_s, from_epoch_s
from monitor.domain.instruments.watched import Group, list_groups
from monitor.domain.observation import is_fit
from monitor.domain.site import Site
from monitor.store.alerting.maintenance import load_maintenance_between
from monitor.store.readings.observations import SeriesRow, load_readings, load_series
from monitor.store.schema import tables as t

if TYPE_CHECKING:
    from detection.anomaly.certain.unit_jump import Change

CHECK: Final = "unit-jump"
BACK: Final = math.log(2.0)  # what is less than twice as large is the unit of before: no two units are so close
JUDGED: Final = 20  # intervals up to an instant, by which it is judged
LOOKED_AT: Final = 240  # intervals up to an alert, from which the check finds the same again


@dataclass(frozen=True, slots=True)
class WrongUnit:
    """A time in which a series speaks another unit than before.

    Attributes:
        series_id: the series.
        station: of it.
        quantity: of it.
        from_at: its first reading in another unit.
        found_at: the reading that made it certain.
        to_at: when it ended; None: it lasts.
        back_at: the alert by which the check found its way back; None: it found none.
    """

    series_id: int
    station: str
    quantity: str
    from_at: datetime
    found_at: datetime
    to_at: datetime | None
    back_at: datetime | None = None


def list_wrong_units(c: Connection, site: Site, series_ids: Collection[int], now: datetime) -> list[WrongUnit]:
    """Times of some series, as known at an instant; oldest first of each.

    One ends when the readings are again what they were, and when work on the station begins. Where the site file
    declares another unit than the stored one, there is none.
    """
    a = t.anomaly.c
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
        mine = [w["from_at"] for w in works if w["station"] == one.station]
        changes = (_recall(c, series_id, group, row.at, now) for row in alerts if row.series_id == series_id)
        found += _list_times(c, one, group, [change for change in changes if change is not None], mine, now)
    return found


def _recall(c: Connection, series_id: int, group: Group, at: datetime, now: datetime) -> "Change | None":
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
    c: Connection, one: SeriesRow, group: Group, changes: "Sequence[Change]", works: Sequence[datetime], now: datetime
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
    c: Connection, series_id: int, group: Group, change: "Change", bounds: Sequence[datetime], now: datetime
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


def _is_back(c: Connection, series_id: int, step: timedelta, change: "Change", at: datetime, now: datetime) -> bool:
    """Whether level and noise up to an instant are nearer to those before a change than to those after it."""
    from detection.anomaly.certain.unit_jump import is_as_before  # as above

    begin = max(at - JUDGED * step, from_epoch_s(change.begin_s) - step / 2)
    values = [r.value for r in load_readings(c, series_id, begin, at, now) if is_fit(r)]
    return is_as_before(values, change)
