"""Audits of broker, backups and database, and records of outages with late and missing readings."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from monitor.alerts.tables import alert
from monitor.app.checks import broker_audit
from monitor.app.checks.broker import DroppedMessages
from monitor.app.checks.machine import DatabaseFacts, Machine
from monitor.app.checks.table import read_rows, run_checks
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.app.self_monitoring.outages import OutageWatch
from monitor.broker import audit
from monitor.broker.access import parse_access
from monitor.broker.probe import BrokerFacts
from monitor.ingest import jobs as outages
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import parse_service
from monitor.storage.backup_tables import backup_run
from monitor.storage.engine import Database
from monitor.storage.service_state import BAD, OK, WARN, CheckRow, load_checks, save_checks
from monitor.storage.views import load_view
from tests.data.rows import insert_rows
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
CONFIG = parse_service("", "t")


def make_status(*, connected=True, drained=True, database_busy=False):
    return {
        "connected": {"live": connected},
        "drained": connected and drained,
        "database_busy_since": "x" if database_busy else None,
    }


class MinuteClock:
    """Clock that the test sets in minutes after NOW."""

    def __init__(self):
        self.minutes = 0.0

    def __call__(self):
        return NOW + timedelta(minutes=self.minutes)


def store_reading(connection, station, minutes, received):
    observed_at = NOW + timedelta(minutes=minutes)
    received_at = NOW + timedelta(minutes=received)
    add_observations(
        connection, [Observation("s", station, "strain", "microstrain", observed_at, received_at, minutes)], NOW
    )


def test_outage_is_recorded_with_late_and_missing_readings(database):
    clock = MinuteClock()
    watch = OutageWatch(database, clock)
    watch.update(make_status())
    status_by_minute = {
        1.2: make_status(connected=False),
        10: make_status(connected=False),
        20: make_status(connected=False),
        60: make_status(drained=False),
    }
    for minutes in (0.4, 0.8, 1, 1.2, 10, 20, 60, 62, 62.4):
        clock.minutes = minutes
        watch.update(status_by_minute.get(minutes, make_status()))
    with database.write() as connection:
        for station in ("G1", "G2"):
            row = f"station_state site=s station={station} state=ok since=+0m reason= votes=yes"
            insert_rows(connection, NOW, f"{row} expected_interval_s=600")
        store_reading(connection, "G1", 5, 5)  # received in time
        for minutes in (15, 25, 35):
            store_reading(connection, "G1", minutes, 61)
        store_reading(connection, "G1", 65, 65)  # after the outage
    assert outages.run(database, CONFIG, None, NOW + timedelta(minutes=75)) == "1 outages counted"
    with database.read() as connection:
        (outage,) = load_view(connection, "outages")
        rows = {row["station"]: row for row in load_view(connection, "outage_stations")}
    clock_times = [outage[f"{name}_at"][11:16] for name in ("from", "back", "drained")]
    assert (outage["cause"], *clock_times) == ("broker", "06:01", "07:00", "07:02")
    g1, g2 = rows["G1"], rows["G2"]
    assert (g1["expected"], g1["received"], g1["late"], g1["missing"]) == (5, 4, 3, 1)
    assert (g2["expected"], g2["received"], g2["late"], g2["missing"]) == (5, 0, 0, 5)
    assert (outage["late"], outage["missing"]) == (3, 6)
    tell(database, store_reading, "G2", 45, 300)  # repeated hours later
    outages.run(database, CONFIG, None, NOW + timedelta(hours=6))
    assert ask(database, load_view, "outage_stations", station="G2")[0]["missing"] == 4
    assert outages.run(database, CONFIG, None, NOW + timedelta(days=3)) == "1 outages counted"
    assert (
        outages.run(database, CONFIG, None, NOW + timedelta(days=4)) == "0 outages counted"
    )  # later readings are no longer counted


def test_stop_of_the_service_is_an_outage_and_a_restart_is_none(database):

    clock = MinuteClock()
    OutageWatch(database, clock).update(make_status())
    clock.minutes = 0.3
    OutageWatch(database, clock).update(make_status())
    clock.minutes = 40
    watch_after_stop = OutageWatch(database, clock)
    watch_after_stop.update(make_status(drained=False))
    clock.minutes = 41
    watch_after_stop.update(make_status())
    (outage,) = ask(database, load_view, "outages")
    assert (outage["cause"], outage["back_at"][11:16], outage["drained_at"][11:16]) == ("service", "06:40", "06:41")


def test_burst_of_readings_is_no_outage_and_a_suspended_machine_is_one(database):

    clock = MinuteClock()
    watch = OutageWatch(database, clock)
    watch.update(make_status())
    for minutes in (0.4, 0.8, 1.2):
        clock.minutes = minutes
        watch.update(make_status(drained=False))
    clock.minutes = 1.5
    watch.update(make_status())
    assert ask(database, load_view, "outages") == []
    clock.minutes = 90  # the watch was not updated in between
    watch.update(make_status())
    (outage,) = ask(database, load_view, "outages")
    assert (outage["cause"], outage["from_at"][11:16], outage["back_at"][11:16]) == ("service", "06:01", "07:30")


def test_short_outage_is_a_restart_even_if_storing_takes_long(database):
    clock = MinuteClock()
    watch = OutageWatch(database, clock)
    watch.update(make_status())
    for seconds, status in (
        (5, make_status(connected=False)),
        (20, make_status(drained=False)),
        (35, make_status()),
    ):
        clock.minutes = seconds / 60
        watch.update(status)
    assert ask(database, load_view, "outages") == []


def test_cause_is_the_service_if_the_broker_is_not_connected_yet_after_a_suspension(database):
    clock = MinuteClock()
    watch = OutageWatch(database, clock)
    watch.update(make_status())
    for minutes, status in ((60, make_status(connected=False)), (61, make_status())):
        clock.minutes = minutes
        watch.update(status)
    (outage,) = ask(database, load_view, "outages")
    assert (outage["cause"], outage["back_at"][11:16]) == ("service", "07:01")
    # The next outage has a cause of its own.
    for minutes, status in ((61.2, make_status(connected=False)), (70, make_status())):
        clock.minutes = minutes
        watch.update(status)
    assert [row["cause"] for row in ask(database, load_view, "outages", order_by=("from_at",))] == ["service", "broker"]


def test_check_that_no_longer_exists_is_removed_and_checks_of_others_stay(database):
    rows = [CheckRow(name, BAD, "found") for name in ("disk.broker", "broker.queue", "clock")]
    tell(database, save_checks, rows, NOW)
    is_replaced = lambda name: not name.startswith("broker.")  # noqa: E731
    removed = tell(database, save_checks, [CheckRow("clock", OK, "found")], NOW, is_replaced)
    assert (removed, set(ask(database, load_checks))) == (["disk.broker"], {"broker.queue", "clock"})


def test_check_without_figures_does_not_hide_dropped_messages():
    (check_without_figures,) = (result.row for result in run_checks(DroppedMessages(None, 5.0)))
    assert (check_without_figures.state, check_without_figures.value) == (WARN, 5.0)
    (next_check,) = (result.row for result in run_checks(DroppedMessages(9.0, check_without_figures.value)))
    assert (next_check.state, next_check.found) == (BAD, "the broker dropped 4 messages since the last check")


def test_check_keeps_the_start_of_its_state_and_a_bad_check_is_an_alarm_until_it_ends(database):
    def save(state, at):
        tell(database, save_checks, [CheckRow("backup", state, "found", "do", 1.0, "h")], at)

    for hour, state in enumerate((OK, OK, BAD, BAD)):
        save(state, NOW + timedelta(hours=hour))
    with database.read() as connection:
        (stored_check,) = load_checks(connection).values()
        assert (stored_check.check.state, stored_check.since, stored_check.checked_at) == (
            BAD,
            NOW + timedelta(hours=2),
            NOW + timedelta(hours=3),
        )
    alarms = ServiceAlarms(database, {}, lambda: NOW, lambda: None)
    conditions = AlarmConditions(alarms)
    for second, state in ((0, BAD), (70, BAD), (80, OK), (90, OK)):
        conditions.update(read_rows([CheckRow("backup", state, "found")]), float(second))
        alarms.write_pending()
        if second == 70:
            with database.read() as connection:
                assert connection.execute(select(alert.c.key, alert.c.level)).all() == [("health:check:backup", 1)]
    assert ask(database, lambda connection: connection.execute(select(alert.c.level)).scalars().all()) == [0]


def test_age_of_the_newest_backup_is_compared_with_the_setting(database):
    backup_config = parse_service('[backup]\nevery = "24h"\n', "t")

    def run_machine_checks(hours, config=backup_config, commits_s=()):
        database_facts = DatabaseFacts(database, config, commits_s, (), NOW + timedelta(hours=hours))
        return {
            result.row.name: result.row for facts in (database_facts, Machine(config)) for result in run_checks(facts)
        }

    def check_backup(hours, config=backup_config):
        return run_machine_checks(hours, config)["backup"]

    def add_run(state, hours, detail=""):
        with database.write() as connection:
            ended_at = NOW + timedelta(hours=hours)
            connection.execute(
                insert(backup_run).values(at=ended_at, file="f", state=state, seconds=1.0, detail=detail)
            )

    assert (check_backup(0, CONFIG).state, check_backup(0).state) == (WARN, WARN)
    add_run("proven", 0)
    assert (check_backup(1).state, check_backup(1).value) == (OK, 1.0)
    add_run("failed", 24, "no room")
    assert check_backup(25).state == WARN
    assert "no room" in check_backup(25).found
    assert check_backup(50).state == BAD
    assert set(run_machine_checks(0, CONFIG, [0.001, 3.0])) >= {
        "clock",
        "disk.state",
        "database.commit",
        "database.log",
        "backup",
    }


@pytest.mark.server
def test_audit_of_the_broker_measures_the_longest_outage_it_bridges(mosquitto, sqlite_url, tmp_path):
    assert "$SYS/broker/uptime" in audit.read_figures(parse_access(mosquitto.url))
    config = parse_service(f'[broker]\nmode = "external"\nurl = "{mosquitto.url}"\ndata = "{tmp_path}"\n', "t")
    with Database(sqlite_url) as database:
        assert "broker.session ok" in broker_audit.run(database, config, None, NOW)
        checks = {name: result.check for name, result in ask(database, load_checks).items()}
        assert set(checks) == {"broker.dropped", "broker.session", "broker.queue", "broker.bridge"}
        assert checks["broker.dropped"].state == OK
        assert "bridges an outage of 30 d" in checks["broker.bridge"].found
        checks_without_session = {result.row.name: result.row for result in run_checks(BrokerFacts(False, None, 0))}
        assert (checks_without_session["broker.session"].state, checks_without_session["broker.queue"].value) == (
            BAD,
            None,
        )
        assert (
            "unknown" in checks_without_session["broker.queue"].found
        )  # otherwise a figure of another day would remain
        # a second audit on the same day reads only the figures
        assert "broker.bridge" not in broker_audit.run(database, config, None, NOW + timedelta(hours=1))


@pytest.mark.soak
@pytest.mark.server
def test_changed_setting_of_the_broker_is_checked_at_the_next_audit(mosquitto, sqlite_url):
    def set_queue_limit(messages):
        mosquitto.configure("max_queued_messages", messages)
        mosquitto.restart()

    config = parse_service(f'[broker]\nmode = "external"\nurl = "{mosquitto.url}"\n', "t")
    with Database(sqlite_url) as database:

        def run_audit(hours):
            broker_audit.run(database, config, None, NOW + timedelta(hours=hours))
            return {name: stored_check.check for name, stored_check in ask(database, load_checks).items()}

        set_queue_limit(200)
        checks = run_audit(0)
        assert checks["broker.queue"].state == checks["broker.bridge"].state == BAD
        assert "max_queued_messages 0" in checks["broker.queue"].remedy
        assert "max_queued_messages 0" in checks["broker.bridge"].remedy
        count_dropped = lambda: audit.read_figures(parse_access(mosquitto.url)).get(audit.DROPPED, 0.0)  # noqa: E731
        wait_for(lambda: count_dropped() == 1300.0)  # of the trial messages
        checks = run_audit(1)
        assert checks["broker.dropped"].state == OK, "what the trial filled was nobody's message"
        assert checks["broker.queue"].state == BAD, "tried again"
        set_queue_limit(0)
        checks = run_audit(2)
        assert checks["broker.queue"].state == checks["broker.bridge"].state == OK, "not a day later"
        assert "tested with 1500 messages only" in checks["broker.bridge"].found
