"""What the service finds of broker, copies and database; outages, with what came late and what is missing."""

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


def status(*, here=True, drained=True, busy=False):
    return {"connected": {"live": here}, "drained": here and drained, "database_busy_since": "x" if busy else None}


class Hours:
    """A clock that a test sets, in minutes after NOW."""

    def __init__(self):
        self.minutes = 0.0

    def __call__(self):
        return NOW + timedelta(minutes=self.minutes)


def read(c, station, minutes, received):
    at = NOW + timedelta(minutes=minutes)
    came = NOW + timedelta(minutes=received)
    add_observations(c, [Observation("s", station, "strain", "microstrain", at, came, minutes)], NOW)


def test_an_outage_is_written_down_with_what_came_late_and_what_is_missing(database):
    clock = Hours()
    watch = OutageWatch(database, clock)
    watch.update(status())
    away = {10: status(here=False), 20: status(here=False), 60: status(drained=False)}
    for minutes in (0.4, 0.8, 1, 10, 20, 60, 62, 62.4):
        clock.minutes = minutes
        watch.update(away.get(minutes, status()))
    with database.write() as c:
        for station in ("G1", "G2"):
            row = f"station_state site=s station={station} state=ok since=+0m reason= votes=yes"
            insert_rows(c, NOW, f"{row} expected_interval_s=600")
        read(c, "G1", 5, 5)  # in time
        for minutes in (15, 25, 35):
            read(c, "G1", minutes, 61)
        read(c, "G1", 65, 65)  # after it
    assert outages.run(database, CONFIG, None, NOW + timedelta(minutes=75)) == "1 outages counted"
    with database.read() as c:
        (one,) = load_view(c, "outages")
        rows = {row["station"]: row for row in load_view(c, "outage_stations")}
    times = [one[f"{name}_at"][11:16] for name in ("from", "back", "drained")]
    assert (one["cause"], *times) == ("broker", "06:01", "07:00", "07:02")
    g1, g2 = rows["G1"], rows["G2"]
    assert (g1["expected"], g1["received"], g1["late"], g1["missing"]) == (5, 4, 3, 1)
    assert (g2["expected"], g2["received"], g2["late"], g2["missing"]) == (5, 0, 0, 5)
    assert (one["late"], one["missing"]) == (3, 6)
    tell(database, read, "G2", 45, 300)  # sent again, hours later
    outages.run(database, CONFIG, None, NOW + timedelta(hours=6))
    assert ask(database, load_view, "outage_stations", station="G2")[0]["missing"] == 4
    assert outages.run(database, CONFIG, None, NOW + timedelta(days=3)) == "1 outages counted"
    assert outages.run(database, CONFIG, None, NOW + timedelta(days=4)) == "0 outages counted"  # all that comes is in


def test_a_time_in_which_the_service_did_not_run_is_an_outage_and_a_restart_is_none(database):

    clock = Hours()
    OutageWatch(database, clock).update(status())
    clock.minutes = 0.3
    OutageWatch(database, clock).update(status())
    clock.minutes = 40
    again = OutageWatch(database, clock)
    again.update(status(drained=False))
    clock.minutes = 41
    again.update(status())
    (one,) = ask(database, load_view, "outages")
    assert (one["cause"], one["back_at"][11:16], one["drained_at"][11:16]) == ("service", "06:40", "06:41")


def test_a_burst_of_readings_while_the_broker_is_there_is_no_outage_and_a_suspended_machine_is_one(database):

    clock = Hours()
    watch = OutageWatch(database, clock)
    watch.update(status())
    for minutes in (0.4, 0.8, 1.2):
        clock.minutes = minutes
        watch.update(status(drained=False))
    clock.minutes = 1.5
    watch.update(status())
    assert ask(database, load_view, "outages") == []
    clock.minutes = 90  # nobody looked
    watch.update(status())
    (one,) = ask(database, load_view, "outages")
    assert (one["cause"], one["from_at"][11:16], one["back_at"][11:16]) == ("service", "06:01", "07:30")


def test_a_check_that_nobody_makes_any_more_is_removed_and_those_of_others_stay(database):
    rows = [CheckRow(name, BAD, "found") for name in ("disk.broker", "broker.queue", "clock")]
    tell(database, save_checks, rows, NOW)
    mine = lambda name: not name.startswith("broker.")  # noqa: E731
    gone = tell(database, save_checks, [CheckRow("clock", OK, "found")], NOW, mine)
    assert (gone, set(ask(database, load_checks))) == (["disk.broker"], {"broker.queue", "clock"})


def test_a_look_without_figures_does_not_hide_what_the_broker_drops_meanwhile():
    (silent,) = (one.row for one in run_checks(DroppedMessages(None, 5.0)))
    assert (silent.state, silent.value) == (WARN, 5.0)
    (after,) = (one.row for one in run_checks(DroppedMessages(9.0, silent.value)))
    assert (after.state, after.found) == (BAD, "the broker dropped 4 messages since the last check")


def test_a_check_keeps_since_when_it_is_so_and_a_bad_one_is_an_alarm_until_it_is_over(database):
    def save(state, at):
        tell(database, save_checks, [CheckRow("backup", state, "found", "do", 1.0, "h")], at)

    for hour, state in enumerate((OK, OK, BAD, BAD)):
        save(state, NOW + timedelta(hours=hour))
    with database.read() as c:
        (one,) = load_checks(c).values()
        assert (one.check.state, one.since, one.checked_at) == (BAD, NOW + timedelta(hours=2), NOW + timedelta(hours=3))
    alarms = ServiceAlarms(database, {}, lambda: NOW, lambda: None)
    conditions = AlarmConditions(alarms)
    for second, state in ((0, BAD), (70, BAD), (80, OK), (90, OK)):
        conditions.update(read_rows([CheckRow("backup", state, "found")]), float(second))
        alarms.write_pending()
        if second == 70:
            with database.read() as c:
                assert c.execute(select(alert.c.key, alert.c.level)).all() == [("health:check:backup", 1)]
    assert ask(database, lambda c: c.execute(select(alert.c.level)).scalars().all()) == [0]


def test_the_age_of_the_newest_copy_is_judged_by_what_was_wanted(database):
    wanted = parse_service('[backup]\nevery = "24h"\n', "t")

    def find(hours, config=wanted, commits_s=()):
        footing = DatabaseFacts(database, config, commits_s, (), NOW + timedelta(hours=hours))
        return {one.row.name: one.row for what in (footing, Machine(config)) for one in run_checks(what)}

    def copies(hours, config=wanted):
        return find(hours, config)["backup"]

    def note(state, hours, detail=""):
        with database.write() as c:
            at = NOW + timedelta(hours=hours)
            c.execute(insert(backup_run).values(at=at, file="f", state=state, seconds=1.0, detail=detail))

    assert (copies(0, CONFIG).state, copies(0).state) == (WARN, WARN)
    note("proven", 0)
    assert (copies(1).state, copies(1).value) == (OK, 1.0)
    note("failed", 24, "no room")
    assert copies(25).state == WARN
    assert "no room" in copies(25).found
    assert copies(50).state == BAD
    assert set(find(0, CONFIG, [0.001, 3.0])) >= {"clock", "disk.state", "database.commit", "database.log", "backup"}


@pytest.mark.server
def test_the_broker_is_asked_what_it_would_do_in_an_outage(mosquitto, sqlite_url, tmp_path):
    assert "$SYS/broker/uptime" in audit.read_figures(parse_access(mosquitto.url))
    config = parse_service(f'[broker]\nmode = "external"\nurl = "{mosquitto.url}"\ndata = "{tmp_path}"\n', "t")
    with Database(sqlite_url) as database:
        assert "broker.session ok" in broker_audit.run(database, config, None, NOW)
        found = {name: one.check for name, one in ask(database, load_checks).items()}
        assert set(found) == {"broker.dropped", "broker.session", "broker.queue", "broker.bridge"}
        assert found["broker.dropped"].state == OK
        assert "bridges an outage of 30 d" in found["broker.bridge"].found
        lost = {one.row.name: one.row for one in run_checks(BrokerFacts(False, None, 0))}
        assert (lost["broker.session"].state, lost["broker.queue"].value) == (BAD, None)
        assert "unknown" in lost["broker.queue"].found  # a figure of another day would stay
        # a second look in the same day reads the figures alone
        assert "broker.bridge" not in broker_audit.run(database, config, None, NOW + timedelta(hours=1))


@pytest.mark.server
def test_a_line_about_the_broker_goes_soon_after_its_setting_was_changed(mosquitto, sqlite_url):
    def limit(messages):
        mosquitto.configure("max_queued_messages", messages)
        mosquitto.restart()

    config = parse_service(f'[broker]\nmode = "external"\nurl = "{mosquitto.url}"\n', "t")
    with Database(sqlite_url) as database:

        def look(hours):
            broker_audit.run(database, config, None, NOW + timedelta(hours=hours))
            return {name: one.check for name, one in ask(database, load_checks).items()}

        limit(200)
        found = look(0)
        assert found["broker.queue"].state == found["broker.bridge"].state == BAD
        assert "max_queued_messages 0" in found["broker.queue"].remedy
        assert "max_queued_messages 0" in found["broker.bridge"].remedy
        dropped = lambda: audit.read_figures(parse_access(mosquitto.url)).get(audit.DROPPED, 0.0)  # noqa: E731
        wait_for(lambda: dropped() == 1300.0)  # of the trial
        found = look(1)
        assert found["broker.dropped"].state == OK, "what the trial filled was nobody's message"
        assert found["broker.queue"].state == BAD, "tried again"
        limit(0)
        found = look(2)
        assert found["broker.queue"].state == found["broker.bridge"].state == OK, "not a day later"
        assert "tested with 1500 messages only" in found["broker.bridge"].found
