"""Accounts of people.

The functions create and change accounts, check passwords and roles, check that two people of an action are independent,
and map people of an identity provider to accounts.

An account has a password (argon2id), or its person logs in through an identity provider, or both.
"""

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
from monitor.storage.rows import row_to_record
from monitor.text.message import Message, Template, Term, Timestamp, Value
from monitor.text.names import fold_name, is_same_person

# Each role includes the permissions of the roles before it.
ROLES: Final = ("viewer", "operator", "admin")
# Stored instead of a hash. No password has this hash.
NO_PASSWORD: Final = "none"  # noqa: S105
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NO_REASON: Final = Template("people.no_reason", "a reason is needed")
_NO_ACCOUNT: Final = Template(
    "people.no_account",
    "'{name}' has no open account with the role {role}, which this action needs; an admin can give the role; see "
    "`slopeward people users list`",
)
_OTHER_SITE: Final = Template(
    "people.not_his_site",
    "the account of '{name}' is not for the site {site}; an admin can add the site; see `slopeward people users list`",
)
_NOT_TWO: Final = Template("people.not_two", "two people with names are needed")
_ONE_PERSON: Final = Template(
    "people.one_person", "a second person is needed, because '{name}' is already the first one"
)
_ALL_SITES: Final = Template("people.every_site", "all sites")
_WHO_CAN: Final = Template(
    "people.second_who",
    "Anyone with the role operator or admin for {site} can do it, except {name}.",
)
_NOBODY_CAN: Final = Template(
    "people.second_nobody",
    "Nobody can do it yet: no other account has the role operator or admin for {site}. An admin makes an account for a "
    "second person under Admin. It counts as a second person one day later.",
)
_NOBODY_INDEPENDENT: Final = Template(
    "people.second_later",
    "Nobody can do it yet: the other accounts were made or changed less than a day ago by a person who takes part. "
    "Somebody else can do it from {at} on.",
)
# argon2id with the library's current parameters (RFC 9106, low memory).
HASHER: Final = PasswordHasher()


@dataclass(frozen=True, slots=True)
class User:
    """An account, without its password hash.

    Attributes:
        disabled_at: when the account was locked; None if it is open.
        sites: the only sites on which the account may act; None for all sites.
        os_user: user of the operating system who acts as this account at the command line without a password.
        oidc_subject: identifier of the person at the identity provider.
    """

    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    sites: frozenset[str] | None = None
    os_user: str | None = None
    oidc_subject: str | None = None
    has_password: bool = True

    @property
    def can_prove(self) -> bool:
        """Return whether the person can prove their identity at the command line."""
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
    _require_known_role(role)
    taken = next((u.name for u in load_users(connection) if is_same_person(u.name, name)), None)
    if taken is not None:
        spelling = "" if taken == name else f" as {taken!r}: spellings that differ in case only are one person"
        raise RefusedError(f"user {name!r} exists already{spelling}")
    password_hash = NO_PASSWORD if password is None else _hash(name, password, hasher)
    site_ids = None if sites is None else _require_some_sites(connection, sites)
    statement = insert(user_account).values(
        name=name, password_hash=password_hash, role=role, created_at=now, sites=site_ids
    )
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except IntegrityError as error:
        raise RefusedError(f"user {name!r} exists already") from error


def set_password(connection: Connection, name: str, password: str) -> None:
    """Set a new password. End all sessions of the account and forget its known devices.

    Raises:
        NotFoundError: no such account.
        RefusedError: the password is weak.
    """
    _update_account(connection, name, password_hash=_hash(name, password, HASHER))
    end_sessions(connection, name)
    forget_devices(connection, name)


def set_role(connection: Connection, name: str, role: str) -> str:
    """Change the role of an account, from the next request on. Return the previous role.

    Raises:
        NotFoundError: no such account.
        RefusedError: the role is unknown, or no admin of all sites would be left.
    """
    _require_known_role(role)
    account = find_user(connection, name)
    if account is None:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")
    with _keeping_an_admin(connection, name):
        _update_account(connection, name, role=role)
    return account.role


def set_sites(connection: Connection, name: str, sites: Iterable[str] | None) -> None:
    """Restrict an account to some sites, or allow all sites with None.

    The account may act on these sites only. If the page requires a login to read, it may read only these sites.

    Raises:
        NotFoundError: no such account, or no such site.
        RefusedError: `sites` is empty, or no admin of all sites would be left.
    """
    site_ids = None if sites is None else _require_some_sites(connection, sites)
    with _keeping_an_admin(connection, name):
        _update_account(connection, name, sites=site_ids)


def _require_some_sites(connection: Connection, sites: Iterable[str]) -> list[str]:
    site_ids = sorted(set(sites))
    if not site_ids:
        raise RefusedError("name at least one site, or all; `slopeward people users disable` locks an account")
    require_sites(connection, site_ids)
    return site_ids


@contextmanager
def _keeping_an_admin(connection: Connection, name: str) -> Iterator[None]:
    """Refuse a change after which nobody could administer accounts.

    At least one open admin of all sites must be left, and at least one of them must be able to act at the command line.

    Raises:
        RefusedError: the account is the last such admin. The caller must leave the transaction.
    """

    def find_admins() -> tuple[bool, bool]:
        admins = [account for account in load_users(connection) if is_open(account, "admin") and account.sites is None]
        return bool(admins), any(account.can_prove for account in admins)

    # The lock makes two admins who lock each other at the same moment wait for each other.
    connection.execute(select(user_account.c.name).where(user_account.c.role == "admin").with_for_update())
    had_admin, had_admin_at_command = find_admins()
    with connection.begin_nested():
        yield
        has_admin, has_admin_at_command = find_admins()
        if had_admin and not has_admin:
            raise RefusedError(
                f"{name} is the only admin of all sites; make another one first: slopeward people users role NAME admin"
            )
        if had_admin_at_command and not has_admin_at_command:
            raise RefusedError(
                f"{name} is the only admin of all sites who can act at the command line; first give another admin a "
                "password (slopeward people users passwd NAME) or bind an OS user (slopeward people users bind NAME)"
            )


def require_sites(connection: Connection, wanted: Iterable[str]) -> None:
    """Raise NotFoundError if one of the sites does not exist."""
    existing = set(connection.execute(select(site.c.id)).scalars())
    missing = [site_id for site_id in wanted if site_id not in existing]
    if missing:
        raise NotFoundError(f"there is no site {missing[0]!r}; see `slopeward sites list`")


def disable_user(connection: Connection, name: str, now: datetime) -> None:
    """Lock an account and end its sessions. The name stays, because the audit log contains it.

    Raises:
        NotFoundError: no such account.
        RefusedError: no admin of all sites would be left.
    """
    with _keeping_an_admin(connection, name):
        _update_account(connection, name, disabled_at=now)
    end_sessions(connection, name)
    forget_devices(connection, name)


def enable_user(connection: Connection, name: str) -> None:
    """Unlock an account; raises NotFoundError if it does not exist."""
    _update_account(connection, name, disabled_at=None)


def load_users(connection: Connection) -> list[User]:
    """Load all accounts, ordered by name."""
    rows = connection.execute(select(user_account).order_by(user_account.c.name))
    return [_read_user(row) for row in rows]


def load_operators(connection: Connection) -> list[User]:
    """Load the open accounts that may act: those with the role operator or admin."""
    return [account for account in load_users(connection) if is_open(account, "operator")]


def find_user(connection: Connection, name: str) -> User | None:
    """Return the account with exactly this name, or None."""
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    return None if row is None else _read_user(row)


def find_account(accounts: Sequence[User], name: str) -> User | None:
    """Return the account with exactly this name, else the one whose name differs in case only, else None."""
    exact = next((account for account in accounts if account.name == name), None)
    return exact or next((account for account in accounts if fold_name(account.name) == fold_name(name)), None)


def bind_os_user(connection: Connection, name: str, os_user: str | None) -> None:
    """Let a user of the operating system act as an account at the command line; None ends this.

    Raises:
        NotFoundError: no such account.
        RefusedError: the OS user is bound to another account, or no admin could act at the command line any more.
    """
    bound = next((u.name for u in load_users(connection) if os_user is not None and u.os_user == os_user), None)
    if bound is not None and bound != name:
        raise RefusedError(
            f"OS user {os_user!r} is {bound!r} already; end that first: slopeward people users unbind {bound}"
        )
    with _keeping_an_admin(connection, name):
        _update_account(connection, name, os_user=os_user)


def check_password(connection: Connection, name: str, password: str) -> str | None:
    """Return the role of an open account if the password is right, else None.

    An unknown name takes as long as a wrong password, so that an attacker cannot find out which names exist.
    """
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    try:
        stored_hash = NO_PASSWORD if row is None else row.password_hash
        HASHER.verify(_make_unknown_hash() if stored_hash == NO_PASSWORD else stored_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    if row is None or row.disabled_at is not None:
        return None
    return str(row.role)


def may(role: str, needed: str) -> bool:
    """Return whether a role includes the permissions of the needed role.

    >>> may("admin", "operator"), may("viewer", "operator")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


def is_open(account: User, needed: str) -> bool:
    """Return whether an account is open and its role includes the needed role."""
    return account.disabled_at is None and may(account.role, needed)


def require_person(actor: Actor, reason: str) -> None:
    """Raise RefusedError unless a person with a name acts and gives a reason."""
    if actor.kind != "person" or not fold_name(actor.name) or not reason.strip():
        raise RefusedError("a person with a name and a reason is needed: --by NAME --reason TEXT")


def require_reason(connection: Connection, actor: Actor, reason: str) -> None:
    """Raise RefusedError unless there is a reason and, if a person acts, that person has an operator account."""
    if not reason.strip():
        raise RefusedError(NO_REASON())
    if actor.kind == "person":
        require_account(connection, actor.name.strip())


def require_two(connection: Connection, first: Actor, second: Actor, now: datetime) -> None:
    """Raise RefusedError unless two different people perform an action that needs two.

    If accounts exist, both people must have an open operator account, and the accounts must be independent (see
    `require_independent`). Before the first account, two different names are enough.
    """
    names = [first.name.strip(), second.name.strip()]
    if any(actor.kind != "person" for actor in (first, second)) or not all(map(fold_name, names)):
        raise RefusedError(_NOT_TWO())
    if is_same_person(*names):
        raise RefusedError(_ONE_PERSON(name=names[1]))
    for name in names:
        require_account(connection, name)
    require_independent(connection, names[0], names[1], now)


def require_account(connection: Connection, name: str, needed: str = "operator", *, site: str | None = None) -> None:
    """Raise RefusedError unless a name is that of an open account with the needed role.

    Before the first account, every name is accepted.

    Args:
        name: the name; case does not matter.
        needed: the needed role.
        site: a site on which the account must be allowed to act.
    """
    accounts = load_users(connection)
    account = find_account(accounts, name)
    if accounts and (account is None or not is_open(account, needed)):
        raise RefusedError(_NO_ACCOUNT(name=name, role=Term(needed)))
    if account is not None and account.sites is not None and site is not None and site not in account.sites:
        raise RefusedError(_OTHER_SITE(name=name, site=site))


def can_countersign(connection: Connection, site: str) -> bool:
    """Return whether at least two open accounts with the role operator or admin may act on a site."""
    accounts = load_operators(connection)
    return sum(account.sites is None or site in account.sites for account in accounts) >= 2


def explain_second_person(connection: Connection, site: str | None, first: str, now: datetime) -> Message:
    """Return a sentence that states who can act as the second person, or why nobody can yet.

    Args:
        connection: a read transaction.
        site: the site of the action; None for an action on all sites.
        first: name of the first person.
        now: the present, for `require_independent`.
    """
    place: Value = _ALL_SITES() if site is None else site
    others = [
        account
        for account in load_operators(connection)
        if (account.sites is None or site in account.sites) and not is_same_person(account.name, first)
    ]
    if not others:
        return _NOBODY_CAN(site=place)
    dependencies = [_find_dependency(connection, first, account.name, now) for account in others]
    if None in dependencies:
        return _WHO_CAN(site=place, name=first)
    ends_at = min(change.at for change in dependencies if change is not None) + COOLING
    return _NOBODY_INDEPENDENT(at=Timestamp.of(ends_at, "minute"))


def is_admin_of(connection: Connection, name: str, site: str | None) -> bool:
    """Return whether a name is that of an open admin account for a site; None requires an admin of all sites."""
    account = find_account(load_users(connection), name)
    return account is not None and is_open(account, "admin") and (account.sites is None or site in account.sites)


def _update_account(connection: Connection, name: str, **values: object) -> None:
    result = connection.execute(update(user_account).where(user_account.c.name == name).values(**values))
    if result.rowcount != 1:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")


def _read_user(row: Row[Any]) -> User:
    sites = None if row.sites is None else frozenset(row.sites)
    return row_to_record(User, row, sites=sites, has_password=row.password_hash != NO_PASSWORD)


def _hash(name: str, password: str, hasher: PasswordHasher) -> str:
    """Return the hash of a password.

    Raises:
        RefusedError: the password is too short or easy to guess. The message gives the reason without the password.
    """
    # Imported here, because its word lists take time to load and only a new password needs them.
    from zxcvbn import zxcvbn

    if len(password) < MIN_PASSWORD_LENGTH:
        raise RefusedError(_SHORT(count=MIN_PASSWORD_LENGTH))
    # Attackers try the name of the account and words of the field first.
    strength = zxcvbn(password[:_CHECKED_LENGTH], user_inputs=[name, *_FIELD_TERMS])
    if strength["score"] < NEEDED_SCORE:
        warning = str(strength["feedback"]["warning"]).rstrip(".")  # English text of the library
        raise RefusedError(_EASY(reason=warning[0].lower() + warning[1:] if warning else _FOUND_SOON()))
    return hasher.hash(password)


@cache
def _make_unknown_hash() -> str:
    """Return the hash that is checked for unknown names and accounts without a password. No password has it."""
    return HASHER.hash(secrets.token_hex(16))


MIN_PASSWORD_LENGTH: Final = 8
# Score of zxcvbn, 0 to 4. A score of 3 means at least 10^8 guesses: safe against guesses through the slow login page.
NEEDED_SCORE: Final = 3
_SHORT: Final = Template("password.short", "the password is too short; it needs at least {count} characters")
_EASY: Final = Template(
    "password.easy", "the password is easy to guess: {reason}; use three or four words that do not belong together"
)
_FOUND_SOON: Final = Template("password.found_soon", "an attacker who tries words and names finds it soon")
# Number of characters whose strength is checked. More characters cannot weaken a password, and the check is slow.
_CHECKED_LENGTH: Final = 72
_FIELD_TERMS: Final = ("slopeward", "landslide", "slope", "geology", "geologist", "monitoring")


# Time after a change of an account in which that account and the person who changed it count as one person. Somebody
# else can notice the change in the audit log in this time.
COOLING: Final = timedelta(hours=24)
# Changes of an account that let a person act through it: name in the audit log, and description for people.
ACCOUNT_CHANGES: Final = {
    "user.add": Template("people.hand.add", "{account} made the account of {other}"),
    "user.password": Template("people.hand.password", "{account} set a new password for {other}"),
    "user.totp": Template("people.hand.second_factor", "{account} set the second factor of {other}"),
    "user.bind": Template("people.hand.os_user", "{account} bound an OS user to {other}"),
    "user.oidc": Template("people.hand.login", "{account} bound a login at the identity provider to {other}"),
    "user.role": Template("people.hand.role", "{account} changed the role of {other}"),
    "user.sites": Template("people.hand.sites", "{account} changed the sites of {other}"),
    "user.enable": Template("people.hand.unlock", "{account} unlocked {other}"),
}
_DEPENDENT: Final = Template(
    "people.dependent",
    "{other} and {name} do not count as two people yet: {text} at {at}, less than a day ago. A third person can do it "
    "now, or {name} after {until}",
)


def require_independent(connection: Connection, first: str, second: str, now: datetime) -> None:
    """Raise RefusedError if one person could have acted through both accounts.

    A person can act through an account that the person made or changed within the last `COOLING`, for example by
    setting its password. Changes on the first day of an installation do not count, because the person who sets up the
    service makes the first accounts.
    """
    change = _find_dependency(connection, first, second, now)
    if change is None:
        return
    text = ACCOUNT_CHANGES[change.action](account=change.actor, other=change.subject.removeprefix("user:"))
    at, until = (Timestamp.of(instant, "minute") for instant in (change.at, change.at + COOLING))
    raise RefusedError(_DEPENDENT(name=second, other=first, text=text, at=at, until=until))


def _find_dependency(connection: Connection, first: str, second: str, now: datetime) -> Row[Any] | None:
    """Return the audit entry of the change through which one person could act through both accounts, or None."""
    set_up_at = connection.execute(select(func.min(user_account.c.created_at))).scalar()
    if set_up_at is None:
        return None
    e = audit_entry.c
    changes = connection.execute(
        select(e.actor, e.action, e.subject, e.at)
        .where(e.action.in_(ACCOUNT_CHANGES), e.at > max(now - COOLING, set_up_at + COOLING), e.at <= now)
        .order_by(e.id)
    ).all()
    of_first = _find_controllers(changes, first)
    of_second = _find_controllers(changes, second)
    shared = [person for person in of_first if person in of_second]
    if not shared:
        return None
    change = of_second[shared[0]] or of_first[shared[0]]
    assert change is not None, "the two names are those of one person"
    return change


def _find_controllers(changes: Sequence[Any], name: str) -> Mapping[str, Row[Any] | None]:
    """Return who could act through an account: its person, who changed it, and who changed the accounts of these.

    Returns:
        The audit entry of the change by folded name of the person; None for the person of the account.
    """
    controllers: dict[str, Row[Any] | None] = {fold_name(name): None}
    unchecked = list(controllers)
    while unchecked:
        account = unchecked.pop()
        for change in changes:
            person = fold_name(change.actor)
            if fold_name(change.subject.removeprefix("user:")) == account and person not in controllers:
                controllers[person] = change
                unchecked.append(person)
    return controllers


# In `[oidc] sites`: a group of this value is for all sites.
ALL_SITES: Final = "*"
_NO_GROUP: Final = Template(
    "login.no_group", "{name}: none of your groups may use this service; ask the administrator for access"
)
_NO_SITE: Final = Template(
    "login.no_site", "{name}: none of your groups has a site in this service; ask the administrator for access"
)
_LOCKED: Final = Template("login.locked", "the account {name} is locked; ask the administrator")
_NOT_BOUND: Final = Template(
    "login.not_bound",
    "an account '{name}' exists but is not bound to your login; if it is yours, an admin binds it: "
    "slopeward people users oidc {name} --subject {subject}",
)


@dataclass(frozen=True, slots=True)
class IdentityProviderUser:
    """A person as an identity provider describes them.

    Attributes:
        issuer: the identity provider.
        subject: permanent identifier of the person at the provider.
        name: name for a new account. It can change at the provider, so accounts are not found by it.
        groups: groups of the person at the provider.
    """

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]


def choose_role(groups: Sequence[str], roles: Mapping[str, str]) -> str | None:
    """Return the highest role that groups give, or None if they give none.

    >>> choose_role(["geo", "duty"], {"geo": "viewer", "duty": "operator"}), choose_role(["staff"], {"geo": "viewer"})
    ('operator', None)
    """
    return max((roles[g] for g in groups if g in roles), key=ROLES.index, default=None)


def choose_sites(groups: Sequence[str], sites: Mapping[str, Sequence[str]]) -> frozenset[str] | None:
    """Return the sites that groups give. None means all sites, also if the service file binds no group to sites.

    >>> choose_sites(["north"], {}), choose_sites(["north"], {"north": ["*"]}), choose_sites(["x"], {"north": ["a"]})
    (None, None, frozenset())
    """
    site_ids = frozenset(site_id for group in groups for site_id in sites.get(group, ()))
    return None if not sites or ALL_SITES in site_ids else site_ids


def find_linked_account(c: Connection, issuer: str, subject: str) -> User | None:
    """Return the account that is bound to a person of an identity provider, or None."""
    u = user_account.c
    name = c.execute(select(u.name).where(u.oidc_issuer == issuer, u.oidc_subject == subject)).scalar()
    return None if name is None else find_user(c, name)


def bind_person(c: Connection, name: str, issuer: str, subject: str | None) -> None:
    """Let a person of an identity provider log in as an existing account; None ends this. End its sessions.

    Raises:
        NotFoundError: no such account.
        RefusedError: the person is bound to another account.
    """
    bound = None if subject is None else find_linked_account(c, issuer, subject)
    if bound is not None and bound.name != name:
        raise RefusedError(
            f"that person is {bound.name!r} already; end that first: slopeward people users oidc {bound.name}"
        )
    _update_account(c, name, oidc_issuer=None if subject is None else issuer, oidc_subject=subject)
    end_sessions(c, name)


def admit_person(
    c: Connection,
    person: IdentityProviderUser,
    roles: Mapping[str, str],
    sites: Mapping[str, Sequence[str]],
    now: datetime,
) -> str:
    """Return the name of the account of a person whom an identity provider identified.

    Creates the account at the first login. Sets role and sites to those that the groups give now.

    Args:
        c: a write transaction.
        person: the person.
        roles: role by group.
        sites: site ids by group. If it is empty, an admin sets the sites of accounts.
        now: time of the login.

    Raises:
        RefusedError: the account is locked, the groups give no role or no site, the name belongs to an account that is
            not bound to this person, or no admin of all sites would be left.
    """
    account = find_linked_account(c, person.issuer, person.subject)
    role = choose_role(person.groups, roles)
    if role is None:
        raise RefusedError(_NO_GROUP(name=person.name))
    site_ids = choose_sites(person.groups, sites)
    if site_ids is not None:
        site_ids &= set(c.execute(select(site.c.id)).scalars())
        if not site_ids:
            raise RefusedError(_NO_SITE(name=person.name))
    if account is None:
        account = _create_linked_account(c, person, role, site_ids, now)
    if account.disabled_at is not None:
        raise RefusedError(_LOCKED(name=account.name))
    actor = Actor(account.name, via=PAGE)
    subject = f"user:{account.name}"
    if account.role != role:
        set_role(c, account.name, role)
        add_audit(c, actor, "user.role", subject, {"from": account.role, "to": role, "by": "oidc"}, now)
    if sites and account.sites != site_ids:
        set_sites(c, account.name, site_ids)
        detail = {"sites": None if site_ids is None else sorted(site_ids), "by": "oidc"}
        add_audit(c, actor, "user.sites", subject, detail, now)
    return account.name


def _create_linked_account(
    c: Connection, person: IdentityProviderUser, role: str, sites: frozenset[str] | None, now: datetime
) -> User:
    taken = find_account(load_users(c), person.name)
    if taken is not None:
        raise RefusedError(_NOT_BOUND(name=taken.name, subject=person.subject))
    add_user(c, person.name, None, role, now, sites)
    bind_person(c, person.name, person.issuer, person.subject)
    detail: dict[str, object] = {"role": role, "by": "oidc", "issuer": person.issuer, "subject": person.subject}
    detail |= {} if sites is None else {"sites": sorted(sites)}
    add_audit(c, Actor(person.name, via=PAGE), "user.add", f"user:{person.name}", detail, now)
    account = find_user(c, person.name)
    assert account is not None
    return account


def name_credential(connection: Connection, name: str, otherwise: str) -> str:
    """Return `account NAME` if an open account has this name, else `otherwise`.

    Two reports with the same credential count as reports of one observer.
    """
    folded = fold_name(name)
    accounts = [u.name for u in load_users(connection) if u.disabled_at is None and fold_name(u.name) == folded]
    return f"account {accounts[0]}" if accounts else otherwise


def _require_known_role(role: str) -> None:
    if role not in ROLES:
        raise RefusedError(f"role {role!r} is unknown; one of {', '.join(ROLES)}")
