"""Register the exports of a site: tables, maps, SensorThings and the calendar of maintenance windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter

# Paths below `/api/v1/sites/{site}/`.
_EXPORT_PATHS: Final = (
    "export",
    "export/{table}.{form}",
    "maintenance.ics",
    "sensorthings/v1.1",
    "sensorthings/v1.1/{path:path}",
)


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes from which other programs download data."""
    from monitor.features.exports.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return the access rules: everybody who may read a site may download its exports."""
    return {f"GET /api/v1/sites/{{site}}/{path}": AccessRule("read") for path in _EXPORT_PATHS}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the panel of the site page that links to the exports."""
    return [Panel("site.out", "export_links.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the command `slopeward export`."""
    return {
        "export": Command(
            _load_commands, "Export tables and maps of a site as files", after="report", subject="Results"
        )
    }


def _load_commands() -> Any:
    """Return the Typer application. The import is here so that `slopeward --help` stays fast."""
    from monitor.features.exports.cli import app

    return app
