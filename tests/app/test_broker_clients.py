"""Alarms about clients of the managed broker whose messages may be lost."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from monitor.app.self_monitoring.supervisor_records import SupervisorRecords
from monitor.broker.broker_log import ContestedClient, OversizedClient
from monitor.settings.service import parse_service

NOW = datetime(2026, 3, 1, tzinfo=UTC)


CONTESTED_KEY = "health:broker:client:"
OVERSIZED_KEY = "health:broker:too_large:"


@pytest.fixture
def records():
    config = parse_service('[broker]\nmode = "external"\nurl = "mqtt://127.0.0.1:1883"\n', "test")
    broker = SimpleNamespace(contested=[], oversized=[])
    broker.list_contested = lambda _now: broker.contested
    broker.list_oversized = lambda _now: broker.oversized
    return SupervisorRecords(config, None, broker)


def check(records):
    records.alarms.forget(records.alarms.pending())
    records.check()
    return {change.key: (change.open, change.reason) for change in records.alarms.pending()}


def test_alarm_names_a_client_with_too_large_messages_once_and_ends(records):
    records.broker.oversized = [OversizedClient("north.G1", 3, NOW)]
    records.broker.contested = [ContestedClient("north.G2", 5, NOW)]
    alarms = check(records)
    assert {key: is_open for key, (is_open, _) in alarms.items()} == {
        f"{OVERSIZED_KEY}north.G1": True,
        f"{CONTESTED_KEY}north.G2": True,
    }
    reason = alarms[f"{OVERSIZED_KEY}north.G1"][1]
    assert "dropped 3 messages of 'north.G1'" in reason
    assert "1048576 bytes" in reason
    assert check(records) == {}
    records.broker.oversized = []
    [(key, (is_open, reason))] = check(records).items()
    assert (key, is_open) == (f"{OVERSIZED_KEY}north.G1", False)
    assert "'north.G1'" in reason
