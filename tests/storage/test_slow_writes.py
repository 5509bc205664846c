"""Transactions that hold the write lock too long are reported with the name of the function that opened them."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from monitor.app.checks import live
from monitor.app.checks.table import run_checks
from monitor.errors import StoreError
from monitor.hookspecs import hookimpl
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.storage import slow_writes
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
    with caplog.at_level(logging.WARNING):
        compute_for_long(database, clock_s, 2.5)
        compute_for_long(database, clock_s, 1.5)
    name = f"{__name__}:compute_for_long"
    assert database.slow_writes.list_slow() == {name: (2, 2.5)}
    assert [record.getMessage().split(" for ")[0] for record in caplog.records] == [
        f"{name} held the write lock of the database"
    ]


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
    assert text.startswith(
        f"{__name__}:compute_for_long held the write lock of the database for 2.0 s, and readings waited"
    )
    assert list_problems() == []
