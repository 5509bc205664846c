"""Site files, their versions and proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of site files."""
    from monitor.sites import tables

    return [tables.config_version, tables.site, tables.station, tables.site_proposal, tables.maintenance]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of site files."""
    from monitor.sites import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
