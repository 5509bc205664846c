"""Satellite points by the ten thousand: anomalies as they arrive, forecasts, points on the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, Job, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter

    from monitor.web.parts.collect import SiteSnapshot

_EVERY_S: Final = 900.0


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of points."""
    from monitor.extensions.points.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read points."""
    paths = ("anomalies/points", "forecasts/points", "points.geojson", "points/series")
    return {f"GET /api/v1/sites/{{site}}/{path}": AccessRule("read") for path in paths}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the points on the page of instruments."""
    return [Panel("site.instruments", "points.html")]


@hookimpl
def instruments_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return anomalies and forecasts of points."""
    from monitor.extensions.points.routes import collect_points

    return collect_points(page)


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of points."""
    return {
        "anomalies points": Command(_load_anomalies, "List anomalies of InSAR points", after="anomalies"),
        "forecast points": Command(
            _load_forecasts,
            "Forecast InSAR points",
            after="forecast failure-time",
            rules={"forecast points": "serves"},
        ),
    }


def _load_anomalies() -> Any:
    from monitor.extensions.points.looks_cli import app

    return app


def _load_forecasts() -> Any:
    from monitor.extensions.points.forecasts_cli import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that judge, draw and forecast points."""
    from monitor.extensions.points import forecasts, looks, map_squares

    return [
        Job("points", looks.run, lambda _: _EVERY_S, 50.0),
        Job("point-map", map_squares.run, lambda _: _EVERY_S, 52.0, show=True),
        Job("point-forecasts", forecasts.run, lambda _: _EVERY_S, 55.0),
    ]
