"""Public views on backups and retention."""

from sqlalchemy import BigInteger, Column, Double, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

backups = Table(
    "backups",
    view_metadata,
    Column("backup_id", BigInteger, comment="number"),
    Column("at", Text, comment="when the backup started; it contains what was committed before", info={"unit": "time"}),
    Column("file", Text, comment="path of the backup"),
    Column("state", Text, comment="`proven` (restored and checked), `made`, `failed`"),
    Column("seconds", Double, comment="duration of backup and proof", info={"unit": "s"}),
    Column("bytes", BigInteger, comment="size of the backup", info={"unit": "B"}),
    Column("rows", BigInteger, comment="rows of all tables in the restored backup"),
    Column("audit_head", Text, comment="newest hash of the audit log before the backup"),
    Column("detail", Text, comment="what went wrong, or what was checked"),
    comment="Backups of the database, newest last. A restored database contains only the rows of earlier backups.",
    info={"question": "Is the service well, and who did what?"},
)

retention_runs = Table(
    "retention_runs",
    view_metadata,
    Column("run_id", BigInteger, comment="number"),
    Column("at", Text, comment="when the run started", info={"unit": "time"}),
    Column("what", Text, comment="table, or `observation QUANTITY`"),
    Column("before_at", Text, comment="rows before this instant could be deleted", info={"unit": "time"}),
    Column("removed", BigInteger, comment="deleted rows"),
    Column("summaries", BigInteger, comment="rows added to `observation_summaries`"),
    Column("seconds", Double, comment="total duration of its transactions", info={"unit": "s"}),
    Column("longest_ms", Double, comment="duration of its longest transaction", info={"unit": "ms"}),
    comment="What each run of retention deleted, one row for each table or quantity.",
    info={"question": "Is the service well, and who did what?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "retention_runs": """SELECT id AS run_id, at, what, before_at, removed, summaries, seconds, longest_ms
FROM retention_run""",
        "backups": """SELECT id AS backup_id, at, file, state, seconds, bytes, "rows", audit_head, detail
FROM backup_run""",
    }
