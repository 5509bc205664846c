"""Transactions that hold the write lock too long are reported with the name of the function that opened them."""

import importlib.util
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from monitor.alerts.acts.call import ActCall
from monitor.app.checks import live
from monitor.app.checks.table import run_checks
from monitor.errors import StoreError
from monitor.hookspecs import hookimpl
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.storage import slow_writes
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from tests.data import site_text

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def clock_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock that measures transactions. The list contains the time in seconds."""
    seconds = [0.0]
    monkeypatch.setattr(slow_writes.time, "monotonic", lambda: seconds[0])
    return seconds


def compute_for_long(database: Database, clock_s: list[float], seconds: float) -> None:
    with database.write() as connection:
        write_heartbeat(connection, "test", {}, NOW)
        clock_s[0] += seconds


def test_slow_write_is_named_and_logged_once(
    database: Database, clock_s: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    compute_for_long(database, clock_s, 0.9)
    assert database.slow_writes.list_slow() == {}
    with caplog.at_level(logging.DEBUG, logger=slow_writes.__name__):
        compute_for_long(database, clock_s, 2.5)
        compute_for_long(database, clock_s, 1.5)
    name = f"{__name__}:compute_for_long"
    assert database.slow_writes.list_slow() == {name: (2, 2.5)}
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", 'the package "tests" held the database for 2.5 s; further times are counted'),
        ("DEBUG", f"the write transaction of 2.5 s was opened by {name}"),
    ]


def test_act_is_named_after_the_function_that_opened_its_transaction(database: Database, clock_s: list[float]) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError

    actor = Actor("ada")
    call = ActCall(db=database, actor=actor, now=NOW, find_site=refuse, check_site=refuse, config=ServiceConfig())

    def acknowledge() -> None:
        with call.write():
            clock_s[0] += 4.0

    acknowledge()
    [name] = database.slow_writes.list_slow()
    assert name.endswith("acknowledge")
    assert name.startswith(f"{__name__}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("monitor.alerts.acts.on_alerts:acknowledge", "acknowledging an alert"),
        ("monitor.alerts.acts.on_alerts:close", "an action of a person"),
        ("monitor.alerts.evaluate:_store", "storing the evaluation of a site"),
        ("monitor.features.sources.poll:run", 'the feature "sources"'),
        ("slopeward_earth.points.looks:run", 'the package "slopeward_earth"'),
        (slow_writes.UNKNOWN, "a write transaction"),
    ],
)
def test_transaction_is_described_in_words(name: str, text: str) -> None:
    assert slow_writes.describe_write(name) == text


@pytest.mark.parametrize("name", [name for name in slow_writes.TASKS if name != slow_writes.UNKNOWN])
def test_described_module_and_function_exist(name: str) -> None:
    module, _, function = name.partition(":")
    assert importlib.util.find_spec(module) is not None
    if function:
        assert callable(getattr(importlib.import_module(module), function))


def test_failing_transaction_is_measured(database: Database, clock_s: list[float]) -> None:
    def fail() -> None:
        with database.write():
            clock_s[0] += 3.0
            raise StoreError("refused")

    with pytest.raises(StoreError):
        fail()
    assert list(database.slow_writes.list_slow().values()) == [(1, 3.0)]


def test_slow_plugin_in_the_transaction_of_ingest_is_named(
    database: Database, clock_s: list[float], add_plugin: Callable[[object], None]
) -> None:
    class SlowPlugin:
        @hookimpl
        def readings_stored(self) -> None:
            clock_s[0] += 4.0

    add_plugin(SlowPlugin())
    text = site_text.head("bench") + site_text.station("T1", site_text.series("temperature", "degC"))
    site = parse_site(text, "bench.toml")
    payload = json.dumps({"time": NOW.isoformat(), "temperature_degc": 4.0}).encode()
    Pipeline(database, {"bench": site}, lambda: NOW).store(
        [BrokerMessage("slopeward/v1/bench/T1/obs", payload, NOW, "live")]
    )
    assert database.slow_writes.list_slow() == {"monitor.ingest.pipeline:Pipeline._commit (plugin test-0)": (1, 4.0)}


def test_health_reports_slow_writes_with_their_name(database: Database, clock_s: list[float]) -> None:
    counts = {"slow_writes": 0}

    def has_grown(key: str, count: int) -> bool:
        count_before, counts[key] = counts[key], count
        return count > count_before

    def list_problems() -> list[str]:
        write_times = live.WriteTimes(database.slow_writes.list_slow(), has_grown)
        return [finding.text for finding in run_checks(write_times) if finding.is_wrong]

    assert list_problems() == []
    compute_for_long(database, clock_s, 2.0)
    [text] = list_problems()
    assert text.startswith('the package "tests" held the database for 2.0 s, and readings waited')
    assert list_problems() == []
