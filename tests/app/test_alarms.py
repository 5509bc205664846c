"""Test alarms of the service about itself: how they begin and end, and that none is lost before it is stored."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import load_alerts, shelve
from monitor.app.checks.live import EvaluationTimes, IntakeStatus, PartTroubles
from monitor.app.checks.table import check_parts, read_rows, run_checks
from monitor.app.core import Core
from monitor.app.self_monitoring import alarms as service_alarms
from monitor.app.self_monitoring.alarms import STATUS_SITE, ServiceAlarms, make_alarm
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.errors import StoreBusyError
from monitor.ingest.message import BrokerMessage
from monitor.ingest.mqtt import Connected
from monitor.ingest.service import SESSION_LOST, Ingest, IngestContext
from monitor.settings.service import parse_service
from monitor.sites.records import Level, Recipient, Site, gather_recipients
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.service_state import BAD, OK, CheckRow, find_heartbeat, load_heartbeats, write_heartbeat
from monitor.storage.tables import load_metadata
from tests.data.healthy_core import INTAKE_STATUS, make_monitoring
from tests.data.store_rows import ask, tell
from tests.fixtures.waiting import wait_for

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
SESSION = "mqtt.session:slopeward"


HEALTHY = {name: value for name, value in INTAKE_STATUS.items() if name != "drained"}


class DeathError(BaseException):
    """What `kill -9` is to the code: nothing after it runs."""


def make_site(site_id="north", *recipients):
    levels = tuple(Level(i, n, i < 2) for i, n in enumerate(("green", "yellow", "orange", "red")))
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
    return [a.key for a in ask(db, load_alerts, STATUS_SITE, open_only=True)]


# ---- the lost session -------------------------------------------------------------------------------------------
def test_a_process_killed_between_alarm_and_stamp_has_told_of_the_lost_session(db, monkeypatch):
    tell(db, write_heartbeat, SESSION, {"session_present": True}, NOW - timedelta(hours=1))
    alarms = make_alarms(db)
    lost = (Connected("live", "slopeward", False, NOW), None)
    with monkeypatch.context() as patch:

        def die(*_):
            raise DeathError

        patch.setattr("monitor.ingest.service.write_heartbeat", die)
        with pytest.raises(DeathError):
            make_ingest(db, alarms.write)._note_connection(lost)
    assert open_keys(db) == [SESSION_LOST]
    with db.read() as c:
        assert find_heartbeat(c, SESSION)[1] == {"session_present": True}
        assert len(c.execute(select(notification)).all()) == 1
    # after the restart the broker says it again: one alarm, told once
    make_ingest(db, alarms.write)._note_connection(lost)
    assert open_keys(db) == [SESSION_LOST]
    with db.read() as c:
        assert find_heartbeat(c, SESSION)[1] == {"session_present": False, "identity": ""}
        assert len(c.execute(select(notification)).all()) == 1


def test_no_stamp_is_written_before_its_alarm_is_in_the_database(db):
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


def test_a_second_loss_is_told_though_nobody_closed_the_alarm_of_the_first(db):
    alarms, told = make_alarms(db), []
    ingest = make_ingest(db, alarms.write)
    for present in (True, False, True, False, False):
        ingest._note_connection((Connected("live", "slopeward", present, NOW), None))
        with db.read() as c:
            told.append(len(c.execute(select(notification)).all()))
    assert (told, open_keys(db)) == ([0, 1, 1, 2, 3], [SESSION_LOST])
    # the session of what was missed has an alarm of its own
    for present in (True, False, False):
        ingest._note_connection((Connected("backfill", "slopeward-backfill", present, NOW), None))
    assert sorted(open_keys(db)) == [SESSION_LOST, f"{SESSION_LOST}:backfill"]
    assert len(ask(db, lambda c: c.execute(select(notification)).all())) == 5


# ---- the writer stumbles ----------------------------------------------------------------------------------------
@pytest.fixture
def writer(db):
    """Ingest whose writer runs without a broker; `stored` are the topics and payloads in the order of storing."""
    told, acknowledged = [], []
    ingest = make_ingest(db, told.append)
    for session in ingest._sessions.values():
        session.acknowledge = lambda messages: acknowledged.extend(m.packet_id for m in messages)
    ingest.told, ingest.acknowledged = told, acknowledged
    yield ingest
    ingest._stop.set()
    ingest._inbox.wake()
    ingest._thread.join(60.0)


def message(mid):
    payload = b'{"time":"2026-03-01T05:%02d:00Z","rain_mm":1}' % mid
    return BrokerMessage("slopeward/v1/north/G1/obs", payload, NOW, "live", mid, 1)


@pytest.mark.parametrize("faulty", ["_request_gaps", "_on_stored", "_store_batch"])
def test_a_transient_fault_of_the_writer_stalls_no_message_and_keeps_the_order(writer, monkeypatch, faulty):
    real, faults = getattr(writer, faulty), [1, 2, 3]

    def stumble(*words):
        if faults:
            faults.pop()
            raise ZeroDivisionError
        return real(*words)

    monkeypatch.setattr(writer, faulty, stumble)
    writer._live.connected = True
    writer._thread.start()
    for mid in range(1, 6):  # the next one comes when this one has met a fault, or is through
        left = len(faults)
        writer._inbox.put(message(mid))
        wait_for(lambda left=left, mid=mid: len(faults) < left or mid in writer.acknowledged)
    wait_for(lambda: writer.acknowledged == [1, 2, 3, 4, 5])
    wait_for(lambda: not faults and writer.status()["stumbles"] == 0)


def test_a_fault_while_a_connection_is_noted_holds_up_no_message_and_is_tried_again(db, writer, monkeypatch):
    monkeypatch.setattr("monitor.ingest.service._NOTE_AGAIN_S", 0.2)
    faults = [1, 2, 3]

    def find(*words):
        if faults:
            faults.pop()
            raise ZeroDivisionError
        return find_heartbeat(*words)

    monkeypatch.setattr("monitor.ingest.service.find_heartbeat", find)
    writer._note_connected(Connected("live", "slopeward", False, NOW))
    writer._inbox.put(message(1))
    writer._thread.start()
    wait_for(lambda: writer.acknowledged == [1])
    assert faults
    wait_for(lambda: writer._connections == [])
    assert ask(db, find_heartbeat, SESSION) is not None


# ---- what waits to be written -----------------------------------------------------------------------------------
def test_alarms_wait_for_a_database_that_is_away_and_come_in_order(db, monkeypatch):
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
    states = {a.key: a.state for a in ask(db, load_alerts, STATUS_SITE)}
    assert states == {"health:x": "returned_unacknowledged", "health:y": "unacknowledged"}


def test_one_alarm_that_is_refused_takes_no_other_with_it_and_is_kept(db, monkeypatch):
    alarms = make_alarms(db)
    real, faulty = service_alarms.apply_changes, [True]

    def apply(c, changes, context):
        if faulty[0] and any(change.key == "health:bad" for change in changes):
            raise ZeroDivisionError
        return real(c, changes, context)

    monkeypatch.setattr(service_alarms, "apply_changes", apply)
    for key in ("good", "bad", "other"):
        alarms.open(key, f"{key} is sick", 1)
    alarms.clear("bad", "bad is well")
    alarms.write_pending()
    assert sorted(open_keys(db)) == ["health:good", "health:other"]
    faulty[0] = False
    alarms.write_pending()
    assert {a.key: a.state for a in ask(db, load_alerts, STATUS_SITE)}["health:bad"] == "returned_unacknowledged"


# ---- what was put on the shelf ----------------------------------------------------------------------------------
def test_a_shelved_alarm_of_the_service_comes_back_by_itself(db, monkeypatch):
    monkeypatch.setattr("monitor.app.self_monitoring.loop.UNSHELVE_EVERY_S", 0.3)
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"))
    monitoring = make_monitoring(core)
    core.alarms.write(make_alarm("x", 1, "x is sick", is_open=True))
    now = datetime.now(UTC)
    with db.write() as c:
        (alert,) = load_alerts(c, STATUS_SITE)
        shelve(c, alert.id, Actor("anna", "person"), "known", now + timedelta(seconds=1), now)
    monitoring.start()

    def state():
        return ask(db, load_alerts, STATUS_SITE)[0].state

    try:
        assert state() == "shelved"
        wait_for(lambda: state() == "unacknowledged")
        assert datetime.now(UTC) >= now + timedelta(seconds=1)
    finally:
        monitoring.stop()
        monitoring.thread.join(60)
        assert not monitoring.thread.is_alive()
        core.db.close()


# ---- who is told ------------------------------------------------------------------------------------------------
def test_everybody_is_told_once_and_by_all_channels_that_any_site_names():
    duty, anna = Recipient("duty", ("log",), (1, 2), ("hazard",)), Recipient("anna", ("email:a@x",), (3,))
    again = Recipient("duty", ("webhook:X", "log"), (3,), ("health",), 60.0)
    found = gather_recipients([make_site("a", duty), make_site("b", anna, again)])
    assert found == (Recipient("duty", ("log", "webhook:X"), (1, 2, 3), ("hazard", "health"), 60.0), anna)


# ---- what is wrong at the moment ----------------------------------------------------------------------------------
AWAY = {"connected": {"live": False, "backfill": True}, "problems": {"live": "does not answer"}}
REFUSED = {**AWAY, "refused": {"live": "the broker refused the subscription to a/b: Not authorized"}}


@pytest.mark.parametrize(
    ("trouble", "key", "words", "after_s"),
    [
        (REFUSED, "health:mqtt:live:refused", "a/b", 0),
        (AWAY, "health:mqtt:live:away", "does not answer", 60),
        ({"database_busy_since": "2026-03-01"}, "health:ingest:database", "2026-03-01", 60),
        ({"lost": 3}, "health:ingest:lost", "3 messages", 0),
        ({"dropped_qos0": 7}, "health:ingest:dropped", "7 messages of QoS 0", 0),
        ({"stumbles": 3}, "health:ingest:stumbles", "fails repeatedly", 0),
        ({"unkept": 7}, "health:ingest:quarantine", "7 unreadable messages", 0),
    ],
)
def test_what_is_wrong_in_ingest_is_an_alarm_until_it_is_over(db, trouble, key, words, after_s):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)

    def follow(status, at_s):
        conditions.update(run_checks(IntakeStatus(status, conditions.has_grown)), at_s)
        alarms.write_pending()
        return {a.key: (a.state, a.reason) for a in ask(db, load_alerts, STATUS_SITE)}

    assert follow(HEALTHY, 0.0) == {}
    if after_s:
        assert follow({**HEALTHY, **trouble}, 1.0) == {}
    found = follow({**HEALTHY, **trouble}, after_s + 1.0)
    assert (list(found), found[key][0]) == ([key], "unacknowledged")
    assert words in found[key][1]
    # a count stays where it is, the others become well: over after ten minutes at the latest
    healed = {**HEALTHY, **{k: v for k, v in trouble.items() if k in ("lost", "dropped_qos0", "unkept")}}
    assert follow(healed, after_s + 700.0)[key][0] == "returned_unacknowledged"


def test_an_alarm_of_one_session_ends_when_another_session_is_away(db):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    live = {**HEALTHY, "connected": {"live": False, "backfill": True}, "problems": {"live": "the connection ended"}}
    backfill = {**HEALTHY, "connected": {"live": True, "backfill": False}, "problems": {"backfill": "refused"}}
    for status, at_s, named in ((live, 0.0, ["(live session)"]), (backfill, 100.0, ["(backfill session)"])):
        conditions.update(run_checks(IntakeStatus(status, conditions.has_grown)), at_s)
        conditions.update(run_checks(IntakeStatus(status, conditions.has_grown)), at_s + 60.0)
        told = list(conditions.degraded())
        assert len(told) == len(named)
        assert all(name in line for name, line in zip(named, told, strict=True))
    ends = {alarm.key: alarm.open for alarm in alarms.pending()}
    assert ends["health:mqtt:live:away"] is False
    assert ends["health:mqtt:backfill:away"] is True


def test_the_end_of_an_alarm_repeats_what_was_wrong(db):
    alarms = make_alarms(db)
    conditions = AlarmConditions(alarms)
    busy = {**HEALTHY, "database_busy_since": NOW}
    for status, at_s in ((HEALTHY, 0.0), (busy, 1.0), (busy, 100.0), (HEALTHY, 200.0)):
        conditions.update(run_checks(IntakeStatus(status, conditions.has_grown)), at_s)
    of_key = [a.reason for a in alarms.pending() if a.key.endswith("ingest:database")]
    said = f"the database takes no observations since {NOW:%Y-%m-%d %H:%M:%S} UTC; messages wait with the broker"
    assert of_key == ["resolved: what was found before the service was started", said, f"resolved: {said}"]


def follow_all(db, key, look, *steps):
    """What each step (given, at_s) of a story tells of one alarm, as (open, level); and all that was told."""
    alarms = make_alarms(db)
    conditions, told = AlarmConditions(alarms), []
    for given, at_s in steps:
        before = len(alarms.pending())
        conditions.update(look(given, conditions), at_s)
        told.append([(a.open, a.level) for a in alarms.pending()[before:] if a.key == key])
    return told, alarms.pending()


def test_disks_that_are_full_are_one_alarm(db):
    names = ("broker", "state")
    full, free = (tuple(CheckRow(f"disk.{n}", s, f"0.4 GiB free at /{n}") for n in names) for s in (BAD, OK))
    steps = ((free, 0.0), (full, 5.0), (full, 70.0), ((*full[:1], *free[1:]), 100.0), (free, 130.0))
    told, pending = follow_all(db, "health:check:disk", lambda rows, _: read_rows(rows), *steps)
    assert (told, len(pending)) == ([[(False, 0)], [], [(True, 1)], [], [(False, 0)]], 3)
    (reason,) = {a.reason for a in pending if a.open}
    assert reason.endswith(": 0.4 GiB free at /broker; 0.4 GiB free at /state"), "where room has to be made"


def test_a_cluster_that_is_away_is_one_alarm_after_a_minute(db):
    gone = "no worker for 60 s"
    steps = (("", 0.0), (gone, 5.0), ("", 30.0), (gone, 40.0), ("no scheduler", 101.0), ("", 130.0))
    told, _ = follow_all(db, "health:compute:away", lambda t, _: run_checks(PartTroubles(compute=t)), *steps)
    assert told == [[(False, 0)], [], [], [], [(True, 1)], [(False, 0)]]


def test_a_count_that_grew_is_told_for_ten_minutes(db):
    def look(lost, conditions):
        return run_checks(IntakeStatus({**HEALTHY, "lost": lost}, conditions.has_grown))

    steps = ((0, 0), (2, 3), (2, 300), (5, 500), (5, 900), (5, 1101))
    told, _ = follow_all(db, "health:ingest:lost", look, *steps)
    assert [[is_open for is_open, _ in one] for one in told] == [[False], [True], [], [], [], [False]]


def test_what_is_wrong_in_ingest_or_evaluation_makes_the_status_degraded(db):
    core = Core(parse_service(f'[database]\nurl = "{db.url}"\n', "x"), lambda: NOW)
    core.sites.update(SITES)
    monitoring = make_monitoring(
        core,
        ingest=SimpleNamespace(status=lambda: {**HEALTHY, "lost": 2}),
        evaluation=SimpleNamespace(find_slow=lambda: {"north": 40.0}),
    )
    monitoring.check_parts()
    monitoring.write_heartbeat("running")
    core.db.close()
    _, degraded = check_parts(ask(db, load_heartbeats), NOW)
    assert (len(degraded), "2 messages" in degraded[0]) == (2, True)
    assert "evaluation of north takes 40 s" in degraded[1]


def test_an_alarm_that_a_process_before_left_open_is_ended(db):
    alarms = make_alarms(db)
    alarms.write(make_alarm("slow:north", 2, "slow", is_open=True))
    AlarmConditions(alarms).update(run_checks(EvaluationTimes(["north", "south"], {"south": 45.0})), 0.0)
    alarms.write_pending()
    found = {a.key: (a.state, a.reason) for a in ask(db, load_alerts, STATUS_SITE)}
    assert found["health:slow:north"][0] == "returned_unacknowledged"
    assert found["health:slow:south"][0] == "unacknowledged"
    assert "evaluation of south takes 45 s" in found["health:slow:south"][1]


def test_ingest_says_all_that_the_conditions_ask(db):
    conditions = AlarmConditions(make_alarms(db))
    found = run_checks(IntakeStatus(make_ingest(db, None).status(), conditions.has_grown))
    assert [c.key for c in found if c.check.alarm and c.is_wrong] == ["mqtt:live:away", "mqtt:backfill:away"]


def test_a_refused_subscription_stays_told_until_it_is_granted(db):
    session = make_ingest(db, None)._live
    session.connected = True
    refusal, grant = SimpleNamespace(is_failure=True), SimpleNamespace(is_failure=False)
    session._on_subscribe(None, None, 1, [refusal], None)
    assert "slopeward/v1/+/+/obs" in session.refused
    assert not session.listening
    session._on_subscribe(None, None, 2, [grant], None)
    assert (session.refused, session.listening) == ("", True)
