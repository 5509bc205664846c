"""Which message goes first, which waits, which become one, and who is next when nobody answers."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.queries.alerts import UNDELIVERED, acknowledge, find_alert
from monitor.alerts.records import UNCONFIRMED
from monitor.alerts.tables import alert
from monitor.app.checks.live import EscalationStatus
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.holding import HoldingContext, apply_holding_rules
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import claim_due
from monitor.delivery.queries.receipts import add_test
from monitor.delivery.trial import send_test
from monitor.errors import RefusedError
from monitor.sites.records import Recipient
from monitor.storage.actor import Actor
from tests.data.store_rows import ask, tell
from tests.delivery.outbox import (
    PATIENT,
    T0,
    add_alert,
    add_message,
    add_site,
    clock,
    queue_message,
    rows,
    running,
    serving_mail,
    site_with,
    states,
)
from tests.fixtures.waiting import wait_for


def test_after_an_outage_the_newest_message_is_sent_first_and_the_raise_is_not_replaced(database, hooks):
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, level=1)
        ids = [
            add_message(c, alert_id, "webhook:OK", level, sequence, at=T0 + timedelta(minutes=sequence))
            for sequence, level in enumerate([1, 2, 3, 1], 1)
        ]
    with running(database, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: all(r.state in {"delivered", "superseded"} for r in rows(database).values()))
    found = rows(database)
    assert [found[i].state for i in ids] == ["superseded", "superseded", "delivered", "delivered"]
    assert {found[ids[0]].superseded_by, found[ids[1]].superseded_by} == {ids[2]}
    bodies = [json.loads(b) for _, _, b in hooks.got]
    assert [b["level"] for b in bodies] == [1, 3]  # the present first, then the raise that must not be lost
    assert "Delayed" in bodies[1]["body"]
    assert "north: orange" in bodies[1]["body"]


def test_recovered_channel_sends_all_waiting_messages_and_open_hazards_before_all_clear(database, hooks):
    """Backoff had put the next tries minutes away; the newest red is tried often, and its success releases the rest."""
    channel, later = "webhook:OUT", clock() + timedelta(minutes=4)
    tried = {"state": "failed_retry", "attempts": 9, "next_attempt_at": later}
    with database.write() as c:
        add_site(c)
        add_site(c, "south")
        over = add_message(c, add_alert(c, "old", level=0), channel, 0, site="south", **tried)
        sick = add_message(c, add_alert(c, "health:x", "health", 1), channel, 1, ledger="health", **tried)
        yellow = add_message(c, add_alert(c, "south", level=1), channel, 1, site="south", **tried)
        red = add_message(c, add_alert(c, level=3), channel, 3)
    with running(database, {"OUT": f"{hooks.base}/outage"}):
        wait_for(lambda: len(hooks.got) >= 3)
        hooks.back.set()
        # The next attempts are four minutes away, and wait_for gives up after one.
        wait_for(lambda: {r.state for r in rows(database).values()} == {"delivered"})
    told = [json.loads(body)["notification_id"] for _, _, body in hooks.got]
    assert list(dict.fromkeys(told)) == [red, yellow, sick, over]


def test_shelving_holds_back_messages_that_are_not_urgent(database):
    with database.write() as c:
        add_site(c)
        for key, level in (("a", 1), ("b", 3)):
            add_message(c, add_alert(c, key, level=level, state="shelved"), "webhook:OK", level)
        assert [waiting.level for waiting in apply_holding_rules(c, "webhook:OK", HoldingContext(clock(), 0))] == [3]


@pytest.mark.parametrize(("sent_at", "state"), [(timedelta(days=1), "delivered"), (timedelta(0), "queued")])
def test_messages_sent_while_the_clock_was_ahead_do_not_count_for_the_hourly_limit(database, hooks, sent_at, state):
    now = clock()
    with database.write() as c:
        add_site(c)
        for k in range(2):
            sick = add_alert(c, f"sent-{k}", "health", level=1)
            add_message(c, sick, "webhook:OK", 1, ledger="health", state="delivered", sent_at=now + sent_at)
        waits = add_message(c, add_alert(c, "waits", "health", level=1), "webhook:OK", 1, ledger="health")
    with running(database, {"OK": f"{hooks.base}/ok"}, limits=DeliveryLimits(group_wait_s=0.0, sends_per_hour=2)):
        wait_for(lambda: rows(database)[waits].state == "delivered" or rows(database)[waits].next_attempt_at)
    assert rows(database)[waits].state == state


@pytest.mark.parametrize("between", ["restart", "clock"])
def test_first_success_after_a_restart_releases_waiting_messages(database, hooks, between):
    """What failed before the service ended, or before the clock was set, follows the first message that is taken."""
    later = clock() + timedelta(minutes=5)
    with database.write() as c:
        add_site(c)
        for n in range(4):
            tried = {"state": "failed_retry", "attempts": 9, "next_attempt_at": later, "last_error": "no route"}
            add_message(c, add_alert(c, f"a{n}", level=2), "webhook:OK", 2, at=clock(), **tried)
    with running(database, {"OK": f"{hooks.base}/ok"}) as dispatcher:
        assert dispatcher.status()["channels"] == {}  # nothing is due for five minutes
        if between == "clock":
            dispatcher.forget_times()
        with database.write() as c:
            add_message(c, add_alert(c, "new", level=3), "webhook:OK", 3)
        wait_for(lambda: {r.state for r in rows(database).values()} == {"delivered"})
        assert [json.loads(b)["level"] for _, _, b in hooks.got] == [3, 2, 2, 2, 2]
        assert dispatcher.status()["channels"]["webhook:OK"]["failing_since"] is None


def test_pausing_channel_tries_urgent_messages_only(database, hooks):
    with database.write() as c:
        add_site(c)
        for n in range(8):
            add_message(c, add_alert(c, f"a{n}", level=1), "webhook:BAD", 1)
    with running(database, {"BAD": f"{hooks.base}/500"}, jitter=lambda: 0.999) as dispatcher:
        wait_for(lambda: dispatcher.status()["channels"].get("webhook:BAD", {}).get("resting"))
        before = len(hooks.got)
        assert before == 3
        with database.write() as c:
            add_message(c, add_alert(c, "top", level=3), "webhook:BAD", 3)
        wait_for(lambda: any(json.loads(b)["level"] == 3 for _, _, b in hooks.got))
        assert len(hooks.got) - before <= 2


def test_message_is_confirmed_by_its_recipient_only(database):
    post = Recipient("Duty post", ("log",), (3,), people=("R. Mori",))
    sites = {"north": site_with(post, *(Recipient(name, ("log",), (3,)) for name in ("head", "mayor")))}
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        for who in ("Duty post", "head", "mayor"):
            add_message(c, alert_id, "log", recipient=who, state="delivered", sent_at=T0)
    dispatcher = Dispatcher(database, sites, lambda: T0, environ={})

    def found():
        dispatcher.escalate_once(T0 + timedelta(hours=2))
        return {r.recipient: (r.state, r.confirmed_by, r.confirmed_via) for r in rows(database).values()}

    untold = ("delivered", None, None)
    tell(database, acknowledge, alert_id, Actor("r.  MORI\u200b", via="page"), "on the way", T0 + timedelta(minutes=3))
    post = ("confirmed", "r. MORI", "page")
    assert found() == {"Duty post": post, "head": untold, "mayor": untold}
    with database.write() as c:
        acknowledge(c, alert_id, Actor("Head", via="command"), "road is closed", T0 + timedelta(minutes=9))
        assert find_alert(c, alert_id).acknowledged_by == "r. MORI"  # the first one stays
        with pytest.raises(RefusedError, match="nothing to acknowledge"):
            acknowledge(c, alert_id, Actor("R.Mori"), "again", T0 + timedelta(minutes=10))
    assert found() == {"Duty post": post, "head": ("confirmed", "Head", "command"), "mayor": untold}
    confirmed = {r.recipient: r.confirmed_at for r in rows(database).values()}
    minutes = timedelta(minutes=1)
    assert confirmed == {"Duty post": T0 + 3 * minutes, "head": T0 + 9 * minutes, "mayor": None}


def test_next_recipient_is_notified_at_once_if_nobody_can_be_reached(database, hooks):
    sites = {"north": site_with(Recipient("duty", ("webhook:NO",), (3,)), Recipient("head", ("webhook:OK",), ()))}
    queue_message(database, "webhook:NO")
    with running(database, {"NO": f"{hooks.base}/400", "OK": f"{hooks.base}/ok"}, sites) as dispatcher:
        wait_for(lambda: states(database) == {"webhook:NO": "failed_final"})
        assert dispatcher.escalate_once(clock()) in {0, 1}  # the planner may have been quicker
        wait_for(lambda: states(database).get("webhook:OK") == "delivered")
    assert json.loads(hooks.got[-1][2])["subject"] == "nobody else could be reached: north: red"
    assert len(rows(database)) == 2


def test_newer_message_that_waits_does_not_block_older_ones(database):
    with database.write() as c:
        add_site(c)
        raised = add_alert(c)
        red = add_message(c, raised, "log:desk", 3)
        add_message(c, raised, "log:desk", 1, sequence=2)  # lower again: ordinary, so it rests with the channel
    assert [m.id for m in tell(database, claim_due, T0, "a", 30.0, 1, "log:desk", only={red})] == [red]


def test_health_alarm_whose_cause_is_gone_is_not_repeated(database, hooks):
    """Its cause is gone, nobody acknowledged it: it waits on the list, an alarm that stands is told again."""
    sites = {"north": site_with(Recipient("duty", ("webhook:OK",), (3,), escalate_after_s=60.0))}
    with database.write() as c:
        add_site(c)
        over = add_alert(c, "health:x", "health", 2, state="returned_unacknowledged")
        stands = add_alert(c, "health:y", "health", 2)
        for one in (over, stands):
            add_message(c, one, "webhook:OK", 2, ledger="health", state="delivered", sent_at=T0)
    dispatcher = Dispatcher(database, sites, clock, environ={"OK": f"{hooks.base}/ok"}, limits=PATIENT)
    assert dispatcher.escalate_once(T0 + timedelta(minutes=10)) == 1
    assert [r.alert_id for r in rows(database).values() if r.state == "queued"] == [stands]


# ---- people are notified of a channel that cannot deliver messages and of a level that reached nobody ----
MAIL = "email:duty@example.org"


@pytest.fixture
def mail():
    """A mail server with the answer that is put into it."""

    class Handler:
        answer = "550 no such user"

        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            return self.answer

    handler = Handler()
    with serving_mail(handler) as handler.environ:
        yield handler


def put(database, channel, **more):
    with database.write() as c:
        return add_message(c, add_alert(c, key=f"k{len(rows(database))}"), channel, at=clock(), **more)


def alarms_of(database, key):
    return [*ask(database, lambda c: c.execute(select(alert).where(alert.c.key == key, alert.c.closed_at.is_(None))))]


def followed(database, dispatcher, sites):
    """One round of the core's watch over its channels, and what comes of it."""
    alarms = ServiceAlarms(database, sites, clock, dispatcher.wake)
    conditions = AlarmConditions(alarms)

    def follow(at_s):
        named = {k for s in sites.values() for r in s.recipients for k in r.channels}
        known = {*named, *dispatcher.list_channels()}
        seen = EscalationStatus(sites, (), known, (), dispatcher.find_undelivered(named))
        conditions.update(run_checks(seen), at_s)
        alarms.write_pending()

    return follow


def test_refused_mail_is_reported_by_the_other_channels(database, hooks, mail, capsys):
    environ = mail.environ | {"HOOK": f"{hooks.base}/ok"}
    tell(database, add_site)
    sites = {"north": site_with(Recipient("duty", (MAIL, "webhook:HOOK"), (3,)))}
    with running(database, environ, sites) as dispatcher:
        follow = followed(database, dispatcher, sites)
        follow(0.0)
        assert not alarms_of(database, f"{UNDELIVERED}{MAIL}")
        began = clock()
        put(database, MAIL)
        wait_for(lambda: dispatcher.find_undelivered([MAIL]))
        follow(5.0)
        (found,) = alarms_of(database, f"{UNDELIVERED}{MAIL}")
        assert (found.level, "550 no such user" in found.reason) == (2, True)
        wait_for(lambda: any(b"550 no such user" in body for _, _, body in hooks.got))
        with capsys.disabled():
            print(f"\n  first message past the channel after {(clock() - began).total_seconds():.1f} s")
        told = {r.channel for r in rows(database).values() if r.alert_id == found.id}
        assert told == {"webhook:HOOK"}  # not by the channel that it is about
    with running(database, environ, sites) as again:  # a restart mends nothing
        assert MAIL in again.find_undelivered([MAIL])
        mail.answer = "250 taken"
        put(database, MAIL)
        wait_for(lambda: not again.find_undelivered([MAIL]))


def test_successful_channel_test_clears_a_refusal(database, mail):
    with running(database, mail.environ) as dispatcher:
        tell(database, add_site)
        put(database, MAIL)
        wait_for(lambda: dispatcher.find_undelivered([MAIL]))
        mail.answer = "250 taken"
        error, provider_id = send_test(MAIL, mail.environ, database)
        assert error is None
        tell(database, add_test, MAIL, MAIL, clock(), good=True, found="taken", provider_id=provider_id)
        assert not dispatcher.find_undelivered([MAIL])


def test_channel_that_fails_three_times_in_a_row_is_reported(database, hooks):
    tell(database, add_site)
    with running(database, {"HOOK": f"{hooks.base}/500"}) as dispatcher:
        assert not dispatcher.find_undelivered(["webhook:HOOK"])
        put(database, "webhook:HOOK")
        wait_for(lambda: dispatcher.find_undelivered(["webhook:HOOK"]), 60.0)
        (row,) = rows(database).values()
        assert row.attempts >= 3


def test_missing_variable_is_reported_before_any_message(database):
    with running(database, {}) as dispatcher:
        assert "GONE is not set" in dispatcher.find_undelivered(["webhook:GONE"])["webhook:GONE"]
        assert not dispatcher.find_undelivered(["log:desk"])


def test_alert_that_reached_nobody_goes_to_the_people_of_all_sites(database, hooks, mail):
    environ = mail.environ | {"FAR": f"{hooks.base}/ok"}
    with database.write() as c:
        add_site(c)
        add_site(c, "south")
    duty, far = Recipient("duty", (MAIL,), (3,)), Recipient("far", ("webhook:FAR",), (3,))
    sites = {"north": site_with(duty), "south": site_with(far)}
    with running(database, environ, sites, limits=DeliveryLimits()) as dispatcher:
        number = put(database, MAIL)
        wait_for(lambda: rows(database)[number].state == "failed_final")
        dispatcher.escalate_once(clock())
        (found,) = alarms_of(database, f"{UNCONFIRMED}{rows(database)[number].alert_id}")
        assert found.reason_id == "unconfirmed.unreached"
        wait_for(lambda: any(b"reached nobody" in body for _, _, body in hooks.got))


def test_repeat_and_alarm_that_nobody_confirmed_are_one_message(database):
    """The person on duty gets both at the same instant. The owner, who gets no repeat, gets the alarm."""
    duty = Recipient("duty", (MAIL,), (3,), escalate_after_s=600.0)
    owner = Recipient("owner", ("webhook:OWNER",), (3,))
    sites = {"north": site_with(duty, owner)}
    with database.write() as c:
        add_site(c)
        for key in ("hazard", "second"):
            alert_id = add_alert(c, key=key)
            for recipient, channel in (("duty", MAIL), ("owner", "webhook:OWNER")):
                add_message(c, alert_id, channel, recipient=recipient, state="delivered")
    now = T0
    dispatcher = Dispatcher(database, sites, lambda: now, environ={}, limits=DeliveryLimits())
    for minutes in (10, 20):
        now = T0 + timedelta(minutes=minutes)
        dispatcher.escalate_once(now)
        queued = [row for row in rows(database).values() if row.queued_at == now]
        keys = {row.id: row.key for row in ask(database, lambda c: c.execute(select(alert)).all())}
        sent = sorted((row.recipient, keys[row.alert_id]) for row in queued if row.state == "queued")
        assert sent == [
            ("duty", "hazard"),
            ("duty", "second"),
            ("owner", f"{UNCONFIRMED}1"),
            ("owner", f"{UNCONFIRMED}2"),
        ]
        left_out = [row for row in queued if row.state == "superseded"]
        assert {(row.recipient, row.channel) for row in left_out} == {("duty", MAIL)}
        for row in left_out:
            carrier = rows(database)[row.superseded_by]
            assert keys[row.alert_id] == f"{UNCONFIRMED}{carrier.alert_id}"
            assert (carrier.recipient, carrier.channel, carrier.state) == (row.recipient, row.channel, "queued")


@pytest.mark.parametrize(
    ("state", "age_s", "is_told"),
    [
        ("failed_final", 0, True),
        *((state, 61, True) for state in ("failed_retry", "queued")),
        ("failed_retry", 20, False),
        *((state, 300, False) for state in ("delivered", "confirmed")),
    ],
)
def test_alert_reached_somebody_if_a_channel_took_a_message(database, state, age_s, is_told):
    now = clock()
    at, sites = now - timedelta(seconds=age_s), {"north": site_with(Recipient("duty", (MAIL,), (3,)))}
    again_at = now + timedelta(hours=1) if state in {"queued", "failed_retry"} else None
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, at=at)
        add_message(c, alert_id, "siren:gate", at=at, state="delivered")  # reaches no person
        add_message(c, alert_id, MAIL, at=at, state=state, next_attempt_at=again_at)
    with running(database, {}, sites, poll_s=60.0, limits=DeliveryLimits()) as dispatcher:
        dispatcher.escalate_once(now)
    assert bool(alarms_of(database, f"{UNCONFIRMED}{alert_id}")) is is_told
