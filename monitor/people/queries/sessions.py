"""Who is logged in: sessions with their ends, devices that are known, and how guesses of a password are slowed."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from monitor.canonical import digest_text
from monitor.errors import RefusedError
from monitor.people.tables import known_device, password_guess, user_account, web_session
from monitor.storage.engine import add_if_absent
from monitor.storage.rows import load_records, read_record
from monitor.text.names import fold_name

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


DEVICE_S: Final = 180 * 86400.0  # without a login there
MOST_OF_ONE: Final = 20  # devices that an account keeps, the newest


def is_known_device(connection: Connection, token: str, name: str, now: datetime) -> bool:
    """Whether the account logged in on the device that holds this token."""
    d = known_device.c
    mine = (d.token_sha256 == digest_text(token)) & (d.user_name == name)
    return bool(token) and connection.execute(select(d.user_name).where(mine, ~is_strange(now))).first() is not None


def remember_device(connection: Connection, token: str, name: str, now: datetime) -> str:
    """Note a login on a device, whose token may serve several accounts; returns the token, new for a new device."""
    d = known_device.c
    known = connection.execute(select(d.user_name).where(d.token_sha256 == digest_text(token)).limit(1)).first()
    token = token if known is not None else secrets.token_urlsafe(32)
    row = {"token_sha256": digest_text(token), "user_name": name}
    if not add_if_absent(connection, known_device, {**row, "used_at": now}):
        mine = (d.token_sha256 == row["token_sha256"]) & (d.user_name == name)
        connection.execute(update(known_device).where(mine).values(used_at=now))
    kept = select(d.token_sha256).where(d.user_name == name).order_by(d.used_at.desc()).limit(MOST_OF_ONE)
    old = [*connection.execute(kept).scalars()]
    connection.execute(delete(known_device).where(d.user_name == name, d.token_sha256.not_in(old)))
    return token


def forget_devices(connection: Connection, name: str) -> None:
    """Make all devices of an account strange again."""
    connection.execute(delete(known_device).where(known_device.c.user_name == name))


def is_strange(now: datetime) -> ColumnElement[bool]:
    """Which devices are known no more."""
    return known_device.c.used_at <= now - timedelta(seconds=DEVICE_S)


FREE: Final = 3  # wrong passwords that cost nothing: people mistype
FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
FORGET: Final = timedelta(minutes=15)  # without any attempt
CODES: Final = "codes of the page"  # in place of an OS user; none has a name with spaces
FREE_CODES: Final = 5
FIRST_CODE_S: Final = 60.0
LONGEST_CODE_S: Final = 3600.0  # so that a code of six digits is guessed in years, not in days
FORGET_CODES: Final = timedelta(days=1)


def take_turn_to_prove(c: Connection, name: str, os_user: str, now: datetime) -> datetime:
    """Count an attempt before its password is checked; returns the instant at which it may be.

    `c`: a write transaction, which ends before the wait; `os_user`: who sits at the keyboard, as the kernel has it.

    Raises:
        RefusedError: others wait already, and the turn would be more than `LONGEST_S` away.
    """
    g = password_guess.c
    mine = (g.user_name == name) & (g.os_user == os_user[:128])
    add_if_absent(c, password_guess, {"user_name": name, "os_user": os_user[:128], "failures": 0, "next_at": now})
    row = c.execute(select(g.failures, g.next_at).where(mine).with_for_update()).one()
    # a clock that was set back makes nobody wait for longer than the longest
    stale = row.next_at < now - FORGET or row.next_at > now + timedelta(seconds=2.0 * LONGEST_S)
    failures, turn = (0, now) if stale else (row.failures, max(row.next_at, now))
    if turn > now + timedelta(seconds=LONGEST_S):
        raise RefusedError(f"others try passwords of {name} as OS user {os_user}; try again in {LONGEST_S:.0f} s")
    pause = timedelta(seconds=pause_s(failures + 1))
    c.execute(update(password_guess).where(mine).values(failures=failures + 1, next_at=turn + pause))
    return turn


def forget_attempts(c: Connection, name: str, os_user: str) -> None:
    """After the right password nobody waits."""
    g = password_guess.c
    c.execute(delete(password_guess).where(g.user_name == name, g.os_user == os_user[:128]))


def are_forgotten(now: datetime) -> ColumnElement[bool]:
    """Which attempts count no more."""
    g = password_guess.c
    return or_(and_(g.os_user != CODES, g.next_at < now - FORGET), g.next_at < now - FORGET_CODES)


def login_code_wait_s(c: Connection, name: str, now: datetime) -> float:
    """Seconds until a code of an account is looked at again, from a device that nobody knows.

    After the first wrong ones each further one doubles them, also over a restart. Whoever gets here has the password,
    or the login elsewhere, so only they and the owner wait; a device on which the account was in before has a count
    of its own.
    """
    next_at = c.execute(select(password_guess.c.next_at).where(*_codes_of(name))).scalar()
    # a clock that was set back makes nobody wait for longer than the longest
    return 0.0 if next_at is None else min(max(0.0, (next_at - now).total_seconds()), LONGEST_CODE_S)


def record_login_code(c: Connection, name: str, now: datetime, *, failed: bool) -> None:
    """Remember a wrong code that somebody gave with the right password, or forget them after a right one."""
    g, mine = password_guess.c, _codes_of(name)
    c.execute(delete(password_guess).where(*mine, *([g.next_at < now - FORGET_CODES] if failed else [])))
    if failed:
        row = {"user_name": fold_name(name)[:64], "os_user": CODES, "failures": 0, "next_at": now}
        add_if_absent(c, password_guess, row)
        more = update(password_guess).where(*mine).values(failures=g.failures + 1)
        count = c.execute(more.returning(g.failures)).scalar_one()
        wait_s = 0.0 if count < FREE_CODES else min(FIRST_CODE_S * 2.0 ** min(count - FREE_CODES, 16), LONGEST_CODE_S)
        c.execute(update(password_guess).where(*mine).values(next_at=now + timedelta(seconds=wait_s)))


def _codes_of(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return password_guess.c.user_name == fold_name(name)[:64], password_guess.c.os_user == CODES


def pause_s(failures: int) -> float:
    """How long after that many wrong passwords the next one is not looked at, s.

    >>> [pause_s(n) for n in (1, 3, 4, 5, 9, 1000)]
    [0.0, 0.0, 1.0, 2.0, 30.0, 30.0]
    """
    return 0.0 if failures <= FREE else min(FIRST_S * 2.0 ** min(failures - FREE - 1, 30), LONGEST_S)
