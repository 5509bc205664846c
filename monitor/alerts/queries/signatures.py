"""Acts that need two people: the first person signs, and the act is done when a second person does the same.

A signature is valid for one act with the same terms, for four hours, and up to the level that was at stake when it was
given. If a higher level is at stake now, it no longer counts.
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
from monitor.storage.rows import add_row, row_to_record
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
    """An act that two people do: both must name the same act, subject and terms.

    Attributes:
        act: Name of the act as in the audit log, such as `level.set`.
        subject: What the act changes.
        terms: The other arguments, JSON-ready. Reasons may differ.
        choice: The term in which two people may disagree about one question, such as a level.
    """

    act: str
    subject: str
    terms: Mapping[str, Any]
    choice: str = ""


@dataclass(frozen=True, slots=True)
class FirstSignature:
    """A first signature that counts."""

    id: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PendingSignature:
    """A first signature that waits for a second person until `lapses_at`."""

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
    """Return the site of an act by its subject and terms; None if its alert does not exist."""
    # A subject such as a model belongs to several sites. Its terms name the site.
    if "site" in terms:
        return str(terms["site"])
    kind, colon, name = subject.partition(":")
    if kind == "alert":
        return connection.execute(select(alert.c.site).where(alert.c.id == int(name))).scalar()
    return (name if colon else kind).partition("/")[0]


def find_site_of_signature(connection: Connection, number: int) -> str | None:
    """Return the site of a signature; None if the signature does not exist or belongs to no site."""
    s = first_signature.c
    row = connection.execute(select(s.subject, s.terms).where(s.id == number)).one_or_none()
    return None if row is None else find_site(connection, row.subject, json.loads(row.terms))


def find_first(
    connection: Connection, act: TwoPersonAct, actor: Actor, height: int, now: datetime
) -> FirstSignature | None:
    """Return the newest signature of another person that counts for this act, and lock its row.

    Raises:
        RefusedError: There is a signature, but one person recently changed both accounts.
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
            return row_to_record(FirstSignature, row)
    if dependent is not None:
        raise dependent
    return None


def save_first(
    connection: Connection, act: TwoPersonAct, actor: Actor, reason: str, height: int, now: datetime
) -> None:
    """Store the first of two signatures.

    Raises:
        RefusedError: The reason is missing, or this person has signed already.
    """
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
    """Do an act with the signature of another person, or store the signature of this person.

    Without any account nobody can sign. Then the first person names the second one.

    Args:
        actor: The person, authenticated.
        do: Does the act with the second person. Raises NeedsSecondError if it needs a second person and has none.
        measure: Returns the level that is at stake now. Signatures for a lower level no longer count.
        named: The second person while there are no accounts.

    Raises:
        NeedsSecondError: Nothing was done. The signature of this person waits for another person.
        RefusedError: This person has signed already, has no valid account, or gives no reason.
    """
    if not db.run_read(users.load_users):
        try:
            with db.write(urgent=True) as connection:
                return do(connection, named)
        except NeedsSecondError as missing:
            # Nobody can sign without accounts, so the second person must be named.
            raise RefusedError(missing.message) from missing
    try:
        with db.write(urgent=True) as connection:
            first = find_first(connection, act, actor, measure(connection), now)
            result = do(connection, None if first is None else Actor(first.by))
            if first is not None:
                # A signature counts once.
                mark_used = update(first_signature).where(first_signature.c.id == first.id)
                connection.execute(mark_used.values(used_at=now, used_by=actor.name))
            return result
    except NeedsSecondError as missing:
        with db.write() as connection:
            users.require_account(connection, actor.name)
            save_first(connection, act, actor, reason, measure(connection), now)
            terms_without_choice = {**act.terms, act.choice: None}
            others = [
                _CHOSEN(choice=Term(str(waiting.terms[act.choice])), name=waiting.by)
                for waiting in load_waiting(connection, now)
                if (waiting.act, waiting.subject) == (act.act, act.subject)
                and act.choice in waiting.terms
                and waiting.terms[act.choice] != act.terms[act.choice]
                and {**waiting.terms, act.choice: None} == terms_without_choice
                and not is_same_person(waiting.by, actor.name)
            ]
        if others:
            raise NeedsSecondError(_OTHERWISE(text=missing.message, names=MessageList(tuple(others)))) from missing
        raise


def load_waiting(connection: Connection, now: datetime) -> list[PendingSignature]:
    """Return the signatures that wait for a second person, the oldest first."""
    s = first_signature.c
    waiting = []
    for row in connection.execute(select(first_signature).where(*_counts(s, now)).order_by(s.id)).all():
        values = {"terms": json.loads(row.terms), "lapses_at": row.signed_at + VALID}
        waiting.append(
            row_to_record(
                PendingSignature, row, **values, site=find_site(connection, row.subject, json.loads(row.terms))
            )
        )
    return waiting


def withdraw_signature(connection: Connection, number: int, actor: Actor, reason: str, now: datetime) -> str:
    """Withdraw the first of two signatures, and return the name of its act.

    Args:
        number: Number of the signature, see `load_waiting`.
        actor: The person who gave it, or an admin of its site.

    Raises:
        NotFoundError: No waiting signature has this number.
        RefusedError: Person or reason are missing, or the signature belongs to somebody else and the actor is no admin.
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
            # The error must not reveal signatures of other sites.
            raise missing
        raise RefusedError(_NOT_YOURS(number=number, name=row.by, site=site or "all sites"))
    connection.execute(update(first_signature).where(s.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    detail = {"signature": number, "of": row.by, "terms": json.loads(row.terms), "reason": reason}
    add_audit(connection, actor, f"{row.act}.unsign", row.subject, detail, now)
    return str(row.act)


def _counts(s: Any, now: datetime) -> tuple[Any, ...]:
    return s.used_at.is_(None), s.withdrawn_at.is_(None), s.signed_at > now - VALID, s.signed_at <= now


def _load(connection: Connection, act: TwoPersonAct, height: int, now: datetime) -> list[Any]:
    s = first_signature.c
    is_same_act = (
        s.act == act.act,
        s.subject == act.subject,
        s.terms == canonical_json(dict(act.terms)),
        s.height >= height,
    )
    query = select(first_signature).where(*is_same_act, *_counts(s, now))
    return list(connection.execute(query.order_by(s.id.desc()).with_for_update()))
