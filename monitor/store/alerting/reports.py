"""Reports of observers: what people saw on the slope."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from monitor.domain.actor import Actor
from monitor.domain.canonical import canonical_json, digest_text
from monitor.domain.instants import format_iso
from monitor.domain.observation import ObserverReport
from monitor.store.database.audit import add_audit
from monitor.store.database.engine import add_if_absent
from monitor.store.database.rows import record_to_dict
from monitor.store.schema.site_events import report


def add_report(
    connection: Connection, item: ObserverReport, received_at: datetime, *, actor: Actor, credential: str
) -> bool:
    """Store an observer's report, and note it in the audit log; False when the very same is there already.

    Args:
        item: the report; the name in it is what its sender says.
        received_at: when it reached the service.
        credential: what proved who sent it; rules that ask for several observers count these and no names.
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
    """The number of a report that was stored; None where it was not."""
    digest = _digest({**record_to_dict(item), "at": format_iso(item.at)})
    found: int | None = connection.execute(select(report.c.id).where(report.c.digest == digest)).scalar()
    return found


def _digest(facts: dict[str, Any]) -> str:
    return digest_text(canonical_json(facts))
