"""The start of the web process beside the core."""

import os
import threading
from types import SimpleNamespace

import pytest

from monitor.app.heartbeats import CANNOT_DECIDE, TROUBLE_FD, encode_line
from monitor.app.supervisor import Supervisor
from monitor.settings.service import parse_service
from monitor.web.server import follow_trouble
from tests.fixtures.waiting import wait_for


@pytest.fixture
def pipe_of_supervisor(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setenv(TROUBLE_FD, str(reader))
    return os.fdopen(writer, "wb", buffering=0)


def test_web_process_waits_for_the_first_line_of_the_supervisor(pipe_of_supervisor):
    context = SimpleNamespace(trouble="")
    results = []
    start = threading.Thread(target=lambda: results.append(follow_trouble(context)), daemon=True)
    start.start()
    start.join(0.3)
    assert start.is_alive()
    pipe_of_supervisor.write(encode_line(CANNOT_DECIDE(text="disk full")))
    start.join(10.0)
    assert results == [True]
    assert context.trouble == "cannot decide: disk full"
    pipe_of_supervisor.write(encode_line(""))
    wait_for(lambda: not context.trouble)
    pipe_of_supervisor.close()


def test_web_process_ends_if_the_supervisor_ends_before_the_core_is_ready(pipe_of_supervisor):
    pipe_of_supervisor.close()
    assert follow_trouble(SimpleNamespace(trouble="")) is False


def test_web_process_without_a_supervisor_does_not_wait(monkeypatch):
    monkeypatch.delenv(TROUBLE_FD, raising=False)
    assert follow_trouble(SimpleNamespace(trouble="")) is True


def test_supervisor_sends_the_first_line_when_the_database_has_the_schema_of_this_program(monkeypatch):
    supervisor = Supervisor(parse_service("", "x"), None)
    lines = []
    monkeypatch.setattr(supervisor.web, "send_line", lines.append)
    supervisor._send_trouble_to_web(1000.0)
    assert lines == []
    supervisor._is_ready = True
    supervisor.core.has_current_schema = False
    supervisor._send_trouble_to_web(1001.0)
    assert lines == []
    supervisor.core.has_current_schema = True
    supervisor._send_trouble_to_web(1002.0)
    assert len(lines) == 1
