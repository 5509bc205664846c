"""Sessions of people, their known devices, and delays after wrong passwords and codes."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from monitor.canonical import digest_text
from monitor.errors import RefusedError
from monitor.people.tables import known_device, password_guess, user_account, web_session
from monitor.storage.engine import add_if_absent
from monitor.storage.rows import load_records, row_to_record
from monitor.text.names import fold_name

SESSION_S: Final = 12 * 3600.0  # length of a session: a shift
IDLE_S: Final = SESSION_S  # time without a request of the person after which a session ends
SEEN_EVERY_S: Final = 60.0  # time between updates of `seen_at`, to limit writes


@dataclass(frozen=True, slots=True)
class Session:
    """The account of a session, with its role and sites."""

    name: str
    role: str
    expires_at: datetime
    seen_at: datetime
    sites: frozenset[str] | None = None  # the only sites on which the account may act; None for all sites


def open_session(connection: Connection, name: str, now: datetime, lifetime_s: float = SESSION_S) -> tuple[str, int]:
    """Open a session for an account whose password was checked. End its other sessions.

    Returns:
        The token, of which only the hash is stored, and the number of sessions that ended.

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
    """Return the session of a token; None if it is unknown or has ended, or its account is locked."""
    s, u = web_session.c, user_account.c
    row = connection.execute(
        select(u.name, u.role, u.sites, s.expires_at, s.seen_at)
        .join(web_session, s.user_name == u.name)
        .where(s.token_sha256 == digest_text(token), ~is_session_over(now, idle_s), u.disabled_at.is_(None))
    ).first()
    if row is None:
        return None
    return row_to_record(Session, row, sites=None if row.sites is None else frozenset(row.sites))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session, without its token."""

    name: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def load_sessions(connection: Connection, now: datetime, idle_s: float = IDLE_S) -> list[OpenSession]:
    """Load the open sessions, ordered by account."""
    s = web_session.c
    query = select(web_session, s.user_name.label("name")).where(~is_session_over(now, idle_s)).order_by(s.user_name)
    return load_records(connection, OpenSession, query)


def mark_seen(connection: Connection, token: str, now: datetime) -> None:
    """Store that the person of a session sent a request."""
    connection.execute(update(web_session).where(web_session.c.token_sha256 == digest_text(token)).values(seen_at=now))


def close_session(connection: Connection, token: str) -> str | None:
    """End a session. Return the name of its account, or None if there is no such session."""
    has_token = web_session.c.token_sha256 == digest_text(token)
    name = connection.execute(select(web_session.c.user_name).where(has_token)).scalar()
    connection.execute(delete(web_session).where(has_token))
    return name


def end_sessions(connection: Connection, name: str) -> int:
    """End all sessions of an account. Return their number."""
    return int(connection.execute(delete(web_session).where(web_session.c.user_name == name)).rowcount)


def is_session_over(now: datetime, idle_s: float) -> ColumnElement[bool]:
    """Return the SQL condition for sessions that have ended, by their time or without requests for `idle_s`."""
    s = web_session.c
    return (s.expires_at <= now) | (s.seen_at <= now - timedelta(seconds=idle_s))


DEVICE_S: Final = 180 * 86400.0  # time without a login after which a device is forgotten
MOST_DEVICES: Final = 20  # newest devices of an account that are stored


def is_known_device(connection: Connection, token: str, name: str, now: datetime) -> bool:
    """Return whether an account has logged in on the device with this token."""
    d = known_device.c
    is_device = (d.token_sha256 == digest_text(token)) & (d.user_name == name)
    query = select(d.user_name).where(is_device, ~is_forgotten_device(now))
    return bool(token) and connection.execute(query).first() is not None


def remember_device(connection: Connection, token: str, name: str, now: datetime) -> str:
    """Store a login on a device. Return the token of the device, a new one for a new device.

    Several accounts can use the same device.
    """
    d = known_device.c
    query = select(d.user_name).where(d.token_sha256 == digest_text(token)).limit(1)
    if connection.execute(query).first() is None:
        token = secrets.token_urlsafe(32)
    row = {"token_sha256": digest_text(token), "user_name": name}
    if not add_if_absent(connection, known_device, {**row, "used_at": now}):
        is_device = (d.token_sha256 == row["token_sha256"]) & (d.user_name == name)
        connection.execute(update(known_device).where(is_device).values(used_at=now))
    newest = select(d.token_sha256).where(d.user_name == name).order_by(d.used_at.desc()).limit(MOST_DEVICES)
    remaining = [*connection.execute(newest).scalars()]
    connection.execute(delete(known_device).where(d.user_name == name, d.token_sha256.not_in(remaining)))
    return token


def forget_devices(connection: Connection, name: str) -> None:
    """Forget all devices of an account."""
    connection.execute(delete(known_device).where(known_device.c.user_name == name))


def is_forgotten_device(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for devices without a login for `DEVICE_S`."""
    return known_device.c.used_at <= now - timedelta(seconds=DEVICE_S)


# Wrong passwords at the command line.
FREE_PASSWORDS: Final = 3  # wrong passwords without a delay, because people mistype
FIRST_DELAY_S: Final = 1.0  # each further wrong password doubles the delay
LONGEST_DELAY_S: Final = 30.0
FORGET_PASSWORDS: Final = timedelta(minutes=15)  # time without attempts after which failures are forgotten
# Wrong codes of the second factor on the page. They are stored in the same table, with this text in place of the OS
# user. No OS user has a name with spaces.
LOGIN_CODES: Final = "codes of the page"
FREE_CODES: Final = 5
FIRST_CODE_DELAY_S: Final = 60.0
LONGEST_CODE_DELAY_S: Final = 3600.0  # with this delay, guessing a code of six digits takes years
FORGET_CODES: Final = timedelta(days=1)


def reserve_attempt(c: Connection, name: str, os_user: str, now: datetime) -> datetime:
    """Count an attempt at the command line before its password is checked. Return when the password may be checked.

    Args:
        c: a write transaction. It must end before the caller waits.
        name: name of the account.
        os_user: user of the operating system who makes the attempt.
        now: the present.

    Raises:
        RefusedError: so many attempts wait already that this one would wait for longer than `LONGEST_DELAY_S`.
    """
    g = password_guess.c
    is_row = (g.user_name == name) & (g.os_user == os_user[:128])
    add_if_absent(c, password_guess, {"user_name": name, "os_user": os_user[:128], "failures": 0, "next_at": now})
    row = c.execute(select(g.failures, g.next_at).where(is_row).with_for_update()).one()
    # The upper limit matters if the clock was set back: nobody must wait for longer than the longest delay.
    is_stale = row.next_at < now - FORGET_PASSWORDS or row.next_at > now + timedelta(seconds=2.0 * LONGEST_DELAY_S)
    failures = 0 if is_stale else row.failures
    check_at = now if is_stale else max(row.next_at, now)
    if check_at > now + timedelta(seconds=LONGEST_DELAY_S):
        raise RefusedError(f"other attempts for {name} as OS user {os_user} wait; try again in {LONGEST_DELAY_S:.0f} s")
    next_at = check_at + timedelta(seconds=compute_delay_s(failures + 1))
    c.execute(update(password_guess).where(is_row).values(failures=failures + 1, next_at=next_at))
    return check_at


def forget_attempts(c: Connection, name: str, os_user: str) -> None:
    """Forget the failures of an account and OS user after the right password."""
    g = password_guess.c
    c.execute(delete(password_guess).where(g.user_name == name, g.os_user == os_user[:128]))


def is_forgotten_attempt(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for failures that are forgotten."""
    g = password_guess.c
    return or_(and_(g.os_user != LOGIN_CODES, g.next_at < now - FORGET_PASSWORDS), g.next_at < now - FORGET_CODES)


def login_code_wait_s(c: Connection, name: str, now: datetime) -> float:
    """Return the seconds until a code of an account is checked again, from an unknown device.

    After the first wrong codes, each further one doubles the delay, also across a restart. A person reaches this step
    only with the right password, or a login at the identity provider, so only that person and the owner wait. Known
    devices have a count of their own.
    """
    next_at = c.execute(select(password_guess.c.next_at).where(*_match_codes_of(name))).scalar()
    # The upper limit matters if the clock was set back: nobody must wait for longer than the longest delay.
    return 0.0 if next_at is None else min(max(0.0, (next_at - now).total_seconds()), LONGEST_CODE_DELAY_S)


def record_login_code(c: Connection, name: str, now: datetime, *, failed: bool) -> None:
    """Count a wrong code that was given with the right password, or forget the count after a right code."""
    g = password_guess.c
    is_row = _match_codes_of(name)
    c.execute(delete(password_guess).where(*is_row, *([g.next_at < now - FORGET_CODES] if failed else [])))
    if failed:
        row = {"user_name": fold_name(name)[:64], "os_user": LOGIN_CODES, "failures": 0, "next_at": now}
        add_if_absent(c, password_guess, row)
        statement = update(password_guess).where(*is_row).values(failures=g.failures + 1)
        count = c.execute(statement.returning(g.failures)).scalar_one()
        wait_s = 0.0
        if count >= FREE_CODES:
            wait_s = min(FIRST_CODE_DELAY_S * 2.0 ** min(count - FREE_CODES, 16), LONGEST_CODE_DELAY_S)
        c.execute(update(password_guess).where(*is_row).values(next_at=now + timedelta(seconds=wait_s)))


def _match_codes_of(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return password_guess.c.user_name == fold_name(name)[:64], password_guess.c.os_user == LOGIN_CODES


def compute_delay_s(failures: int) -> float:
    """Return the delay in seconds before the next password is checked, after a number of wrong passwords.

    >>> [compute_delay_s(n) for n in (1, 3, 4, 5, 9, 1000)]
    [0.0, 0.0, 1.0, 2.0, 30.0, 30.0]
    """
    if failures <= FREE_PASSWORDS:
        return 0.0
    return min(FIRST_DELAY_S * 2.0 ** min(failures - FREE_PASSWORDS - 1, 30), LONGEST_DELAY_S)
