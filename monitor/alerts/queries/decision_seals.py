"""Seal the frozen inputs of a decision in the audit log."""

import json
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select

from monitor.alerts.evaluation_tables import decision
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.audit_tables import audit_entry

SEAL: Final = "decision.freeze"


def seal_decision(connection: Connection, decision_id: int, actor: Actor, now: datetime) -> None:
    """Append the hash of the frozen inputs to the audit log.

    Somebody who alters the inputs and the hash beside them breaks the audit log as well.
    """
    columns = (decision.c.site, decision.c.evidence_sha256, decision.c.config_sha256, decision.c.code_version)
    row = connection.execute(select(*columns).where(decision.c.id == decision_id)).mappings().one()
    add_audit(connection, actor, SEAL, f"decision:{decision_id}", dict(row), now)


def find_seal(connection: Connection, decision_id: int) -> str | None:
    """Return the hash of the frozen inputs as the audit log has it, or None if the log has none."""
    entry = audit_entry.c
    detail = connection.execute(
        select(entry.detail)
        .where(entry.action == SEAL, entry.subject == f"decision:{decision_id}")
        .order_by(entry.id)
        .limit(1)
    ).scalar()
    return None if detail is None else str(json.loads(detail).get("evidence_sha256", ""))
