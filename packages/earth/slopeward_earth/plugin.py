"""Survey products: InSAR, satellite points, radar change, offset tracking, surfaces, point clouds, susceptibility."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, ExportTable, Job, Migrations, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import APIRouter
    from sqlalchemy import Table

    from monitor.api.scenes import SceneMethod
    from monitor.api.settings import PathsSection
    from monitor.api.sites import Site
    from monitor.api.store import PublicView
    from monitor.api.web import SiteSnapshot

_QUARTER_HOUR_S: Final = 900.0


# ---- command line ----------------------------------------------------------------------------------------------------
@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of all products."""
    return {
        "scenes": Command(
            _load_scenes, "", rules=dict.fromkeys(("scenes rates", "scenes track", "scenes velocity"), "serves")
        ),
        "scenes clouds": Command(_load_clouds, "Grid point clouds, and compare two of them", after="scenes"),
        "scenes susceptibility": Command(
            _load_susceptibility, "Map where landslides are likely (not when)", after="scenes"
        ),
        "sites map": Command(_load_map, "Add susceptibility to the maps of the page", after="sites thresholds"),
        "anomalies points": Command(_load_anomalies, "List anomalies of InSAR points", after="anomalies"),
        "forecast points": Command(
            _load_forecasts,
            "Forecast InSAR points",
            after="forecast failure-time",
            rules={"forecast points": "serves"},
        ),
    }


def _load_scenes() -> Any:
    from slopeward_earth.cli import app

    return app


def _load_clouds() -> Any:
    from slopeward_earth.clouds.cli import app

    return app


def _load_susceptibility() -> Any:
    from slopeward_earth.susceptibility.cli import app

    return app


def _load_map() -> Any:
    from slopeward_earth.susceptibility.map_cli import app

    return app


def _load_anomalies() -> Any:
    from slopeward_earth.points.looks_cli import app

    return app


def _load_forecasts() -> Any:
    from slopeward_earth.points.forecasts_cli import app

    return app


# ---- page ------------------------------------------------------------------------------------------------------------
@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of satellite points and of the susceptibility map."""
    from slopeward_earth.points.routes import router as points
    from slopeward_earth.susceptibility.routes import router as susceptibility

    return [points, susceptibility]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read satellite points and the susceptibility map."""
    paths = ("anomalies/points", "forecasts/points", "points.geojson", "points/series", "susceptibility.png")
    return {f"GET /api/v1/sites/{{site}}/{path}": AccessRule("read") for path in paths}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the satellite points on the page of instruments."""
    return [Panel("site.instruments", "points.html")]


@hookimpl
def instruments_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return anomalies and forecasts of satellite points."""
    from slopeward_earth.points.routes import collect_points

    return collect_points(page)


@hookimpl
def map_zones(paths: PathsSection, site_id: str) -> Sequence[Mapping[str, object]]:
    """Return the zones of the newest map of velocities."""
    from slopeward_earth.insar.zones import read_zones

    return read_zones(paths, site_id)


@hookimpl
def map_layers(paths: PathsSection, site_id: str, site: Site | None) -> Mapping[str, object]:
    """Return the susceptibility map."""
    from slopeward_earth.susceptibility.routes import describe_layer

    return describe_layer(paths, site_id, site)


# ---- service ---------------------------------------------------------------------------------------------------------
@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that examine, draw and forecast satellite points."""
    from slopeward_earth.points import forecasts, looks, map_squares

    return [
        Job("points", looks.run, lambda _site: _QUARTER_HOUR_S, 50.0),
        Job("point-map", map_squares.run, lambda _site: _QUARTER_HOUR_S, 52.0, show=True),
        Job("point-forecasts", forecasts.run, lambda _site: _QUARTER_HOUR_S, 55.0),
    ]


# ---- storage ---------------------------------------------------------------------------------------------------------
@hookimpl
def migrations() -> Migrations:
    """Return the migrations of the tables of satellite points."""
    return Migrations("earth", Path(__file__).parent / "migrations")


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of satellite points."""
    from slopeward_earth.points.tables import METADATA

    return METADATA.sorted_tables


@hookimpl
def register_views() -> Iterable[PublicView]:
    """Return the public views on satellite points."""
    from slopeward_earth.points.views import VIEWS

    return VIEWS


@hookimpl
def register_export_tables() -> Mapping[str, ExportTable]:
    """Return the public views on satellite points that can be exported."""
    from slopeward_earth.points.exports import TABLES

    return TABLES


# ---- scenes ----------------------------------------------------------------------------------------------------------
@hookimpl
def register_scene_methods() -> Iterable[SceneMethod]:
    """Return the method that compares radar scenes."""
    from slopeward_earth.radar.scenes import METHOD

    return [METHOD]


@hookimpl
def draw_scene_prior(prior: Path, picture: Path) -> None:
    """Draw a susceptibility map."""
    from slopeward_earth.susceptibility.picture import show_map

    show_map(prior, picture)
