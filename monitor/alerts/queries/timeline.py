"""What level, sight, stage and failure windows were over a range of time: the pictures of how a slope came here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, func, or_, select, tuple_

from monitor.alerts.evaluation_tables import evaluation, outage
from monitor.features.movement.tables import failure_time, movement
from monitor.readings.tables import series
from monitor.storage.service_state import find_stamp
from monitor.text.instants import format_iso, is_silent, join_spans
from monitor.text.message import gather

LONGEST: Final = timedelta(days=400)
TICK: Final = timedelta(microseconds=1)
FOREVER: Final = datetime.max.replace(tzinfo=UTC)
ROWS_MOST: Final = 5000  # of one table in one answer, the newest
Point = tuple[datetime, int | None, str]
"""From an instant on: the level and who could see; no level where nobody decided."""
UNKNOWN: Final = "unknown"  # the stage of a series that cannot be judged
_MOVEMENT: Final = [k for k in movement.c if k.name not in {"id", "series_id", "state"}]


class StageSegment(TypedDict):
    """A time of equal stage and trend of a station."""

    from_at: str
    to_at: str
    stage: str
    trend: str


class MovementUpdate(TypedDict):
    """A row of `movement`, instants as text."""

    quantity: str
    at: str
    data_until: str | None
    stage: str
    trend: str
    velocity_mm_per_day: float | None
    velocity_error_mm_per_day: float | None
    velocity_window_s: float | None
    acceleration_mm_per_day2: float | None
    acceleration_error_mm_per_day2: float | None
    tangential_angle_deg: float | None
    v_eq_mm_per_day: float | None
    inverse_velocity_day_per_mm: float | None
    probability: float | None
    reasons: str


class StandingWindow(TypedDict):
    """The failure window of a series that stands, instants as text."""

    window_from: str
    window_mid: str
    window_to: str
    trusted: bool
    reasons: str
    method: str
    data_until: str


class IssuedWindow(StandingWindow):
    """A row of `failure_windows`, instants as text."""

    quantity: str
    issued_at: str
    n_filters: int | None
    n_agree: int | None
    r2: float | None
    velocity_mm_per_day: float | None
    onset_at: str | None
    withdrawn_at: str | None
    withdrawn_reason: str | None


class NewestMovement(MovementUpdate):
    """The newest update of a series, and what stands beside it."""

    series_id: int
    station: str
    window: StandingWindow | None
    last_stage: str | None  # the stage, or where it is unknown now the last one that was known


@dataclass(frozen=True, slots=True)
class LevelSegment:
    """A time of equal level and observability."""

    from_at: datetime
    to_at: datetime
    level: int
    observability: str


def load_ribbon(
    c: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime | None = None
) -> list[LevelSegment]:
    """Segments of the last 400 days of a range as the stored evaluations found them, oldest first.

    Between two segments lies a time in which nobody decided: the service or its database was away. Of a range that
    ends later than `now` nobody knows yet whether somebody will decide.
    """
    points = leave_out(load_levels(c, site, from_at, to_at), load_silences(c, site, from_at, to_at, now or to_at))
    ends = [p[0] for p in points[1:]] + [to_at]  # one too many where the site was never evaluated
    return [
        LevelSegment(at, min(end, to_at), level, seen)
        for (at, level, seen), end in zip(points, ends, strict=False)
        if level is not None and at <= to_at
    ]


def load_silences(
    c: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime
) -> list[tuple[datetime, datetime]]:
    """Times of a range in which nothing could be decided, in order; while the broker was away it was.

    An outage is written down when it is over; one that goes on begins at the last sign of life of the core, or at the
    last decision of the site: a person may decide while the core is away.
    """
    o = outage.c
    away = select(o.from_at, o.back_at).where(
        o.cause.in_(("service", "database")), o.from_at < to_at, o.back_at > from_at
    )
    spans = [(row.from_at, row.back_at) for row in c.execute(away)]
    core = find_stamp(c, "core")
    until = min(to_at, now)
    if core is not None and core[0] < until and is_silent(core, until):
        e = evaluation.c
        decided = c.execute(select(func.max(e.at)).where(e.site == site, e.at > core[0], e.at <= until)).scalar()
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


def load_levels(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[Point]:
    """Changes of level and observability, the first as it stood at the begin of the range; its last 400 days."""
    from_at = max(from_at, to_at - LONGEST)
    e = evaluation.c
    found = select(e.at, e.level, e.observability)
    before = found.where(e.site == site, e.at <= from_at).order_by(e.at.desc(), e.id.desc())
    first = c.execute(before.limit(1)).one_or_none()
    order: Any = {"order_by": (e.at, e.id)}
    inside = found.add_columns(
        e.id,
        func.lag(e.level).over(**order).label("level_before"),
        func.lag(e.observability).over(**order).label("seen_before"),
    )
    s = inside.where(e.site == site, e.at > from_at, e.at <= to_at).subquery().c
    changes = c.execute(
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


def load_stage_ribbon(c: Connection, site: str, from_at: datetime, to_at: datetime) -> dict[str, list[StageSegment]]:
    """Segments of equal stage by station, oldest first."""
    m, s = movement.c, series.c
    rows = c.execute(
        select(s.station, m.at, m.stage, m.trend)
        .join(series, s.id == m.series_id)
        .where(s.site == site, m.at > max(from_at, to_at - LONGEST), m.at <= to_at)
        .order_by(m.at.desc())
        .limit(10 * ROWS_MOST)
    ).all()
    found: dict[str, list[StageSegment]] = {}
    for row in reversed(rows):
        segments = found.setdefault(row.station, [])
        if segments:
            segments[-1]["to_at"] = format_iso(row.at)
        if not segments or (segments[-1]["stage"], segments[-1]["trend"]) != (row.stage, row.trend):
            segments.append({"from_at": format_iso(row.at), "to_at": "", "stage": row.stage, "trend": row.trend})
    for segments in found.values():
        segments[-1]["to_at"] = format_iso(to_at)
    return dict(sorted(found.items()))


def list_judged(c: Connection, site: str) -> set[str]:
    """Stations whose movement was ever judged."""
    s = series.c
    query = select(s.station).where(s.site == site, select(movement.c.id).where(movement.c.series_id == s.id).exists())
    return set(c.execute(query).scalars())


def load_movement(c: Connection, site: str, station: str, from_at: datetime, to_at: datetime) -> list[MovementUpdate]:
    """How a station moved, update by update, oldest first."""
    m, s = movement.c, series.c
    rows = c.execute(
        select(s.quantity, *_MOVEMENT)
        .join(series, s.id == m.series_id)
        .where(s.site == site, s.station == station, m.at > from_at, m.at <= to_at)
        .order_by(m.at.desc())
        .limit(ROWS_MOST)
    ).all()
    return [_format_row(row) for row in reversed(rows)]


def load_newest_movement(c: Connection, site: str, now: datetime) -> list[NewestMovement]:
    """The same of one site."""
    return load_newest_movements(c, [site], now).get(site, [])


def load_newest_movements(c: Connection, sites: Sequence[str], now: datetime) -> dict[str, list[NewestMovement]]:
    """By site the newest update of each series up to an instant with the failure window that stands."""
    m, s, w = movement.c, series.c, failure_time.c
    # a seek for each series: over all their rows it took most of the time of a page
    last = movement.alias().c
    newest = select(func.max(last.at)).where(last.series_id == s.id, last.at <= now).correlate(series).scalar_subquery()
    rows = c.execute(
        select(s.site, s.id.label("series_id"), s.station, s.quantity, *_MOVEMENT)
        .select_from(series)
        .join(movement, (m.series_id == s.id) & (m.at == newest))
        .where(s.site.in_(sites))
        .order_by(s.station, s.quantity.not_like("displacement%"), s.quantity)
    ).all()
    stood = or_(w.withdrawn_at.is_(None), w.withdrawn_at > now)
    standing = (
        select(func.max(w.id))
        .where(w.series_id.in_([r.series_id for r in rows]), w.issued_at <= now, stood)
        .group_by(w.series_id, w.method)
    )
    names = {f"{name}{end}" for name in StandingWindow.__annotations__ for end in ("", "_id", "_values")}
    columns = (k for k in w if k.name in names)
    windows: dict[int, StandingWindow] = {}
    # the one by inverse velocity first: it is the one that may vote
    for row in c.execute(select(w.series_id, *columns).where(w.id.in_(standing)).order_by(w.method.desc())):
        windows.setdefault(row.series_id, _format_row(row, "series_id"))
    unknown = [(r.series_id, r.at) for r in rows if r.stage == UNKNOWN]
    states = c.execute(select(m.series_id, m.state).where(tuple_(m.series_id, m.at).in_(unknown))) if unknown else ()
    last_stages = {row.series_id: (row.state.get("stage") or {}).get("stage") for row in states}
    found: dict[str, list[NewestMovement]] = {}
    for r in rows:
        stage = last_stages.get(r.series_id) if r.stage == UNKNOWN else r.stage
        more = {"window": windows.get(r.series_id), "last_stage": stage}
        found.setdefault(r.site, []).append(_format_row(r, "site") | more)
    return found


def load_velocities(
    c: Connection, series_ids: Sequence[int], from_at: datetime, to_at: datetime
) -> dict[int, list[tuple[datetime, float]]]:
    """Velocities of some series as they were judged, in mm/day, oldest first."""
    m = movement.c
    rows = c.execute(
        select(m.series_id, m.at, m.velocity_mm_per_day)
        .where(m.series_id.in_(series_ids), m.at > from_at, m.at <= to_at, m.velocity_mm_per_day.is_not(None))
        .order_by(m.series_id, m.at)
    )
    found: dict[int, list[tuple[datetime, float]]] = {}
    for row in rows:
        found.setdefault(row.series_id, []).append((row.at, row.velocity_mm_per_day))
    return found


def load_windows(c: Connection, site: str, station: str, from_at: datetime, to_at: datetime) -> list[IssuedWindow]:
    """Failure windows of a station, issue by issue, oldest first, withdrawn ones included."""
    w, s = failure_time.c, series.c
    rows = c.execute(
        select(s.quantity, *(k for k in w if k.name not in {"id", "series_id"}))
        .join(series, s.id == w.series_id)
        .where(s.site == site, s.station == station, w.data_until > from_at, w.data_until <= to_at)
        .order_by(w.data_until.desc(), w.id.desc())
        .limit(ROWS_MOST)
    ).all()
    return [_format_row(row) for row in reversed(rows)]


def _format_row(row: Any, without: str = "") -> Any:
    kept = ((k, v) for k, v in gather(row._mapping).items() if k != without)  # noqa: SLF001
    return {k: format_iso(v) if isinstance(v, datetime) else v for k, v in kept}
