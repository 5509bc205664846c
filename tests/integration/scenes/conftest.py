"""Fixtures of this folder."""

import pytest

from tests.data.drawn_scenes import make_config, work_here
from tests.integration.sqlite_alone import database_url, filled_database  # noqa: F401 - fixtures


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):  # noqa: F811
    """A service that watches `tmp_path/inbox`; the worker's function runs in this process."""
    work_here(monkeypatch)
    return make_config(tmp_path, database_url)
