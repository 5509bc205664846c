"""Verify stored decisions: their frozen evidence, the events that follow from them, and the readings that they used."""

import json
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, select

from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.decision_seals import SEAL
from monitor.alerts.queries.used_readings import find_altered
from monitor.alerts.tables import alert_event
from monitor.storage.audit_tables import audit_entry


def verify_decisions(connection: Connection, report_progress: Callable[[int, int], None]) -> Iterator[str]:
    """Yield one line for each decision, and each reading used by a decision, that is not as it was written.

    Args:
        connection: An open connection.
        report_progress: Called with the number of decisions whose readings were compared, and their total.
    """
    yield from _verify_seals(connection)
    yield from _verify_level_changes(connection)
    yield from find_altered(connection, report_progress)


def _verify_seals(connection: Connection) -> Iterator[str]:
    """Compare the hashes of frozen evidence with the audit log.

    Somebody who alters evidence and the hash beside it would have to rewrite the audit log as well.
    """
    rows = connection.execute(select(decision.c.id, decision.c.evidence_sha256))
    hashes = {f"decision:{row.id}": row.evidence_sha256 for row in rows}
    entry = audit_entry.c
    seals = select(entry.subject, entry.detail).where(entry.action == SEAL).execution_options(yield_per=2000)
    for subject, detail in connection.execute(seals):
        if subject not in hashes:
            yield f"{subject}: its frozen inputs are gone"
        elif f'"evidence_sha256":"{hashes[subject]}"' not in detail:
            yield f"{subject}: the audit log names another hash of its frozen inputs"


def _verify_level_changes(connection: Connection) -> Iterator[str]:
    """Yield one line for each sealed decision that changed the hazard level without an event of an alert."""
    entry = audit_entry.c
    sealed = set(connection.execute(select(entry.subject).where(entry.action == SEAL)).scalars())
    cited = select(alert_event.c.decision_id).where(alert_event.c.decision_id.is_not(None))
    uncited = select(decision.c.id).where(decision.c.id.not_in(cited)).order_by(decision.c.id)
    for decision_id in connection.execute(uncited).scalars().all():
        if f"decision:{decision_id}" not in sealed:
            continue
        evidence = connection.execute(select(decision.c.evidence).where(decision.c.id == decision_id)).scalar_one()
        try:
            frozen = json.loads(evidence)
        except ValueError:
            # Storage reports this decision, because the evidence does not match its hash.
            continue
        if "act" not in frozen:
            outcome = frozen.get("outcome", {}).get("evidence") or {}
            before, after = outcome.get("level_before"), outcome.get("level")
        elif frozen["act"] == "level.set":
            before, after = frozen["memory"].get("level"), frozen["after"].get("level")
        else:
            # The answer to a question changes the level through the evaluation that follows it.
            continue
        if before != after:
            yield f"decision {decision_id}: it changed the level from {before} to {after}; no alert_event cites it"
