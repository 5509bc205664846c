"""Public views: their columns and the statements that select their rows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sqlalchemy import Table

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class PublicView(NamedTuple):
    """A public view: its name, its columns, and the statement that selects its rows.

    The comment of the table describes a row, and `info["question"]` of the table is the question that the view answers.
    The reference of the views contains both, and the comments and `info["unit"]` of the columns. `info["row"]` of the
    table is the `TypedDict` that `load_view` accepts.
    """

    table: Table  # in a MetaData of the plugin; built-in features use `view_metadata`
    select: str


def pair_views(sqlite: bool, *select_views: Callable[[Dialect], Mapping[str, str]]) -> list[PublicView]:
    """Return views whose columns are declared in `view_metadata`, each with its statement.

    Args:
        sqlite: whether the statements are for SQLite; otherwise they are for PostgreSQL.
        select_views: functions that return SELECT statements by the name of the view.
    """
    dialect = Dialect(sqlite)
    return [
        PublicView(view_metadata.tables[name], statement)
        for select in select_views
        for name, statement in select(dialect).items()
    ]
