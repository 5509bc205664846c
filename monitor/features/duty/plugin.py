"""Duty plans of teams, swaps and hand-overs: who is on duty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, Job, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection

    from monitor.api.acts import Act
    from monitor.api.checks import Check
    from monitor.api.database import Database
    from monitor.api.sites import Site, Team


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the page of duty and its calendar."""
    from monitor.features.duty.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read duties."""
    return {"GET /sites/{site}/duty": AccessRule("viewer"), "GET /sites/{site}/duty.ics": AccessRule("viewer")}


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that show and change duties."""
    return {"people duty": Command(_load_commands, "Show who is on duty; plan and swap duties", after="people")}


def _load_commands() -> Any:
    from monitor.features.duty.cli import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that writes who is on duty in the coming weeks."""
    from monitor.features.duty.jobs import run

    return [Job("duty", run, lambda _: 6 * 3600.0, 25.0, light=True)]


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of duty plans."""
    from monitor.features.duty.checks import CHECKS

    return CHECKS


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts that plan, swap and hand over duties."""
    from monitor.features.duty.acts import ACTS

    return ACTS


@hookimpl
def people_on_duty(
    connection: Connection, teams: Iterable[Team], at: datetime
) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return who is on duty by the plans of the teams."""
    from monitor.features.duty.queries import find_on_duty

    return find_on_duty(connection, teams, at)


@hookimpl
def health_subjects(db: Database, sites: Mapping[str, Site], now: datetime) -> object:
    """Return the plans of all teams."""
    from monitor.features.duty.checks import read_rotas

    return read_rotas(db, sites, now)
