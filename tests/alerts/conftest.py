"""Fixtures of this folder."""

import pytest

from tests.alerts.test_scenes import slope, stepped  # noqa: F401 - fixtures
from tests.data.watched_slope import WatchedSlope
from tests.fixtures.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures


@pytest.fixture
def bench(database):
    return WatchedSlope(database)
