"""People who may act: accounts with argon2 passwords and roles."""

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from forecasting.message import Template, Term
from monitor.domain.alert import Actor
from monitor.domain.names import fold_name, is_same_person
from monitor.errors import NotFoundError, RefusedError
from monitor.store.database.rows import read_record
from monitor.store.people.devices import forget_devices
from monitor.store.people.independence import require_independent
from monitor.store.people.passwords import check_strength
from monitor.store.people.sessions import end_sessions
from monitor.store.schema.tables import site, user_account

ROLES: Final = ("viewer", "operator", "admin")  # each may do what those before it may
NO_PASSWORD: Final = "none"  # noqa: S105 - in place of a hash; no password has it
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NO_REASON: Final = Template("people.no_reason", "a reason is needed")
_NO_ACCOUNT: Final = Template(
    "people.no_account", "'{name}' has no open account as {role}, which is needed for this; see `slopeward users list`"
)
_NOT_HIS_SITE: Final = Template("people.not_his_site", "'{name}' may not act on {site}; see `slopeward users list`")
_NOT_TWO: Final = Template("people.not_two", "two people with names are needed")
_ONE_PERSON: Final = Template("people.one_person", "a second person is needed, and '{name}' is the first one")
_HASHER: Final = PasswordHasher()  # argon2id with the library's current parameters (RFC 9106, low memory)


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
    connection: Connection, name: str, password: str | None, role: str, now: datetime,
    sites: Iterable[str] | None = None,
) -> None:  # fmt: skip
    """Create an account, on some sites alone or on all (None); without a password it comes in by a provider of logins.

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
    hashed = NO_PASSWORD if password is None else _hash(name, password)
    wanted = None if sites is None else _check_sites(connection, sites)
    row = insert(user_account).values(name=name, password_hash=hashed, role=role, created_at=now, sites=wanted)
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError as error:
        raise RefusedError(f"user {name!r} exists already") from error


def set_password(connection: Connection, name: str, password: str) -> None:
    """Give a new password and end all sessions of the user.

    Raises:
        RefusedError: the password is weak.
    """
    _change(connection, name, password_hash=_hash(name, password))
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
        raise NotFoundError(f"there is no user {name!r}; see `slopeward users list`")
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
        raise RefusedError("name one site at least, or all; `slopeward users disable` locks an account")
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
                f"{name} is the only admin of all sites; make another one first: slopeward users role NAME admin"
            )
        if before[1] > after[1]:
            raise RefusedError(
                f"{name} is the only admin of all sites who can act at the command line; first give another admin a "
                "password (slopeward users passwd NAME) or bind an OS user (slopeward users bind NAME)"
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
        raise RefusedError(f"OS user {os_user!r} is {bound!r} already; end that first: slopeward users unbind {bound}")
    with _keeping_an_admin(connection, name):
        _change(connection, name, os_user=os_user)


def check_password(connection: Connection, name: str, password: str) -> str | None:
    """The role of the user where name and password fit and the account is open, else None.

    An unknown name costs the same time as a wrong password, so that names cannot be probed.
    """
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    try:
        stored = NO_PASSWORD if row is None else row.password_hash
        _HASHER.verify(_nobody() if stored == NO_PASSWORD else stored, password)
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
    """Make sure that an act has a person with a name and a reason.

    Raises:
        RefusedError: it has not.
    """
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


def require_two(connection: Connection, one: Actor, other: Actor, now: datetime, needed: str = "operator") -> None:
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
        require_account(connection, name, needed)
    require_independent(connection, names[0], names[1], now)


def require_account(
    connection: Connection, name: str, needed: str = "operator", *, site: str | None = None
) -> None:  # fmt: skip
    """Make sure that a name is that of an open account whose role suffices; any will do before the first account.

    Args:
        connection: any transaction.
        name: of the account.
        needed: the role.
        site: one on which the account must be allowed to act, where it is for some only.

    Raises:
        RefusedError: it is not.
    """
    accounts = load_users(connection)
    account = find_account(accounts, name)
    if accounts and (account is None or not is_open(account, needed)):
        raise RefusedError(_NO_ACCOUNT(name=name, role=Term(needed)))
    if account is not None and account.sites is not None and site is not None and site not in account.sites:
        raise RefusedError(_NOT_HIS_SITE(name=name, site=site))


def is_admin_of(connection: Connection, name: str, site: str | None) -> bool:
    """Whether a name is that of an open account that administers a site; None = what is of no site: of all."""
    account = find_account(load_users(connection), name)
    return account is not None and is_open(account, "admin") and (account.sites is None or site in account.sites)


def name_credential(connection: Connection, name: str, otherwise: str) -> str:
    """What proves who a person is: the open account of that name, else what else is known of the way."""
    folded = fold_name(name)
    mine = [u.name for u in load_users(connection) if u.disabled_at is None and fold_name(u.name) == folded]
    return f"account {mine[0]}" if mine else otherwise


def _change(connection: Connection, name: str, **values: object) -> None:
    result = connection.execute(update(user_account).where(user_account.c.name == name).values(**values))
    if result.rowcount != 1:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward users list`")


def _read(row: Row[Any]) -> User:
    sites = None if row.sites is None else frozenset(row.sites)
    return read_record(User, row, sites=sites, has_password=row.password_hash != NO_PASSWORD)


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise RefusedError(f"role {role!r} is unknown; one of {', '.join(ROLES)}")


def _hash(name: str, password: str) -> str:
    check_strength(name, password)
    return _HASHER.hash(password)


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_hex(16))
