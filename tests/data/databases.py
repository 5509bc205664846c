"""For folders whose tests decide outside of SQL: SQLite; also PostgreSQL where a test asks for it or in `make soak`."""

import pytest

from tests.conftest import DATABASES


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an own database with the schema."""
    return str(request.getfixturevalue(f"{request.param}_url"))
