"""Scenes: images of a slope, landslides found on them, and outlines that people draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.api.hooks import AccessRule, Command, ExportTable, Job, Panel, StatusSection, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from detection.imagery.footprints.records import DoubtfulTile
    from monitor.api.acts import Act
    from monitor.api.checks import Check
    from monitor.api.decision import FactRequest
    from monitor.api.hooks import SceneTrainingData
    from monitor.api.settings import ServiceConfig
    from monitor.api.sites import Criterion, Site
    from monitor.api.store import PublicView
    from monitor.api.web import SiteSnapshot

_DAY_S: Final = 86400.0
_PAGES: Final = ("outlines", "outlines/next", "scenes/{scene_hash}", "scenes/{scene_hash}/outlines")
_SCENE: Final = "scenes/{scene_hash}"
_REQUESTS: Final = (
    "scenes",
    _SCENE,
    f"{_SCENE}/preview.png",
    f"{_SCENE}/change.png",
    f"{_SCENE}/outlines.geojson",
    f"{_SCENE}/landslides.geojson",
    f"{_SCENE}/map",
    f"{_SCENE}/tiles/{{z}}/{{x}}/{{y}}",
    f"{_SCENE}/probability/{{z}}/{{x}}/{{y}}",
    "stac",
    "stac/items",
    "stac/items/{scene_hash}",
)


# ---- command line ----------------------------------------------------------------------------------------------------
@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of scenes."""
    return {
        "scenes": Command(
            _load_commands,
            "Find landslides in images; compare surveys; map susceptibility",
            after="anomalies",
            subject="Results",
            rules={"scenes add": "serves"},
        )
    }


def _load_commands() -> Any:
    from monitor.features.scenes.cli.app import app

    return app


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts that put networks into use, review footprints and draw outlines."""
    from monitor.features.scenes import acts, outline_acts

    return [*acts.ACTS, *outline_acts.ACTS]


@hookimpl
def status_sections(connection: Connection, zones: Callable[[str], str]) -> Iterable[StatusSection]:
    """Return the scenes that wait for files or weights."""
    from monitor.features.scenes.status import describe_waiting

    return [describe_waiting(connection, zones)]


# ---- page ------------------------------------------------------------------------------------------------------------
@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of scenes and outlines, and their part of the HTTP API."""
    from monitor.features.scenes import api_routes, outline_routes, routes, stac_routes

    return [routes.router, api_routes.router, stac_routes.router, outline_routes.router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read scenes and outlines."""
    addresses = [f"GET /sites/{{site}}/{path}" for path in _PAGES]
    addresses += [f"GET /api/v1/sites/{{site}}/{path}" for path in _REQUESTS]
    return {address: AccessRule("read") for address in addresses}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the scenes beside the map of a site, and the name of the scene that the map shows."""
    return [Panel("site.map_title", "site_map_title.html"), Panel("site.map", "site_scenes.html")]


@hookimpl
def site_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return the scenes of a site, the newest image and the footprints on it."""
    from monitor.features.scenes.page import collect_scenes

    return collect_scenes(page)


# ---- service ---------------------------------------------------------------------------------------------------------
@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that read scenes, prepare their pictures and remove folders that nothing refers to."""
    from monitor.features.scenes import inbox, leftovers, tiles

    return [
        Job("scenes", inbox.run, lambda _: 10.0, 10.0, watched=_find_inbox, next_due=inbox.next_scan),
        Job("tiles", tiles.run, lambda _: 30.0, 40.0, show=True),
        Job("scene-folders", leftovers.run, lambda _: _DAY_S, 600.0, per_site=False),
    ]


def _find_inbox(config: ServiceConfig, site: Site) -> Path:
    return Path(config.paths.inbox) / site.id


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of weights."""
    from monitor.features.scenes.checks import CHECKS

    return CHECKS


# ---- storage ---------------------------------------------------------------------------------------------------------
@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of scenes, outlines and reviews."""
    from monitor.features.scenes import tables

    return [
        tables.scene,
        tables.scene_footprint,
        tables.scene_change,
        tables.footprint_review,
        tables.scene_outline,
        tables.scene_unsure,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of scenes, outlines and reviews."""
    from monitor.api.store import pair_views
    from monitor.features.scenes import views

    return pair_views(sqlite, views.select_views)


@hookimpl
def register_export_tables() -> Mapping[str, ExportTable]:
    """Return footprints and outlines as tables to export."""
    order = ("acquired_at", "scene_hash")
    return {
        "footprints": ExportTable("scene_polygons", "acquired_at", (*order, "model_hash", "polygon_id")),
        "outlines": ExportTable("scene_outlines", "acquired_at", (*order, "outline_id")),
    }


# ---- evaluation ------------------------------------------------------------------------------------------------------
@hookimpl
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return the footprints on scenes."""
    if "footprints" not in request.kinds:
        return {}
    from monitor.features.scenes.queries.facts import load_footprint_facts

    return {"footprints": load_footprint_facts(connection, site.id, request.since, request.now)}


@hookimpl
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return when footprints were found or compared with older ones."""
    from monitor.features.scenes.queries.fact_instants import load_fact_instants

    return load_fact_instants(connection, site_id, from_at, to_at)


@hookimpl
def models_in_use(connection: Connection, site: Site, criterion: Criterion, now: datetime) -> Sequence[str]:
    """Return the networks whose footprints may still count."""
    from datetime import timedelta

    from monitor.features.scenes.queries.weights import list_in_use

    return list_in_use(connection, site.id, now - timedelta(seconds=criterion.valid_for_s), now)


@hookimpl
def scene_training_data(connection: Connection, site_id: str) -> SceneTrainingData:
    """Return the scenes of a site that were read, and their outlines and reviews."""
    from monitor.features.scenes.queries.outlines import load_training_data

    return load_training_data(connection, site_id)


@hookimpl
def scene_training_finished(
    connection: Connection, site_id: str, model_hash: str, tiles: Mapping[str, Sequence[DoubtfulTile]], now: datetime
) -> None:
    """Store the tiles in place of those of the network that was trained before."""
    from monitor.features.scenes.queries.outlines import replace_uncertain_of_training

    replace_uncertain_of_training(connection, site_id, model_hash, tiles, now)
