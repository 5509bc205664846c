"""People who may act: accounts with passwords (argon2) or by a provider of logins; who is independent of whom."""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.sessions import end_sessions, forget_devices
from monitor.people.tables import user_account
from monitor.sites.tables import site
from monitor.storage.actor import PAGE, Actor
from monitor.storage.audit import add_audit
from monitor.storage.audit_tables import audit_entry
from monitor.storage.rows import read_record
from monitor.text.message import Template, Term, Timestamp
from monitor.text.names import fold_name, is_same_person

ROLES: Final = ("viewer", "operator", "admin")  # each may do what those before it may
NO_PASSWORD: Final = "none"  # noqa: S105 - in place of a hash; no password has it
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NO_REASON: Final = Template("people.no_reason", "a reason is needed")
_NO_ACCOUNT: Final = Template(
    "people.no_account",
    "'{name}' has no open account as {role}, which is needed for this; see `slopeward people users list`",
)
_NOT_HIS_SITE: Final = Template(
    "people.not_his_site", "'{name}' may not act on {site}; see `slopeward people users list`"
)
_NOT_TWO: Final = Template("people.not_two", "two people with names are needed")
_ONE_PERSON: Final = Template("people.one_person", "a second person is needed, and '{name}' is the first one")
HASHER: Final = PasswordHasher()  # argon2id with the library's current parameters (RFC 9106, low memory)


@dataclass(frozen=True, slots=True)
class User:
    """An account as others may see it: never with its hash."""

    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    sites: frozenset[str] | None = None  # the only ones it may act on; None = all
    os_user: str | None = None  # who is this person at a command, without a password
    oidc_subject: str | None = None  # who is this person at the provider of logins
    has_password: bool = True

    @property
    def can_prove(self) -> bool:
        """Whether the person can prove at a command line who it is."""
        return self.has_password or self.os_user is not None


def add_user(
    connection: Connection,
    name: str,
    password: str | None,
    role: str,
    now: datetime,
    sites: Iterable[str] | None = None,
    hasher: PasswordHasher = HASHER,
) -> None:
    """Create an account. Without a password, the person signs in through an identity provider.

    Args:
        sites: the sites on which the account may act; None for all sites.
        hasher: hashes the password. The hash contains its parameters, so `check_password` needs no hasher.

    Raises:
        NotFoundError: no such site.
        RefusedError: bad name, unknown role, weak password, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise RefusedError(f"user name {name!r}: letters, digits and . _ @ - only, 64 at most")
    _check_role(role)
    same = next((u.name for u in load_users(connection) if is_same_person(u.name, name)), None)
    if same is not None:
        other = "" if same == name else f" as {same!r}: spellings that differ in case only are one person"
        raise RefusedError(f"user {name!r} exists already{other}")
    hashed = NO_PASSWORD if password is None else _hash(name, password, hasher)
    wanted = None if sites is None else _check_sites(connection, sites)
    row = insert(user_account).values(name=name, password_hash=hashed, role=role, created_at=now, sites=wanted)
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError as error:
        raise RefusedError(f"user {name!r} exists already") from error


def set_password(connection: Connection, name: str, password: str) -> None:
    """Give a new password and end all sessions of the user; raises RefusedError: the password is weak."""
    _change(connection, name, password_hash=_hash(name, password, HASHER))
    end_sessions(connection, name)
    forget_devices(connection, name)


def set_role(connection: Connection, name: str, role: str) -> str:
    """Give another role, which counts from the next request on; returns the one before.

    Raises:
        RefusedError: the role is unknown, or nobody who administers would be left.
    """
    _check_role(role)
    found = find_user(connection, name)
    if found is None:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")
    with _keeping_an_admin(connection, name):
        _change(connection, name, role=role)
    return found.role


def set_sites(connection: Connection, name: str, sites: Iterable[str] | None) -> None:
    """Say on which sites alone an account may act, and read where reading takes a login; None = on all.

    Raises:
        NotFoundError: no such account, or no such site.
        RefusedError: no site at all is left; to lock an account is another act. Or nobody who administers would be
            left.
    """
    wanted = None if sites is None else _check_sites(connection, sites)
    with _keeping_an_admin(connection, name):
        _change(connection, name, sites=wanted)


def _check_sites(connection: Connection, sites: Iterable[str]) -> list[str]:
    wanted = sorted(set(sites))
    if not wanted:
        raise RefusedError("name one site at least, or all; `slopeward people users disable` locks an account")
    require_sites(connection, wanted)
    return wanted


@contextmanager
def _keeping_an_admin(connection: Connection, name: str) -> Iterator[None]:
    """Refuse a change after which nobody keeps the accounts: no open admin of all sites, or none who can prove it.

    Raises:
        RefusedError: the account is the last one; the transaction is to be left.
    """

    def find() -> tuple[bool, bool]:
        keepers = [u for u in load_users(connection) if is_open(u, "admin") and u.sites is None]
        return bool(keepers), any(u.can_prove for u in keepers)

    # two admins who lock each other at one moment come one after the other
    connection.execute(select(user_account.c.name).where(user_account.c.role == "admin").with_for_update())
    before = find()
    with connection.begin_nested():
        yield
        after = find()
        if before[0] > after[0]:
            raise RefusedError(
                f"{name} is the only admin of all sites; make another one first: slopeward people users role NAME admin"
            )
        if before[1] > after[1]:
            raise RefusedError(
                f"{name} is the only admin of all sites who can act at the command line; first give another admin a "
                "password (slopeward people users passwd NAME) or bind an OS user (slopeward people users bind NAME)"
            )


def require_sites(connection: Connection, wanted: Iterable[str]) -> None:
    """Make sure that sites exist; raises NotFoundError."""
    known = set(connection.execute(select(site.c.id)).scalars())
    if missing := [one for one in wanted if one not in known]:
        raise NotFoundError(f"there is no site {missing[0]!r}; see `slopeward sites list`")


def disable_user(connection: Connection, name: str, now: datetime) -> None:
    """Lock an account and end its sessions; the name stays, for the audit log refers to it.

    Raises:
        NotFoundError: no such account.
        RefusedError: nobody who administers would be left.
    """
    with _keeping_an_admin(connection, name):
        _change(connection, name, disabled_at=now)
    end_sessions(connection, name)
    forget_devices(connection, name)


def enable_user(connection: Connection, name: str) -> None:
    """Unlock an account."""
    _change(connection, name, disabled_at=None)


def load_users(connection: Connection) -> list[User]:
    """All accounts by name."""
    rows = connection.execute(select(user_account).order_by(user_account.c.name))
    return [_read(row) for row in rows]


def find_user(connection: Connection, name: str) -> User | None:
    """One account, or None."""
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    return None if row is None else _read(row)


def find_account(accounts: Sequence[User], name: str) -> User | None:
    """The account that a name means: of this very spelling, else of the same person."""
    exact = next((u for u in accounts if u.name == name), None)
    return exact or next((u for u in accounts if fold_name(u.name) == fold_name(name)), None)


def bind_os_user(connection: Connection, name: str, os_user: str | None) -> None:
    """Let a user of the operating system be an account at the command line; None ends it.

    Raises:
        NotFoundError: no such account.
        RefusedError: that user is another account already, or nobody who administers could prove it any more.
    """
    bound = next((u.name for u in load_users(connection) if os_user is not None and u.os_user == os_user), None)
    if bound is not None and bound != name:
        raise RefusedError(
            f"OS user {os_user!r} is {bound!r} already; end that first: slopeward people users unbind {bound}"
        )
    with _keeping_an_admin(connection, name):
        _change(connection, name, os_user=os_user)


def check_password(connection: Connection, name: str, password: str) -> str | None:
    """The role of the user where name and password fit and the account is open, else None.

    An unknown name costs the same time as a wrong password, so that names cannot be probed.
    """
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    try:
        stored = NO_PASSWORD if row is None else row.password_hash
        HASHER.verify(_nobody() if stored == NO_PASSWORD else stored, password)
    except (VerificationError, InvalidHashError):
        return None
    if row is None or row.disabled_at is not None:
        return None
    return str(row.role)


def may(role: str, needed: str) -> bool:
    """Whether a role reaches the needed one.

    >>> may("admin", "operator"), may("viewer", "operator")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


def is_open(account: User, needed: str) -> bool:
    """Whether an account is not locked and reaches a role."""
    return account.disabled_at is None and may(account.role, needed)


def require_person(actor: Actor, reason: str) -> None:
    """Make sure that an act has a person with a name and a reason; raises RefusedError: it has not."""
    if actor.kind != "person" or not fold_name(actor.name) or not reason.strip():
        raise RefusedError("a person with a name and a reason is needed: --by NAME --reason TEXT")


def require_reason(connection: Connection, actor: Actor, reason: str) -> None:
    """Make sure that an act has a reason, and that a person who does it has an account as operator.

    Raises:
        RefusedError: it has not.
    """
    if not reason.strip():
        raise RefusedError(NO_REASON())
    if actor.kind == "person":
        require_account(connection, actor.name.strip())


def require_two(connection: Connection, one: Actor, other: Actor, now: datetime) -> None:
    """Make sure that two different people stand behind an act that one may not do alone.

    Where accounts exist, both must have an open one whose role suffices; before the first account a name is enough.

    Raises:
        RefusedError: they are one, one of them is no person, or has no such account; or one person had a hand in both
            accounts lately (`require_independent`).
    """
    names = [one.name.strip(), other.name.strip()]
    if any(a.kind != "person" for a in (one, other)) or not all(map(fold_name, names)):
        raise RefusedError(_NOT_TWO())
    if is_same_person(*names):
        raise RefusedError(_ONE_PERSON(name=names[1]))
    for name in names:
        require_account(connection, name)
    require_independent(connection, names[0], names[1], now)


def require_account(connection: Connection, name: str, needed: str = "operator", *, site: str | None = None) -> None:
    """Make sure that a name is that of an open account whose role suffices; any will do before the first account.

    `needed`: the role; `site`: one on which the account must be allowed to act, where it is for some only.

    Raises:
        RefusedError: it is not.
    """
    accounts = load_users(connection)
    account = find_account(accounts, name)
    if accounts and (account is None or not is_open(account, needed)):
        raise RefusedError(_NO_ACCOUNT(name=name, role=Term(needed)))
    if account is not None and account.sites is not None and site is not None and site not in account.sites:
        raise RefusedError(_NOT_HIS_SITE(name=name, site=site))


def can_countersign(connection: Connection, site: str) -> bool:
    """Return whether two people may act on a site: at least two open accounts with the role operator or above."""
    accounts = [account for account in load_users(connection) if is_open(account, "operator")]
    return sum(account.sites is None or site in account.sites for account in accounts) >= 2


def is_admin_of(connection: Connection, name: str, site: str | None) -> bool:
    """Whether a name is that of an open account that administers a site; None = what is of no site: of all."""
    account = find_account(load_users(connection), name)
    return account is not None and is_open(account, "admin") and (account.sites is None or site in account.sites)


def _change(connection: Connection, name: str, **values: object) -> None:
    result = connection.execute(update(user_account).where(user_account.c.name == name).values(**values))
    if result.rowcount != 1:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")


def _read(row: Row[Any]) -> User:
    sites = None if row.sites is None else frozenset(row.sites)
    return read_record(User, row, sites=sites, has_password=row.password_hash != NO_PASSWORD)


def _hash(name: str, password: str, hasher: PasswordHasher) -> str:
    """The hash of a password that nobody guesses; an attacker tries the name of the account first.

    Raises:
        RefusedError: it is too short or too easy; the text says why, and never bears the password.
    """
    from zxcvbn import zxcvbn  # its word lists are read only where somebody chooses a password

    if len(password) < SHORTEST:
        raise RefusedError(_SHORT(count=SHORTEST))
    found = zxcvbn(password[:_LOOKED_AT], user_inputs=[name, *_KNOWN])
    if found["score"] < NEEDED_SCORE:
        warning = str(found["feedback"]["warning"]).rstrip(".")  # of the word lists, in English
        raise RefusedError(_EASY(reason=warning[0].lower() + warning[1:] if warning else _FOUND_SOON()))
    return hasher.hash(password)


@cache
def _nobody() -> str:
    return HASHER.hash(secrets.token_hex(16))


SHORTEST: Final = 8
NEEDED_SCORE: Final = 3  # of 0 to 4: 10^8 guesses at least, "safely unguessable" to whom the page answers slowly
_SHORT: Final = Template("password.short", "the password is too short; {count} characters at least")
_EASY: Final = Template(
    "password.easy", "the password is easy to guess: {reason}; take three or four words that do not belong together"
)
_FOUND_SOON: Final = Template("password.found_soon", "it would be found soon by trying words and names")
_LOOKED_AT: Final = 72  # characters; what is longer cannot be weaker, and the search takes its time
_KNOWN: Final = ("slopeward", "landslide", "slope", "geology", "geologist", "monitoring")


COOLING: Final = timedelta(hours=24)  # somebody else comes by in that time, or reads the log
DONE: Final = {  # as the audit log calls it -> as people read it
    "user.add": Template("people.hand.add", "{account} made the account of {other}"),
    "user.password": Template("people.hand.password", "{account} gave a new password to {other}"),
    "user.totp": Template("people.hand.second_factor", "{account} set the second factor of {other}"),
    "user.bind": Template("people.hand.os_user", "{account} bound an OS user to {other}"),
    "user.oidc": Template("people.hand.login", "{account} bound a login elsewhere to {other}"),
    "user.role": Template("people.hand.role", "{account} gave a role to {other}"),
    "user.sites": Template("people.hand.sites", "{account} gave sites to {other}"),
    "user.enable": Template("people.hand.unlock", "{account} unlocked {other}"),
}
_DEPENDENT: Final = Template(
    "people.dependent",
    "{name} and {other} do not count as two people yet: {text} at {at}, less than a day ago. Let a third person sign, "
    "or sign again after {until}",
)


def require_independent(connection: Connection, one: str, other: str, now: datetime) -> None:
    """Make sure that no single person has lately had a hand in both of two accounts, one of which may be the own.

    The first day of an installation is left out: whoever sets it up makes the first accounts, and is trusted with it.

    Raises:
        RefusedError: one person had, and the day since is not over.
    """
    first = connection.execute(select(func.min(user_account.c.created_at))).scalar()
    if first is None:
        return
    e = audit_entry.c
    rows = connection.execute(
        select(e.actor, e.action, e.subject, e.at)
        .where(e.action.in_(DONE), e.at > max(now - COOLING, first + COOLING), e.at <= now)
        .order_by(e.id)
    ).all()
    mine, theirs = _find_hands(rows, one), _find_hands(rows, other)
    shared = [who for who in mine if who in theirs]
    if not shared:
        return
    row = theirs[shared[0]] or mine[shared[0]]
    assert row is not None, "two names of one person"
    hand = DONE[row.action](account=row.actor, other=row.subject.removeprefix("user:"))
    at, until = (Timestamp.of(instant, "minute") for instant in (row.at, row.at + COOLING))
    raise RefusedError(_DEPENDENT(name=one, other=other, text=hand, at=at, until=until))


def _find_hands(rows: Sequence[Any], name: str) -> Mapping[str, Row[Any] | None]:
    """Everybody who may act as an account: its person (None), and who changed it, or the account of who did."""
    hands: dict[str, Row[Any] | None] = {fold_name(name): None}
    waiting = list(hands)
    while waiting:
        account = waiting.pop()
        for row in rows:
            who = fold_name(row.actor)
            if fold_name(row.subject.removeprefix("user:")) == account and who not in hands:
                hands[who] = row
                waiting.append(who)
    return hands


ALL_SITES: Final = "*"
_NO_GROUP: Final = Template(
    "login.no_group", "{name}: none of your groups may come in here; ask who keeps this service"
)
_NO_SITE: Final = Template("login.no_site", "{name}: none of your groups has a site here; ask who keeps this service")
_LOCKED: Final = Template("login.locked", "the account {name} is locked; ask who keeps this service")
_NOT_BOUND: Final = Template(
    "login.not_bound",
    "an account '{name}' exists and is not yours yet; if it is you, an admin binds it: "
    "slopeward people users oidc {name} --subject {subject}",
)


@dataclass(frozen=True, slots=True)
class IdentityProviderUser:
    """Who came, as the provider says it."""

    issuer: str  # the provider
    subject: str  # who that is there, for ever
    name: str  # what the account is called where it is made; may change at the provider and binds nothing
    groups: tuple[str, ...]  # what the person belongs to there


def choose_role(groups: Sequence[str], roles: Mapping[str, str]) -> str | None:
    """The highest role that groups give; None: none.

    >>> choose_role(["geo", "duty"], {"geo": "viewer", "duty": "operator"}), choose_role(["staff"], {"geo": "viewer"})
    ('operator', None)
    """
    return max((roles[g] for g in groups if g in roles), key=ROLES.index, default=None)


def choose_sites(groups: Sequence[str], sites: Mapping[str, Sequence[str]]) -> frozenset[str] | None:
    """The sites that groups give; None = all, also where no group is bound to sites.

    >>> choose_sites(["north"], {}), choose_sites(["north"], {"north": ["*"]}), choose_sites(["x"], {"north": ["a"]})
    (None, None, frozenset())
    """
    found = frozenset(one for g in groups for one in sites.get(g, ()))
    return None if not sites or ALL_SITES in found else found


def find_linked_account(c: Connection, issuer: str, subject: str) -> User | None:
    """The account that is bound to a person, or None."""
    u = user_account.c
    name = c.execute(select(u.name).where(u.oidc_issuer == issuer, u.oidc_subject == subject)).scalar()
    return None if name is None else find_user(c, name)


def bind_person(c: Connection, name: str, issuer: str, subject: str | None) -> None:
    """Let a person of the provider be an account that exists; None ends it.

    Raises:
        NotFoundError: no such account.
        RefusedError: that person is another account already.
    """
    bound = None if subject is None else find_linked_account(c, issuer, subject)
    if bound is not None and bound.name != name:
        raise RefusedError(
            f"that person is {bound.name!r} already; end that first: slopeward people users oidc {bound.name}"
        )
    _change(c, name, oidc_issuer=None if subject is None else issuer, oidc_subject=subject)
    end_sessions(c, name)


def admit_person(
    c: Connection,
    person: IdentityProviderUser,
    roles: Mapping[str, str],
    sites: Mapping[str, Sequence[str]],
    now: datetime,
) -> str:
    """The account of a person who came, made at the first time; role and sites are what the groups give now.

    Raises:
        RefusedError: the account is locked, the groups give no role or no site, the name is taken by an account that is
            not bound to this person, or nobody who administers would be left.
    """
    account = find_linked_account(c, person.issuer, person.subject)
    role, wanted = choose_role(person.groups, roles), choose_sites(person.groups, sites)
    if role is None:
        raise RefusedError(_NO_GROUP(name=person.name))
    known = None if wanted is None else wanted & set(c.execute(select(site.c.id)).scalars())
    if known is not None and not known:
        raise RefusedError(_NO_SITE(name=person.name))
    if account is None:
        account = _make(c, person, role, known, now)
    if account.disabled_at is not None:
        raise RefusedError(_LOCKED(name=account.name))
    actor, subject = Actor(account.name, via=PAGE), f"user:{account.name}"
    if account.role != role:
        set_role(c, account.name, role)
        add_audit(c, actor, "user.role", subject, {"from": account.role, "to": role, "by": "oidc"}, now)
    if sites and account.sites != known:  # where no group is bound to sites, an admin says which
        set_sites(c, account.name, known)
        detail = {"sites": None if known is None else sorted(known), "by": "oidc"}
        add_audit(c, actor, "user.sites", subject, detail, now)
    return account.name


def _make(c: Connection, person: IdentityProviderUser, role: str, sites: frozenset[str] | None, now: datetime) -> User:
    taken = find_account(load_users(c), person.name)
    if taken is not None:
        raise RefusedError(_NOT_BOUND(name=taken.name, subject=person.subject))
    add_user(c, person.name, None, role, now, sites)
    bind_person(c, person.name, person.issuer, person.subject)
    detail: dict[str, object] = {"role": role, "by": "oidc", "issuer": person.issuer, "subject": person.subject}
    detail |= {} if sites is None else {"sites": sorted(sites)}
    add_audit(c, Actor(person.name, via=PAGE), "user.add", f"user:{person.name}", detail, now)
    made = find_user(c, person.name)
    assert made is not None
    return made


def name_credential(connection: Connection, name: str, otherwise: str) -> str:
    """What proves who a person is: the open account of that name, else what else is known of the way."""
    folded = fold_name(name)
    mine = [u.name for u in load_users(connection) if u.disabled_at is None and fold_name(u.name) == folded]
    return f"account {mine[0]}" if mine else otherwise


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise RefusedError(f"role {role!r} is unknown; one of {', '.join(ROLES)}")
