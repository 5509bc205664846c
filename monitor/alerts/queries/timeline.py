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
ROWS_MOST: Final = 5000  # of one table in one answer, the newest
Point = tuple[datetime, int | None, str]
"""From an instant on: the level and who could see; no level where nobody decided."""


@dataclass(frozen=True, slots=True)
class LevelSegment:
    """A time of equal level and observability."""

    from_at: datetime
    to_at: datetime
    level: int
    observability: str


def load_ribbon(
    connection: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime | None = None
) -> list[LevelSegment]:
    """Segments of the last 400 days of a range as the stored evaluations found them, oldest first.

    Between two segments lies a time in which nobody decided: the service or its database was away. Of a range that
    ends later than `now` nobody knows yet whether somebody will decide.
    """
    points = leave_out(
        load_levels(connection, site, from_at, to_at), load_silences(connection, site, from_at, to_at, now or to_at)
    )
    ends = [p[0] for p in points[1:]] + [to_at]  # one too many where the site was never evaluated
    return [
        LevelSegment(at, min(end, to_at), level, seen)
        for (at, level, seen), end in zip(points, ends, strict=False)
        if level is not None and at <= to_at
    ]


def load_silences(
    connection: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime
) -> list[tuple[datetime, datetime]]:
    """Times of a range in which nothing could be decided, in order; while the broker was away it was.

    An outage is written down when it is over; one that goes on begins at the last sign of life of the core, or at the
    last decision of the site: a person may decide while the core is away.
    """
    o = outage.c
    away = select(o.from_at, o.back_at).where(
        o.cause.in_(("service", "database")), o.from_at < to_at, o.back_at > from_at
    )
    spans = [(row.from_at, row.back_at) for row in connection.execute(away)]
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
    """Changes of level with those times left out: none stands at their begin, and what stood stands at their end."""
    found = [p for p in points if not any(begin <= p[0] < end for begin, end in silences)]
    for begin, end in silences:
        before = [p for p in points if p[0] < end]
        if not before:
            continue
        found.append((max(begin, points[0][0]), None, ""))
        if not any(p[0] == end for p in points):
            found.append((end, *before[-1][1:]))
    return sorted(found, key=lambda p: p[0])


def load_levels(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[Point]:
    """Changes of level and observability, the first as it stood at the begin of the range; its last 400 days."""
    from_at = max(from_at, to_at - LONGEST_TIMELINE)
    e = evaluation.c
    found = select(e.at, e.level, e.observability)
    before = found.where(e.site == site, e.at <= from_at).order_by(e.at.desc(), e.id.desc())
    first = connection.execute(before.limit(1)).one_or_none()
    order: Any = {"order_by": (e.at, e.id)}
    inside = found.add_columns(
        e.id,
        func.lag(e.level).over(**order).label("level_before"),
        func.lag(e.observability).over(**order).label("seen_before"),
    )
    s = inside.where(e.site == site, e.at > from_at, e.at <= to_at).subquery().c
    changes = connection.execute(
        select(s.at, s.level, s.observability)
        .where((s.level_before.is_(None)) | (s.level != s.level_before) | (s.observability != s.seen_before))
        .order_by(s.at.desc(), s.id.desc())
        .limit(ROWS_MOST)
    ).all()
    points: list[Point] = [(max(r.at, from_at), r.level, r.observability) for r in ([first] if first else [])]
    points += [(r.at, r.level, r.observability) for r in reversed(changes)]
    joined: list[Point] = []
    for point in points:
        if not joined or joined[-1][1:] != point[1:]:
            joined.append(point)
    return joined
