"""Renew the flags of stored readings that follow from the site file in force.

A flag set at arrival never changes; changes are appended, and a decision about the past uses what was known then.
`undeclared` is withdrawn as soon as the file names the series, so that readings which arrived too early count. It is
not set later, because nothing reads a series that a file no longer names. `out_of_range` follows the range of the file
in both directions.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, String, and_, func, insert, literal, not_, or_, select, text

from monitor.readings.queries.observations import SeriesRow, load_series, rank
from monitor.readings.tables import observation, observation_flag
from monitor.sites.records import ExpectedRange, Site
from monitor.text.instants import format_iso
from monitor.text.message import Template, plain_to_messages

UNDECLARED: Final = "undeclared"
OUT_OF_RANGE: Final = "out_of_range"
BY: Final = "slopeward"  # what a person said of a reading is left as it is
_FLAGGED: Final = text("observation.flags <> ''")  # as the index of flagged readings spells it
OF_FILE: Final = Template("flag.site_file", "the site file in force says so")


def renew_flags(c: Connection, site: Site, now: datetime, *, changed: bool) -> int:
    """Append the changes that the site file in force makes to the flags of stored readings.

    `now`: from when on the flags are known; `changed`: the version is a new one: all readings are looked at, else only
    those that bear a flag.

    Returns:
        Flags appended, added and withdrawn together.
    """
    appended = 0
    for row in load_series(c, site.id):
        expected = site.find_expected_range(row.station, row.quantity)
        if expected is None:
            continue
        if expected.declared:
            mistaken = _bears(UNDECLARED) & (_find_last_change(UNDECLARED).is_(None))
            appended += _append(c, row.id, f"-{UNDECLARED}", now, mistaken, observation.c)
        if expected.unit == row.unit:
            appended += _renew_range(c, row, expected, now, changed=changed)
    return appended


def _renew_range(c: Connection, row: SeriesRow, expected: ExpectedRange, now: datetime, *, changed: bool) -> int:
    o = observation.c
    inside = and_(o.value_raw >= expected.low, o.value_raw <= expected.high)
    newest = _find_last_change(OUT_OF_RANGE)
    standing = or_(func.coalesce(newest, "") == OUT_OF_RANGE, and_(newest.is_(None), _bears(OUT_OF_RANGE)))
    # a word that was appended later stands on readings that came without any flag
    looked_at = literal(value=True) if changed else _FLAGGED
    gone = _append(c, row.id, f"-{OUT_OF_RANGE}", now, and_(looked_at, inside, standing, not_(_by_person())), o)
    if not changed:
        return gone
    return gone + _append(c, row.id, OUT_OF_RANGE, now, and_(not_(inside), not_(standing), not_(_by_person())), o)


def _append(c: Connection, series_id: int, flag: str, now: datetime, which: ColumnElement[bool], o: Any) -> int:
    values: dict[str, Any] = {"series_id": o.series_id, "observed_at": o.observed_at, "revision": o.revision}
    values |= {"flag": literal(flag), "known_from": literal(format_iso(now), String(27)), "by": literal(BY)}
    values |= {"reason": literal(OF_FILE.english), "reason_id": literal(OF_FILE.id), "reason_values": literal("{}")}
    chosen = select(*values.values()).where(o.series_id == series_id, which)
    statement = insert(observation_flag).from_select(list(values), chosen, include_defaults=False)
    return int(c.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def _bears(flag: str) -> ColumnElement[bool]:
    """Whether a reading came with a flag; the first term lets the index of flagged readings be used."""
    o = observation.c
    return and_(_FLAGGED, o.flags.contains(flag))


def _words(*flags: str) -> Any:
    o, f = observation.c, observation_flag.c
    return (
        select(f.flag)
        .where(f.series_id == o.series_id, f.observed_at == o.observed_at, f.revision == o.revision)
        .where(f.flag.in_([w for flag in flags for w in (flag, f"-{flag}")]))
        .correlate(observation)
    )


def _find_last_change(flag: str) -> Any:
    """Return the newest `flag` or `-flag` that was appended to a reading, or NULL, in SQL."""
    f = observation_flag.c
    return _words(flag).order_by(f.known_from.desc(), f.id.desc()).limit(1).scalar_subquery()


def _by_person() -> ColumnElement[bool]:
    found: ColumnElement[bool] = _words(OUT_OF_RANGE).where(observation_flag.c.by != BY).exists()
    return found


MISTYPED: Final = "mistyped"  # flag, and in `extra` why
REVISIONS: Final = 2  # of an epoch, that are usual: a mistyped one and what replaced it


class TypedReading(NamedTuple):
    """One reading as it was typed, in the unit of its series."""

    at: datetime
    value: float
    is_mistyped: bool
    why: str = ""


def load_typed(c: Connection, series_id: int, before: datetime, until: datetime, count: int) -> list[TypedReading]:
    """Return the newest readings of a series before an instant and all from it until another one, oldest first.

    `before`: `count` readings before it are read; `until`: readings from `before` to it, that included, are read as
    well; `count`: how many readings before.
    """
    o = observation.c
    query = select(o.observed_at, o.revision, o.value_raw, o.solution, o.flags, o.extra).where(o.series_id == series_id)
    order = o.observed_at.desc(), o.revision.desc()
    earlier = c.execute(query.where(o.observed_at < before).order_by(*order).limit(REVISIONS * count)).all()
    later = c.execute(query.where(o.observed_at >= before, o.observed_at <= until).order_by(*order)).all()
    newest = [_read(row) for _, row in sorted(_find_counting((*later, *earlier)).items())]
    return newest[max(0, len(newest) - count - sum(t.at >= before for t in newest)) :]


def load_neighbours(
    c: Connection, series_id: int, at: datetime, count: int, *, later: bool = False
) -> list[tuple[datetime, Any]]:
    """Return the readings of a series that are next before or after an instant; of each epoch the one that counts."""
    o = observation.c
    near = o.observed_at > at if later else o.observed_at < at
    query = select(observation).where(o.series_id == series_id, near).limit(REVISIONS * count)
    rows = c.execute(query.order_by(o.observed_at if later else o.observed_at.desc(), o.revision.desc()))
    return list(_find_counting(rows).items())[:count]


def _find_counting(rows: Iterable[Any]) -> dict[datetime, Any]:
    """Return the row of each epoch that counts; `rows` contain the newest revision of an epoch first."""
    speaks: dict[datetime, Any] = {}
    for row in rows:
        held = speaks.get(row.observed_at)
        if held is None or rank(row.solution) > rank(held.solution):
            speaks[row.observed_at] = row
    return speaks


def find_mistyped(c: Connection, series_id: int, now: datetime) -> TypedReading | None:
    """Return the newest reading of a series if it looks like a typing error."""
    newest = load_typed(c, series_id, now, now, 1)
    return newest[-1] if newest and newest[-1].is_mistyped else None


def _read(row: Any) -> TypedReading:
    wrong = MISTYPED in row.flags.split(",")
    why = plain_to_messages(json.loads(row.extra)).get(MISTYPED, "") if wrong and row.extra else ""
    return TypedReading(row.observed_at, float(row.value_raw), wrong, why)
