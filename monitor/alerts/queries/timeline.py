"""Load level and observability of a site over a range of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from monitor.alerts.evaluation_tables import evaluation, outage
from monitor.storage.service_state import find_heartbeat
from monitor.text.instants import is_silent, join_spans

LONGEST_TIMELINE: Final = timedelta(days=400)
TICK: Final = timedelta(microseconds=1)
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
# Most changes of level that are returned, the newest.
MAX_ROWS: Final = 5000
# From a time on: level and observability. The level is None while nothing was decided.
Point = tuple[datetime, int | None, str]


@dataclass(frozen=True, slots=True)
class LevelSegment:
    """A time span of constant level and observability."""

    from_at: datetime
    to_at: datetime
    level: int
    observability: str


def load_ribbon(
    connection: Connection,
    site: str,
    from_at: datetime,
    to_at: datetime,
    now: datetime | None = None,
    starting_since: datetime | None = None,
) -> list[LevelSegment]:
    """Return level and observability in a range, at most its last 400 days, the oldest segment first.

    A gap between two segments is a time in which nothing was decided, because the service or its database was down, or
    because the site is starting.

    Args:
        now: The present; None for the end of the range. Times after `now` are no gap.
        starting_since: Since when the site is starting; None if it is not.
    """
    silences = load_silences(connection, site, from_at, to_at, now or to_at, starting_since)
    points = leave_out(load_levels(connection, site, from_at, to_at), silences)
    # Without any evaluation there are no points and one end, so the lengths may differ.
    ends = [point[0] for point in points[1:]] + [to_at]
    return [
        LevelSegment(at, min(end, to_at), level, observability)
        for (at, level, observability), end in zip(points, ends, strict=False)
        if level is not None and at <= to_at
    ]


def load_silences(
    connection: Connection,
    site: str,
    from_at: datetime,
    to_at: datetime,
    now: datetime,
    starting_since: datetime | None = None,
) -> list[tuple[datetime, datetime]]:
    """Return the times in a range in which nothing could be decided, in order. An outage of the broker is none.

    Nothing is decided either since `starting_since`, if the site is starting.

    An outage is stored when it is over. A current outage starts at the last heartbeat of the core, or at the last
    decision of the site after it, because a person may decide while the core is down.
    """
    o = outage.c
    away = select(o.from_at, o.back_at).where(
        o.cause.in_(("service", "database")), o.from_at < to_at, o.back_at > from_at
    )
    spans = [(row.from_at, row.back_at) for row in connection.execute(away)]
    if starting_since is not None:
        spans.append((starting_since, FOREVER))
    core = find_heartbeat(connection, "core")
    until = min(to_at, now)
    if core is not None and core[0] < until and is_silent(core, until):
        e = evaluation.c
        decided = connection.execute(
            select(func.max(e.at)).where(e.site == site, e.at > core[0], e.at <= until)
        ).scalar()
        spans.append((core[0] if decided is None else decided + TICK, FOREVER))
    return join_spans(spans)


def leave_out(points: Sequence[Point], silences: Sequence[tuple[datetime, datetime]]) -> list[Point]:
    """Return the points with the silences left out: no level from the start of each, and the last level at its end."""
    remaining = [point for point in points if not any(from_at <= point[0] < to_at for from_at, to_at in silences)]
    for from_at, to_at in silences:
        before = [point for point in points if point[0] < to_at]
        if not before:
            continue
        remaining.append((max(from_at, points[0][0]), None, ""))
        if not any(point[0] == to_at for point in points):
            remaining.append((to_at, *before[-1][1:]))
    return sorted(remaining, key=lambda point: point[0])


def load_levels(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[Point]:
    """Return the changes of level and observability in a range, at most its last 400 days.

    The first point is the state at the start of the range.
    """
    from_at = max(from_at, to_at - LONGEST_TIMELINE)
    e = evaluation.c
    query = select(e.at, e.level, e.observability)
    before = query.where(e.site == site, e.at <= from_at).order_by(e.at.desc(), e.id.desc())
    first = connection.execute(before.limit(1)).one_or_none()
    order: Any = {"order_by": (e.at, e.id)}
    inside = query.add_columns(
        e.id,
        func.lag(e.level).over(**order).label("level_before"),
        func.lag(e.observability).over(**order).label("observability_before"),
    )
    s = inside.where(e.site == site, e.at > from_at, e.at <= to_at).subquery().c
    changes = connection.execute(
        select(s.at, s.level, s.observability)
        .where((s.level_before.is_(None)) | (s.level != s.level_before) | (s.observability != s.observability_before))
        .order_by(s.at.desc(), s.id.desc())
        .limit(MAX_ROWS)
    ).all()
    points: list[Point] = [(max(row.at, from_at), row.level, row.observability) for row in ([first] if first else [])]
    points += [(row.at, row.level, row.observability) for row in reversed(changes)]
    joined: list[Point] = []
    for point in points:
        if not joined or joined[-1][1:] != point[1:]:
            joined.append(point)
    return joined
