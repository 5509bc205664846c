"""Zones, shaded relief and map tiles for the maps of the page.

Without this feature, maps have a plain background with coordinates and a scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of maps."""
    from monitor.features.maps.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read maps."""
    of_site = ("map", "zones.geojson", "relief.pmtiles")
    return {
        **{f"GET /api/v1/sites/{{site}}/{path}": AccessRule("read") for path in of_site},
        "GET /api/v1/map/tiles": AccessRule("read", names_no_site=True),
        "GET /api/v1/map/tiles/{name}": AccessRule("read", names_no_site=True),
    }


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that add maps."""
    return {
        "sites map": Command(
            _load_commands,
            "Add relief or map tiles to the maps of the page",
            after="sites thresholds",
        )
    }


def _load_commands() -> Any:
    from monitor.features.maps.cli import app

    return app
