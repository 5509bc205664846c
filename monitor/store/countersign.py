"""First signatures: what one person signed and a second one must sign as well, by the very same act, before it is done.

A signature holds for its act with its terms, for four hours, and for no more than it saw: where a higher level is at
stake by now, it counts no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from monitor.domain.alert import Actor
from monitor.domain.names import is_same_person
from monitor.errors import RefusedError
from monitor.store.audit import add_audit
from monitor.store.tables import first_signature
from monitor.store.types import canonical_json
from monitor.store.users import find_account, is_open, load_users

VALID_S: Final = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class SharedAct:
    """What two people do together: the same act on the same subject in the same terms.

    Attributes:
        act: as the audit log calls it, such as `level.set`.
        subject: what it is done to.
        terms: what else was asked for, JSON-ready; reasons may differ.
    """

    act: str
    subject: str
    terms: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FirstSignature:
    """One that counts: who gave it, and on what grounds."""

    id: int
    by: str
    reason: str


def find_first(c: Connection, act: SharedAct, actor: Actor, height: int, now: datetime) -> FirstSignature | None:
    """The newest signature of another person that counts for this act now, locked for who uses it."""
    accounts = load_users(c)
    for row in _load(c, act, height, now):
        account = find_account(accounts, row.by)
        if not is_same_person(row.by, actor.name) and account is not None and is_open(account, "operator"):
            return FirstSignature(row.id, row.by, row.reason)
    return None


def keep_first(c: Connection, act: SharedAct, actor: Actor, reason: str, height: int, now: datetime) -> None:
    """Keep the first of two signatures.

    Raises:
        RefusedError: no reason, or this person has signed it already.
    """
    if not reason.strip():
        raise RefusedError("a reason is needed")
    if any(is_same_person(row.by, actor.name) for row in _load(c, act, height, now)):
        raise RefusedError(f"{actor.name} has signed this already; a second person must give the same command")
    terms = canonical_json(dict(act.terms))
    c.execute(
        insert(first_signature).values(
            act=act.act, subject=act.subject, terms=terms, height=height, by=actor.name, reason=reason, signed_at=now
        )
    )
    detail = {"terms": dict(act.terms), "height": height, "reason": reason}
    add_audit(c, actor, f"{act.act}.sign", act.subject, detail, now)


def mark_used(c: Connection, first: FirstSignature, actor: Actor, now: datetime) -> None:
    """Note that the act is done: a signature counts once."""
    c.execute(update(first_signature).where(first_signature.c.id == first.id).values(used_at=now, used_by=actor.name))


def _load(c: Connection, act: SharedAct, height: int, now: datetime) -> list[Any]:
    s = first_signature.c
    wanted = select(first_signature).where(
        s.act == act.act, s.subject == act.subject, s.terms == canonical_json(dict(act.terms)), s.used_at.is_(None),
        s.signed_at > now - timedelta(seconds=VALID_S), s.signed_at <= now, s.height >= height,
    )  # fmt: skip
    return list(c.execute(wanted.order_by(s.id.desc()).with_for_update()))
