"""The life of an alert in the store: every step from every state, with its row; what is put aside and comes back."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import alerts as store
from monitor.alerts.queries.alerts import ChangeContext, acknowledge, apply_changes
from monitor.alerts.queries.answers import load_put_aside
from monitor.alerts.queries.maintenance import add_maintenance, end_maintenance
from monitor.alerts.records import AlertState
from monitor.alerts.states import OPEN, TRANSITIONS, AlertStep
from monitor.alerts.tables import alert
from monitor.decision.changes import AlertCategory, AlertChange, health_alarm
from monitor.delivery.holding import HoldingContext, apply_holding_rules
from monitor.errors import NeedsSecondError, RefusedError
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Recipient
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.seals import find_unsealed
from tests.data.store_rows import ask, tell
from tests.delivery.outbox import add_site
from tests.features.duty.test_duty import DAY, SITE, T0

ADA, BO = Actor("Ada"), Actor("Bo")
HOUR = timedelta(hours=1)
KEY = "health:G1.tilt:stale"


@pytest.fixture
def desk(database):
    tell(database, save_site, SITE, "ada", "test", T0 - DAY)
    return database


def change(c, level, key=KEY, now=T0):
    """The service finds a level; 0 = the condition is gone."""
    ledger = {"hazard": AlertCategory.HAZARD, "advice": AlertCategory.ADVICE}.get(key.partition(":")[0])
    ledger = ledger or AlertCategory.HEALTH
    order = AlertChange(ledger, key, level, level > 0, f"level {level}", T0, "{}")
    store.apply_changes(c, [order], store.ChangeContext("bench", SITE, SITE.recipients, SERVICE_ACTOR, now, "t"))
    return store.load_alerts(c, "bench", ledger=str(ledger))[0].id


def work(c, now=T0):
    return add_maintenance(c, "bench", "G1", now, now + 4 * HOUR, ADA, "new mast", now)


# how each step is made, of alert `i`
STEPS = {
    AlertStep.RAISE: lambda c, i: change(c, 1),
    AlertStep.WORSEN: lambda c, i: change(c, 2),
    AlertStep.CLEAR: lambda c, i: change(c, 0),
    AlertStep.SHELF_ENDS: lambda c, i: store.unshelve_due(c, "bench", SERVICE_ACTOR, T0 + DAY),
    AlertStep.SUPPRESS: lambda c, i: (work(c), store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0)),
    AlertStep.RESUME: lambda c, i: store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0 + DAY),
    AlertStep.ACKNOWLEDGE: lambda c, i: store.acknowledge(c, i, ADA, "seen", T0),
    AlertStep.NOTE: lambda c, i: store.add_note(c, i, BO, "seen too", T0),
    AlertStep.SHELVE: lambda c, i: store.shelve(c, i, ADA, "known", T0 + 2 * HOUR, T0, second=BO),
    AlertStep.UNSHELVE: lambda c, i: store.return_alert(c, i, AlertStep.UNSHELVE, ADA, "mended", T0),
    AlertStep.TAKE_OUT: lambda c, i: store.take_out(c, i, ADA, "dismantled", T0, second=BO),
    AlertStep.PUT_BACK: lambda c, i: store.return_alert(c, i, AlertStep.PUT_BACK, ADA, "stands again", T0),
    AlertStep.CLOSE: lambda c, i: store.close_alert(c, i, ADA, "done", T0, second=BO),
}
REACH = {
    AlertState.UNACKNOWLEDGED: (),
    AlertState.ACKNOWLEDGED: (AlertStep.ACKNOWLEDGE,),
    AlertState.RETURNED_UNACKNOWLEDGED: (AlertStep.CLEAR,),
    AlertState.SHELVED: (AlertStep.SHELVE,),
    AlertState.SUPPRESSED: (AlertStep.SUPPRESS,),
    AlertState.OUT_OF_SERVICE: (AlertStep.TAKE_OUT,),
    AlertState.CLOSED: (AlertStep.CLOSE,),
}


class TriedError(Exception):
    pass


def test_every_step_from_every_state_is_made_and_is_a_row_or_changes_nothing(desk):
    with pytest.raises(TriedError), desk.write() as c:
        for before, way in REACH.items():
            for what in STEPS:
                attempt = c.begin_nested()
                check_step(c, before, way, what)
                attempt.rollback()
        raise TriedError


def check_step(c, before, way, what):
    make, said = STEPS[what], None
    number = change(c, 1)
    for one in way:
        STEPS[one](c, number)
    assert store.find_alert(c, number).state == before
    events = len(store.load_alert_events(c, number))
    wanted = TRANSITIONS.get((before, what))
    if before is AlertState.CLOSED and what in {AlertStep.RAISE, AlertStep.WORSEN}:
        make(c, number)
        assert store.load_alerts(c, "bench", ledger="health")[0].id != number, "another alert begins"
        return
    try:
        make(c, number)
    except RefusedError as refused:
        said = str(refused)
    assert said is None or (wanted is None and "\n" not in said), (before, what, said)
    after, rows = store.find_alert(c, number), store.load_alert_events(c, number)
    if what is AlertStep.RAISE and before in OPEN and before is not AlertState.RETURNED_UNACKNOWLEDGED:
        assert (after.state, len(rows)) == (before, events), "it says what already is"
        return
    if wanted is None:
        assert (after.state, len(rows)) == (before, events), (before, what)
        return
    assert after.state == wanted, (before, what)
    assert len(rows) == events + 1
    last = rows[-1]
    assert (last.from_state, last.to_state, last.at.tzinfo is not None) == (before, wanted, True)
    assert last.actor
    assert last.reason
    assert (after.closed_at is not None) == (wanted is AlertState.CLOSED)


def test_what_is_put_aside_is_listed_proven_and_its_messages_wait(desk):
    with desk.write() as c:
        number = change(c, 1)
        work(c)
        store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0)
        other = change(c, 1, "health:G9.tilt:stale")
        store.shelve(c, other, ADA, "known", T0 + 2 * HOUR, T0)
        store.add_note(c, other, BO, "seen", T0)
        out = change(c, 1, "advice:anomaly:G1")
        store.take_out(c, out, BO, "dismantled", T0)
        listed = load_put_aside(c, "bench")
    assert [(a.alert_id, a.state, a.actor, a.why.split(" ")[0]) for a in listed] == [
        (number, "suppressed", "slopeward", "work"),
        (other, "shelved", "Ada", "known"),
        (out, "out_of_service", "Bo", "dismantled"),
    ]
    with desk.write() as c:
        assert apply_holding_rules(c, "log:mori", HoldingContext(T0 + HOUR, 0)) == []
        n = notification.c
        why = c.execute(select(n.last_error).where(n.alert_id == number, n.channel == "log:mori")).scalar_one()
        assert "until the work is over" in why
        end_maintenance(c, 1, ADA, "done", T0 + HOUR)
        store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0 + HOUR)
        assert store.find_alert(c, number).state == "unacknowledged"
        assert {w.alert_id for w in apply_holding_rules(c, "log:mori", HoldingContext(T0 + 2 * HOUR, 0))} == {number}
    assert list(ask(desk, find_unsealed)) == []


def test_alert_that_begins_and_ends_during_maintenance_notifies_nobody(desk):
    with desk.write() as c:
        work(c)
        number = change(c, 1)
        store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0)
        change(c, 0, now=T0 + HOUR)
        assert store.find_alert(c, number).state == "closed"
        assert set(c.execute(select(notification.c.state)).scalars()) == {"superseded"}
        worse = change(c, 1, now=T0 + HOUR)
        store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0 + HOUR)
        change(c, 2, now=T0 + HOUR)  # what is urgent is never hidden by work
        store.follow_maintenance(c, "bench", SERVICE_ACTOR, T0 + HOUR)
        assert store.find_alert(c, worse).state == "unacknowledged"


def test_shelving_is_limited_in_time_and_by_the_number_of_people(desk):
    with desk.write() as c:
        hazard = change(c, 1, "hazard")

        def shelve(hours, second=None):
            store.shelve(c, hazard, ADA, "blasting", T0 + hours * HOUR, T0, second=second, top_level=3)

        with pytest.raises(RefusedError, match="at most; shelve it again after that"):
            shelve(25)
        change(c, 2, "hazard")
        with pytest.raises(NeedsSecondError):
            shelve(1)
        with pytest.raises(RefusedError, match="for 4h at most"):
            shelve(5, BO)
        shelve(4, BO)
        change(c, 3, "hazard")
        assert store.find_alert(c, hazard).state == "unacknowledged"
        with pytest.raises(RefusedError, match="highest level"):
            shelve(1, BO)
        with pytest.raises(RefusedError, match="cannot be taken out of service"):
            store.take_out(c, hazard, ADA, "blasting", T0, second=BO)
        urgent = change(c, 2, "health:site:cannot_see")
        with pytest.raises(NeedsSecondError):
            store.take_out(c, urgent, ADA, "known", T0)


# ---- an alarm of health that comes and goes: its first turns are reported, then what has stood for an hour ----
KEY_CHATTERING = "health:G3.displacement:stale"
DUTY = (Recipient("duty", ("log:desk",), ("yellow", "orange", "red")),)
MINUTE = timedelta(minutes=1)


class Loose:
    """A plug that moves; `sent` holds what went out: minutes after the begin, and whether it is silent."""

    def __init__(self, database, level=1):
        self.database, self.level, self.sent, self.minute = database, level, [], 0
        tell(database, add_site)

    @property
    def now(self):
        return T0 + self.minute * MINUTE

    def wait(self, minutes, *, step=10):
        for _ in range(0, minutes, step):
            self.minute += step
            with self.database.write() as c:
                for message in apply_holding_rules(c, "log:desk", HoldingContext(self.now, 0)):
                    self.sent.append((self.minute, message.level > 0))
                    row = update(notification).where(notification.c.id == message.id)
                    c.execute(row.values(state="delivered", sent_at=self.now))

    def turn(self, *, silent):
        change = health_alarm(KEY_CHATTERING, self.level if silent else 0, "G3", is_open=silent)
        tell(self.database, apply_changes, [change], ChangeContext("north", None, DUTY, SERVICE_ACTOR, self.now, "v"))

    def flap(self, times, *, seen=False, half=10):
        for _ in range(times):
            self.turn(silent=True)
            self.wait(half, step=half)
            with self.database.write() as c:
                still = c.execute(select(alert.c.id).where(alert.c.closed_at.is_(None))).scalars()
                for number in still if seen else ():
                    acknowledge(c, number, Actor("ada"), "seen", self.now)
            self.turn(silent=False)
            self.wait(half, step=half)


def test_chattering_alarm_is_reported_three_times_and_after_an_hour_without_change(database):
    plug = Loose(database)
    plug.flap(12)
    assert len(plug.sent) == 6, "three turns, there and back"
    plug.turn(silent=True)
    begun = plug.minute
    plug.wait(70)
    assert plug.sent[6:] == [(begun + 60, True)], "for good"
    plug.turn(silent=False)
    plug.wait(70)
    assert plug.sent[7:] == [(begun + 130, False)]
    plug.wait(24 * 60, step=720)
    plug.flap(1)
    assert [is_silent for _, is_silent in plug.sent[8:]] == [True, False], "after a calm day as at first"


def test_chattering_alarm_is_reported_again_each_day(database):
    plug = Loose(database)
    plug.flap(36, half=40)
    days = [minute // (24 * 60) for minute, _ in plug.sent]
    assert (days.count(0), days.count(1)) == (6, 6)


def test_acknowledged_chattering_alarm_is_held_back_as_well(database):
    plug = Loose(database)
    plug.flap(12, seen=True)
    assert len(plug.sent) == 6
    plug.wait(60)
    assert [is_silent for _, is_silent in plug.sent[6:]] == [False], "nine turns are one message, of how it stands"


def test_urgent_alarm_never_waits_however_often_it_changes(database):
    plug = Loose(database, level=2)
    plug.flap(6)
    assert [is_silent for _, is_silent in plug.sent] == [True, False] * 6
