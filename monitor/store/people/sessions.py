"""Who is logged in on the page: sessions that end by time, by idling, by logging out, and by the next login."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from monitor.domain.canonical import digest_text
from monitor.errors import RefusedError
from monitor.store.database.rows import load_records, read_record
from monitor.store.schema.tables import user_account, web_session

SESSION_S: Final = 12 * 3600.0  # a shift
IDLE_S: Final = SESSION_S  # without a page asked for by hand
SEEN_EVERY_S: Final = 60.0  # how exactly idling is known: at most one write a minute and session


@dataclass(frozen=True, slots=True)
class Session:
    """Who stands behind a session token."""

    name: str
    role: str
    expires_at: datetime
    seen_at: datetime
    sites: frozenset[str] | None = None  # the only ones the account may act on; None = all


def open_session(connection: Connection, name: str, now: datetime, lifetime_s: float = SESSION_S) -> tuple[str, int]:
    """Open a session for a user whose password was checked; those that the user had open end.

    Returns:
        The token, which is stored only as its hash, and how many sessions ended.

    Raises:
        RefusedError: no such open account.
    """
    u = user_account.c
    if connection.execute(select(u.name).where(u.name == name, u.disabled_at.is_(None))).first() is None:
        raise RefusedError(f"user {name!r} has no open account")
    connection.execute(delete(web_session).where(web_session.c.expires_at <= now))
    ended = end_sessions(connection, name)
    token = secrets.token_urlsafe(32)
    until = now + timedelta(seconds=lifetime_s)
    row = {"token_sha256": digest_text(token), "user_name": name, "created_at": now, "seen_at": now}
    connection.execute(insert(web_session).values(row | {"expires_at": until}))
    return token, ended


def find_session(connection: Connection, token: str, now: datetime, idle_s: float = IDLE_S) -> Session | None:
    """Who holds this token, or None where it is unknown, over by time or idling, or the account is disabled."""
    s, u = web_session.c, user_account.c
    row = connection.execute(
        select(u.name, u.role, u.sites, s.expires_at, s.seen_at)
        .join(web_session, s.user_name == u.name)
        .where(s.token_sha256 == digest_text(token), ~is_over(now, idle_s), u.disabled_at.is_(None))
    ).first()
    if row is None:
        return None
    return read_record(Session, row, sites=None if row.sites is None else frozenset(row.sites))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session as admins and its owner see it: without its token."""

    name: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def load_sessions(connection: Connection, now: datetime, idle_s: float = IDLE_S) -> list[OpenSession]:
    """Sessions that count now, by account."""
    s = web_session.c
    query = select(web_session, s.user_name.label("name")).where(~is_over(now, idle_s)).order_by(s.user_name)
    return load_records(connection, OpenSession, query)


def mark_seen(connection: Connection, token: str, now: datetime) -> None:
    """Note that the person behind a session is there."""
    connection.execute(update(web_session).where(web_session.c.token_sha256 == digest_text(token)).values(seen_at=now))


def close_session(connection: Connection, token: str) -> str | None:
    """End a session; returns whose it was, None where there is none."""
    mine = web_session.c.token_sha256 == digest_text(token)
    name = connection.execute(select(web_session.c.user_name).where(mine)).scalar()
    connection.execute(delete(web_session).where(mine))
    return name


def end_sessions(connection: Connection, name: str) -> int:
    """End all sessions of a user; returns how many there were."""
    return int(connection.execute(delete(web_session).where(web_session.c.user_name == name)).rowcount)


def is_over(now: datetime, idle_s: float) -> ColumnElement[bool]:
    """Which sessions count no more: by their time, or by so long without a page asked for by hand."""
    s = web_session.c
    return (s.expires_at <= now) | (s.seen_at <= now - timedelta(seconds=idle_s))
