"""The board of instruments: what each needs, how long its battery lasts, how many of its readings arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, Job, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of instruments."""
    from monitor.features.instruments.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read the state of instruments."""
    return {f"GET {prefix}/sites/{{site}}/instruments": AccessRule("read") for prefix in ("", "/live", "/api/v1")}


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the command that shows the state of instruments."""
    return {"instruments": Command(_load_commands, "Show the state of each instrument and what it needs")}


def _load_commands() -> Any:
    from monitor.features.instruments.cli import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that judges the state of instruments."""
    from monitor.features.instruments.jobs import run

    return [Job("instruments", run, lambda _: 900.0, 45.0, light=True)]
