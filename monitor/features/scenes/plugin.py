"""Landslides in images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

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
