"""The audit log: who did what to which subject. Each entry contains the hash of the previous entry."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, String, insert, select, type_coerce

from monitor.canonical import canonical_json
from monitor.storage.actor import TOKEN, Actor
from monitor.storage.audit_tables import audit_entry
from monitor.storage.locks import take_named_lock
from monitor.text.instants import format_iso

# The previous hash of the first entry, which has no predecessor.
FIRST: Final = "0" * 64
# Only one transaction at a time appends, because two entries with the same predecessor would fork the chain.
_LOCK: Final = "audit"


def add_audit(
    connection: Connection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """Add an act to the audit log.

    The entry is written at the end of the transaction, because writing it serialises all transactions that append.

    Args:
        connection: a connection of `Database.write`.
        actor: who acted. The user of the operating system and the proof of the name are added to the detail.
        action: kind of the subject and verb, such as `alert.acknowledge`.
        subject: what was acted on, such as `alert:12`.
        detail: facts that can be serialised as JSON, including the reason. It must not contain secrets.
        now: The current time.
    """
    acts = connection.get_execution_options()["slopeward_sealing"].acts
    identity = {"via": TOKEN if actor.via == TOKEN else None, "os_user": actor.os_user, "proof": actor.proof}
    known_identity = {key: value for key, value in identity.items() if value is not None}
    acts.append((actor, action, subject, {**detail, **known_identity}, now))


def lock_audit_log(connection: Connection) -> None:
    """Lock the audit log until the end of the transaction.

    Take row locks before this lock. In the opposite order two transactions could wait for each other.
    """
    take_named_lock(connection, _LOCK)


def append_entry(
    connection: Connection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """Append an entry. The transaction must hold the lock of `lock_audit_log`."""
    previous_hash = find_head(connection)[1]
    detail_json = canonical_json(dict(detail))
    digest = hash_entry(previous_hash, (format_iso(now), actor.name, actor.kind, action, subject, detail_json))
    entry = {
        "at": now,
        "actor": actor.name,
        "actor_kind": actor.kind,
        "action": action,
        "subject": subject,
        "detail": detail_json,
        "previous_hash": previous_hash,
        "hash": digest,
    }
    connection.execute(insert(audit_entry).values(entry))


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the audit log with its deserialised detail. `at` is the stored text of the instant."""

    id: int
    at: str
    actor: str
    actor_kind: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


def load_entries(
    connection: Connection,
    limit: int,
    *,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
) -> list[AuditRecord]:
    """Return entries, newest first.

    Args:
        connection: an open connection.
        limit: the largest number of entries.
        before: return only entries with a smaller id.
        actor: return only entries of this actor.
        action: return only entries with this action. Without it, seals of rows (`rows.seal`) are left out.
    """
    e = audit_entry.c
    query = select(e.id, e.at, e.actor, e.actor_kind, e.action, e.subject, e.detail, e.hash).order_by(e.id.desc())
    query = query.where(e.action != "rows.seal" if action is None else e.action == action)
    query = query if before is None else query.where(e.id < before)
    query = query if actor is None else query.where(e.actor == actor)
    rows = connection.execute(query.limit(limit)).mappings()
    return [AuditRecord(**{**row, "at": format_iso(row["at"]), "detail": json.loads(row["detail"])}) for row in rows]


def find_first(connection: Connection) -> tuple[str, datetime] | None:
    """Return the hash and the instant of the first entry, or None if there is none.

    The hash identifies a database: two databases differ in it, and a copy has the hash of its original.
    """
    e = audit_entry.c
    row = connection.execute(select(e.hash, e.at).order_by(e.id).limit(1)).first()
    return None if row is None else (str(row.hash), row.at)


def find_head(connection: Connection) -> tuple[int, str]:
    """Return the id and the hash of the newest entry, or 0 and `FIRST` if there is none.

    The status topic, the ping and `db verify` publish the hash. A copy of it outside the database proves later that no
    entries were removed from the end of the log.
    """
    e = audit_entry.c
    row = connection.execute(select(e.id, e.hash).order_by(e.id.desc()).limit(1)).first()
    return (0, FIRST) if row is None else (int(row.id), str(row.hash))


def verify_chain(connection: Connection, expected: str | None = None) -> list[str]:
    """Check every entry of the log.

    Args:
        connection: an open connection.
        expected: the hash of an earlier head, which must still be in the chain.

    Returns:
        A line for each entry that was altered or whose predecessor is missing. Empty if the log is intact.
    """
    findings: list[str] = []
    previous_hash = FIRST
    has_expected = expected is None or expected == FIRST
    e = audit_entry.c
    # Read as text, because an altered value may not be an instant.
    at = type_coerce(e.at, String).label("at")
    columns = (e.id, at, e.actor, e.actor_kind, e.action, e.subject, e.detail, e.previous_hash, e.hash)
    for row in connection.execute(select(*columns).order_by(e.id).execution_options(yield_per=2000)):
        if row.previous_hash != previous_hash:
            findings.append(f"audit entry {row.id}: the entry before it was removed or replaced")
        entry = (row.at, row.actor, row.actor_kind, row.action, row.subject, row.detail)
        if hash_entry(row.previous_hash, entry) != row.hash:
            findings.append(f"audit entry {row.id}: its content was altered after it was written")
        previous_hash = row.hash
        has_expected = has_expected or row.hash == expected
    if not has_expected:
        findings.append(f"audit log: the noted head {expected} is no longer in the chain")
    return findings


def hash_entry(previous_hash: str, entry: tuple[str, ...]) -> str:
    """Return the hash of an entry.

    Args:
        previous_hash: the hash of the previous entry.
        entry: its instant, actor, kind of actor, action, subject and detail, as stored.
    """
    return hashlib.sha256(f"{previous_hash}\n{canonical_json(entry)}".encode()).hexdigest()
