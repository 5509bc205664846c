"""Load the built-in public views. `monitor.storage.views` adds the views of third-party plugins."""

from collections.abc import Mapping
from functools import cache

from sqlalchemy import Table

from monitor.plugins import implementations, is_built_in
from monitor.storage.public_view import PublicView


@cache
def load_views(*, sqlite: bool) -> Mapping[str, PublicView]:
    """Return the built-in public views by name, in the order of the plugins, with statements for one database.

    Raises:
        ValueError: two plugins register a view of the same name.
    """
    views: dict[str, PublicView] = {}
    for implementation in implementations("register_views"):
        if is_built_in(implementation.plugin):
            for view in implementation.call(sqlite=sqlite):
                if view.table.name in views:
                    raise ValueError(f"the view {view.table.name!r} is registered twice; rename it in one plugin")
                views[view.table.name] = view
    return views


def load_view_tables() -> dict[str, Table]:
    """Return the columns of every built-in public view by name."""
    return {name: view.table for name, view in load_views(sqlite=True).items()}


def select_views(*, sqlite: bool) -> dict[str, str]:
    """Return the SELECT statement of every built-in public view by name, for SQLite or for PostgreSQL."""
    return {name: view.select for name, view in load_views(sqlite=sqlite).items()}
