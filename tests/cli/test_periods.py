"""`--since` and `--until` limit lists to a period."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.alerts.queries.events import add_event
from monitor.cli.main import run_command
from monitor.readings.records import SiteEvent
from monitor.storage.engine import Database
from monitor.text.instants import format_iso, parse_time
from tests.data.watched_slope import write_service

SITE = Path(__file__).resolve().parents[2] / "configs" / "sites" / "north-bench.toml"
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def call(filled_sqlite_url, tmp_path, capsys):
    """Return a function that runs a command and returns its exit status, output and errors."""
    with Database(filled_sqlite_url) as database:
        service = str(write_service(tmp_path, database, SITE.read_text(encoding="utf-8")))

        def run(*arguments: str) -> tuple[int, str, str]:
            status = run_command([*arguments, "--config", service])
            captured = capsys.readouterr()
            return status, captured.out, captured.err

        yield run


def test_alerts_list_selects_by_the_time_of_raising(call):
    def list_ids(*arguments: str) -> list[int]:
        status, out, _ = call("alerts", "list", "--all", "--json", *arguments)
        assert status == (0 if out else 4)
        return [json.loads(line)["id"] for line in out.splitlines()]

    rows = [json.loads(line) for line in call("alerts", "list", "--all", "--json")[1].splitlines()]
    times = sorted({parse_time(row["raised_at"]) for row in rows})
    first, last = times[0], times[-1]
    assert first < last
    assert list_ids("--since", format_iso(first)) == [r["id"] for r in rows if parse_time(r["raised_at"]) > first]
    assert list_ids("--until", format_iso(first)) == [r["id"] for r in rows if parse_time(r["raised_at"]) == first]
    between = ("--since", format_iso(first - MICROSECOND), "--until", format_iso(last))
    assert list_ids(*between) == [row["id"] for row in rows]
    assert list_ids(*between, "--limit", "1") == [rows[0]["id"]]
    assert list_ids("--since", format_iso(last)) == []


def test_events_list_selects_events_that_overlap_the_period(call, filled_sqlite_url):
    def list_kinds(*arguments: str) -> list[str]:
        _, out, _ = call("events", "list", "--json", *arguments)
        return [json.loads(line)["kind"] for line in out.splitlines()]

    with Database(filled_sqlite_url) as database, database.write() as connection:
        for kind, since, until in (
            ("reservoir", "2026-02-01T00:00Z", "2026-03-20T00:00Z"),
            ("blasting", "2026-03-05T12:00Z", "2026-03-05T12:00Z"),
        ):
            event = SiteEvent("north-bench", parse_time(since), parse_time(until), kind, kind)
            add_event(connection, event, parse_time(until), "R. Mori", via="command")
    assert list_kinds("--since", "2026-03-01T00:00Z", "--until", "2026-03-03T00:00Z") == ["reservoir"]
    assert list_kinds("--since", "2026-03-05T11:00Z", "--until", "2026-03-05T13:00Z") == ["blasting", "reservoir"]
    assert "blasting" not in list_kinds("--since", "2026-03-05T12:00Z", "--until", "2026-03-06T00:00Z")
    assert "reservoir" not in list_kinds("--since", "2026-03-20T00:00Z")
    assert list_kinds("--until", "2026-02-01T00:00Z", "--limit", "1") == ["reservoir"]
    status, _, err = call("events", "list", "--until", "1999-01-01T00:00Z")
    assert (status, err) == (4, "no event in this period\n")


@pytest.mark.parametrize("command", ["alerts list", "events list", "anomalies list"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--since yesterday", "--since: "),
        ("--until 2026-03-01T06:00:00", "for example 2026-03-01T06:00:00Z"),
        ("--since 2026-03-02T00:00Z --until 2026-03-01T00:00Z", "--until must be after --since"),
    ],
)
def test_wrong_period_is_refused(command, options, message, call):
    status, out, err = call(*command.split(), *options.split())
    assert (status, out, message in err) == (1, "", True), err


def test_days_and_since_of_anomalies_exclude_each_other(call):
    status, _, err = call("anomalies", "list", "--days", "3", "--since", "2026-03-01T00:00Z")
    assert (status, err) == (1, "give either --since or --days\n")
