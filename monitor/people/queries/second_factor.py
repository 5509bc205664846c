"""The second factor of a login: six digits that change every half minute (TOTP, RFC 6238, SHA-1, steps of 30 s)."""

import base64
import hmac
import secrets
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import quote

from sqlalchemy import Connection, delete, insert, select, update

from monitor.canonical import digest_text
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import find_user
from monitor.people.tables import recovery_code, second_factor
from monitor.text.message import Template

STEP_S: Final = 30
DIGITS: Final = 6
_LATE: Final = 1  # steps that a clock of a telephone may be off, either way
_SECRET_BYTES: Final = 20
RECOVERY_CODES: Final = 8
_RECOVERY_BYTES: Final = 10  # so random that a plain hash is enough
_HAS_ONE: Final = Template("second_factor.has_one", "{name} has a second factor already; take it away first")
_NONE_WAITS: Final = Template(
    "second_factor.none_waits", "no second factor of {name} waits for its first code; begin again"
)
_WRONG: Final = Template(
    "second_factor.wrong_or_clock", "the code is wrong, or the clock of the telephone is; nothing was changed"
)


class Vault(Protocol):
    """What seals a secret, by a key that the database does not hold (`monitor.settings.sealed_texts`)."""

    def seal(self, text: str) -> str:
        """A text as the database may hold it."""

    def open(self, sealed: str) -> str:
        """Back again; raises KeyLostError."""


def code_of(secret: str, step: int, digits: int = DIGITS) -> str:
    """The code of a step (RFC 4226, section 5.3), here against appendix B of RFC 6238.

    >>> secret = base64.b32encode(b"12345678901234567890").decode()
    >>> [code_of(secret, at_s // 30, 8) for at_s in (59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000)]
    ['94287082', '07081804', '14050471', '89005924', '69279037', '65353130']
    """
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}d}"


def add_second_factor(connection: Connection, vault: Vault, name: str, now: datetime, *, pending: bool = False) -> str:
    """Ask an account for a code at every login from now on; another secret takes the place of the one before.

    `vault`: seals the secret; `pending`: ask for nothing before `confirm_second_factor` saw a first code.

    Returns:
        The address that a telephone reads; it holds the secret, and is not shown again.

    Raises:
        NotFoundError: no such account.
        RefusedError: a pending one must not take the place of one that is asked for.
    """
    if find_user(connection, name) is None:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")
    if pending and has_second_factor(connection, name):
        raise RefusedError(_HAS_ONE(name=name))
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    _forget(connection, name)
    row = {"user_name": name, "secret": vault.seal(secret), "created_at": now, "last_step": 0}
    connection.execute(insert(second_factor).values(**row, pending_since=now if pending else None))
    return f"otpauth://totp/Slopeward:{quote(name)}?secret={secret}&issuer=Slopeward&digits={DIGITS}&period={STEP_S}"


def confirm_second_factor(connection: Connection, vault: Vault, name: str, code: str, now: datetime) -> list[str]:
    """Let a pending second factor count from now on, for the telephone shows its codes.

    Returns:
        Codes for a lost telephone, each good for one login; only their hashes are kept.

    Raises:
        NotFoundError: none is pending.
        RefusedError: the code is wrong.
    """
    f = second_factor.c
    secret = connection.execute(select(f.secret).where(f.user_name == name, f.pending_since.is_not(None))).scalar()
    if secret is None:
        raise NotFoundError(_NONE_WAITS(name=name))
    step = _find_step(vault.open(secret), code, now)
    if step is None:
        raise RefusedError(_WRONG())
    connection.execute(update(second_factor).where(f.user_name == name).values(pending_since=None, last_step=step))
    codes = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    rows = [{"code_sha256": _digest(name, code), "user_name": name, "created_at": now} for code in codes]
    connection.execute(insert(recovery_code), rows)
    return ["-".join(code[k : k + 4] for k in range(0, len(code), 4)) for code in codes]


def has_second_factor(connection: Connection, name: str) -> bool:
    """Whether a login of an account takes a code."""
    f = second_factor.c
    found = select(f.user_name).where(f.user_name == name, f.pending_since.is_(None))
    return connection.execute(found).first() is not None


def count_recovery_codes(connection: Connection, name: str) -> int:
    """How many codes for a lost telephone an account has left."""
    r = recovery_code.c
    return len(connection.execute(select(r.code_sha256).where(r.user_name == name, r.used_at.is_(None))).all())


def remove_second_factor(connection: Connection, name: str) -> None:
    """Let an account log in by password alone; raises RefusedError where it does already."""
    if not has_second_factor(connection, name):
        raise RefusedError(f"{name} has no second factor")
    _forget(connection, name)


def check_second_factor(connection: Connection, vault: Vault, name: str, code: str, now: datetime) -> bool:
    """Whether a login may go on: the code is right and was not used before, or the account has no second factor.

    Args:
        connection: a write transaction; a code counts once, also for two logins at the same moment.
        code: as typed, of the telephone or one for a lost telephone; blanks do not count.

    Raises:
        KeyLostError: the secret cannot be opened any more; a code for a lost telephone still counts.
    """
    f, r = second_factor.c, recovery_code.c
    wanted = select(f.secret).where(f.user_name == name, f.pending_since.is_(None))
    secret = connection.execute(wanted).scalar()
    if secret is None:
        return True
    spare = (r.code_sha256 == _digest(name, code)) & (r.user_name == name) & r.used_at.is_(None)
    if connection.execute(update(recovery_code).where(spare).values(used_at=now)).rowcount == 1:
        return True
    step = _find_step(vault.open(secret), code, now)
    used = update(second_factor).where(f.user_name == name, f.last_step < (step or 0)).values(last_step=step)
    return step is not None and connection.execute(used).rowcount == 1


def _find_step(secret: str, code: str, now: datetime) -> int | None:
    """The step whose code this is; None where it is none of these minutes."""
    typed, present = "".join(code.split()), int(now.timestamp()) // STEP_S
    fitting = [
        step
        for step in range(present - _LATE, present + _LATE + 1)
        if hmac.compare_digest(code_of(secret, step).encode(), typed.encode())
    ]
    return fitting[0] if fitting else None


def _forget(connection: Connection, name: str) -> None:
    connection.execute(delete(second_factor).where(second_factor.c.user_name == name))
    connection.execute(delete(recovery_code).where(recovery_code.c.user_name == name))


def _digest(name: str, code: str) -> str:
    tidy = "".join(k for k in code.lower() if k.isalnum())
    return digest_text(f"{name}:{tidy}")
