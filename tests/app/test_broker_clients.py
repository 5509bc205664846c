"""Alarms about clients of the managed broker whose messages may be lost."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.app.supervisor import CONTESTED_KEY, OVERSIZED_KEY, Supervisor
from monitor.broker.broker_log import ContestedClient, OversizedClient
from monitor.settings.service import parse_service

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def supervisor():
    config = parse_service('[broker]\nmode = "external"\nurl = "mqtt://127.0.0.1:1883"\n', "test")
    made = Supervisor(config, None, with_web=False)
    made.broker = SimpleNamespace(contested=[], oversized=[])
    made.broker.list_contested = lambda _now: made.broker.contested
    made.broker.list_oversized = lambda _now: made.broker.oversized
    return made


def check(supervisor):
    supervisor._lines.clear()
    supervisor._check_broker_clients()
    return {line.key: (line.open, line.reason) for line in supervisor._lines}


def test_a_client_whose_messages_are_too_large_is_named_once_and_ends(supervisor):
    supervisor.broker.oversized = [OversizedClient("north.G1", 3, NOW)]
    supervisor.broker.contested = [ContestedClient("north.G2", 5, NOW)]
    alarms = check(supervisor)
    assert {key: is_open for key, (is_open, _) in alarms.items()} == {
        f"{OVERSIZED_KEY}north.G1": True,
        f"{CONTESTED_KEY}north.G2": True,
    }
    reason = alarms[f"{OVERSIZED_KEY}north.G1"][1]
    assert "dropped 3 messages of 'north.G1'" in reason
    assert "1048576 bytes" in reason
    assert check(supervisor) == {}
    supervisor.broker.oversized = []
    [(key, (is_open, reason))] = check(supervisor).items()
    assert (key, is_open) == (f"{OVERSIZED_KEY}north.G1", False)
    assert "'north.G1'" in reason
