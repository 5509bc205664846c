"""The audit log: who did what to which thing, each row chained by hash to the one before it."""

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
from monitor.storage.locks import take_turn
from monitor.text.instants import format_iso

FIRST: Final = "0" * 64
_TURN: Final = "audit"  # one appender at a time, or the chain would fork


def add_audit(
    connection: Connection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """Log an act; it is written as the transaction ends, behind all rows, for writing it serialises all appenders.

    Args:
        actor: who; `kind` is person, service or program. The user of the operating system and the proof of the name,
            where they are known, stand in the detail beside it.
        action: verb with its subject's kind, such as `alert.acknowledge`.
        subject: what it was done to, such as `alert:12`.
        detail: JSON-ready facts, reason included; never a secret.
    """
    acts = connection.get_execution_options()["slopeward_sealing"].acts
    proof = {"via": TOKEN if actor.via == TOKEN else None, "os_user": actor.os_user, "proof": actor.proof}
    acts.append((actor, action, subject, {**detail, **{k: v for k, v in proof.items() if v is not None}}, now))


def lock_log(connection: Connection) -> None:
    """Wait until no other transaction writes the log; it is ours to the end of this one.

    Row locks come first, this one last: in the other order two transactions could wait for each other.
    """
    take_turn(connection, _TURN)


def append_entry(
    connection: Connection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """Append one row behind the newest; only under `lock_log`, or the chain would fork."""
    previous = find_head(connection)[1]
    spelled = canonical_json(dict(detail))
    digest = hash_entry(previous, (format_iso(now), actor.name, actor.kind, action, subject, spelled))
    connection.execute(
        insert(audit_entry).values(
            {"at": now, "actor": actor.name, "actor_kind": actor.kind, "action": action, "subject": subject}
            | {"detail": spelled, "previous_hash": previous, "hash": digest}
        )
    )


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the audit log with its detail read; `at` as it is spelled."""

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
    """Entries before a number, newest first; seals of rows only where that action is asked for."""
    e = audit_entry.c
    query = select(e.id, e.at, e.actor, e.actor_kind, e.action, e.subject, e.detail, e.hash).order_by(e.id.desc())
    query = query.where(e.action != "rows.seal" if action is None else e.action == action)
    query = query if before is None else query.where(e.id < before)
    query = query if actor is None else query.where(e.actor == actor)
    rows = connection.execute(query.limit(limit)).mappings()
    return [AuditRecord(**{**row, "at": format_iso(row["at"]), "detail": json.loads(row["detail"])}) for row in rows]


def find_first(connection: Connection) -> tuple[str, datetime] | None:
    """(hash, instant) of the entry that the chain begins with: of no two databases the same, of a copy the same."""
    e = audit_entry.c
    row = connection.execute(select(e.hash, e.at).order_by(e.id).limit(1)).first()
    return None if row is None else (str(row.hash), row.at)


def find_head(connection: Connection) -> tuple[int, str]:
    """(number of the newest entry, its hash), as it leaves the machine in status, ping and by `db verify`.

    Noted outside the database the hash also proves that no tail was cut off.
    """
    e = audit_entry.c
    row = connection.execute(select(e.id, e.hash).order_by(e.id.desc()).limit(1)).first()
    return (0, FIRST) if row is None else (int(row.id), str(row.hash))


def verify_chain(connection: Connection, expected: str | None = None) -> list[str]:
    """Walk the whole log and name every row that is altered, or whose predecessor is missing.

    `expected`: a head noted earlier; it must still be in the chain.

    Returns:
        One line per finding; empty when the log is whole.
    """
    findings: list[str] = []
    previous = FIRST
    seen = expected is None or expected == FIRST
    e = audit_entry.c
    raw = type_coerce(e.at, String).label("at")  # as it stands: an altered one may be no instant at all
    columns = (e.id, raw, e.actor, e.actor_kind, e.action, e.subject, e.detail, e.previous_hash, e.hash)
    for row in connection.execute(select(*columns).order_by(e.id).execution_options(yield_per=2000)):
        if row.previous_hash != previous:
            findings.append(f"audit entry {row.id}: the entry before it was removed or replaced")
        entry = (row.at, row.actor, row.actor_kind, row.action, row.subject, row.detail)
        if hash_entry(row.previous_hash, entry) != row.hash:
            findings.append(f"audit entry {row.id}: its content was altered after it was written")
        previous = row.hash
        seen = seen or row.hash == expected
    if not seen:
        findings.append(f"audit log: the noted head {expected} is no longer in the chain")
    return findings


def hash_entry(previous: str, entry: tuple[str, ...]) -> str:
    """The hash that an entry must bear: of its instant, actor and kind, action, subject and detail as spelled."""
    return hashlib.sha256(f"{previous}\n{canonical_json(entry)}".encode()).hexdigest()
