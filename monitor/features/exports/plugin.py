"""Tables, maps, SensorThings and a calendar for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter

_PATHS: Final = (
    "export",
    "export/{table}.{form}",
    "maintenance.ics",
    "sensorthings/v1.1",
    "sensorthings/v1.1/{path:path}",
)


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes that other programs read from."""
    from monitor.features.exports.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read exports."""
    return {f"GET /api/v1/sites/{{site}}/{path}": AccessRule("read") for path in _PATHS}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the list of exports on the page of a site."""
    return [Panel("site.out", "take_out.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that write exports."""
    return {
        "export": Command(
            _load_commands, "Export tables and maps of a site as files", after="report", subject="Results"
        )
    }


def _load_commands() -> Any:
    from monitor.features.exports.cli import app

    return app
