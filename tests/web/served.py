"""Fixtures and functions of the tests of the page: a server on the filled database, a client and logins."""

import re
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest

from monitor.api import worker
from monitor.settings.service import load_service
from monitor.storage.service_state import write_heartbeat
from monitor.web.app import build_app
from tests.data import filled as story
from tests.data.servers.page_server import PageServer

NOW = story.NOW + timedelta(minutes=5)


@pytest.fixture
def database(filled_database):
    return filled_database


@pytest.fixture
def filled(database, filled_ids):
    with database.write() as c:
        write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, NOW)
    return filled_ids


def start_no_drill(monkeypatch):
    """Let the page start no process of a drill, because that process continues after the test."""
    started = SimpleNamespace(lines=lambda _: iter([{"began": True}]), wait=int, has_ended=False)
    monkeypatch.setattr(worker, "ChildProcess", lambda *_: started)


@contextmanager
def serving(database, now, config=None):
    """A real server on a free port of loopback, and a browser-like client of it."""
    with PageServer(lambda _: build_app(config or load_service(None, {}), database, lambda: now)) as server:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False, verify=False) as c:
            yield c


@pytest.fixture
def client(database, filled):
    with serving(database, NOW) as c:
        yield c


def log_in(client, name="bo"):
    answer = client.post("/login", data={"name": name, "password": story.PASSWORD, "to": "/alerts"})
    assert answer.status_code == 303, answer.text
    return answer


def token(client, path):
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(path).text)[1]
