"""How series move, for pages, maps and reports.

A feature assesses the movement. The newest assessments come from its hook `newest_movements`, older ones from its
public view `movement_history`. Without the feature, all functions return nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypedDict

from sqlalchemy import ColumnElement, Connection, Double, Text, column, func, select, table

from monitor.plugins import hooks
from monitor.readings.tables import series
from monitor.storage.column_types import Instant
from monitor.storage.views import has_view

# Stage of a series whose movement cannot be assessed.
UNKNOWN: Final = "unknown"
_UPDATES: Final = table(
    "movement_history",
    *(column(name, Text) for name in ("site", "station", "quantity", "stage")),
    *(column(name, Instant) for name in ("at", "data_until")),
    column("velocity_mm_per_day", Double),
)


class MovementUpdate(TypedDict):
    """A row of `movement`. Times are ISO 8601 texts."""

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
    """The current failure window of a series. Times are ISO 8601 texts."""

    window_from: str
    window_mid: str
    window_to: str
    trusted: bool
    reasons: str
    method: str
    data_until: str


class NewestMovement(MovementUpdate):
    """The newest assessment of a series, with its failure window.

    Attributes:
        last_stage: The stage; if it is unknown now, the last known stage.
    """

    series_id: int
    station: str
    window: StandingWindow | None
    last_stage: str | None


def load_newest_movement(connection: Connection, site: str, now: datetime) -> list[NewestMovement]:
    """Return the movement of each series of a site as of an instant."""
    return load_newest_movements(connection, [site], now).get(site, [])


def load_newest_movements(
    connection: Connection, sites: Sequence[str], now: datetime
) -> Mapping[str, list[NewestMovement]]:
    """Return the movement of each series by site, as of an instant; empty if no feature assesses movement."""
    movements: Mapping[str, list[NewestMovement]] | None = hooks().newest_movements(
        connection=connection, sites=sites, now=now
    )
    return {} if movements is None else movements


def load_stages_seen(connection: Connection, stages: Mapping[str, str]) -> dict[str, datetime]:
    """Return when the stage of a site was last assessed, for sites of which no series has this stage now.

    A site keeps the stage of a series that became silent.

    Args:
        stages: The stage of each site.
    """
    if not stages or not has_view(_UPDATES.name):
        return {}
    # One subquery for each series, because reading all updates would take most of the time of a page.
    newest = select(_UPDATES.c.stage).where(*_of_series()).order_by(_UPDATES.c.at.desc()).limit(1).correlate(series)
    current = select(series.c.site, newest.scalar_subquery().label("stage")).where(series.c.site.in_(list(stages)))
    silent = stages.items() - {(row.site, row.stage) for row in connection.execute(current)}
    assessed_at: dict[str, datetime] = {}
    for site, stage in silent:
        newest_at = select(func.max(func.coalesce(_UPDATES.c.data_until, _UPDATES.c.at)))
        at = connection.execute(newest_at.where(_UPDATES.c.site == site, _UPDATES.c.stage == stage)).scalar()
        if at is not None:
            assessed_at[site] = at
    return assessed_at


def load_velocities(
    connection: Connection, site: str, station: str, from_at: datetime, to_at: datetime
) -> list[tuple[datetime, float]]:
    """Return the assessed velocities of a station in (from_at, to_at], in mm/day, oldest first.

    Of several series, the one with the most velocities counts.
    """
    if not has_view(_UPDATES.name):
        return []
    query = (
        select(series.c.id, _UPDATES.c.at, _UPDATES.c.velocity_mm_per_day)
        .where(series.c.site == site, series.c.station == station, *_of_series())
        .where(_UPDATES.c.at > from_at, _UPDATES.c.at <= to_at)
        .where(_UPDATES.c.velocity_mm_per_day.is_not(None))
        .order_by(series.c.id, _UPDATES.c.at)
    )
    velocities: dict[int, list[tuple[datetime, float]]] = {}
    for row in connection.execute(query):
        velocities.setdefault(row.id, []).append((row.at, row.velocity_mm_per_day))
    return max(velocities.values(), key=len, default=[])


def _of_series() -> tuple[ColumnElement[bool], ...]:
    return tuple(_UPDATES.c[name] == series.c[name] for name in ("site", "station", "quantity"))
