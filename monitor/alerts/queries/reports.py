"""Reports of observers: what people saw on the slope."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from monitor.alerts.event_tables import report
from monitor.canonical import canonical_json, digest_text
from monitor.readings.records import ObserverReport
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import add_if_absent
from monitor.storage.rows import record_to_dict
from monitor.text.instants import format_iso


def add_report(
    connection: Connection, item: ObserverReport, received_at: datetime, *, actor: Actor, credential: str
) -> bool:
    """Store a report of an observer, with an entry in the audit log.

    Args:
        item: The report. Its name is what the sender gave.
        received_at: When the service received it.
        credential: What proved who sent it. Rules that require several observers count credentials, not names.

    Returns:
        False if the same report is stored already.
    """
    facts = record_to_dict(item)
    digest = _digest({**facts, "at": format_iso(item.at)})
    via = actor.via or actor.name
    arrival = {"received_at": received_at, "digest": digest, "via": via, "credential": credential}
    if not add_if_absent(connection, report, {**facts, **arrival}):
        return False
    detail = {"kind": item.kind, "at": format_iso(item.at), "via": via, "credential": credential, "said_by": item.by}
    add_audit(connection, actor, "report.add", f"site:{item.site}", detail, received_at)
    return True


def find_report(connection: Connection, item: ObserverReport) -> int | None:
    """Return the number of a stored report; None if it is not stored."""
    digest = _digest({**record_to_dict(item), "at": format_iso(item.at)})
    number: int | None = connection.execute(select(report.c.id).where(report.c.digest == digest)).scalar()
    return number


def _digest(facts: dict[str, Any]) -> str:
    return digest_text(canonical_json(facts))
