"""Outlines that people draw on scenes, reviews of footprints, and networks that learn from both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from detection.imagery.footprints.records import DoubtfulTile
    from monitor.alerts.acts.table import Act
    from monitor.storage.public_view import PublicView


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of outlines."""
    from monitor.features.outlines.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read outlines."""
    paths = ("outlines", "outlines/next", "scenes/{scene_hash}/outlines")
    return {f"GET /sites/{{site}}/{path}": AccessRule("read") for path in paths}


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of outlines."""
    return {
        "scenes": Command(
            _load_commands, "Train on outlines drawn by people; review footprints", rules={"scenes learn": "serves"}
        )
    }


def _load_commands() -> Any:
    from monitor.features.outlines.cli import app

    return app


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts that review footprints and draw outlines."""
    from monitor.features.outlines.acts import ACTS

    return ACTS


@hookimpl
def uncertain_tiles_found(
    connection: Connection,
    site_id: str,
    scene_hash: str,
    model_hash: str,
    tiles: Sequence[DoubtfulTile],
    now: datetime,
) -> None:
    """Store the tiles, so that people are asked to outline them first."""
    from monitor.features.outlines.queries import save_unsure

    save_unsure(connection, site_id, scene_hash, model_hash, tiles, now)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of outlines."""
    from monitor.features.outlines import tables

    return [tables.footprint_review, tables.scene_outline, tables.scene_unsure]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of outlines."""
    from monitor.features.outlines import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
