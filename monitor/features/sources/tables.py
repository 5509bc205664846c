"""File sources that the service polls, and the files taken from them."""

from sqlalchemy import Column, Integer, String, Table, Text

from monitor.api.store import BigId, Instant, metadata, translatable_text

# State of each source and each watched folder after its latest poll. See `queries.PollState`.
source_poll = Table(
    "source_poll",
    metadata,
    Column("source", String(80), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("kind", Text, nullable=False),
    Column("polled_at", Instant, nullable=False),
    Column("success_at", Instant, nullable=True),
    Column("since_at", Instant, nullable=False),
    *translatable_text("error", nullable=True),
    Column("error_since", Instant, nullable=True),
    Column("failures", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("rows_new", Integer, nullable=False),
    Column("rows_all", BigId, nullable=False),
    Column("address", Text, nullable=True),
    Column("new_at", Instant, nullable=True),
)

# Version of each file of a source that was read last. See `queries.FileState`.
source_file = Table(
    "source_file",
    metadata,
    Column("source", String(80), primary_key=True),
    Column("name", String(500), primary_key=True),
    Column("etag", String(300), nullable=False),
    Column("modified", String(300), nullable=False),
    Column("size", BigId, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("taken_at", Instant, nullable=False),
    *translatable_text("reason", nullable=True, comment="why this version was not taken; empty = it is stored"),
)
