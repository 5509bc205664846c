"""People who may act: accounts with argon2 passwords and roles, and the web sessions they open."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from monitor.domain.alert import Actor
from monitor.domain.names import fold_name, is_same_person
from monitor.errors import NotFoundError, RefusedError
from monitor.store.tables import user_account, web_session

ROLES: Final = ("viewer", "operator", "admin")  # each may do what those before it may
SESSION_S: Final = 12 * 3600.0
SHORTEST_PASSWORD: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASHER: Final = PasswordHasher()  # argon2id with the library's current parameters (RFC 9106, low memory)


@dataclass(frozen=True, slots=True)
class User:
    """An account as others may see it: never with its hash."""

    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """Who stands behind a session token."""

    name: str
    role: str
    expires_at: datetime


def add_user(connection: Connection, name: str, password: str, role: str, now: datetime) -> None:
    """Create an account.

    Raises:
        RefusedError: bad name, unknown role, weak password, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise RefusedError(f"user name {name!r}: letters, digits and . _ @ - only, 64 at most")
    _check_role(role)
    same = next((u.name for u in load_users(connection) if is_same_person(u.name, name)), None)
    if same is not None:
        other = "" if same == name else f" as {same!r}: spellings that differ in case only are one person"
        raise RefusedError(f"user {name!r} exists already{other}")
    row = insert(user_account).values(name=name, password_hash=_hash(password), role=role, created_at=now)
    try:
        with connection.begin_nested():
            connection.execute(row)
    except IntegrityError as error:
        raise RefusedError(f"user {name!r} exists already") from error


def set_password(connection: Connection, name: str, password: str) -> None:
    """Give a new password and end all sessions of the user."""
    _change(connection, name, password_hash=_hash(password))
    connection.execute(delete(web_session).where(web_session.c.user_name == name))


def set_role(connection: Connection, name: str, role: str) -> None:
    """Give another role; it counts from the next request on."""
    _check_role(role)
    _change(connection, name, role=role)


def disable_user(connection: Connection, name: str, now: datetime) -> None:
    """Lock an account and end its sessions; the name stays, for the audit log refers to it."""
    _change(connection, name, disabled_at=now)
    connection.execute(delete(web_session).where(web_session.c.user_name == name))


def enable_user(connection: Connection, name: str) -> None:
    """Unlock an account."""
    _change(connection, name, disabled_at=None)


def load_users(connection: Connection) -> list[User]:
    """All accounts by name."""
    rows = connection.execute(select(user_account).order_by(user_account.c.name))
    return [User(row.name, row.role, row.created_at, row.disabled_at) for row in rows]


def find_user(connection: Connection, name: str) -> User | None:
    """One account, or None."""
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    return None if row is None else User(row.name, row.role, row.created_at, row.disabled_at)


def check_password(connection: Connection, name: str, password: str) -> str | None:
    """The role of the user where name and password fit and the account is open, else None.

    An unknown name costs the same time as a wrong password, so that names cannot be probed.
    """
    row = connection.execute(select(user_account).where(user_account.c.name == name)).first()
    try:
        _HASHER.verify(_nobody() if row is None else row.password_hash, password)
    except (VerificationError, InvalidHashError):
        return None
    if row is None or row.disabled_at is not None:
        return None
    return str(row.role)


def open_session(connection: Connection, name: str, now: datetime, lifetime_s: float = SESSION_S) -> str:
    """Open a session for a user whose password was checked; returns the token, which is stored only as its hash.

    Raises:
        RefusedError: no such open account.
    """
    user = find_user(connection, name)
    if user is None or user.disabled_at is not None:
        raise RefusedError(f"user {name!r} has no open account")
    connection.execute(delete(web_session).where(web_session.c.expires_at <= now))
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(web_session).values(
            token_sha256=_digest(token), user_name=name, created_at=now, expires_at=now + timedelta(seconds=lifetime_s)
        )
    )
    return token


def find_session(connection: Connection, token: str, now: datetime) -> Session | None:
    """Who holds this token, or None where it is unknown, expired, or the account is disabled."""
    row = connection.execute(
        select(user_account.c.name, user_account.c.role, web_session.c.expires_at)
        .join(web_session, web_session.c.user_name == user_account.c.name)
        .where(
            web_session.c.token_sha256 == _digest(token),
            web_session.c.expires_at > now,
            user_account.c.disabled_at.is_(None),
        )
    ).first()
    return None if row is None else Session(row.name, row.role, row.expires_at)


def close_session(connection: Connection, token: str) -> None:
    """End a session; unknown tokens are no error."""
    connection.execute(delete(web_session).where(web_session.c.token_sha256 == _digest(token)))


def may(role: str, needed: str) -> bool:
    """Whether a role reaches the needed one.

    >>> may("admin", "operator"), may("viewer", "operator")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


def require_person(actor: Actor, reason: str) -> None:
    """Make sure that an act has a person with a name and a reason.

    Raises:
        RefusedError: it has not.
    """
    if actor.kind != "person" or not fold_name(actor.name) or not reason.strip():
        raise RefusedError("a person with a name and a reason is needed: --by NAME --reason TEXT")


def require_two(connection: Connection, one: Actor, other: Actor, needed: str = "operator") -> None:
    """Make sure that two different people stand behind an act that one may not do alone.

    Where accounts exist, both must have an open one whose role suffices; before the first account a name is enough.

    Raises:
        RefusedError: they are one, one of them is no person, or has no such account.
    """
    names = [one.name.strip(), other.name.strip()]
    if any(a.kind != "person" for a in (one, other)) or not all(map(fold_name, names)):
        raise RefusedError("two people with names are needed")
    if is_same_person(*names):
        raise RefusedError(f"a second person is needed, and {names[1]!r} is the first one")
    for name in names:
        require_account(connection, name, needed)


def require_account(connection: Connection, name: str, needed: str = "operator") -> None:
    """Make sure that a name is that of an open account whose role suffices; any will do before the first account.

    Raises:
        RefusedError: it is not.
    """
    accounts = load_users(connection)
    account = next((u for u in accounts if u.name == name), None)
    account = account or next((u for u in accounts if fold_name(u.name) == fold_name(name)), None)
    if accounts and (account is None or account.disabled_at is not None or not may(account.role, needed)):
        text = f"{name!r} has no open account as {needed}, which is needed for this; see `slopeward users list`"
        raise RefusedError(text)


def _change(connection: Connection, name: str, **values: object) -> None:
    result = connection.execute(update(user_account).where(user_account.c.name == name).values(**values))
    if result.rowcount != 1:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward users list`")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise RefusedError(f"role {role!r} is unknown; one of {', '.join(ROLES)}")


def _hash(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise RefusedError(f"the password is too short; {SHORTEST_PASSWORD} characters at least")
    return _HASHER.hash(password)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_hex(16))
