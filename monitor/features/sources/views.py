"""Public views on file sources."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from monitor.api.store import Dialect, view_metadata

sources = Table(
    "sources",
    view_metadata,
    Column("source", Text, comment="name of its table, or `inbox/SITE` for a watched folder"),
    Column("site", Text, comment="where its files belong"),
    Column("kind", Text, comment="`http`, `sftp`, `stac`, `sensorthings`, `nevada`, `egms`, `folder`"),
    Column("address", Text, comment="where it is looked at, without what follows `?` and without a login"),
    Column("polled_at", Text, comment="the last look", info={"unit": "time"}),
    Column(
        "new_at",
        Text,
        comment="the last look that stored a value or brought a scene; empty: none did",
        info={"unit": "time"},
    ),
    Column("outcome", Text, comment="of the last look: `ok`, `failed`"),
    Column("error", Text, comment="what is wrong"),
    Column("error_id", Text, comment="id of the message in `error`"),
    Column("error_values", Text, comment="values of that message, JSON"),
    Column("error_since", Text, comment="since when", info={"unit": "time"}),
    Column("failures", Integer, comment="looks in a row that failed"),
    Column("next_at", Text, comment="when the next look is due", info={"unit": "time"}),
    Column(
        "silent_since",
        Text,
        comment="where it fails: the last look without an error, or the first look; else empty",
        info={"unit": "time"},
    ),
    Column("values_new", Integer, comment="values that the last look stored"),
    Column("values_all", BigInteger, comment="values that all looks stored"),
    comment=(
        "Each source of files and each watched folder that was ever looked at: the last look, and what came of it."
    ),
    info={"question": "What could not be read, or came late?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "sources": """SELECT source, site, kind, address, polled_at, new_at, CASE WHEN error IS NULL THEN 'ok' ELSE 'failed' END AS outcome,
  error, error_id, error_values, error_since, failures, next_at, CASE WHEN error IS NOT NULL THEN coalesce(success_at, since_at) END AS silent_since,
  rows_new AS values_new, rows_all AS values_all
FROM source_poll""",
    }
