"""Fixtures for folders whose tests need one database only: SQLite in every run, PostgreSQL in `make soak`.

Tests of SQL run on both databases. They are in tests/integration/store and in every module that uses the fixtures of
tests/fixtures/databases.py.
"""

from collections.abc import Iterator

import pytest

from monitor.storage.engine import Database
from tests.fixtures.databases import SQLITE_ONLY


@pytest.fixture(params=SQLITE_ONLY)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a database with empty tables."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=SQLITE_ONLY)
def filled_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Open a database with the story of tests/data/filled.py."""
    with Database(str(request.getfixturevalue(f"filled_{request.param}_url"))) as opened:
        yield opened
