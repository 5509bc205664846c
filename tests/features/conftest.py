"""Fixtures of the features."""

from tests.delivery.outbox import hooks  # noqa: F401 - a fixture
from tests.fixtures.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures
