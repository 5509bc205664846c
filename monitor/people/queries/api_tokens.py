"""Access tokens, with which programs read and act in the name of an account. Only their hashes are stored."""

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
from monitor.storage.rows import add_row, row_to_record
from monitor.text.instants import format_duration, format_iso
from monitor.text.message import Template

# The highest role of a token by its scope.
SCOPES: Final = {"read": "viewer", "act": "operator", "admin": "admin"}
LONGEST_VALIDITY_S: Final = 366 * 86400.0
# Scanners for leaked secrets recognise tokens by this prefix.
_PREFIX: Final = "slopeward_"
_UNKNOWN: Final = Template("token.unknown", "there is no token {number}; see `slopeward people tokens list`")
_REVOKED: Final = Template("token.revoked_already", "token {number} is already revoked")
_MAX_LABEL_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token, without the secret and its hash.

    Attributes:
        sites: Ids of the only sites of the token; None for all sites of the account.
    """

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
    """The present permissions of a token. They never exceed those of its account.

    Attributes:
        name: Name of the account.
        sites: Ids of the only sites that the token may read and act on; None for all sites.
    """

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
    """Create a token for an account that is not locked.

    Args:
        connection: A write transaction.
        user: Name of the account.
        label: Purpose of the token, so that people know which token to revoke.
        scope: A key of `SCOPES`.
        sites: Ids of the only sites of the token; None for all sites of the account.
        valid_s: Seconds for which the token is valid.
        now: The present time.

    Returns:
        The number of the token, and the secret, which cannot be read again.

    Raises:
        NotFoundError: There is no such account or site.
        RefusedError: The account is locked, its role is lower than the scope, it is not for one of the sites, or label,
            scope or validity is not valid.
    """
    account = find_user(connection, user)
    if account is None:
        raise NotFoundError(f"there is no user {user!r}; see `slopeward people users list`")
    if account.disabled_at is not None:
        raise RefusedError(f"the account {user!r} is locked")
    if scope not in SCOPES:
        raise RefusedError(f"scope {scope!r} is unknown; one of {', '.join(SCOPES)}")
    if ROLES.index(SCOPES[scope]) > ROLES.index(account.role):
        raise RefusedError(f"{user} has the role {account.role}, which is lower than the scope {scope}")
    label = " ".join(label.split())
    if not label or len(label) > _MAX_LABEL_LENGTH or not label.isprintable():
        raise RefusedError(f"give the purpose of the token in 1 to {_MAX_LABEL_LENGTH} characters")
    if not 60.0 <= valid_s <= LONGEST_VALIDITY_S:
        raise RefusedError(
            f"a token must be valid for at least a minute and at most {format_duration(LONGEST_VALIDITY_S)}"
        )
    site_ids = None if sites is None else sorted(set(sites))
    if site_ids is not None:
        require_sites(connection, site_ids)
        if account.sites is not None and not account.sites.issuperset(site_ids):
            raise RefusedError(f"the account {user} is for {', '.join(sorted(account.sites))} only")
    token = _PREFIX + secrets.token_urlsafe(32)
    row = {"user_name": user, "label": label, "scope": scope, "sites": site_ids, "token_sha256": digest_text(token)}
    return add_row(connection, api_token, row, created_at=now, expires_at=now + timedelta(seconds=valid_s)), token


def find_bearer(connection: Connection, token: str, now: datetime) -> Bearer | None:
    """Return the permissions of a token; None if it is unknown, expired or revoked, or its account is locked."""
    t, u = api_token.c, user_account.c
    row = connection.execute(
        select(t.scope, t.sites, u.name, u.role, u.sites.label("account_sites"))
        .join(user_account, u.name == t.user_name)
        .where(
            t.token_sha256 == digest_text(token),
            t.revoked_at.is_(None),
            t.expires_at > now,
            t.created_at <= now,
            u.disabled_at.is_(None),
        )
    ).first()
    if row is None:
        return None
    role = min(SCOPES[row.scope], row.role, key=ROLES.index)
    limits = [frozenset(limit) for limit in (row.sites, row.account_sites) if limit is not None]
    return Bearer(row.name, role, frozenset.intersection(*limits) if limits else None)


def load_api_tokens(connection: Connection) -> list[ApiToken]:
    """Load all tokens, newest first, including expired and revoked ones."""
    return [_read(row) for row in connection.execute(select(api_token).order_by(api_token.c.id.desc()))]


def find_api_token(connection: Connection, number: int) -> ApiToken:
    """Return a token.

    Raises:
        NotFoundError: There is no token with this number.
    """
    row = connection.execute(select(api_token).where(api_token.c.id == number)).first()
    if row is None:
        raise NotFoundError(_UNKNOWN(number=number))
    return _read(row)


def revoke_api_token(connection: Connection, number: int, now: datetime) -> ApiToken:
    """Revoke a token, and return it as it was before.

    Raises:
        NotFoundError: There is no token with this number.
        RefusedError: The token is already revoked.
    """
    token = find_api_token(connection, number)
    if token.revoked_at is not None:
        raise RefusedError(_REVOKED(number=number))
    connection.execute(update(api_token).where(api_token.c.id == number).values(revoked_at=now))
    return token


def find_owner_of_token(connection: Connection, number: int) -> str | None:
    """Return the account of a token, or None if there is no token with this number."""
    return connection.execute(select(api_token.c.user_name).where(api_token.c.id == number)).scalar()


def token_to_json(token: ApiToken) -> dict[str, object]:
    """Return a token as JSON, without the secret."""
    return {
        "number": token.id,
        "user": token.user,
        "label": token.label,
        "scope": token.scope,
        "sites": None if token.sites is None else sorted(token.sites),
        "created_at": format_iso(token.created_at),
        "expires_at": format_iso(token.expires_at),
    }


def _read(row: Row[Any]) -> ApiToken:
    return row_to_record(ApiToken, row, user=row.user_name, sites=None if row.sites is None else frozenset(row.sites))
