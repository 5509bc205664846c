"""Tables of channel tests and daily digests."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, translatable_text
from monitor.storage.metadata import metadata

channel_test = Table(
    "channel_test",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("found", Text, nullable=False),
    Column("provider_id", Text, nullable=True),
    Column("received_at", Instant, nullable=True),
    Index("ix_channel_test_channel", "channel", "at"),
    comment="tests of channels: an exercise message to the target of the test, and its result",
)

digest = Table(
    "digest",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("recipient", String(256), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False),
    *translatable_text("error", nullable=True),
    comment="daily digests of a site, one row per recipient and local day",
)
