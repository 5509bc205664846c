"""Load everything that is stored about an alert, as JSON-ready values for an audit pack."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, or_, select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import Alert, load_alert_events, require_alert
from monitor.alerts.queries.decision_seals import find_seal
from monitor.alerts.queries.evaluations import DecisionRow, load_decision
from monitor.alerts.tables import alert as alert_table
from monitor.alerts.tables import alert_event, alert_outcome
from monitor.canonical import canonical_json
from monitor.plugins import hooks
from monitor.sites.tables import config_version
from monitor.storage.audit_tables import audit_entry
from monitor.storage.rows import load_records, match_given
from monitor.storage.seals import MissingRow, find_unsealed, load_sealed_tables, load_seals
from monitor.text.instants import format_iso

Rows = list[dict[str, Any]]
# Acts of people on questions, as the audit log names them.
_ANSWER_ACTS: Final = ("step.sign", "step.verify", "step.unsign", "step.withdraw")


@dataclass(frozen=True, slots=True)
class OrderedChange:
    """A change of an alert that a decision ordered, as recorded in an event of the alert."""

    alert_id: int
    ledger: str
    key: str
    level: int
    reason: str


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message about an alert to one recipient by one channel, and its delivery."""

    recipient: str
    channel: str
    level_name: str
    state: str
    queued_at: datetime
    sent_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class AuditPackMaterial:
    """All sealed rows about an alert. All are JSON-ready except `alert`, `decisions` and `sources`.

    Attributes:
        row: The row of the alert.
        seals: Hash of the frozen inputs of each decision, as in the audit log.
        sources: Texts of site files by SHA-256.
        audit: Audit entries about the alert, its decisions and site files, and entries that seal its rows.
        links: Id, previous hash and hash of all audit entries from the first to the last of these.
        attachments: Files of features, by path.
        findings: Differences between the rows and the audit log.
    """

    alert: Alert
    row: dict[str, Any]
    events: Rows
    decisions: tuple[DecisionRow, ...]
    seals: Mapping[int, str | None]
    cited: Mapping[int, tuple[OrderedChange, ...]]
    sources: Mapping[str, str]
    versions: Rows
    messages: Rows
    outcomes: Rows
    audit: Rows
    links: Rows
    attachments: Mapping[str, bytes]
    findings: tuple[str, ...]


def list_alterations(connection: Connection, alert_id: int, site: str) -> list[str]:
    """Return one line for each altered row of an alert, its people, its decisions, and the level of its site.

    The alert of a deleted row is unknown, so deleted rows of any alert are included.
    """
    e = alert_event.c
    prefixes = [f"alert {alert_id}: ", f"site_state {site}: "]
    ids_by_table = _load_sealed_ids(connection, alert_id)
    for name, ids in ids_by_table.items():
        prefixes += [f"{name} {number}: " for number in ids]
    for row in connection.execute(select(e.actor, e.decision_id).where(e.alert_id == alert_id).distinct()):
        prefixes += [f"user_account {row.actor}: ", f"decision {row.decision_id}: "]
    table_prefixes = tuple(f"{name} " for name in ids_by_table)
    return [
        line
        for line in find_unsealed(connection)
        if line.startswith(tuple(prefixes)) or (isinstance(line, MissingRow) and line.startswith(table_prefixes))
    ]


def _load_sealed_ids(connection: Connection, alert_id: int) -> dict[str, list[int]]:
    """Return the ids of the sealed rows that belong to an alert, by table. The tables of features are included."""
    tables = [sealed.table for sealed in load_sealed_tables().values() if "alert_id" in sealed.table.c]
    return {
        table.name: list(connection.execute(select(table.c.id).where(table.c.alert_id == alert_id)).scalars())
        for table in tables
    }


def load_citations(connection: Connection, decision_id: int, alert_id: int | None = None) -> tuple[OrderedChange, ...]:
    """Return the changes that events of alerts attribute to a decision."""
    e, a = alert_event.c, alert_table.c
    query = (
        select(e.alert_id, a.ledger, a.key, e.to_level.label("level"), e.reason, e.reason_id, e.reason_values)
        .join(alert_table, a.id == e.alert_id)
        .where(e.decision_id == decision_id, *match_given(e.alert_id, alert_id))
        .order_by(e.id)
    )
    return tuple(load_records(connection, OrderedChange, query))


def load_sent_messages(connection: Connection, alert_id: int) -> list[SentMessage]:
    """Return all messages about an alert, the newest first."""
    return load_records(
        connection,
        SentMessage,
        select(notification).where(notification.c.alert_id == alert_id).order_by(notification.c.id.desc()),
    )


def load_material(connection: Connection, alert_id: int) -> AuditPackMaterial:
    """Load everything about an alert.

    Raises:
        NotFoundError: The alert does not exist.
    """
    alert = require_alert(connection, alert_id)
    events = load_alert_events(connection, alert_id)
    ids = sorted({e.decision_id for e in events if e.decision_id is not None})
    decisions = tuple(load_decision(connection, i) for i in ids)
    shas = sorted({d.config_sha256 for d in decisions if d.config_sha256})
    v, n, o = config_version.c, notification.c, alert_outcome.c
    versions = _rows(connection, select(config_version).where(v.site == alert.site, v.sha256.in_(shas)).order_by(v.id))
    sources = {str(row["sha256"]): str(row.pop("source")) for row in versions}
    messages = _rows(connection, select(notification).where(n.alert_id == alert_id).order_by(n.id))
    for message in messages:
        del message["lease_owner"], message["lease_until"]
    outcomes = _rows(connection, select(alert_outcome).where(o.alert_id == alert_id).order_by(o.id))
    alert_row = _rows(connection, select(alert_table).where(alert_table.c.id == alert_id))[0]
    event_rows = _rows(
        connection, select(alert_event).where(alert_event.c.alert_id == alert_id).order_by(alert_event.c.id)
    )
    ids_by_table = {"alert": [alert_id], **_load_sealed_ids(connection, alert_id)}
    sealing = load_seals(connection)
    sealed_by = {sealing.get(f"{name} {number}", (None, 0))[1] for name, ids in ids_by_table.items() for number in ids}
    entries = _load_audit(connection, alert, ids, shas, sealed_by)
    attachments: dict[str, bytes] = {}
    for files in hooks().audit_pack_files(connection=connection, alert_id=alert_id):
        attachments |= files
    return AuditPackMaterial(
        alert=alert,
        row=alert_row,
        events=event_rows,
        decisions=decisions,
        seals={decision_id: find_seal(connection, decision_id) for decision_id in ids},
        cited={decision_id: load_citations(connection, decision_id, alert_id) for decision_id in ids},
        sources=sources,
        versions=versions,
        messages=messages,
        outcomes=outcomes,
        audit=entries,
        links=_load_links(connection, entries),
        attachments=attachments,
        findings=tuple(list_alterations(connection, alert_id, alert.site)),
    )


def _load_audit(
    connection: Connection, alert: Alert, decisions: Sequence[int], shas: Sequence[str], sealed_by: Collection[int]
) -> Rows:
    e = audit_entry.c
    subjects = [f"alert:{alert.id}", *(f"decision:{i}" for i in decisions)]
    query = select(audit_entry).where(
        or_(
            e.subject.in_(subjects),
            and_(e.subject == f"site:{alert.site}", e.action.in_(["level.set", *_ANSWER_ACTS])),
            e.action.in_(["site.propose", "site.approve"]),
            e.id.in_(sealed_by),
        )
    )
    entries = []
    for row in _rows(connection, query.order_by(e.id)):
        detail = json.loads(row["detail"])
        is_about_alert = row["id"] in sealed_by or row["subject"] in subjects or detail.get("decision") in decisions
        if is_about_alert or (detail.get("site") == alert.site and detail.get("sha256") in shas):
            entries.append(row)
    return entries


def _load_links(connection: Connection, entries: Rows) -> Rows:
    if not entries:
        return []
    e = audit_entry.c
    between = e.id.between(entries[0]["id"], entries[-1]["id"])
    return _rows(connection, select(e.id, e.previous_hash, e.hash).where(between).order_by(e.id))


def _rows(connection: Connection, query: Any) -> Rows:
    """Return rows as they are sealed: times and JSON as text."""
    formatters = {dict: canonical_json, list: canonical_json, datetime: format_iso}
    return [
        {str(k): formatters[type(v)](v) if type(v) in formatters else v for k, v in row.items()}
        for row in connection.execute(query).mappings()
    ]
