"""First signatures: what one person signed and a second one must sign as well, by the very same act, before it is done.

A signature holds for its act with its terms, for four hours, and for no more than it saw: where a higher level is at
stake by now, it counts no more.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select, update

from monitor.alerts.tables import alert
from monitor.canonical import canonical_json
from monitor.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.people.queries import users
from monitor.people.tables import first_signature
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.storage.rows import add_row, read_record
from monitor.text.message import MessageList, Template, Term
from monitor.text.names import is_same_person

VALID: Final = timedelta(hours=4)
T = TypeVar("T")
_SIGNED: Final = Template("signature.given", "{name} has signed this already; a second person must do the same")
_OTHERWISE: Final = Template("signature.otherwise", "{text}; signed otherwise before: {names}")
_CHOSEN: Final = Template("signature.chosen", "{choice} ({name})")
_NONE_WAITS: Final = Template(
    "signature.none", "no signature {number} waits for a second person; see `slopeward people signatures list`"
)
_NOT_YOURS: Final = Template(
    "signature.not_yours", "signature {number} is that of {name}; only {name} or an admin of {site} withdraws it"
)


@dataclass(frozen=True, slots=True)
class TwoPersonAct:
    """What two people do together: the same act on the same subject in the same terms."""

    act: str  # as the audit log calls it, such as `level.set`
    subject: str  # what it is done to
    terms: Mapping[str, Any]  # what else was asked for, JSON-ready; reasons may differ
    choice: str = ""  # the term in which two people may differ over one question, such as a level


@dataclass(frozen=True, slots=True)
class FirstSignature:
    """One that counts: who gave it, and on what grounds."""

    id: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PendingSignature:
    """A first signature that waits for the second one until it lapses."""

    id: int
    act: str
    subject: str
    terms: Mapping[str, Any]
    by: str
    reason: str
    signed_at: datetime
    lapses_at: datetime
    site: str | None


def find_site(connection: Connection, subject: str, terms: Mapping[str, Any]) -> str | None:
    """The site that an act is on, by its subject and terms; None where its alert is gone."""
    kind, mark, rest = subject.partition(":")
    if "site" in terms:  # the subject is of many sites, such as a model
        return str(terms["site"])
    if kind == "alert":
        return connection.execute(select(alert.c.site).where(alert.c.id == int(rest))).scalar()
    return (rest if mark else kind).partition("/")[0]


def find_site_of_signature(connection: Connection, number: int) -> str | None:
    """The site that a signature is about, None where there is no such signature, or of no site."""
    s = first_signature.c
    row = connection.execute(select(s.subject, s.terms).where(s.id == number)).one_or_none()
    return None if row is None else find_site(connection, row.subject, json.loads(row.terms))


def find_first(
    connection: Connection, act: TwoPersonAct, actor: Actor, height: int, now: datetime
) -> FirstSignature | None:
    """The newest signature of another person that counts for this act now, locked for who uses it.

    Raises:
        RefusedError: there is one, but one person had a hand in both accounts lately.
    """
    dependent: RefusedError | None = None
    accounts, site = users.load_users(connection), find_site(connection, act.subject, act.terms)
    for row in _load(connection, act, height, now):
        account = users.find_account(accounts, row.by)
        if is_same_person(row.by, actor.name) or account is None or not users.is_open(account, "operator"):
            continue
        if account.sites is None or site in account.sites:
            try:
                users.require_independent(connection, row.by, actor.name, now)
            except RefusedError as error:
                dependent = dependent or error
                continue
            return read_record(FirstSignature, row)
    if dependent is not None:
        raise dependent
    return None


def keep_first(
    connection: Connection, act: TwoPersonAct, actor: Actor, reason: str, height: int, now: datetime
) -> None:
    """Keep the first of two signatures; raises RefusedError: no reason, or this person has signed it already."""
    if not reason.strip():
        raise RefusedError(users.NO_REASON())
    if any(is_same_person(row.by, actor.name) for row in _load(connection, act, height, now)):
        raise RefusedError(_SIGNED(name=actor.name))
    terms = canonical_json(dict(act.terms))
    facts = {"terms": terms, "height": height, "by": actor.name, "reason": reason, "signed_at": now}
    add_row(connection, first_signature, act=act.act, subject=act.subject, **facts)
    detail = {"terms": dict(act.terms), "height": height, "reason": reason}
    add_audit(connection, actor, f"{act.act}.sign", act.subject, detail, now)


def do_by_two(
    db: Database,
    act: TwoPersonAct,
    actor: Actor,
    reason: str,
    do: Callable[[Connection, Actor | None], T],
    measure: Callable[[Connection], int],
    now: datetime,
    named: Actor | None = None,
) -> T:
    """Do an act with the signature that another person left, or leave one for another person.

    Before the first account nobody can sign: the second person is whom the first one names.

    Args:
        actor: who does it, proved.
        do: the act itself, with the second person; raises NeedsSecondError where it wants one and has none.
        measure: the level that is at stake now; a signature that saw less counts no more.
        named: the second person, as long as there are no accounts.

    Raises:
        NeedsSecondError: nothing is done; the signature of this person waits for another one.
        RefusedError: this person has signed already, has no account that counts, or gives no reason.
    """
    if not db.run_read(users.load_users):
        try:
            with db.write(urgent=True) as connection:
                return do(connection, named)
        except NeedsSecondError as missing:  # nobody can sign: who is missing must be named
            raise RefusedError(missing.message) from missing
    try:
        with db.write(urgent=True) as connection:
            first = find_first(connection, act, actor, measure(connection), now)
            done = do(connection, None if first is None else Actor(first.by))
            if first is not None:
                used = update(first_signature).where(first_signature.c.id == first.id)  # a signature counts once
                connection.execute(used.values(used_at=now, used_by=actor.name))
            return done
    except NeedsSecondError as missing:
        with db.write() as connection:
            users.require_account(connection, actor.name)
            keep_first(connection, act, actor, reason, measure(connection), now)
            same = {**act.terms, act.choice: None}
            others = [
                _CHOSEN(choice=Term(str(one.terms[act.choice])), name=one.by)
                for one in load_waiting(connection, now)
                if (one.act, one.subject) == (act.act, act.subject)
                and act.choice in one.terms
                and one.terms[act.choice] != act.terms[act.choice]
                and {**one.terms, act.choice: None} == same
                and not is_same_person(one.by, actor.name)
            ]
        if others:
            raise NeedsSecondError(_OTHERWISE(text=missing.message, names=MessageList(tuple(others)))) from missing
        raise


def load_waiting(connection: Connection, now: datetime) -> list[PendingSignature]:
    """Signatures that wait for the second one, oldest first."""
    s = first_signature.c
    found = []
    for r in connection.execute(select(first_signature).where(*_counts(s, now)).order_by(s.id)).all():
        more = {"terms": json.loads(r.terms), "lapses_at": r.signed_at + VALID}
        found.append(
            read_record(PendingSignature, r, **more, site=find_site(connection, r.subject, json.loads(r.terms)))
        )
    return found


def withdraw_signature(connection: Connection, number: int, actor: Actor, reason: str, now: datetime) -> str:
    """Take back the first of two signatures; returns the act that is not done by it.

    `number`: of the signature, see `load_waiting`; `actor`: who gave it, or an admin of the site that it is about.

    Raises:
        NotFoundError: no signature of that number waits.
        RefusedError: no person, no reason, or the signature of somebody else, and no admin asks.
    """
    users.require_person(actor, reason)
    s = first_signature.c
    row = connection.execute(
        select(first_signature).where(s.id == number, *_counts(s, now)).with_for_update()
    ).one_or_none()
    missing = NotFoundError(_NONE_WAITS(number=number))
    if row is None:
        raise missing
    site = find_site(connection, row.subject, json.loads(row.terms))
    if not is_same_person(row.by, actor.name) and not users.is_admin_of(connection, actor.name, site):
        account = users.find_account(users.load_users(connection), actor.name)
        if account is not None and account.sites is not None and site not in account.sites:
            raise missing  # the answer does not tell what waits elsewhere
        raise RefusedError(_NOT_YOURS(number=number, name=row.by, site=site or "all sites"))
    connection.execute(update(first_signature).where(s.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    detail = {"signature": number, "of": row.by, "terms": json.loads(row.terms), "reason": reason}
    add_audit(connection, actor, f"{row.act}.unsign", row.subject, detail, now)
    return str(row.act)


def _counts(s: Any, now: datetime) -> tuple[Any, ...]:
    return s.used_at.is_(None), s.withdrawn_at.is_(None), s.signed_at > now - VALID, s.signed_at <= now


def _load(connection: Connection, act: TwoPersonAct, height: int, now: datetime) -> list[Any]:
    s = first_signature.c
    same = (s.act == act.act, s.subject == act.subject, s.terms == canonical_json(dict(act.terms)), s.height >= height)
    wanted = select(first_signature).where(*same, *_counts(s, now))
    return list(connection.execute(wanted.order_by(s.id.desc()).with_for_update()))
