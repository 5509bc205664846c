"""Drills: exercises that send messages through the real channels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, Panel, ServicePart, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Table

    from monitor.api.acts import Act
    from monitor.api.database import Database
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the page of drills."""
    from monitor.features.drills.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read the page of drills."""
    return {"GET /sites/{site}/drills": AccessRule("viewer")}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link to the drills of a site."""
    return [Panel("site.links", "drills_link.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that hold drills."""
    return {"notify drill": Command(_load_commands, "Hold a drill with the real channels", after="notify channels")}


def _load_commands() -> Any:
    from monitor.features.drills.cli import app

    return app


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts that start and end a drill."""
    from monitor.features.drills.acts import ACTS

    return ACTS


@hookimpl
def service_parts(db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> Iterable[ServicePart]:
    """Return the part of the service that ends drills whose process died."""
    return [ServicePart(follow=partial(_end_dead_drills, db, sites, clock), follow_every_s=15.0)]


def _end_dead_drills(db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    from monitor.features.drills.queries import end_and_log_dead_drills

    end_and_log_dead_drills(db, sites, clock())


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of drills."""
    from monitor.features.drills import tables

    return [tables.drill]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of drills."""
    from monitor.api.store import pair_views
    from monitor.features.drills import views

    return pair_views(sqlite, views.select_views)
