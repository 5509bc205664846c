"""Guessing is slow: passwords at the command line, and codes of the second factor on the page.

At the command line each check has its turn, and each wrong one puts the next turn off.

The turns of an account and a user of the operating system are kept in the database, so that commands side by side do
not guess faster than one after another. Nobody keeps another out: who is another user of the operating system has turns
of their own, and a turn is never more than `LONGEST_S` away.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from monitor.domain.names import fold_name
from monitor.errors import RefusedError
from monitor.store.database.engine import add_if_absent
from monitor.store.schema.tables import password_guess

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

    Args:
        c: a write transaction, which ends before the wait.
        name: the account.
        os_user: who sits at the keyboard, as the kernel has it.
        now: the present.

    Raises:
        RefusedError: others wait already, and the turn would be more than `LONGEST_S` away.
    """
    g = password_guess.c
    mine = (g.user_name == name) & (g.os_user == _key(os_user))
    add_if_absent(c, password_guess, {"user_name": name, "os_user": _key(os_user), "failures": 0, "next_at": now})
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
    c.execute(delete(password_guess).where(g.user_name == name, g.os_user == _key(os_user)))


def are_forgotten(now: datetime) -> ColumnElement[bool]:
    """Which attempts count no more."""
    g = password_guess.c
    return or_(and_(g.os_user != CODES, g.next_at < now - FORGET), g.next_at < now - FORGET_CODES)


def code_wait_s(c: Connection, name: str, now: datetime) -> float:
    """Seconds until a code of an account is looked at again, from a device that nobody knows.

    After the first wrong ones each further one doubles them, also over a restart. Whoever gets here has the password,
    or the login elsewhere, so only they and the owner wait; a device on which the account was in before has a count
    of its own.
    """
    next_at = c.execute(select(password_guess.c.next_at).where(*_codes_of(name))).scalar()
    # a clock that was set back makes nobody wait for longer than the longest
    return 0.0 if next_at is None else min(max(0.0, (next_at - now).total_seconds()), LONGEST_CODE_S)


def note_code(c: Connection, name: str, now: datetime, *, failed: bool) -> None:
    """Remember a wrong code that somebody gave with the right password, or forget them after a right one."""
    g, mine = password_guess.c, _codes_of(name)
    c.execute(delete(password_guess).where(*mine, *([g.next_at < now - FORGET_CODES] if failed else [])))
    if failed:
        row = {"user_name": _fold(name), "os_user": CODES, "failures": 0, "next_at": now}
        add_if_absent(c, password_guess, row)
        count = c.execute(
            update(password_guess).where(*mine).values(failures=g.failures + 1).returning(g.failures)
        ).scalar_one()
        wait_s = 0.0 if count < FREE_CODES else min(FIRST_CODE_S * 2.0 ** min(count - FREE_CODES, 16), LONGEST_CODE_S)
        c.execute(update(password_guess).where(*mine).values(next_at=now + timedelta(seconds=wait_s)))


def _codes_of(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return password_guess.c.user_name == _fold(name), password_guess.c.os_user == CODES


def _fold(name: str) -> str:
    return fold_name(name)[:64]


def pause_s(failures: int) -> float:
    """How long after that many wrong passwords the next one is not looked at, s.

    >>> [pause_s(n) for n in (1, 3, 4, 5, 9, 1000)]
    [0.0, 0.0, 1.0, 2.0, 30.0, 30.0]
    """
    return 0.0 if failures <= FREE else min(FIRST_S * 2.0 ** min(failures - FREE - 1, 30), LONGEST_S)


def _key(os_user: str) -> str:
    return os_user[:128]
