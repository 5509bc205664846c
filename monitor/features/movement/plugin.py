"""The movement of stations, and failure windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of movement."""
    from monitor.features.movement import tables

    return [tables.movement, tables.failure_time]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of movement."""
    from monitor.features.movement import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
