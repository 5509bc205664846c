"""The second factor of logins: codes of six digits that change every 30 s (TOTP, RFC 6238, SHA-1)."""

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
_CLOCK_STEPS: Final = 1  # steps by which the clock of a phone may differ, in both directions
_SECRET_BYTES: Final = 20
RECOVERY_CODES: Final = 8
_RECOVERY_BYTES: Final = 10  # 80 random bits, for which a hash without salt is enough
_HAS_ONE: Final = Template("second_factor.has_one", "{name} already has a second factor; turn it off first")
_NONE_WAITS: Final = Template(
    "second_factor.none_waits", "no second factor of {name} waits for its first code; start again"
)
_WRONG: Final = Template(
    "second_factor.wrong_or_clock", "the code is wrong, or the clock of the phone is wrong; nothing was changed"
)


class Vault(Protocol):
    """Encrypts secrets with a key that is not in the database (`monitor.settings.vault`)."""

    def seal(self, text: str) -> str:
        """Return the encrypted text."""

    def open(self, sealed: str) -> str:
        """Return the decrypted text; raises KeyLostError."""


def code_of(secret: str, step: int, digits: int = DIGITS) -> str:
    """Return the code of a time step (RFC 4226, section 5.3). The example is that of RFC 6238, appendix B.

    >>> secret = base64.b32encode(b"12345678901234567890").decode()
    >>> [code_of(secret, at_s // 30, 8) for at_s in (59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000)]
    ['94287082', '07081804', '14050471', '89005924', '69279037', '65353130']
    """
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}d}"


def add_second_factor(connection: Connection, vault: Vault, name: str, now: datetime, *, pending: bool = False) -> str:
    """Create the secret of a second factor for an account. It replaces the previous secret.

    Args:
        connection: a write transaction.
        vault: encrypts the secret.
        name: name of the account.
        now: the present.
        pending: whether logins need no code until `confirm_second_factor` has checked a first code.

    Returns:
        The otpauth address for an authenticator app. It contains the secret, which cannot be read again.

    Raises:
        NotFoundError: no such account.
        RefusedError: `pending`, and the account has a confirmed second factor.
    """
    if find_user(connection, name) is None:
        raise NotFoundError(f"there is no user {name!r}; see `slopeward people users list`")
    if pending and has_second_factor(connection, name):
        raise RefusedError(_HAS_ONE(name=name))
    secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    _delete_secret_and_codes(connection, name)
    row = {"user_name": name, "secret": vault.seal(secret), "created_at": now, "last_step": 0}
    connection.execute(insert(second_factor).values(**row, pending_since=now if pending else None))
    return f"otpauth://totp/Slopeward:{quote(name)}?secret={secret}&issuer=Slopeward&digits={DIGITS}&period={STEP_S}"


def confirm_second_factor(connection: Connection, vault: Vault, name: str, code: str, now: datetime) -> list[str]:
    """Check the first code of a pending second factor. From then on logins need a code.

    Returns:
        Recovery codes for a lost phone. Each is valid for one login, and only their hashes are stored.

    Raises:
        NotFoundError: no second factor is pending.
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
    return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes]


def has_second_factor(connection: Connection, name: str) -> bool:
    """Return whether logins of an account need a code."""
    f = second_factor.c
    query = select(f.user_name).where(f.user_name == name, f.pending_since.is_(None))
    return connection.execute(query).first() is not None


def count_recovery_codes(connection: Connection, name: str) -> int:
    """Return the number of unused recovery codes of an account."""
    r = recovery_code.c
    return len(connection.execute(select(r.code_sha256).where(r.user_name == name, r.used_at.is_(None))).all())


def remove_second_factor(connection: Connection, name: str) -> None:
    """Turn off the second factor of an account; raises RefusedError if it is off."""
    if not has_second_factor(connection, name):
        raise RefusedError(f"{name} has no second factor")
    _delete_secret_and_codes(connection, name)


def check_second_factor(connection: Connection, vault: Vault, name: str, code: str, now: datetime) -> bool:
    """Return whether a code is right and was not used before, or the account has no second factor.

    Args:
        connection: a write transaction, so that each code is valid once, also for two logins at the same moment.
        vault: decrypts the secret.
        name: name of the account.
        code: the code as typed, from the phone or a recovery code. Blanks are ignored.
        now: the present.

    Raises:
        KeyLostError: the key of the secret is lost. Recovery codes still work.
    """
    f, r = second_factor.c, recovery_code.c
    query = select(f.secret).where(f.user_name == name, f.pending_since.is_(None))
    secret = connection.execute(query).scalar()
    if secret is None:
        return True
    is_unused = (r.code_sha256 == _digest(name, code)) & (r.user_name == name) & r.used_at.is_(None)
    if connection.execute(update(recovery_code).where(is_unused).values(used_at=now)).rowcount == 1:
        return True
    step = _find_step(vault.open(secret), code, now)
    if step is None:
        return False
    mark_used = update(second_factor).where(f.user_name == name, f.last_step < step).values(last_step=step)
    return connection.execute(mark_used).rowcount == 1


def _find_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step of a code near the present, or None if the code is wrong."""
    typed = "".join(code.split())
    present = int(now.timestamp()) // STEP_S
    steps = [
        step
        for step in range(present - _CLOCK_STEPS, present + _CLOCK_STEPS + 1)
        if hmac.compare_digest(code_of(secret, step).encode(), typed.encode())
    ]
    return steps[0] if steps else None


def _delete_secret_and_codes(connection: Connection, name: str) -> None:
    connection.execute(delete(second_factor).where(second_factor.c.user_name == name))
    connection.execute(delete(recovery_code).where(recovery_code.c.user_name == name))


def _digest(name: str, code: str) -> str:
    plain_code = "".join(character for character in code.lower() if character.isalnum())
    return digest_text(f"{name}:{plain_code}")
