"""Append flags to stored readings, also those that follow from the site file in force, and load typed readings.

A flag that was set at arrival never changes. Changes are appended, and a decision about the past uses the flags that
were known then.

* `undeclared` is withdrawn when the site file declares the series, so that readings that arrived earlier count. The
  flag is not set later, because nothing reads a series that the site file no longer declares.
* `out_of_range` is set and withdrawn when the range in the site file changes.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, String, and_, func, insert, literal, not_, or_, select, text

from monitor.readings.queries.observations import SeriesRow, load_series, rank
from monitor.readings.records import Reading
from monitor.readings.tables import observation, observation_flag
from monitor.sites.records import ExpectedRange, Site
from monitor.text.instants import format_iso
from monitor.text.message import Message, Template, plain_to_messages

UNDECLARED: Final = "undeclared"
OUT_OF_RANGE: Final = "out_of_range"
# Author of the flags that this module appends. Flags that a person set remain as they are.
BY: Final = "slopeward"
# Written exactly as in the partial index of flagged readings, so that the database uses the index.
_FLAGGED: Final = text("observation.flags <> ''")
OF_FILE: Final = Template("flag.site_file", "by the site file in force")


def renew_flags(c: Connection, site: Site, now: datetime, *, changed: bool) -> int:
    """Append the changes of flags of stored readings that follow from the site file in force.

    Args:
        now: From when on the changes are known.
        changed: Whether the site file has changed. If so, all readings are checked, otherwise only those with a flag.

    Returns:
        The number of flags that were added or withdrawn.
    """
    appended = 0
    for row in load_series(c, site.id):
        expected = site.find_expected_range(row.station, row.quantity)
        if expected is None:
            continue
        if expected.declared:
            is_outdated = _arrived_with(UNDECLARED) & (_find_last_change(UNDECLARED).is_(None))
            appended += _append(c, row.id, f"-{UNDECLARED}", now, is_outdated)
        if expected.unit == row.unit:
            appended += _renew_range(c, row, expected, now, changed=changed)
    return appended


def flag_readings(
    connection: Connection, series_id: int, readings: Iterable[Reading], flag: str, by: str, reason: Message
) -> None:
    """Append a flag to stored readings.

    The flag is known from the observation of a reading on, or from its reception if that is earlier. A replay that uses
    each reading from its observation on therefore never counts the reading.

    Args:
        flag: Such as `bad`, for a value that is no measurement.
        by: The person or plugin that sets the flag.
    """
    rows = [
        {
            "series_id": series_id,
            "observed_at": reading.observed_at,
            "revision": reading.revision,
            "flag": flag,
            "known_from": min(reading.observed_at, reading.received_at),
            "by": by,
            "reason": reason,
        }
        for reading in readings
    ]
    if rows:
        connection.execute(insert(observation_flag), rows)


def _renew_range(c: Connection, row: SeriesRow, expected: ExpectedRange, now: datetime, *, changed: bool) -> int:
    o = observation.c
    is_inside = and_(o.value_raw >= expected.low, o.value_raw <= expected.high)
    last_change = _find_last_change(OUT_OF_RANGE)
    is_flagged_at_arrival = and_(last_change.is_(None), _arrived_with(OUT_OF_RANGE))
    is_flagged = or_(func.coalesce(last_change, "") == OUT_OF_RANGE, is_flagged_at_arrival)
    # A reading that arrived without a flag may have one that was appended later, so all readings are checked.
    is_checked = literal(value=True) if changed else _FLAGGED
    is_wrongly_flagged = and_(is_checked, is_inside, is_flagged, not_(_has_flag_of_person()))
    appended = _append(c, row.id, f"-{OUT_OF_RANGE}", now, is_wrongly_flagged)
    if changed:
        lacks_flag = and_(not_(is_inside), not_(is_flagged), not_(_has_flag_of_person()))
        appended += _append(c, row.id, OUT_OF_RANGE, now, lacks_flag)
    return appended


def _append(c: Connection, series_id: int, flag: str, now: datetime, condition: ColumnElement[bool]) -> int:
    """Append a flag to the readings of a series that meet a condition, and return how many they are."""
    o = observation.c
    values: dict[str, Any] = {"series_id": o.series_id, "observed_at": o.observed_at, "revision": o.revision}
    values |= {"flag": literal(flag), "known_from": literal(format_iso(now), String(27)), "by": literal(BY)}
    values |= {"reason": literal(OF_FILE.english), "reason_id": literal(OF_FILE.id), "reason_values": literal("{}")}
    chosen = select(*values.values()).where(o.series_id == series_id, condition)
    statement = insert(observation_flag).from_select(list(values), chosen, include_defaults=False)
    return int(c.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def _arrived_with(flag: str) -> ColumnElement[bool]:
    """Return the condition that a reading arrived with a flag. The first term uses the index of flagged readings."""
    o = observation.c
    return and_(_FLAGGED, o.flags.contains(flag))


def _select_changes(flag: str) -> Any:
    """Return the changes of a flag of a reading, `flag` or `-flag`, that were appended after its arrival."""
    o, f = observation.c, observation_flag.c
    return (
        select(f.flag)
        .where(f.series_id == o.series_id, f.observed_at == o.observed_at, f.revision == o.revision)
        .where(f.flag.in_([flag, f"-{flag}"]))
        .correlate(observation)
    )


def _find_last_change(flag: str) -> Any:
    """Return the newest change of a flag of a reading, or NULL if there is none, in SQL."""
    f = observation_flag.c
    return _select_changes(flag).order_by(f.known_from.desc(), f.id.desc()).limit(1).scalar_subquery()


def _has_flag_of_person() -> ColumnElement[bool]:
    """Return the condition that a person set or withdrew the flag `out_of_range` of a reading."""
    exists: ColumnElement[bool] = _select_changes(OUT_OF_RANGE).where(observation_flag.c.by != BY).exists()
    return exists


# ---- readings that a person typed ------------------------------------------------------------------------------
# Flag of a probable typing error, and key of the reason in `extra`.
MISTYPED: Final = "mistyped"
# Usual number of revisions of a typed epoch: the mistyped value and the value that replaced it.
REVISIONS: Final = 2


class TypedReading(NamedTuple):
    """One reading as a person typed it, in the unit of its series.

    Attributes:
        why: Why it is probably a typing error; empty otherwise.
    """

    at: datetime
    value: float
    is_mistyped: bool
    why: str = ""


def load_typed(c: Connection, series_id: int, before: datetime, until: datetime, count: int) -> list[TypedReading]:
    """Return the last `count` readings before an instant and all readings from it until another one, oldest first.

    Args:
        before: The instant after the first `count` readings.
        until: The last instant of the other readings, inclusive.
    """
    o = observation.c
    query = select(o.observed_at, o.revision, o.value_raw, o.solution, o.flags, o.extra).where(o.series_id == series_id)
    order = o.observed_at.desc(), o.revision.desc()
    earlier = c.execute(query.where(o.observed_at < before).order_by(*order).limit(REVISIONS * count)).all()
    later = c.execute(query.where(o.observed_at >= before, o.observed_at <= until).order_by(*order)).all()
    readings = [_make_typed(row) for _, row in sorted(_pick_counting((*later, *earlier)).items())]
    later_count = sum(reading.at >= before for reading in readings)
    return readings[max(0, len(readings) - count - later_count) :]


def load_neighbours(
    c: Connection, series_id: int, at: datetime, count: int, *, later: bool = False
) -> list[tuple[datetime, Any]]:
    """Return the nearest readings of a series before or after an instant, one revision for each epoch."""
    o = observation.c
    is_on_side = o.observed_at > at if later else o.observed_at < at
    query = select(observation).where(o.series_id == series_id, is_on_side).limit(REVISIONS * count)
    rows = c.execute(query.order_by(o.observed_at if later else o.observed_at.desc(), o.revision.desc()))
    return list(_pick_counting(rows).items())[:count]


def _pick_counting(rows: Iterable[Any]) -> dict[datetime, Any]:
    """Return the revision of each epoch that counts.

    Args:
        rows: Rows of `observation`, the newest revision of each epoch first.
    """
    counting: dict[datetime, Any] = {}
    for row in rows:
        best = counting.get(row.observed_at)
        if best is None or rank(row.solution) > rank(best.solution):
            counting[row.observed_at] = row
    return counting


def find_mistyped(c: Connection, series_id: int, now: datetime) -> TypedReading | None:
    """Return the newest reading of a series if it looks like a typing error."""
    newest = load_typed(c, series_id, now, now, 1)
    return newest[-1] if newest and newest[-1].is_mistyped else None


def _make_typed(row: Any) -> TypedReading:
    is_mistyped = MISTYPED in row.flags.split(",")
    why = plain_to_messages(json.loads(row.extra)).get(MISTYPED, "") if is_mistyped and row.extra else ""
    return TypedReading(row.observed_at, float(row.value_raw), is_mistyped, why)
