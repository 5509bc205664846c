"""Fixtures of the extensions."""

from tests.integration.notify.outbox import hooks  # noqa: F401 - a fixture
from tests.integration.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures
