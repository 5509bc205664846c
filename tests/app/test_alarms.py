"""Test the alarms of the service about itself: how they start and end, and that each is stored."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import load_alerts, shelve
from monitor.app.checks.live import EvaluationOutcomes, EvaluationTimes, IntakeStatus, JobOutcomes, PartProblems
from monitor.app.checks.table import list_service_problems, read_rows, run_checks
from monitor.app.core import Core
from monitor.app.outcomes import OutcomeLog
from monitor.app.self_monitoring import alarms as service_alarms
from monitor.app.self_monitoring.alarms import ServiceAlarms, make_alarm, remove_needless_ends
from monitor.app.self_monitoring.conditions import AlarmConditions, Counters
from monitor.app.self_monitoring.duties import Duty
from monitor.app.self_monitoring.threads import ThreadWatch
from monitor.errors import StoreBusyError
from monitor.ingest.message import BrokerMessage
from monitor.ingest.mqtt import Connected
from monitor.ingest.service import SESSION_LOST, Ingest, IngestContext
from monitor.registration import ServicePart
from monitor.settings.service import parse_service
from monitor.sites.records import Level, Recipient, Site, gather_recipients
from monitor.storage.actor import SERVICE_SITE, Actor
from monitor.storage.engine import Database
from monitor.storage.service_state import BAD, OK, CheckRow, find_heartbeat, load_heartbeats, write_heartbeat
from monitor.storage.tables import load_metadata
from tests.data.healthy_core import INTAKE_STATUS, make_monitoring
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
SESSION = "mqtt.session:slopeward"


HEALTHY = {name: value for name, value in INTAKE_STATUS.items() if name != "drained"}


class ProcessKilledError(BaseException):
    """Simulates `kill -9`: no code after it runs."""


def make_site(site_id="north", *recipients):
    levels = tuple(Level(rank, name, rank < 2) for rank, name in enumerate(("green", "yellow", "orange", "red")))
    return Site(site_id, site_id, 46.0, 9.0, "UTC", levels, (), (), recipients=recipients)


SITES = {"north": make_site("north", Recipient("duty", ("log",), (1, 2, 3)))}


@pytest.fixture
def db(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/x.db")
    load_metadata().create_all(database.engine)
    yield database
    database.close()


def make_alarms(db, clock=lambda: NOW):
    return ServiceAlarms(db, SITES, clock, lambda: None)


def make_ingest(db, on_alarm, sites=SITES):
    broker = SimpleNamespace(host="127.0.0.1", port=1, client_id="slopeward", username="", password="")
    return Ingest(IngestContext(db, SimpleNamespace(broker=broker), sites, lambda _: None, on_alarm, lambda: NOW))


def open_keys(db):
    return [row.key for row in ask(db, load_alerts, SERVICE_SITE, open_only=True)]


def active_keys(db):
    """Return the keys of alarms whose condition lasts."""
    return [row.key for row in ask(db, load_alerts, SERVICE_SITE, open_only=True) if row.level > 0]


# ---- the lost session -------------------------------------------------------------------------------------------
def test_alarm_of_a_lost_session_is_stored_before_its_heartbeat(db, monkeypatch):
    tell(db, write_heartbeat, SESSION, {"session_present": True}, NOW - timedelta(hours=1))
    alarms = make_alarms(db)
    connected_event = (Connected("live", "slopeward", False, NOW), None)
    with monkeypatch.context() as patch:

        def raise_killed(*_):
            raise ProcessKilledError

        patch.setattr("monitor.ingest.service.write_heartbeat", raise_killed)
        with pytest.raises(ProcessKilledError):
            make_ingest(db, alarms.write)._note_connection(connected_event)
    assert open_keys(db) == [SESSION_LOST]
    with db.read() as connection:
        assert find_heartbeat(connection, SESSION)[1] == {"session_present": True}
        assert len(connection.execute(select(notification)).all()) == 1
    # After the restart the broker reports the loss again: still one alarm and one message.
    make_ingest(db, alarms.write)._note_connection(connected_event)
    assert open_keys(db) == [SESSION_LOST]
    with db.read() as connection:
        assert find_heartbeat(connection, SESSION)[1] == {"session_present": False, "identity": ""}
        assert len(connection.execute(select(notification)).all()) == 1


def test_heartbeat_is_not_written_before_its_alarm_is_stored(db):
    tell(db, write_heartbeat, SESSION, {"session_present": True}, NOW - timedelta(hours=1))
    busy = [True, True, False]

    def write(change):
        if busy.pop(0):
            raise StoreBusyError("locked")
        assert ask(db, find_heartbeat, SESSION)[1] == {"session_present": True}
        make_alarms(db).write(change)

    ingest = make_ingest(db, write)
    ingest._retry_until_available(ingest._note_connection, (Connected("live", "slopeward", False, NOW), None))
    assert (open_keys(db), busy) == ([SESSION_LOST], [])


def test_second_loss_is_notified_although_the_first_alarm_is_open(db):
    alarms, message_counts = make_alarms(db), []
    ingest = make_ingest(db, alarms.write)
    for is_session_present in (True, False, True, False, False):
        ingest._note_connection((Connected("live", "slopeward", is_session_present, NOW), None))
        with db.read() as connection:
            message_counts.append(len(connection.execute(select(notification)).all()))
    assert (message_counts, open_keys(db)) == ([0, 1, 1, 2, 3], [SESSION_LOST])
    # the backfill session has its own alarm
    for is_session_present in (True, False, False):
        ingest._note_connection((Connected("backfill", "slopeward-backfill", is_session_present, NOW), None))
    assert sorted(open_keys(db)) == [SESSION_LOST, f"{SESSION_LOST}:backfill"]
    assert len(ask(db, lambda connection: connection.execute(select(notification)).all())) == 5


# ---- transient errors of the writer -----------------------------------------------------------------------------
@pytest.fixture
def writer(db):
    """Ingest whose writer runs without a broker.

    `told` collects the alarms, and `acknowledged` the numbers of the acknowledged messages.
    """
    told, acknowledged = [], []
    ingest = make_ingest(db, told.append)
    for session in ingest._sessions.values():
        session.acknowledge = lambda messages: acknowledged.extend(m.packet_id for m in messages)
    ingest.told, ingest.acknowledged = told, acknowledged
    yield ingest
    ingest._stop.set()
    ingest._inbox.wake()
    ingest._thread.join(60.0)


def make_message(mid):
    payload = b'{"time":"2026-03-01T05:%02d:00Z","rain_mm":1}' % mid
    return BrokerMessage("slopeward/v1/north/G1/obs", payload, NOW, "live", mid, 1)


@pytest.mark.parametrize("faulty", ["_request_gaps", "_on_stored", "_store_batch"])
def test_writer_keeps_the_order_and_loses_no_message_after_transient_errors(writer, monkeypatch, faulty):
    original, remaining_errors = getattr(writer, faulty), [1, 2, 3]

    def fail_three_times(*arguments):
        if remaining_errors:
            remaining_errors.pop()
            raise ZeroDivisionError
        return original(*arguments)

    monkeypatch.setattr(writer, faulty, fail_three_times)
    writer._live.connected = True
    writer._thread.start()
    for mid in range(1, 6):  # the next message follows when this one failed once or was acknowledged
        errors_before = len(remaining_errors)
        writer._inbox.put(make_message(mid))
        wait_for(
            lambda errors_before=errors_before, mid=mid: (
                len(remaining_errors) < errors_before or mid in writer.acknowledged
            )
        )
    wait_for(lambda: writer.acknowledged == [1, 2, 3, 4, 5])
    wait_for(lambda: not remaining_errors and writer.status()["writer_failures"] == 0)


def test_failed_record_of_a_connection_delays_no_message_and_is_retried(db, writer, monkeypatch):
    monkeypatch.setattr("monitor.ingest.service._NOTE_AGAIN_S", 0.2)
    remaining_errors = [1, 2, 3]

    def fail_three_times(*arguments):
        if remaining_errors:
            remaining_errors.pop()
            raise ZeroDivisionError
        return find_heartbeat(*arguments)

    monkeypatch.setattr("monitor.ingest.service.find_heartbeat", fail_three_times)
    writer._note_connected(Connected("live", "slopeward", False, NOW))
    writer._inbox.put(make_message(1))
    writer._thread.start()
    wait_for(lambda: writer.acknowledged == [1])
    assert remaining_errors
    wait_for(lambda: writer._connections == [])
    assert ask(db, find_heartbeat, SESSION) is not None


# ---- pending alarms ----------------------------------------------------------------------------------------------
def test_pending_alarms_are_stored_in_order_when_the_database_returns(db, monkeypatch):
    alarms = make_alarms(db)
    alarms.open("x", "x is sick", 2)
    alarms.clear("x", "x is well")
    alarms.open("y", "y is sick", 1)

    def refuse(*_, **__):
        raise StoreBusyError("locked")

    with monkeypatch.context() as patch:
        patch.setattr("monitor.app.self_monitoring.alarms.apply_changes", refuse)
        with pytest.raises(StoreBusyError):
            alarms.write_pending()
    alarms.write_pending()
    states = {row.key: row.state for row in ask(db, load_alerts, SERVICE_SITE)}
    assert states == {"health:x": "returned_unacknowledged", "health:y": "unacknowledged"}


def test_alarm_that_cannot_be_stored_is_retried_and_affects_no_other(db, monkeypatch):
    alarms = make_alarms(db)
    original, is_faulty = service_alarms.apply_changes, [True]

    def fail_for_one_alarm(connection, changes, context):
        if is_faulty[0] and any(change.key == "health:bad" for change in changes):
            raise ZeroDivisionError
        return original(connection, changes, context)

    monkeypatch.setattr(service_alarms, "apply_changes", fail_for_one_alarm)
    for key in ("good", "bad", "other"):
        alarms.open(key, f"{key} is sick", 1)
    alarms.clear("bad", "bad is well")
    alarms.write_pending()
    assert sorted(open_keys(db)) == ["health:good", "health:other"]
    is_faulty[0] = False
    alarms.write_pending()
    assert {row.key: row.state for row in ask(db, load_alerts, SERVICE_SITE)}["health:bad"] == "returned_unacknowledged"


def test_end_of_an_alarm_that_is_not_open_is_not_stored():
    begin_b = make_alarm("b", 1, "b is sick", is_open=True)
    end_a, end_b, end_c = (make_alarm(key, 0, "well", is_open=False) for key in "abc")
    changes = [end_b, end_a, begin_b, end_b, end_c]
    assert remove_needless_ends(changes, {"health:c"}) == [begin_b, end_b, end_c]


# ---- shelved alarms ----------------------------------------------------------------------------------------------
def test_shelved_alarm_of_the_service_returns_after_its_time(db, monkeypatch):
    monkeypatch.setattr("monitor.app.self_monitoring.loop.UNSHELVE_EVERY_S", 0.3)
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"))
    monitoring = make_monitoring(core)
    core.alarms.write(make_alarm("x", 1, "x is sick", is_open=True))
    now = datetime.now(UTC)
    with db.write() as connection:
        (alert,) = load_alerts(connection, SERVICE_SITE)
        shelve(connection, alert.id, Actor("anna", "person"), "known", now + timedelta(seconds=1), now)
    monitoring.start()

    def load_state():
        return ask(db, load_alerts, SERVICE_SITE)[0].state

    try:
        assert load_state() == "shelved"
        wait_for(lambda: load_state() == "unacknowledged")
        assert datetime.now(UTC) >= now + timedelta(seconds=1)
    finally:
        monitoring.stop(60.0)
        assert not any(loop.thread.is_alive() for loop in monitoring.loops)
        core.db.close()


# ---- the stop of self-monitoring ---------------------------------------------------------------------------------
def test_stop_waits_for_the_current_duty_and_no_other_duty_follows(db):
    """Otherwise the heartbeat `running` could be written after the heartbeat `stopped`."""
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"))
    monitoring = make_monitoring(core)
    has_started, may_end, duties_done = threading.Event(), threading.Event(), []

    def check_slowly():
        has_started.set()
        may_end.wait(30.0)
        duties_done.append("slow check")

    duties = (
        Duty("check slowly", check_slowly, 3.0),
        Duty("write the heartbeat", lambda: duties_done.append("heartbeat"), 3.0),
    )
    loop = monitoring._make_loop("x", duties)
    monitoring.loops = (loop,)
    monitoring.start()
    assert has_started.wait(30.0)
    stop = threading.Thread(target=monitoring.stop, args=(30.0,))
    stop.start()
    wait_for(lambda: loop._stopping.is_set())
    may_end.set()
    stop.join(30.0)
    assert (duties_done, loop.thread.is_alive()) == (["slow check"], False)
    core.db.close()


@pytest.fixture
def core(db, monkeypatch):
    """A core that runs nothing but self-monitoring, several times a second."""
    monkeypatch.setattr("monitor.app.self_monitoring.loop.CHECK_PARTS_EVERY_S", 0.2)
    monkeypatch.setattr("monitor.app.self_monitoring.duties.OVERDUE_S", 0.5)
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"))
    yield core
    core.self_monitoring.stop(30.0)
    core.db.close()


def test_drive_that_does_not_answer_is_an_alarm_and_does_not_look_like_a_database_without_writes(db, core, monkeypatch):
    hangs, answers, writes = threading.Event(), threading.Event(), []

    def wait_for_drive(_):
        hangs.set()
        answers.wait(60.0)
        return {}

    monkeypatch.setattr("monitor.app.checks.machine.list_folders", wait_for_drive)
    monkeypatch.setattr(core.commits, "note_write", lambda: writes.append("heartbeat"))
    make_monitoring(core).start()
    try:
        assert hangs.wait(30.0)
        writes_before = len(writes)
        wait_for(lambda: len(writes) > writes_before + 2)
        wait_for(lambda: "health:monitoring:machine" in active_keys(db))
    finally:
        answers.set()
    wait_for(lambda: "health:monitoring:machine" not in active_keys(db))


def test_plugin_that_does_not_return_is_an_alarm_and_stops_no_other_check(db, core):
    answers = threading.Event()
    core.plugin_parts = [ServicePart(follow=lambda: answers.wait(60.0))]
    make_monitoring(core).start()
    try:
        wait_for(lambda: "health:monitoring:plugins" in active_keys(db))
    finally:
        answers.set()
    wait_for(lambda: "health:monitoring:plugins" not in active_keys(db))


def test_degrading_faults_are_read_while_another_thread_adds_one(db):
    conditions = AlarmConditions(make_alarms(db))
    full_disk = [finding for finding in run_checks(PartProblems("disk is full")) if finding.is_wrong]

    class CheckReadMeanwhile:
        id = "x"

        @property
        def degrades(self):
            thread = threading.Thread(target=conditions.update, args=(full_disk, 0.0))
            thread.start()
            thread.join(0.2)
            return True

    conditions._faults["x"] = SimpleNamespace(check=CheckReadMeanwhile(), reason="x is sick", level=BAD)
    assert conditions.degraded() == {"x is sick": BAD}


# ---- recipients of alarms of the service -------------------------------------------------------------------------
def test_recipient_of_several_sites_is_notified_once_by_all_named_channels():
    duty, anna = Recipient("duty", ("log",), (1, 2), ("hazard",)), Recipient("anna", ("email:a@x",), (3,))
    duty_of_other_site = Recipient("duty", ("webhook:X", "log"), (3,), ("health",), 60.0)
    recipients = gather_recipients([make_site("a", duty), make_site("b", anna, duty_of_other_site)])
    assert recipients == (Recipient("duty", ("log", "webhook:X"), (1, 2, 3), ("hazard", "health"), 60.0), anna)


# ---- current conditions ------------------------------------------------------------------------------------------
AWAY = {"connected": {"live": False, "backfill": True}, "problems": {"live": "does not answer"}}
REFUSED = {**AWAY, "refused": {"live": "the broker refused the subscription to a/b: Not authorized"}}


@pytest.mark.parametrize(
    ("trouble", "key", "words", "after_s"),
    [
        (REFUSED, "health:mqtt:live:refused", "a/b", 0),
        (AWAY, "health:mqtt:live:away", "does not answer", 60),
        ({"database_busy_since": "2026-03-01"}, "health:ingest:database", "2026-03-01", 60),
        ({"lost": 3}, "health:ingest:unstored", "3 messages", 0),
        ({"dropped_qos0": 7}, "health:ingest:dropped", "7 messages of QoS 0", 0),
        ({"writer_failures": 3}, "health:ingest:writer_failures", "fails repeatedly", 0),
        ({"unkept": 7}, "health:ingest:quarantine", "7 unreadable messages", 0),
    ],
)
def test_problem_of_ingest_is_an_alarm_until_it_ends(db, trouble, key, words, after_s):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    counters = Counters()

    def update_and_load(status, at_s):
        conditions.update(run_checks(IntakeStatus(status, counters.has_grown)), at_s)
        alarms.write_pending()
        return {row.key: (row.state, row.reason) for row in ask(db, load_alerts, SERVICE_SITE)}

    assert update_and_load(HEALTHY, 0.0) == {}
    if after_s:
        assert update_and_load({**HEALTHY, **trouble}, 1.0) == {}
    rows_by_key = update_and_load({**HEALTHY, **trouble}, after_s + 1.0)
    assert (list(rows_by_key), rows_by_key[key][0]) == ([key], "unacknowledged")
    assert words in rows_by_key[key][1]
    # A count keeps its value, every other field becomes healthy: the alarm ends after ten minutes at the latest.
    healthy_status = {
        **HEALTHY,
        **{field: value for field, value in trouble.items() if field in ("lost", "dropped_qos0", "unkept")},
    }
    assert update_and_load(healthy_status, after_s + 700.0)[key][0] == "returned_unacknowledged"


def test_alarm_of_a_session_ends_although_another_session_is_disconnected(db):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    counters = Counters()
    live = {**HEALTHY, "connected": {"live": False, "backfill": True}, "problems": {"live": "the connection ended"}}
    backfill = {**HEALTHY, "connected": {"live": True, "backfill": False}, "problems": {"backfill": "refused"}}
    for status, at_s, named in ((live, 0.0, ["(live session)"]), (backfill, 100.0, ["(backfill session)"])):
        conditions.update(run_checks(IntakeStatus(status, counters.has_grown)), at_s)
        conditions.update(run_checks(IntakeStatus(status, counters.has_grown)), at_s + 60.0)
        degraded_lines = list(conditions.degraded())
        assert len(degraded_lines) == len(named)
        assert all(name in line for name, line in zip(named, degraded_lines, strict=True))
    is_open_by_key = {alarm.key: alarm.open for alarm in alarms.pending()}
    assert is_open_by_key["health:mqtt:live:away"] is False
    assert is_open_by_key["health:mqtt:backfill:away"] is True


def test_end_of_an_alarm_repeats_its_reason(db):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    counters = Counters()
    busy = {**HEALTHY, "database_busy_since": NOW}
    for status, at_s in ((HEALTHY, 0.0), (busy, 1.0), (busy, 100.0), (HEALTHY, 200.0)):
        conditions.update(run_checks(IntakeStatus(status, counters.has_grown)), at_s)
    reasons = [alarm.reason for alarm in alarms.pending() if alarm.key.endswith("ingest:database")]
    reason = f"the database has accepted no readings since {NOW:%Y-%m-%d %H:%M:%S} UTC; messages wait with the broker"
    assert reasons == ["resolved: what was found before the service was started", reason, f"resolved: {reason}"]


def record_alarm_changes(db, key, run_checks_of, *steps):
    """Return the changes of one alarm as (open, level) for each step (facts, at_s), and all pending alarms."""
    alarms = make_alarms(db)
    conditions, changes_by_step = AlarmConditions(alarms), []
    for facts, at_s in steps:
        count_before = len(alarms.pending())
        conditions.update(run_checks_of(facts, conditions), at_s)
        changes_by_step.append(
            [(alarm.open, alarm.level) for alarm in alarms.pending()[count_before:] if alarm.key == key]
        )
    return changes_by_step, alarms.pending()


def test_several_full_disks_are_one_alarm(db):
    names = ("broker", "state")
    full, free = (
        tuple(CheckRow(f"disk.{name}", state, f"0.4 GiB free at /{name}") for name in names) for state in (BAD, OK)
    )
    steps = ((free, 0.0), (full, 5.0), (full, 70.0), ((*full[:1], *free[1:]), 100.0), (free, 130.0))
    changes, pending = record_alarm_changes(db, "health:check:disk", lambda rows, _: read_rows(rows), *steps)
    assert (changes, len(pending)) == ([[(False, 0)], [], [(True, 1)], [], [(False, 0)]], 3)
    (reason,) = {alarm.reason for alarm in pending if alarm.open}
    assert reason.endswith(": 0.4 GiB free at /broker; 0.4 GiB free at /state"), "where room has to be made"


def test_unreachable_cluster_is_one_alarm_after_a_minute(db):
    no_worker = "no worker for 60 s"
    steps = (("", 0.0), (no_worker, 5.0), ("", 30.0), (no_worker, 40.0), ("no scheduler", 101.0), ("", 130.0))
    changes, _ = record_alarm_changes(
        db, "health:compute:away", lambda trouble, _: run_checks(PartProblems(compute=trouble)), *steps
    )
    assert changes == [[(False, 0)], [], [], [], [(True, 1)], [(False, 0)]]


def test_alarm_of_a_growing_count_lasts_ten_minutes(db):
    counters = Counters()

    def check_lost_messages(lost, _conditions):
        return run_checks(IntakeStatus({**HEALTHY, "lost": lost}, counters.has_grown))

    steps = ((0, 0), (2, 3), (2, 300), (5, 500), (5, 900), (5, 1101))
    changes, _ = record_alarm_changes(db, "health:ingest:unstored", check_lost_messages, *steps)
    assert [[is_open for is_open, _ in step_changes] for step_changes in changes] == [
        [False],
        [True],
        [],
        [],
        [],
        [False],
    ]


def test_problem_of_ingest_or_evaluation_degrades_the_service(db):
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"), lambda: NOW)
    core.sites.update(SITES)
    monitoring = make_monitoring(
        core,
        ingest=SimpleNamespace(status=lambda: {**HEALTHY, "lost": 2}),
        evaluation=SimpleNamespace(find_slow=lambda: {"north": 40.0}, list_measured=frozenset, outcomes=OutcomeLog()),
    )
    monitoring.check_parts()
    monitoring.write_heartbeat("running")
    core.db.close()
    _, degraded = list_service_problems(ask(db, load_heartbeats), NOW)
    assert (len(degraded), "2 messages" in degraded[0]) == (2, True)
    assert "evaluation of north takes 40 s" in degraded[1]


@pytest.mark.parametrize("absent", ["writer_failures", "database_busy_since", "foreign"])
def test_check_that_raises_an_error_hides_no_event_of_another_check(db, absent):
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"), lambda: NOW)
    core.sites.update(SITES)
    intake = {name: value for name, value in {**HEALTHY, "lost": 2, "dropped_qos0": 1}.items() if name != absent}
    publisher = {"foreign": 0, "foreign_last": "", "unsigned": ""}
    publisher.pop(absent, None)
    monitoring = make_monitoring(
        core, ingest=SimpleNamespace(status=lambda: intake), publisher=SimpleNamespace(status=lambda: publisher)
    )
    with pytest.raises(KeyError, match=absent):
        monitoring.check_parts()
    monitoring.write_heartbeat("running")
    core.db.close()
    _, degraded = list_service_problems(ask(db, load_heartbeats), NOW)
    assert any("2 messages since start could not be stored" in text for text in degraded)
    assert any("1 messages of QoS 0" in text for text in degraded)


def test_thread_that_is_still_ending_is_not_replaced(monkeypatch):
    watch = ThreadWatch()
    has_noted, may_end = threading.Event(), threading.Event()

    def note_ended(event):
        watch._note_ended(event)
        has_noted.set()
        may_end.wait(10.0)

    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", note_ended)
    thread = threading.Thread(target=fail, name="dispatcher", daemon=True)
    thread.start()
    assert has_noted.wait(10.0)
    for _ in range(2):
        status = watch.take_status()
        assert status.ended == {"dispatcher": "ZeroDivisionError: "}
        assert "dispatcher" not in status.running
    assert watch.find_ended_vital() == ["dispatcher"]
    may_end.set()
    thread.join(10.0)
    is_over = threading.Event()
    threading.Thread(target=is_over.wait, args=(10.0,), name="dispatcher", daemon=True).start()
    assert "dispatcher" in watch.take_status().ended, "once"
    assert watch.take_status().ended == {}
    is_over.set()


def test_alarm_left_open_by_a_previous_process_ends(db):
    alarms = make_alarms(db)
    alarms.write(make_alarm("slow:north", 2, "slow", is_open=True))
    conditions = AlarmConditions(alarms)
    conditions.recall({"slow:north"})
    sites = ["north", "south"]
    conditions.update(run_checks(EvaluationTimes(sites, {"south": 45.0}, measured=())), 0.0)
    alarms.write_pending()
    states = {row.key: row.state for row in ask(db, load_alerts, SERVICE_SITE)}
    assert states["health:slow:north"] == "unacknowledged", "no evaluation of north has ended since the restart"
    conditions.update(run_checks(EvaluationTimes(sites, {"south": 45.0}, measured=sites)), 1.0)
    alarms.write_pending()
    rows_by_key = {row.key: (row.state, row.reason) for row in ask(db, load_alerts, SERVICE_SITE)}
    assert rows_by_key["health:slow:north"][0] == "returned_unacknowledged"
    assert rows_by_key["health:slow:south"][0] == "unacknowledged"
    assert "evaluation of south takes 45 s" in rows_by_key["health:slow:south"][1]


def test_status_of_ingest_contains_every_field_of_the_checks(db):
    results = run_checks(IntakeStatus(make_ingest(db, None).status(), Counters().has_grown))
    assert [result.key for result in results if result.check.alarm and result.is_wrong] == [
        "mqtt:live:away",
        "mqtt:backfill:away",
    ]


def test_refused_subscription_is_reported_until_it_is_granted(db):
    session = make_ingest(db, None)._live
    session.connected = True
    refusal, grant = SimpleNamespace(is_failure=True), SimpleNamespace(is_failure=False)
    session._on_subscribe(None, None, 1, [refusal], None)
    assert "slopeward/v1/+/+/obs" in session.refused
    assert not session.listening
    session._on_subscribe(None, None, 2, [grant], None)
    assert (session.refused, session.listening) == ("", True)


# ---- repeated work -----------------------------------------------------------------------------------------------
@given(st.lists(st.sampled_from(["success", "failure", "take"])))
def test_each_failure_is_returned_once_also_if_it_is_over(steps):
    log, failures_in_a_row, worst_since_take = OutcomeLog(), None, None
    for step in [*steps, "take"]:
        if step == "success":
            log.note_success("work")
            failures_in_a_row = 0
        elif step == "failure":
            failures_in_a_row = (failures_in_a_row or 0) + 1
            worst_since_take = failures_in_a_row
            log.note_failure("work", f"problem {failures_in_a_row}")
        else:
            expected = failures_in_a_row if worst_since_take is None else worst_since_take
            outcome = log.take().get("work")
            assert (None if outcome is None else outcome.failures) == expected
            if outcome is not None and outcome.failures:
                assert outcome.problem == f"problem {outcome.failures}"
            worst_since_take = None
    assert log.take().get("other") is None


def record_job_alarms(db, *outcomes):
    key, log, steps = "health:job:work:s", OutcomeLog(), []
    for number, outcome in enumerate(outcomes):
        if outcome == "fails":
            log.note_failure("work:s", "no file")
        elif outcome == "works":
            log.note_success("work:s")
        steps.append((JobOutcomes(["work:s", "other:s"], log.take()), float(number)))
    return record_alarm_changes(db, key, lambda facts, _: run_checks(facts), *steps)[0]


def test_job_is_an_alarm_from_its_third_failure_in_a_row_until_a_success(db):
    steps = ("not run", "fails", "fails", "works", "fails", "fails", "fails", "fails", "works", "fails")
    assert record_job_alarms(db, *steps) == [[], [], [], [(False, 0)], [], [], [(True, 1)], [], [(False, 0)], []]


@pytest.mark.parametrize("key", ["health:not_evaluated:north", "health:job:work:north"])
def test_inherited_alarm_of_work_lasts_until_the_work_was_tried_again(db, key):
    name = key.split(":", 2)[2]
    fact_type = EvaluationOutcomes if "not_evaluated" in key else JobOutcomes
    alarms = make_alarms(db)
    conditions, log = AlarmConditions(alarms), OutcomeLog()
    conditions.recall([key.removeprefix("health:"), f"{key.removeprefix('health:')}-retired"])

    def update(at_s):
        conditions.update(run_checks(fact_type([name, "other"], log.take())), at_s)
        changes = [(change.key, change.open) for change in alarms.pending()]
        alarms.forget(alarms.pending())
        return changes

    log.note_success("other")
    other_key = key.replace(name, "other")
    assert set(update(0.0)) == {(other_key, False), (f"{key}-retired", False)}
    assert update(1.0) == []
    log.note_success(name)
    assert update(2.0) == [(key, False)]


def test_failure_between_two_checks_is_an_alarm_although_it_is_over(db):
    log = OutcomeLog()
    log.note_failure("north", "ValueError: x")
    log.note_success("north")
    steps = [(EvaluationOutcomes(["north"], log.take()), at_s) for at_s in (0.0, 3.0)]
    changes, _ = record_alarm_changes(db, "health:not_evaluated:north", lambda facts, _: run_checks(facts), *steps)
    assert changes == [[(True, 2)], [(False, 0)]]


def test_inherited_alarm_of_work_that_was_never_tried_ends_with_the_work(db):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    conditions.recall(["job:work:north"])
    conditions.update(run_checks(JobOutcomes(["work:north"], {})), 0.0)
    assert alarms.pending() == []
    conditions.update(run_checks(JobOutcomes([], {})), 1.0)
    assert [(change.key, change.open) for change in alarms.pending()] == [("health:job:work:north", False)]
