"""What is asked of SQL is tried on both databases in `store`, and wherever a module takes `database_url` of all tests.

Elsewhere one database is enough; `make soak` takes both.
"""

from collections.abc import Iterator

import pytest

from monitor.store.database.engine import Database
from tests.fixtures.databases import SQLITE_ONLY


@pytest.fixture(params=SQLITE_ONLY)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an own database with the schema."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=SQLITE_ONLY)
def filled_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An open database with the story of tests/data/filled.py."""
    with Database(str(request.getfixturevalue(f"filled_{request.param}_url"))) as opened:
        yield opened
