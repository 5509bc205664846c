"""A public view that a plugin adds."""

from typing import NamedTuple

from sqlalchemy import Table


class PublicView(NamedTuple):
    """A public view: its name, its columns, and the statement that selects its rows.

    The comment of the table describes a row, and `info["question"]` of the table is the question that the view answers.
    The reference of the views contains both, and the comments and `info["unit"]` of the columns. `info["row"]` of the
    table is the `TypedDict` that `load_view` accepts.
    """

    table: Table  # in a MetaData of the plugin
    select: str  # a statement for SQLite and PostgreSQL
