"""The command line prints states in words and times in the zone of the site. `--json` prints stored names and UTC."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select, update

from monitor.alerts.records import AlertState
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.decision.conditions import NEWEST_READING
from monitor.storage.engine import Database
from monitor.text.instants import parse_time
from monitor.text.local_time import format_instant, format_local, use_zone
from monitor.text.message import Timestamp
from monitor.web.parts.templating import format_minute, render_text
from tests.data.watched_slope import write_service
from tests.property.test_stored_names_in_messages import find_stored_names

STORED_STATES = [state for state in AlertState if "_" in state]


@pytest.fixture
def service(filled_sqlite_url, tmp_path):
    with Database(filled_sqlite_url) as database:
        yield str(write_service(tmp_path, database, SITE.read_text(encoding="utf-8")))


def read_output(capsys, service, *arguments):
    run_command([*arguments, "--config", service])
    return capsys.readouterr().out


def test_alerts_are_printed_in_words(service, filled_sqlite_url, capsys):
    with Database(filled_sqlite_url) as database, database.write() as connection:
        numbers = connection.execute(select(alert.c.id).where(alert.c.closed_at.is_(None))).scalars()
        for number, state in zip(numbers.all(), STORED_STATES, strict=False):
            connection.execute(update(alert).where(alert.c.id == number).values(state=state))
    rows = [json.loads(line) for line in read_output(capsys, service, "alerts", "list", "--all", "--json").splitlines()]
    assert {*STORED_STATES} <= {row["state"] for row in rows}
    listed = read_output(capsys, service, "alerts", "list", "--all")
    shown = [read_output(capsys, service, "alerts", "show", str(row["id"])) for row in rows]
    for text in (listed, *shown, read_output(capsys, service, "status")):
        assert [line for line in text.splitlines() if find_stored_names(line)] == []
    for state in STORED_STATES:
        assert state.replace("_", " ") in listed
        assert any(f", {state.replace('_', ' ')}" in text.splitlines()[0] for text in shown)


# ---- times are in the zone of the site for people, and in UTC for programs and with `--utc` ----
SITE = Path(__file__).resolve().parents[2] / "configs" / "sites" / "north-bench.toml"


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["alerts", "list", "--all"],
        ["alerts", "show", "2"],
        ["instruments", "list"],
        ["instruments", "show", "north-bench", "G1"],
        ["evaluate", "north-bench", "--dry-run"],
    ],
    ids=" ".join,
)
def test_times_are_in_the_zone_of_the_site_unless_utc_is_requested(service, capsys, verb):
    local, utc = read_output(capsys, service, *verb), read_output(capsys, service, *verb, "--utc")
    assert " CET" in local
    assert " CET" not in utc
    assert " UTC" in utc


def test_json_always_contains_utc(service, capsys):
    outputs = [
        read_output(capsys, service, "alerts", "list", "--all", "--json", *options) for options in ([], ["--utc"])
    ]
    assert outputs[0] == outputs[1]
    assert all(json.loads(line)["raised_at"].endswith("Z") for line in outputs[0].splitlines())


def test_repeated_hour_is_printed_with_its_offset():
    first, second = "2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"
    with use_zone("Europe/Zurich"):
        assert (format_minute(first), format_minute(second)) == ("2026-10-25 02:30 +02:00", "2026-10-25 02:30 +01:00")
        assert format_instant(parse_time(second)) == "2026-10-25 02:30 +01:00"
        assert ">2026-10-25 02:30 +01:00</time>" in render_text(NEWEST_READING(at=Timestamp.of(parse_time(second))))
        assert format_minute(second, "Asia/Tokyo") == "2026-10-25 10:30 JST", (
            "the offset is printed for a row in another zone"
        )
    assert format_instant(parse_time(first)) == "2026-10-25T00:30Z", (
        "without a zone, the time is in UTC as for programs"
    )
    with use_zone("America/St_Johns"):
        assert format_minute("2026-07-01T00:00:00Z") == "2026-06-30 21:30"


def test_unknown_zone_of_a_site_file_is_printed_as_utc():
    assert format_local(parse_time("2026-03-01T06:00:00Z"), "Mars/Base") == ("2026-03-01 06:00")
