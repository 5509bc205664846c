"""Fixtures of the tests of scenes."""

import pytest

from tests.data.drawn_scenes import make_config, work_here


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    """A service that watches `tmp_path/inbox`; the worker's function runs in this process."""
    work_here(monkeypatch)
    return make_config(tmp_path, database_url)
