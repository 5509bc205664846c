"""Accounts for tests, with passwords that are cheap to hash and to check."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from sqlalchemy import Connection

from monitor.people.queries.users import add_user

CHEAP_HASHER: Final = PasswordHasher.from_parameters(CHEAPEST)


def add_account(
    connection: Connection, name: str, password: str, role: str, now: datetime, sites: Iterable[str] | None = None
) -> None:
    """Create an account whose password takes a millisecond to check.

    A password that the service hashes takes 64 MiB of memory and a tenth of a second. The hash contains its
    parameters, so the service checks a cheap hash cheaply.
    """
    add_user(connection, name, password, role, now, sites, CHEAP_HASHER)
