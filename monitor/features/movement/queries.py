"""How stations move, update by update, and the failure windows that were believed: rows are added, never rewritten."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypedDict

from sqlalchemy import Connection, Select, bindparam, func, or_, select, update

from monitor.alerts.evaluation_tables import site_state
from monitor.decision.records import FailureFact, seconds
from monitor.features.movement.tables import failure_time, movement
from monitor.readings.tables import observation_flag, offset_entry, series
from monitor.storage.engine import add_if_absent, insert
from monitor.storage.rows import read_record
from monitor.text.message import message_columns, read_columns

INVERSE_VELOCITY = "inverse_velocity"
FORECAST = "forecast"


class MovementMemory(TypedDict, total=False):
    """What the next update of a series starts from."""

    looked_s: float  # newest datum that was looked at
    stage: dict[str, Any]  # as `classify_stage` gives it
    mark: str  # what people said of the series
    window: dict[str, Any] | None  # the `BelievedWindow` that stands
    silent: bool
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
            seconds(r.issued_at),
            seconds(r.data_until),
            seconds(r.window_from),
            seconds(r.window_mid),
            seconds(r.window_to),
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


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """One failure window by inverse velocity as it was issued, with the series it belongs to."""

    station: str
    quantity: str
    issued_at: datetime
    data_until: datetime
    window_from: datetime
    window_mid: datetime
    window_to: datetime
    trusted: bool
    reasons: str
    withdrawn_at: datetime | None
    withdrawn_reason: str | None


def load_issued_windows(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[StoredWindow]:
    """Return the windows by inverse velocity issued in [from_at, to_at], by station, quantity and instant."""
    f, s = failure_time.c, series.c
    query = (
        select(failure_time, s.station, s.quantity)
        .join(series, s.id == f.series_id)
        .where(s.site == site, f.method == INVERSE_VELOCITY, f.issued_at >= from_at, f.issued_at <= to_at)
        .order_by(s.station, s.quantity, f.issued_at, f.data_until, f.id)
    )
    return [
        StoredWindow(
            row.station,
            row.quantity,
            row.issued_at,
            row.data_until,
            row.window_from,
            row.window_mid,
            row.window_to,
            bool(row.trusted),
            read_columns(row, "reasons"),
            row.withdrawn_at,
            read_columns(row, "withdrawn_reason") if row.withdrawn_at is not None else None,
        )
        for row in c.execute(query)
    ]


def has_updates(c: Connection, site: str, from_at: datetime, to_at: datetime) -> bool:
    """Return whether the movement of a site was assessed in [from_at, to_at]."""
    m, s = movement.c, series.c
    query = select(m.id).join(series, s.id == m.series_id).where(s.site == site, m.at >= from_at, m.at <= to_at)
    return c.execute(query.limit(1)).first() is not None


def load_marks(c: Connection, series_ids: Sequence[int], now: datetime) -> dict[int, str]:
    """What people said of each series up to an instant, as one word that changes with every offset and flag."""
    marks = dict.fromkeys(series_ids, "")
    e, f = offset_entry.c, observation_flag.c
    for of, at in ((e, e.known_from), (e, e.revoked_at), (e, e.confirmed_at), (f, f.known_from)):
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


def find_stage(c: Connection, site: str) -> str | None:
    """The site's stage as it is shown, or None before the first update."""
    return c.execute(select(site_state.c.movement_stage).where(site_state.c.site == site)).scalar()
