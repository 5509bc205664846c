"""Tables and public views of a plugin."""

from monitor.storage.column_types import (
    BigId,  # column type of ids
    Instant,  # column type of instants
    Json,  # column type of JSON values
    finite,  # constraints that reject NaN and infinity
    translatable_text,  # the columns of a text that can be shown in another language
)
from monitor.storage.dialect import (
    SERIES_COLUMNS,  # SQL columns that identify a series in a view
    Dialect,  # SQL expressions that SQLite and PostgreSQL write differently
)
from monitor.storage.metadata import (
    metadata,  # SQLAlchemy MetaData of all tables
    view_metadata,  # SQLAlchemy MetaData of all public views
)
from monitor.storage.public_view import (
    PublicView,  # a public view
    pair_views,  # pair the columns of views with their SELECT statements
)
from monitor.storage.sealing import (
    SealedColumns,  # which columns of a table are sealed in the audit log
)

__all__ = [
    "SERIES_COLUMNS",
    "BigId",
    "Dialect",
    "Instant",
    "Json",
    "PublicView",
    "SealedColumns",
    "finite",
    "metadata",
    "pair_views",
    "translatable_text",
    "view_metadata",
]
