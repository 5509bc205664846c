"""Tokens by which programs read and act in the name of an account: scope, sites, an end; only their hash is kept."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from monitor.canonical import digest_text
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import ROLES, find_user, require_sites
from monitor.people.tables import api_token, user_account
from monitor.storage.rows import add_row, read_record
from monitor.text.instants import format_duration, format_iso
from monitor.text.message import Template

SCOPES: Final = {"read": "viewer", "act": "operator", "admin": "admin"}  # scope -> the role it reaches at most
LONGEST_S: Final = 366 * 86400.0
_MARK: Final = "slopeward_"  # scanners for leaked secrets know a token by it
_UNKNOWN: Final = Template("token.unknown", "there is no token {number}; see `slopeward people tokens list`")
_REVOKED: Final = Template("token.revoked_already", "token {number} is revoked already")
_LABEL: Final = 64  # characters


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as others may see it: never itself, nor its hash."""

    id: int
    user: str
    label: str
    scope: str
    sites: frozenset[str] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a token is good for now: never more than its account."""

    name: str
    role: str
    sites: frozenset[str] | None


def add_api_token(
    connection: Connection,
    user: str,
    label: str,
    scope: str,
    sites: Iterable[str] | None,
    valid_s: float,
    now: datetime,
) -> tuple[int, str]:
    """Make a token for an open account.

    Args:
        user: the account in whose name it is used.
        label: what it is for, so that people know which one to revoke.
        scope: read, act or admin.
        sites: the only ones; None = all those of the account.

    Returns:
        Its number, and the token itself, which nobody can read again.

    Raises:
        NotFoundError: no such account or site.
        RefusedError: the account is locked or may less than the scope says; a bad label, scope or time.
    """
    account = find_user(connection, user)
    if account is None:
        raise NotFoundError(f"there is no user {user!r}; see `slopeward people users list`")
    if account.disabled_at is not None:
        raise RefusedError(f"the account {user!r} is locked")
    if scope not in SCOPES:
        raise RefusedError(f"scope {scope!r} is unknown; one of {', '.join(SCOPES)}")
    if ROLES.index(SCOPES[scope]) > ROLES.index(account.role):
        raise RefusedError(f"{user} is {account.role}, and may do less than the scope {scope} says")
    label = " ".join(label.split())
    if not label or len(label) > _LABEL or not label.isprintable():
        raise RefusedError(f"say in 1 to {_LABEL} characters what the token is for")
    if not 60.0 <= valid_s <= LONGEST_S:
        raise RefusedError(f"a token is valid for a minute at least and {format_duration(LONGEST_S)} at most")
    wanted = None if sites is None else sorted(set(sites))
    if wanted is not None:
        require_sites(connection, wanted)
        if account.sites is not None and not account.sites.issuperset(wanted):
            raise RefusedError(f"{user} is for {', '.join(sorted(account.sites))} only")
    token = _MARK + secrets.token_urlsafe(32)
    row = {"user_name": user, "label": label, "scope": scope, "sites": wanted, "token_sha256": digest_text(token)}
    return add_row(connection, api_token, row, created_at=now, expires_at=now + timedelta(seconds=valid_s)), token


def find_bearer(connection: Connection, token: str, now: datetime) -> Bearer | None:
    """Who a token speaks for, or None where it is unknown, expired or revoked, or the account is locked."""
    k, u = api_token.c, user_account.c
    row = connection.execute(
        select(k.scope, k.sites, u.name, u.role, u.sites.label("own"))
        .join(user_account, u.name == k.user_name)
        .where(
            k.token_sha256 == digest_text(token),
            k.revoked_at.is_(None),
            k.expires_at > now,
            k.created_at <= now,
            u.disabled_at.is_(None),
        )
    ).first()
    if row is None:
        return None
    role = min(SCOPES[row.scope], row.role, key=ROLES.index)
    limits = [frozenset(limit) for limit in (row.sites, row.own) if limit is not None]
    return Bearer(row.name, role, frozenset.intersection(*limits) if limits else None)


def load_api_tokens(connection: Connection) -> list[ApiToken]:
    """All tokens, the newest first, those that are over as well."""
    return [_read(row) for row in connection.execute(select(api_token).order_by(api_token.c.id.desc()))]


def find_api_token(connection: Connection, number: int) -> ApiToken:
    """One token; raises NotFoundError."""
    row = connection.execute(select(api_token).where(api_token.c.id == number)).first()
    if row is None:
        raise NotFoundError(_UNKNOWN(number=number))
    return _read(row)


def revoke_api_token(connection: Connection, number: int, now: datetime) -> ApiToken:
    """End a token at once; returns which it was.

    Raises:
        NotFoundError: there is none of that number.
        RefusedError: it is revoked already.
    """
    found = find_api_token(connection, number)
    if found.revoked_at is not None:
        raise RefusedError(_REVOKED(number=number))
    connection.execute(update(api_token).where(api_token.c.id == number).values(revoked_at=now))
    return found


def find_owner_of_token(connection: Connection, number: int) -> str | None:
    """Whose a token is; None where there is none of that number."""
    return connection.execute(select(api_token.c.user_name).where(api_token.c.id == number)).scalar()


def token_to_json(one: ApiToken) -> dict[str, object]:
    """What others may see of it."""
    return {
        "number": one.id,
        "user": one.user,
        "label": one.label,
        "scope": one.scope,
        "sites": None if one.sites is None else sorted(one.sites),
        "created_at": format_iso(one.created_at),
        "expires_at": format_iso(one.expires_at),
    }


def _read(row: Row[Any]) -> ApiToken:
    return read_record(ApiToken, row, user=row.user_name, sites=None if row.sites is None else frozenset(row.sites))
