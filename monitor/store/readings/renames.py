"""A station that was renamed keeps its history: its rows are named anew, once, in the transaction that says so.

What decisions froze stays as it was, under the id of its time. The audit log keeps each renaming, so that frozen inputs
find their rows again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, UniqueConstraint, and_, delete, exists, func, select, update

from forecasting.message import Figure, Message, Template, Timestamp
from monitor.domain.actor import Actor
from monitor.domain.site import Site, find_renamed
from monitor.store.database.audit import add_audit
from monitor.store.readings.observations import join_latest
from monitor.store.schema.anomalies import anomaly_label
from monitor.store.schema.audit import audit_entry
from monitor.store.schema.forecasts import forecast, forecast_month, forecast_score
from monitor.store.schema.points import point_happening, point_look
from monitor.store.schema.readings import observation, series
from monitor.store.schema.service import service_state
from monitor.store.schema.sites import station as station_table
from monitor.store.schema.tables import metadata
from monitor.store.score_sums import sum_up_joined

ACTION: Final = "station.rename"
_UNIT: Final = Template("rename.unit", "{old} was {unit} and {new} is {other}: two instruments, {quantity} of both")
_CLASH: Final = Template(
    "rename.clash",
    "{old} and {new} are two instruments: {n} readings of {quantity} differ at common instants, the first of {at}",
)
_LABELS: Final = Template("rename.labels", "people have judged anomalies of {quantity} of {old} and of {new}")
_SERIES: Final = series.c


@dataclass(frozen=True, slots=True)
class Renaming:
    """That a station was named anew, and when."""

    at: datetime
    site: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Pair:
    old: Any
    new: Any

    @property
    def ids(self) -> tuple[int, int]:
        """The older one, which stays, and the one whose readings go over to it."""
        return min(self.old.id, self.new.id), max(self.old.id, self.new.id)


def find_clashes(c: Connection, site: Site) -> list[Message]:
    """Why stations cannot be one with those that they are said to have been: both measured, and not the same."""
    return [
        line
        for old, new in find_renamed(site).items()
        for pair in _find_pairs(c, site.id, old, new)
        for line in _compare(c, pair)
    ]


def apply_renames(c: Connection, site: Site, actor: Actor, now: datetime, *, merge: bool) -> Mapping[str, str]:
    """Name the rows of stations that the site file renames; what was named before stays as it is.

    Args:
        site: the declaration that is put in force.
        merge: also join what came under both ids; only where no other process stores readings, for a series goes.

    Returns:
        What was renamed: old ids, each with the new one.
    """
    done = {}
    for old, new in find_renamed(site).items():
        if count := _rename(c, site.id, old, new, merge=merge):
            done[old] = new
            detail = {"site": site.id, "old": old, "new": new, "rows": count}
            add_audit(c, actor, ACTION, f"station:{site.id}/{new}", detail, now)
    return done


def load_renamings(c: Connection) -> list[Renaming]:
    """All renamings, oldest first."""
    e = audit_entry.c
    found = []
    for row in c.execute(select(e.at, e.detail).where(e.action == ACTION).order_by(e.id)):
        detail = json.loads(row.detail)
        found.append(Renaming(row.at, detail["site"], detail["old"], detail["new"]))
    return found


def call_today(renamings: Iterable[Renaming], site: str, station: str, at: datetime) -> str:
    """The id of today of a station that had another one at an instant.

    >>> from monitor.domain.instants import parse
    >>> moved = [Renaming(parse(f"2026-0{n}-01T00:00:00Z"), "north", *ids) for n, ids in ((2, "AB"), (4, "BC"))]
    >>> [call_today(moved, "north", station, parse(f"2026-0{n}-09T00:00:00Z")) for n, station in ((1, "A"), (3, "B"),
    ...     (3, "A"), (5, "B"))]
    ['C', 'C', 'A', 'B']
    """
    for one in renamings:
        if one.site == site and one.old == station and one.at >= at:
            station = one.new
    return station


# ---- rows ------------------------------------------------------------------------------------------------------
def _rename(c: Connection, site: str, old: str, new: str, *, merge: bool) -> int:
    count = 0
    for pair in _find_pairs(c, site, old, new) if merge else ():
        if not list(_compare(c, pair)):
            _join(c, *pair.ids)
            count += 1
    # every table whose rows name a station of a site: one that is added later is renamed as well
    for table in (one for one in metadata.sorted_tables if {"site", "station"} <= {k.name for k in one.c}):
        k = table.c
        mine = and_(k.site == site, k.station == old)
        other = table.alias()
        for names in _list_keys(table):
            if "station" in names:  # what the new id has already
                same = [other.c[n] == (new if n == "station" else k[n]) for n in names]
                if table is not series:
                    c.execute(delete(table).where(mine, exists().where(*same)))
                mine = and_(mine, ~exists().where(*same))
        count += c.execute(update(table).where(mine).values(station=new)).rowcount
    h, scan = point_happening, point_look.c
    looks = select(scan.id).where(scan.site == site)
    count += c.execute(update(h).where(h.c.station == old, h.c.point_look_id.in_(looks)).values(station=new)).rowcount
    s, end = service_state, f":{site}/{old}"
    stamps = set(c.execute(select(s.c.name)).scalars())
    for name in (one for one in stamps if one.endswith(end)):
        fresh = f"{name.removesuffix(end)}:{site}/{new}"
        if fresh in stamps:  # what the new id says of itself counts
            c.execute(delete(s).where(s.c.name == name))
            continue
        detail = c.execute(select(s.c.detail).where(s.c.name == name)).scalar_one()
        detail.pop("asked", None)  # it is asked anew under the new id
        count += c.execute(update(s).where(s.c.name == name).values(name=fresh, detail=detail)).rowcount
    is_left = c.execute(select(func.count()).where(_SERIES.site == site, _SERIES.station == old)).scalar_one()
    if not is_left:
        c.execute(delete(station_table).where(station_table.c.site == site, station_table.c.id == old))
    return count


def _list_keys(table: Table) -> list[list[str]]:
    unique = [u for u in table.constraints if isinstance(u, UniqueConstraint)]
    return [[k.name for k in key.columns] for key in (table.primary_key, *unique)]


def _find_pairs(c: Connection, site: str, old: str, new: str) -> list[_Pair]:
    rows = c.execute(select(series).where(_SERIES.site == site, _SERIES.station.in_((old, new)))).all()
    mine = {(row.station, row.quantity): row for row in rows}
    return [
        _Pair(mine[old, quantity], row)
        for (station, quantity), row in sorted(mine.items())
        if station == new and (old, quantity) in mine
    ]


def _compare(c: Connection, pair: _Pair) -> Iterator[Message]:
    names = {"old": pair.old.station, "new": pair.new.station, "quantity": pair.old.quantity}
    if pair.old.unit != pair.new.unit:
        yield _UNIT(**names, unit=pair.old.unit, other=pair.new.unit)
    stays, goes = pair.ids
    o, other = observation.c, observation.alias()
    at_once, same = _match(other.c, stays)
    count, first = c.execute(
        select(func.count(), func.min(o.observed_at)).where(
            o.series_id == goes, exists().where(*at_once), ~exists().where(*at_once, *same)
        )
    ).one()
    if count:
        yield _CLASH(**names, n=Figure(count, "d"), at=Timestamp.of(first))
    k = anomaly_label.c  # sealed: such rows never change
    if len(c.execute(select(k.series_id).where(k.series_id.in_(pair.ids)).distinct()).all()) > 1:
        yield _LABELS(**names)


def _match(other: Any, series_id: int) -> tuple[Sequence[ColumnElement[bool]], Sequence[ColumnElement[bool]]]:
    o = observation.c
    return (
        (other.series_id == series_id, other.observed_at == o.observed_at),
        (other.value_raw == o.value_raw, other.sigma.is_not_distinct_from(o.sigma)),
    )


def _join(c: Connection, stays: int, goes: int) -> None:
    if c.execute(select(func.count()).where(anomaly_label.c.series_id == goes)).scalar_one():
        stays, goes = goes, stays
    join_latest(c, stays, goes)
    o, other = observation.c, observation.alias()
    at_once, _ = _match(other.c, stays)
    c.execute(delete(observation).where(o.series_id == goes, exists().where(*at_once)))
    for table in metadata.sorted_tables:
        k = table.c
        if "series_id" not in k or table in (anomaly_label, forecast_month):
            continue
        twin = table.alias()
        for names in _list_keys(table):
            if "series_id" in names:
                same = [twin.c[n] == (stays if n == "series_id" else k[n]) for n in names]
                doomed = and_(k.series_id == goes, exists().where(*same))
                if table is forecast:
                    score = forecast_score
                    c.execute(delete(score).where(score.c.forecast_id.in_(select(k.id).where(doomed))))
                c.execute(delete(table).where(doomed))
        c.execute(update(table).where(k.series_id == goes).values(series_id=stays))
    sum_up_joined(c, stays, goes)
    c.execute(delete(series).where(_SERIES.id == goes))
