"""Landslides in images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of scenes."""
    from monitor.features.scenes import tables

    return [tables.scene, tables.scene_footprint, tables.scene_change]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of scenes."""
    from monitor.features.scenes import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)


@hookimpl
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return when footprints were found or compared with older ones."""
    from monitor.features.scenes.queries.fact_instants import load_fact_instants

    return load_fact_instants(connection, site_id, from_at, to_at)
