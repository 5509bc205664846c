"""How stations move, update by update, and the failure windows that were believed: rows are added, never rewritten."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, Select, bindparam, func, or_, select, tuple_, update

from monitor.api.database import add_if_absent, insert, read_record
from monitor.api.decision import FailureFact
from monitor.api.queries.alerts import (
    LONGEST_TIMELINE,
    UNKNOWN,
    MovementUpdate,
    NewestMovement,
    StandingWindow,
    load_series_instants,
)
from monitor.api.tables import observation_flag, offset_entry, series, site_state
from monitor.api.text import epoch_s, format_iso, message_columns, plain_to_messages, read_columns
from monitor.features.movement.tables import failure_time, movement

INVERSE_VELOCITY = "inverse_velocity"
FORECAST = "forecast"


class MovementMemory(TypedDict, total=False):
    """What the next update of a series starts from."""

    looked_s: float  # newest datum that was looked at
    stage: dict[str, Any]  # as `classify_stage` gives it
    mark: str  # what people said of the series
    window: dict[str, Any] | None  # the `BelievedWindow` that stands
    silent: bool
    is_new: bool  # the record is shorter than the shortest velocity window of the instrument
    forecast_issued_s: float  # of the newest issue that was asked


@dataclass(frozen=True, slots=True)
class MovementRow:
    """One update of one series: what was believed at `at`, and what the next update starts from."""

    series_id: int
    at: datetime
    data_until: datetime | None
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
    state: MovementMemory


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failure window, as issued; the window is nominal 90 %."""

    series_id: int
    issued_at: datetime
    data_until: datetime
    window_from: datetime
    window_mid: datetime
    window_to: datetime
    n_filters: int | None
    n_agree: int | None
    r2: float | None
    velocity_mm_per_day: float | None
    trusted: bool
    reasons: str
    method: str
    onset_at: datetime | None
    withdrawn_at: datetime | None = None
    withdrawn_reason: str | None = None


def add_update(
    c: Connection, row: MovementRow, windows: Sequence[FailureRow], withdrawn: Mapping[str, str] | None = None
) -> tuple[str, ...] | None:
    """Add an update with its windows; returns the methods of which windows were withdrawn.

    None when the update was there already: then nothing is written.

    `c`: inside a write transaction: row, withdrawals and windows are there together or not at all; `windows`: what it
    issues; `withdrawn`: method -> why what stood before no longer does.
    """
    if not add_if_absent(c, movement, {**asdict(row), "state": dict(row.state)}):
        return None
    gone = tuple(m for m, why in (withdrawn or {}).items() if mark_withdrawn(c, row.series_id, m, row.at, why))
    if windows:
        c.execute(insert(c, failure_time), [asdict(w) for w in windows])
    return gone


def latest_movement(c: Connection, site: str, now: datetime) -> dict[int, MovementRow]:
    """The newest update of each series up to an instant, by series id."""
    m, s = movement.c, series.c
    newest = (
        select(m.series_id, func.max(m.at).label("at"))
        .join(series, s.id == m.series_id)
        .where(s.site == site, m.at <= now)
        .group_by(m.series_id)
        .subquery()
    )
    rows = c.execute(
        select(movement).join(newest, (newest.c.series_id == m.series_id) & (newest.c.at == m.at)).order_by(m.series_id)
    )
    return {r.series_id: read_record(MovementRow, r) for r in rows}


def mark_withdrawn(c: Connection, series_id: int, method: str, now: datetime, reason: str) -> int:
    """Withdraw what still stands of a series by one method; returns how many rows that were."""
    f = failure_time.c
    done = c.execute(
        update(failure_time)
        .where(f.series_id == series_id, f.method == method, f.withdrawn_at.is_(None), f.issued_at <= now)
        .values(withdrawn_at=now, **message_columns("withdrawn_reason", reason))
    )
    return int(done.rowcount)


def load_failure_facts(c: Connection, site: str, now: datetime) -> tuple[FailureFact, ...]:
    """The newest window of each series and method that stood at an instant, as known then."""
    return tuple(
        FailureFact(
            r.station,
            r.quantity,
            r.method,
            epoch_s(r.issued_at),
            epoch_s(r.data_until),
            epoch_s(r.window_from),
            epoch_s(r.window_mid),
            epoch_s(r.window_to),
            r.velocity_mm_per_day or 0.0,
            bool(r.trusted),
            read_columns(r, "reasons"),
        )
        for r in c.execute(_plan_failure_facts(), {"site_id": site, "now": now})
    )


@cache  # put together once: it is asked at every look
def _plan_failure_facts() -> Select[Any]:
    f, s = failure_time.c, series.c
    now: Any = bindparam("now")
    newest = (
        select(f.series_id, f.method, func.max(f.id).label("id"))
        .join(series, s.id == f.series_id)
        .where(s.site == bindparam("site_id"), f.issued_at <= now, or_(f.withdrawn_at.is_(None), f.withdrawn_at > now))
        .group_by(f.series_id, f.method)
        .subquery()
    )
    return (
        select(failure_time, s.station, s.quantity)
        .join(newest, newest.c.id == f.id)
        .join(series, s.id == f.series_id)
        .order_by(s.station, s.quantity, f.method)
    )


def load_fact_instants(c: Connection, site: str, from_at: datetime, to_at: datetime) -> set[datetime]:
    """Return the instants in (from_at, to_at] at which failure windows of a site were issued or withdrawn."""
    return load_series_instants(c, site, [failure_time.c.issued_at, failure_time.c.withdrawn_at], from_at, to_at)


def load_marks(c: Connection, series_ids: Sequence[int], now: datetime) -> dict[int, str]:
    """What people said of each series up to an instant, as one word that changes with every offset and flag."""
    marks = dict.fromkeys(series_ids, "")
    e, f = offset_entry.c, observation_flag.c
    for of, at in ((e, e.known_from), (e, e.revoked_at), (e, e.counts_from), (f, f.known_from)):
        query = select(of.series_id, func.max(of.id), func.count()).where(at <= now, of.series_id.in_(series_ids))
        for series_id, newest, count in c.execute(query.group_by(of.series_id)):
            marks[series_id] += f"{newest}:{count};"
    return marks


def save_stage(c: Connection, site: str, stage: str, trend: str) -> None:
    """Show the site's stage and trend; the first evaluation makes the row, until then there is nothing to show."""
    c.execute(update(site_state).where(site_state.c.site == site).values(movement_stage=stage, trend=trend))


def find_rise(c: Connection, site: str) -> datetime | None:
    """Since when the site stands above its lowest level; None where it does not."""
    s = site_state.c
    return c.execute(select(s.since).where(s.site == site, s.level > 0)).scalar()


# ---- what pages show -------------------------------------------------------------------------------------------------
ROWS_MOST: Final = 5000  # of one table in one answer, the newest
_MOVEMENT: Final = [k for k in movement.c if k.name not in {"id", "series_id", "state"}]


class StageSegment(TypedDict):
    """A time of equal stage and trend of a station."""

    from_at: str
    to_at: str
    stage: str
    trend: str


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


def load_stage_ribbon(c: Connection, site: str, from_at: datetime, to_at: datetime) -> dict[str, list[StageSegment]]:
    """Segments of equal stage by station, oldest first."""
    m, s = movement.c, series.c
    rows = c.execute(
        select(s.station, m.at, m.stage, m.trend)
        .join(series, s.id == m.series_id)
        .where(s.site == site, m.at > max(from_at, to_at - LONGEST_TIMELINE), m.at <= to_at)
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
    kept = ((k, v) for k, v in plain_to_messages(row._mapping).items() if k != without)  # noqa: SLF001
    return {k: format_iso(v) if isinstance(v, datetime) else v for k, v in kept}
