"""Fixtures of this folder."""

from tests.fixtures.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures
