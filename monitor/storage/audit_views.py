"""Public views on the audit trail."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

audit_log = Table(
    "audit_log",
    view_metadata,
    Column("audit_id", BigInteger, comment="number of the entry"),
    Column("at", Text, comment="when", info={"unit": "time"}),
    Column("actor", Text, comment="who acted"),
    Column("actor_kind", Text, comment="person, service or program"),
    Column("action", Text, comment="kind of act, such as alert.acknowledge"),
    Column("subject", Text, comment="what was acted on, such as alert:12"),
    Column("detail", Text, comment="facts of the act", info={"unit": "JSON"}),
    Column("previous_hash", Text, comment="hash of the previous row"),
    Column("hash", Text, comment="SHA-256 of the previous hash and this row"),
    comment=(
        "Every act that changed state, chained by hash; `slopeward db verify` proves it. Entries with the "
        "action `rows.seal` are the service's own: digests of the rows that one transaction wrote. Leave "
        "them out to read what people did."
    ),
    info={"question": "Is the service well, and who did what?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "audit_log": """SELECT id AS audit_id, at, actor, actor_kind, action, subject, detail, previous_hash, hash
FROM audit_entry""",
    }
