"""Public views on the audit trail."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

audit_log = Table(
    "audit_log",
    view_metadata,
    Column("audit_id", BigInteger, comment="number of the entry"),
    Column("at", Text, comment="time of the act", info={"unit": "time"}),
    Column("actor", Text, comment="person, service or program that acted"),
    Column("actor_kind", Text, comment="person, service or program"),
    Column("action", Text, comment="kind of act, such as alert.acknowledge"),
    Column("subject", Text, comment="subject of the act, such as alert:12"),
    Column("detail", Text, comment="facts of the act", info={"unit": "JSON"}),
    Column("previous_hash", Text, comment="hash of the previous row"),
    Column("hash", Text, comment="SHA-256 of the previous hash and this row"),
    comment=(
        "Acts that changed state. Each entry contains the hash of the entry before, and `slopeward db verify` checks "
        "these hashes. Entries with the action `rows.seal` contain digests of the rows that a transaction of the "
        "service wrote. Leave them out to read what people did."
    ),
    info={"question": "Is the service well, and who did what?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "audit_log": """SELECT id AS audit_id, at, actor, actor_kind, action, subject, detail, previous_hash, hash
FROM audit_entry""",
    }
