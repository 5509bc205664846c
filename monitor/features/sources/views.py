"""Public views on file sources."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from monitor.api.store import Dialect, view_metadata

sources = Table(
    "sources",
    view_metadata,
    Column("source", Text, comment="name of the source, or `inbox/SITE` for a watched folder"),
    Column("site", Text, comment="site of its files"),
    Column(
        "kind", Text, comment="`http`, `sftp`, `stac`, `sensorthings`, `sql`, `influxdb`, `nevada`, `egms`, `folder`"
    ),
    Column("address", Text, comment="address without login and query"),
    Column("polled_at", Text, comment="time of the latest poll", info={"unit": "time"}),
    Column(
        "new_at",
        Text,
        comment="latest poll that stored a value or a scene; empty if none did",
        info={"unit": "time"},
    ),
    Column("outcome", Text, comment="outcome of the latest poll: `ok`, `failed`"),
    Column("error", Text, comment="error of the latest poll"),
    Column("error_id", Text, comment="id of the message in `error`"),
    Column("error_values", Text, comment="values of that message, JSON"),
    Column("error_since", Text, comment="time of the first of the polls in a row that failed", info={"unit": "time"}),
    Column("failures", Integer, comment="polls in a row that failed"),
    Column("next_at", Text, comment="when the next poll is due", info={"unit": "time"}),
    Column(
        "silent_since",
        Text,
        comment="while polls fail: the latest poll without an error, or the first poll; otherwise empty",
        info={"unit": "time"},
    ),
    Column("values_new", Integer, comment="values that the latest poll stored"),
    Column("values_all", BigInteger, comment="values that all polls stored"),
    comment=("Each source of files or rows and each watched folder, with the time and the outcome of its latest poll."),
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
