"""A server over the filled database, a browser-like client of it, and who logs in: what tests of the page share."""

import importlib.util
import re
import socket
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn

from monitor.config.service import load_service
from monitor.store.service_state import stamp
from monitor.web.app import build


def load_story():
    path = Path(__file__).resolve().parents[2] / "data" / "filled.py"
    spec = importlib.util.spec_from_file_location("filled_for_web", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


story = load_story()
NOW = story.NOW + timedelta(minutes=5)


@pytest.fixture
def database(filled_database):
    return filled_database


@pytest.fixture
def filled(database, filled_ids):
    with database.write() as c:
        stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, NOW)
    return filled_ids


@contextmanager
def serving(database, now, config=None):
    """A real server on a free port of loopback, and a browser-like client of it."""
    app = build(config or load_service(None, {}), database, lambda: now)
    door = socket.socket(proto=socket.IPPROTO_TCP)  # else no TCP_NODELAY: 40 ms an answer
    door.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        address = f"http://127.0.0.1:{door.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as c:
            yield c
    finally:
        server.should_exit = True
        thread.join(10)
        door.close()


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
