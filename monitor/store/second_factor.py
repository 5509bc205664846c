"""The second factor of a login: six digits that change every half minute (TOTP, RFC 6238, SHA-1, steps of 30 s)."""

import base64
import hmac
import secrets
from datetime import datetime
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, delete, insert, select, update

from monitor.errors import NotFoundError, RefusedError
from monitor.store.tables import second_factor
from monitor.store.users import find_user

STEP_S: Final = 30
DIGITS: Final = 6
_LATE: Final = 1  # steps that a clock of a telephone may be off, either way
_SECRET_BYTES: Final = 20


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


def add_second_factor(connection: Connection, name: str, now: datetime) -> str:
    """Ask an account for a code at every login from now on; another secret takes the place of the one before.

    Returns:
        The address that a telephone reads; it holds the secret, and is not shown again.

    Raises:
        NotFoundError: no such account.
    """
    if find_user(connection, name) is None:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward users list`")
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    connection.execute(delete(second_factor).where(second_factor.c.user_name == name))
    row = {"user_name": name, "secret": secret, "created_at": now, "last_step": 0}
    connection.execute(insert(second_factor).values(row))
    return f"otpauth://totp/Slopeward:{quote(name)}?secret={secret}&issuer=Slopeward&digits={DIGITS}&period={STEP_S}"


def has_second_factor(connection: Connection, name: str) -> bool:
    """Whether a login of an account takes a code."""
    found = select(second_factor.c.user_name).where(second_factor.c.user_name == name)
    return connection.execute(found).first() is not None


def remove_second_factor(connection: Connection, name: str) -> None:
    """Let an account log in by password alone; raises RefusedError where it does already."""
    if connection.execute(delete(second_factor).where(second_factor.c.user_name == name)).rowcount != 1:
        raise RefusedError(f"{name} has no second factor")


def check_second_factor(connection: Connection, name: str, code: str, now: datetime) -> bool:
    """Whether a login may go on: the code is right and was not used before, or the account has no second factor.

    Args:
        connection: a write transaction; a code counts once, also for two logins at the same moment.
        name: the account, whose password was right.
        code: as typed; blanks do not count.
        now: the instant of the login.
    """
    f = second_factor.c
    secret = connection.execute(select(f.secret).where(f.user_name == name)).scalar()
    if secret is None:
        return True
    typed, present = "".join(code.split()), int(now.timestamp()) // STEP_S
    fitting = [
        step for step in range(present - _LATE, present + _LATE + 1)
        if hmac.compare_digest(code_of(secret, step).encode(), typed.encode())
    ]  # fmt: skip
    if not fitting:
        return False
    used = update(second_factor).where(f.user_name == name, f.last_step < fitting[0]).values(last_step=fitting[0])
    return connection.execute(used).rowcount == 1
