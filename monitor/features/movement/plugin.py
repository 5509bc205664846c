"""How stations move: stage, velocity and failure windows, computed from the readings and shown on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, Job, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from monitor.api.alerts import WindowReplayFunctions
    from monitor.api.database import Database
    from monitor.api.decision import FactRequest
    from monitor.api.queries.alerts import NewestMovement
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of movement."""
    from monitor.features.movement import tables

    return [tables.movement, tables.failure_time]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of movement."""
    from monitor.api.store import pair_views
    from monitor.features.movement import views

    return pair_views(sqlite, views.select_views)


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the page on movement and its HTTP API."""
    from monitor.features.movement.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read how a slope moves."""
    api = "/api/v1/sites/{site}"
    addresses = (
        "/sites/{site}/movement",
        f"{api}/movement/{{station}}",
        f"{api}/rain",
        f"{api}/ribbon",
    )
    return {f"GET {address}": AccessRule("read") for address in addresses}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link from the curves of a site to the page on its movement."""
    return [Panel("site.curves", "movement_link.html")]


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that assesses the movement of a site."""
    from monitor.api.sites import stage_cadence
    from monitor.features.movement.update import run

    return [
        Job(
            "movement",
            run,
            lambda _: 3600.0,
            15.0,
            at_stage=lambda site, stage: stage_cadence(site, stage)[0],
            updates_stage=True,
            on_alert_change=True,
            light=True,
        )
    ]


@hookimpl
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return the failure windows that stand."""
    if "failures" not in request.kinds:
        return {}
    from monitor.features.movement.queries import load_failure_facts

    return {"failures": load_failure_facts(connection, site.id, request.now)}


@hookimpl
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return when failure windows were issued or withdrawn."""
    from monitor.features.movement.queries import load_fact_instants

    return load_fact_instants(connection, site_id, from_at, to_at)


@hookimpl
def update_facts(database: Database, site: Site, now: datetime) -> None:
    """Compute the failure windows that criteria of the site read."""
    from monitor.features.movement.moving_series import list_window_stations

    if list_window_stations(site):
        from monitor.features.movement.update import update_movement

        update_movement(database, site, now)


@hookimpl
def failure_window_replay() -> WindowReplayFunctions:
    """Return the functions of the movement job that need no database."""
    from monitor.api.alerts import WindowReplayFunctions
    from monitor.features.movement.moving_series import list_window_spans
    from monitor.features.movement.replay import FailureWindowReplay

    return WindowReplayFunctions(list_window_spans, FailureWindowReplay)


@hookimpl
def newest_movements(connection: Connection, sites: Sequence[str], now: datetime) -> Mapping[str, list[NewestMovement]]:
    """Return the newest assessment of each series."""
    from monitor.features.movement.queries import load_newest_movements

    return load_newest_movements(connection, sites, now)
