"""An alarm of health that comes and goes: its first turns are reported, then what has stood for an hour."""

from datetime import timedelta

from sqlalchemy import select, update

from monitor.domain.alert import SERVICE, Actor, health_alarm
from monitor.domain.site import Recipient
from monitor.notify.path import run_stages
from monitor.notify.verdict import DeliveryContext
from monitor.store.alerting.alerts import ChangeContext, acknowledge, apply_changes
from monitor.store.schema.tables import alert, notification
from tests.conftest import ON_SQLITE
from tests.integration.notify.outbox import T0, add_site

KEY = "health:G3.displacement:stale"
DUTY = (Recipient("duty", ("log:desk",), ("yellow", "orange", "red")),)
MINUTE = timedelta(minutes=1)


class Loose:
    """A plug that moves; `sent` holds what went out: minutes after the begin, and whether it is silent."""

    def __init__(self, database, level=1):
        self.database, self.level, self.sent, self.minute = database, level, [], 0

    def wait(self, minutes, *, step=10):
        for _ in range(0, minutes, step):
            self.minute += step
            with self.database.write() as c:
                for message in run_stages(c, "log:desk", DeliveryContext(T0 + self.minute * MINUTE, 0)):
                    self.sent.append((self.minute, message.level > 0))
                    c.execute(
                        update(notification)
                        .where(notification.c.id == message.id)
                        .values(state="delivered", sent_at=T0 + self.minute * MINUTE)
                    )

    def turn(self, *, silent):
        now, change = T0 + self.minute * MINUTE, health_alarm(KEY, self.level if silent else 0, "G3", is_open=silent)
        with self.database.write() as c:
            apply_changes(c, [change], ChangeContext("north", None, DUTY, SERVICE, now, "v"))

    def flap(self, times, *, seen=False, half=10):
        for _ in range(times):
            self.turn(silent=True)
            self.wait(half, step=half)
            with self.database.write() as c:
                for number in (
                    c.execute(select(alert.c.id).where(alert.c.closed_at.is_(None))).scalars() if seen else ()
                ):
                    acknowledge(c, number, Actor("ada"), "seen", T0 + self.minute * MINUTE)
            self.turn(silent=False)
            self.wait(half, step=half)


@ON_SQLITE
def test_who_falls_silent_again_and_again_is_reported_three_times_and_when_it_has_stood_for_an_hour(database):
    with database.write() as c:
        add_site(c)
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


@ON_SQLITE
def test_who_never_comes_to_rest_is_told_of_again_each_day(database):
    with database.write() as c:
        add_site(c)
    plug = Loose(database)
    plug.flap(36, half=40)
    days = [minute // (24 * 60) for minute, _ in plug.sent]
    assert (days.count(0), days.count(1)) == (6, 6)


@ON_SQLITE
def test_who_acknowledges_each_turn_hears_no_more_of_them(database):
    with database.write() as c:
        add_site(c)
    plug = Loose(database)
    plug.flap(12, seen=True)
    assert len(plug.sent) == 6
    plug.wait(60)
    assert [is_silent for _, is_silent in plug.sent[6:]] == [False], "nine turns are one message, of how it stands"


@ON_SQLITE
def test_what_is_urgent_never_waits_however_often_it_comes(database):
    with database.write() as c:
        add_site(c)
    plug = Loose(database, level=2)
    plug.flap(6)
    assert [is_silent for _, is_silent in plug.sent] == [True, False] * 6
