"""Load and store the movement of stations and their failure windows. Rows are added and never rewritten.

The only change to a stored row is that a failure window is marked as withdrawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, Select, bindparam, case, func, or_, select, tuple_, update

from forecasting.kinematics.failure_record import WindowRun
from monitor.api.database import add_if_absent, insert, row_to_record
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

    assessed_s: float  # newest reading that was assessed
    stage: dict[str, Any]  # state of `classify_stage`
    mark: str  # `entries_mark` of `assess_movement`
    window: dict[str, Any] | None  # the failure window that stands: `FailureWindow` as JSON
    silent: bool  # whether the previous update found the series silent or stuck
    is_new: bool  # the record is shorter than the shortest velocity window of the instrument
    forecast_issued_s: float  # of the newest forecast that was used


@dataclass(frozen=True, slots=True)
class MovementRow:
    """One update of one series: its result at `at`, and what the next update starts from."""

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
    """One failure window as issued, nominally with 90 % probability."""

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
    """Store an update with its windows.

    Args:
        c: Connection with a write transaction, so that the row, its windows and withdrawals are stored together.
        row: The update.
        windows: Failure windows that it issues.
        withdrawn: By method, why windows of earlier updates do not stand any more.

    Returns:
        The methods whose windows were withdrawn; None if the update was stored already, and nothing was written.
    """
    if not add_if_absent(c, movement, {**asdict(row), "state": dict(row.state)}):
        return None
    withdrawn_methods = tuple(
        method
        for method, reason in (withdrawn or {}).items()
        if mark_withdrawn(c, row.series_id, method, row.at, reason)
    )
    if windows:
        c.execute(insert(c, failure_time), [asdict(window) for window in windows])
    return withdrawn_methods


def latest_movement(c: Connection, site: str, now: datetime) -> dict[int, MovementRow]:
    """Return the newest update of each series up to an instant, by series id."""
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
    return {r.series_id: row_to_record(MovementRow, r) for r in rows}


def mark_withdrawn(c: Connection, series_id: int, method: str, now: datetime, reason: str) -> int:
    """Withdraw the windows of a series by one method that still stand; return the number of rows."""
    f = failure_time.c
    done = c.execute(
        update(failure_time)
        .where(f.series_id == series_id, f.method == method, f.withdrawn_at.is_(None), f.issued_at <= now)
        .values(withdrawn_at=now, **message_columns("withdrawn_reason", reason))
    )
    return int(done.rowcount)


def load_failure_facts(c: Connection, site: str, now: datetime) -> tuple[FailureFact, ...]:
    """Return the newest window of each series and method that stood at an instant, as known then."""
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


@cache  # every evaluation uses this statement
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


def load_entries_marks(c: Connection, series_ids: Sequence[int], now: datetime) -> dict[int, str]:
    """Return a text for each series that changes with every offset and flag that people entered up to an instant."""
    marks = dict.fromkeys(series_ids, "")
    offsets, flags = offset_entry.c, observation_flag.c
    entries = (
        (offsets, offsets.known_from),
        (offsets, offsets.revoked_at),
        (offsets, offsets.counts_from),
        (flags, flags.known_from),
    )
    for columns, at in entries:
        query = (
            select(columns.series_id, func.max(columns.id), func.count())
            .where(at <= now, columns.series_id.in_(series_ids))
            .group_by(columns.series_id)
        )
        for series_id, newest, count in c.execute(query):
            marks[series_id] += f"{newest}:{count};"
    return marks


def save_stage(c: Connection, site: str, stage: str, trend: str) -> None:
    """Store the stage and trend of a site. Before the first evaluation of the site there is no row to store them in."""
    c.execute(update(site_state).where(site_state.c.site == site).values(movement_stage=stage, trend=trend))


def find_rise(c: Connection, site: str) -> datetime | None:
    """Return since when the site is above its lowest level; None if it is not."""
    s = site_state.c
    return c.execute(select(s.since).where(s.site == site, s.level > 0)).scalar()


# ---- what pages show -------------------------------------------------------------------------------------------------
# Rows of one table in one answer, the newest ones.
MAX_ROWS: Final = 5000
_MOVEMENT: Final = [k for k in movement.c if k.name not in {"id", "series_id", "state"}]


class StageSegment(TypedDict):
    """A span of time in which stage and trend of a station do not change."""

    from_at: str
    to_at: str
    stage: str
    trend: str


class WindowHistoryRow(StandingWindow):
    """A row of the view `failure_windows`, instants as text."""

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
    """Return the segments of equal stage by station, oldest first."""
    m, s = movement.c, series.c
    rows = c.execute(
        select(s.station, m.at, m.stage, m.trend)
        .join(series, s.id == m.series_id)
        .where(s.site == site, m.at > max(from_at, to_at - LONGEST_TIMELINE), m.at <= to_at)
        .order_by(m.at.desc())
        .limit(10 * MAX_ROWS)
    ).all()
    ribbon: dict[str, list[StageSegment]] = {}
    for row in reversed(rows):
        segments = ribbon.setdefault(row.station, [])
        if segments:
            segments[-1]["to_at"] = format_iso(row.at)
        if not segments or (segments[-1]["stage"], segments[-1]["trend"]) != (row.stage, row.trend):
            segments.append({"from_at": format_iso(row.at), "to_at": "", "stage": row.stage, "trend": row.trend})
    for segments in ribbon.values():
        segments[-1]["to_at"] = format_iso(to_at)
    return dict(sorted(ribbon.items()))


def list_assessed_stations(c: Connection, site: str) -> set[str]:
    """Return the stations whose movement has been assessed."""
    s = series.c
    query = select(s.station).where(s.site == site, select(movement.c.id).where(movement.c.series_id == s.id).exists())
    return set(c.execute(query).scalars())


def load_movement(c: Connection, site: str, station: str, from_at: datetime, to_at: datetime) -> list[MovementUpdate]:
    """Return the movement of a station, update by update, oldest first."""
    m, s = movement.c, series.c
    rows = c.execute(
        select(s.quantity, *_MOVEMENT)
        .join(series, s.id == m.series_id)
        .where(s.site == site, s.station == station, m.at > from_at, m.at <= to_at)
        .order_by(m.at.desc())
        .limit(MAX_ROWS)
    ).all()
    return [_format_row(row) for row in reversed(rows)]


def load_newest_movements(c: Connection, sites: Sequence[str], now: datetime) -> dict[str, list[NewestMovement]]:
    """Return the newest update of each series up to an instant, by site, with the failure window that stands."""
    m, s, w = movement.c, series.c, failure_time.c
    # One index search per series. A search over all rows took most of the time of a page.
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
    # Inverse velocity comes first, because only its windows can vote.
    for window in c.execute(select(w.series_id, *columns).where(w.id.in_(standing)).order_by(w.method.desc())):
        windows.setdefault(window.series_id, _format_row(window, "series_id"))
    unknown = [(r.series_id, r.at) for r in rows if r.stage == UNKNOWN]
    states = c.execute(select(m.series_id, m.state).where(tuple_(m.series_id, m.at).in_(unknown))) if unknown else ()
    last_stages = {row.series_id: (row.state.get("stage") or {}).get("stage") for row in states}
    movements: dict[str, list[NewestMovement]] = {}
    for row in rows:
        stage = last_stages.get(row.series_id) if row.stage == UNKNOWN else row.stage
        more = {"window": windows.get(row.series_id), "last_stage": stage}
        movements.setdefault(row.site, []).append(_format_row(row, "site") | more)
    return movements


def load_windows(c: Connection, site: str, station: str, from_at: datetime, to_at: datetime) -> list[WindowHistoryRow]:
    """Return the failure windows of a station as issued, oldest first, including withdrawn ones."""
    w, s = failure_time.c, series.c
    rows = c.execute(
        select(s.quantity, *(k for k in w if k.name not in {"id", "series_id"}))
        .join(series, s.id == w.series_id)
        .where(s.site == site, s.station == station, w.data_until > from_at, w.data_until <= to_at)
        .order_by(w.data_until.desc(), w.id.desc())
        .limit(MAX_ROWS)
    ).all()
    return [_format_row(row) for row in reversed(rows)]


def load_window_runs(c: Connection, site: str, now: datetime) -> list[WindowRun]:
    """Return the failure windows by inverse velocity of a site up to an instant, by series and withdrawal."""
    windows = failure_time.c
    is_trusted = func.max(case((windows.trusted, 1), else_=0))
    rows = c.execute(
        select(is_trusted.label("is_trusted"), func.max(windows.window_to).label("window_to"), windows.withdrawn_at)
        .join(series, series.c.id == windows.series_id)
        .where(series.c.site == site, windows.method == INVERSE_VELOCITY, windows.issued_at <= now)
        .group_by(windows.series_id, windows.withdrawn_at)
    )
    return [
        WindowRun(
            bool(row.is_trusted),
            epoch_s(row.window_to),
            None if row.withdrawn_at is None else epoch_s(row.withdrawn_at),
        )
        for row in rows
    ]


def _format_row(row: Any, omitted: str = "") -> Any:
    """Return a row as a dictionary with instants as text, without the column `omitted`."""
    columns = plain_to_messages(row._mapping)  # noqa: SLF001
    return {
        name: format_iso(value) if isinstance(value, datetime) else value
        for name, value in columns.items()
        if name != omitted
    }
