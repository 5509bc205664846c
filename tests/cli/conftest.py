"""Fixtures of this folder."""

from tests.cli.test_identity import accounts, bench, call  # noqa: F401 - fixtures
from tests.fixtures.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures
