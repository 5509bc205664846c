"""Delivery against real servers of loopback: mail, webhooks that fail in their ways, a broker, a killed process."""

import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import paho.mqtt.client as paho
import pytest
from aiosmtpd.controller import Controller
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import insert, select, update

from monitor.config.service import load_service
from monitor.domain.alert import Actor, DeliveryState, Notification
from monitor.domain.site import Level, Recipient, Site
from monitor.errors import ConfigError, DeliveryError, RefusedError
from monitor.notify.dispatcher import MOST_ABANDONED, Dispatcher
from monitor.notify.notifier import channel_settings, open_notifier
from monitor.notify.verdict import Limits
from monitor.notify.worker import ChannelWorker
from monitor.store.alerting.alerts import acknowledge, find_alert
from monitor.store.alerting.outbox import (
    CLOCK_MARGIN,
    LONGEST_LEASE,
    LONGEST_WAIT,
    claim_due,
    due_channels,
    has_expired,
    load_waiting,
    mark_delivered,
    mark_failed,
    release_expired,
)
from monitor.store.database.engine import Database
from monitor.store.schema.tables import alert, alert_event, notification, site
from monitor.store.upkeep.clock_steps import set_back
from tests.conftest import free_port, wait_for

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
PATIENT = Limits(unconfirmed_after_s=1e9)  # that nobody confirmed is in tests/integration/web/site/test_duty.py
LEVELS = [
    {"number": n, "name": name, "action": "", "auto_lower": False}
    for n, name in enumerate(["green", "yellow", "orange", "red"])
]


def clock():
    return datetime.now(UTC)


def add_site(c, name="north"):
    c.execute(
        insert(site).values(
            id=name,
            name=name,
            latitude=46.0,
            longitude=8.0,
            timezone="UTC",
            levels=LEVELS,
            config_sha256="x",
            active=True,
        )
    )


def add_alert(c, key="hazard", ledger="hazard", level=3, state="unacknowledged", at=T0):
    return c.execute(
        insert(alert).values(
            site="north", ledger=ledger, key=key, level=level, peak_level=level, state=state, exercise=False,
            raised_at=at, reason="moves", rule_version="1",
        ).returning(alert.c.id)
    ).scalar_one()  # fmt: skip


def add_message(c, alert_id, channel, level=3, sequence=1, recipient="duty", at=T0, ledger="hazard", **more):
    event_id = c.execute(
        select(alert_event.c.id).where(alert_event.c.alert_id == alert_id, alert_event.c.sequence == sequence)
    ).scalar()
    if event_id is None:
        event_id = c.execute(
            insert(alert_event).values(
                alert_id=alert_id, sequence=sequence, at=at, to_state="unacknowledged", to_level=level,
                actor="slopeward", actor_kind="service", reason="moves",
            ).returning(alert_event.c.id)
        ).scalar_one()  # fmt: skip
    key = hashlib.sha256(f"{event_id}|{recipient}|{channel}".encode()).hexdigest()
    name = LEVELS[level]["name"]
    values = {
        "alert_id": alert_id, "event_id": event_id, "site": "north", "ledger": ledger, "level": level,
        "level_name": name,
        "recipient": recipient, "channel": channel, "exercise": False, "subject": f"north: {name}",
        "body": f"Level {name}.",
        "state": "queued", "queued_at": at, "idempotency_key": key,
    }  # fmt: skip
    return c.execute(insert(notification).values(**{**values, **more}).returning(notification.c.id)).scalar_one()


def rows(db):
    with db.read() as c:
        return {r.id: r for r in c.execute(select(notification))}


class Hooks(ThreadingHTTPServer):
    """Remembers what came; answers by path."""

    daemon_threads = True
    block_on_close = False


@pytest.fixture
def hooks():
    got = []
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), body))
            if self.path == "/hang":
                release.wait(30)
                return
            status = {"/500": 500, "/429": 429, "/400": 400, "/401": 401, "/404": 404, "/302": 302}.get(self.path, 204)
            if self.path == "/outage" and not self.server.back.is_set():
                status = 503
            if self.path == "/flaky" and sum(p == "/flaky" for p, _, _ in got) < 3:
                status = 503
            self.send_response(status)
            if status == 429:
                self.server.refused_at = clock()
                self.send_header("Retry-After", "7")
            if status == 302:
                self.send_header("Location", "/ok")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = Hooks(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.got, server.base = got, f"http://127.0.0.1:{server.server_port}"
    server.back = threading.Event()
    yield server
    release.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@contextmanager
def running(db, environ=None, sites=None, now=clock, **more):
    options = {"poll_s": 0.05, "jitter": lambda: 0.0, "limits": replace(PATIENT, group_wait_s=0.0)} | more
    dispatcher = Dispatcher(db, sites or {}, now, environ=environ or {}, **options)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop(3.0)


def states(db):
    return {r.channel: r.state for r in rows(db).values()}


# Apprise loads all its plug-ins, one of which imports a deprecated module
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_hanging_a_failing_and_a_refusing_channel_do_not_stop_the_others(database, hooks):
    mails = []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            mails.append(envelope)
            return "250 taken"

    smtp = Controller(Inbox(), hostname="127.0.0.1", port=free_port())
    smtp.start()
    port = smtp.server.sockets[0].getsockname()[1]
    environ = {
        "HANG": f"{hooks.base}/hang", "BAD": f"{hooks.base}/500", "SLOW": f"{hooks.base}/429", "OK": f"{hooks.base}/ok",
        "OK_SECRET": "s3cret", "APP": f"json://127.0.0.1:{hooks.server_port}/app", "SLOPEWARD_SMTP__HOST": "127.0.0.1",
        "SLOPEWARD_SMTP__PORT": str(port), "SLOPEWARD_SMTP__SECURITY": "none",
    }  # fmt: skip
    channels = [
        "webhook:HANG",
        "webhook:BAD",
        "webhook:SLOW",
        "webhook:OK",
        "apprise:APP",
        "email:duty@example.org",
        "log:desk",
        "webhook:GONE",
    ]
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        for channel in channels:
            add_message(c, alert_id, channel)
    try:
        with running(database, environ):
            good = {"webhook:OK", "apprise:APP", "email:duty@example.org", "log:desk"}
            wait_for(lambda: {k for k, v in states(database).items() if v == "delivered"} == good)
            assert states(database)["webhook:SLOW"] != "delivered"
            wait_for(lambda: states(database)["webhook:SLOW"] == states(database)["webhook:GONE"] == "failed_retry")
            wait_for(lambda: states(database)["webhook:BAD"] == "failed_retry")
    finally:
        smtp.stop()
    found = {r.channel: r for r in rows(database).values()}
    assert found["webhook:BAD"].last_error == "webhook: answered 500"
    assert "GONE is not set" in found["webhook:GONE"].last_error
    again_at = found["webhook:SLOW"].next_attempt_at
    assert again_at - hooks.refused_at > timedelta(seconds=6)  # Retry-After outweighs the backoff of 1 s
    assert again_at - clock() <= timedelta(seconds=7)
    _, headers, body = next(h for h in hooks.got if h[0] == "/ok")
    assert headers["Idempotency-Key"] == found["webhook:OK"].idempotency_key == json.loads(body)["idempotency_key"]
    at, mark = headers["X-Slopeward-Signature"].removeprefix("t=").split(",v1=")
    assert mark == hmac.new(b"s3cret", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert len(mails) == 1
    assert f"<{found['email:duty@example.org'].idempotency_key}@slopeward>".encode() in mails[0].content


def test_a_channel_that_recovers_gets_the_message_under_the_same_key(database, hooks):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:FLAKY")
    with running(database, {"FLAKY": f"{hooks.base}/flaky"}):
        wait_for(lambda: states(database) == {"webhook:FLAKY": "delivered"})
    (row,) = rows(database).values()
    assert row.attempts == 3
    assert row.last_error is None
    assert {h["Idempotency-Key"] for _, h, _ in hooks.got} == {row.idempotency_key}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "state"),
    [("/400", "failed_final"), ("/302", "failed_retry"), ("/401", "failed_retry"), ("/404", "failed_retry")],
)
def test_a_refusal_is_final_but_for_what_a_person_sets_right(database, hooks, path, state):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:HOOK")
    with running(database, {"HOOK": hooks.base + path}):
        wait_for(lambda: states(database) == {"webhook:HOOK": state})
    assert len(hooks.got) == 1


def test_a_refused_recipient_is_final_and_a_busy_server_is_not(database):
    answers = iter(["451 later", "550 nobody here"])

    class Inbox:
        async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
            return next(answers)

    smtp = Controller(Inbox(), hostname="127.0.0.1", port=free_port())
    smtp.start()
    environ = {
        "SLOPEWARD_SMTP__HOST": "127.0.0.1", "SLOPEWARD_SMTP__SECURITY": "none",
        "SLOPEWARD_SMTP__PORT": str(smtp.server.sockets[0].getsockname()[1]),
    }  # fmt: skip
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "email:duty@example.org")
    try:
        with running(database, environ):
            wait_for(lambda: set(states(database).values()) == {"failed_final"})
    finally:
        smtp.stop()
    (row,) = rows(database).values()
    assert row.attempts == 2
    assert "550" in row.last_error


def test_after_an_outage_the_newest_is_told_first_and_nothing_hides_the_raise(database, hooks):
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


def test_when_a_channel_is_back_all_that_waits_goes_at_once_and_hazard_before_what_is_over(database, hooks):
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
        returned = time.monotonic()
        wait_for(lambda: {r.state for r in rows(database).values()} == {"delivered"})
        print(f"all delivered {time.monotonic() - returned:.1f} s after the return")
        assert time.monotonic() - returned <= 10.0
    told = [json.loads(body)["notification_id"] for _, _, body in hooks.got]
    assert list(dict.fromkeys(told)) == [red, yellow, sick, over]


def test_health_messages_of_one_site_become_one(database, hooks):
    with database.write() as c:
        add_site(c)
        for n in range(6):
            alert_id = add_alert(c, key=f"health:G{n}", ledger="health", level=1)
            add_message(c, alert_id, "webhook:OK", 1, ledger="health", subject=f"G{n} is silent")
        top = add_alert(c, key="health:blind", ledger="health", level=2)
        add_message(c, top, "webhook:OK", 2, ledger="health", subject="cannot see: decide")
    with running(database, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: all(r.state in {"delivered", "superseded"} for r in rows(database).values()))
    bodies = [json.loads(b) for _, _, b in hooks.got]
    assert [b["subject"] for b in bodies] == ["cannot see: decide", "G5 is silent"]
    assert all(f"G{n} is silent" in bodies[1]["body"] for n in range(5))


def test_shelving_holds_back_all_but_the_urgent(database, hooks):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c, "a", level=1, state="shelved"), "webhook:OK", 1)
        add_message(c, add_alert(c, "b", level=3, state="shelved"), "webhook:OK", 3)
    with running(database, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: len(hooks.got) == 1)
        time.sleep(0.3)
    assert [json.loads(b)["level"] for _, _, b in hooks.got] == [3]
    assert sorted(r.state for r in rows(database).values()) == ["delivered", "queued"]


@pytest.mark.parametrize(("sent_at", "state"), [(timedelta(days=1), "delivered"), (timedelta(0), "queued")])
def test_what_a_clock_that_was_ahead_sent_fills_no_hour(database, hooks, sent_at, state):
    now = clock()
    with database.write() as c:
        add_site(c)
        for k in range(2):
            sick = add_alert(c, f"sent-{k}", "health", level=1)
            add_message(c, sick, "webhook:OK", 1, ledger="health", state="delivered", sent_at=now + sent_at)
        waits = add_message(c, add_alert(c, "waits", "health", level=1), "webhook:OK", 1, ledger="health")
    with running(database, {"OK": f"{hooks.base}/ok"}, limits=Limits(group_wait_s=0.0, sends_per_hour=2)):
        wait_for(lambda: rows(database)[waits].state == "delivered" or rows(database)[waits].next_attempt_at)
    assert rows(database)[waits].state == state


@pytest.mark.parametrize("between", ["restart", "clock"])
def test_the_first_success_after_a_restart_releases_what_waits(database, hooks, between):
    """What failed before the service ended, or before the clock was set, follows the first message that is taken."""
    later = clock() + timedelta(minutes=5)
    with database.write() as c:
        add_site(c)
        for n in range(4):
            add_message(
                c, add_alert(c, f"a{n}", level=2), "webhook:OK", 2, at=clock(), state="failed_retry", attempts=9,
                next_attempt_at=later, last_error="webhook: no route",
            )  # fmt: skip
    with running(database, {"OK": f"{hooks.base}/ok"}) as dispatcher:
        assert dispatcher.status()["channels"] == {}  # nothing is due for five minutes
        if between == "clock":
            dispatcher.forget_times()
        with database.write() as c:
            add_message(c, add_alert(c, "new", level=3), "webhook:OK", 3)
        wait_for(lambda: {r.state for r in rows(database).values()} == {"delivered"})
        assert [json.loads(b)["level"] for _, _, b in hooks.got] == [3, 2, 2, 2, 2]
        assert dispatcher.status()["channels"]["webhook:OK"]["failing_since"] is None


def test_an_open_circuit_lets_only_the_urgent_try(database, hooks):
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


def site_with(*recipients):
    levels = tuple(Level(v["number"], v["name"], False) for v in LEVELS)
    return Site("north", "north", 46.0, 8.0, "UTC", levels, (), (), recipients=recipients)


def test_what_nobody_acknowledges_goes_to_the_next_and_acknowledgement_ends_it(database, hooks):
    sites = {
        "north": site_with(
            Recipient("duty", ("webhook:OK",), (2, 3), escalate_after_s=600.0), Recipient("head", ("webhook:OK",), (3,))
        )
    }
    now = [T0]
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, level=2)
        add_message(c, alert_id, "webhook:OK", 2)
    dispatcher = Dispatcher(database, sites, lambda: now[0], environ={}, limits=PATIENT)
    assert dispatcher.escalate_once(T0 + timedelta(minutes=9)) == 0
    assert dispatcher.escalate_once(T0 + timedelta(minutes=11)) == 1
    assert dispatcher.escalate_once(T0 + timedelta(minutes=12)) == 0  # not twice
    assert dispatcher.escalate_once(T0 + timedelta(minutes=22)) == 1  # all told: round again
    told = sorted((r.id, r.recipient, r.subject) for r in rows(database).values())
    assert [t[1] for t in told] == ["duty", "head", "duty"]
    assert told[1][2] == "open for 11 min: north: orange"
    with database.write() as c:
        c.execute(update(notification).values(state="delivered", sent_at=T0))
        acknowledge(c, alert_id, Actor("ada", via="page"), "on the way", T0 + timedelta(minutes=30))
    assert dispatcher.escalate_once(T0 + timedelta(hours=2)) == 0


def test_a_message_is_confirmed_by_its_own_recipient_alone(database):
    sites = {
        "north": site_with(
            Recipient("Duty post", ("log",), (3,), people=("R. Mori",)),
            Recipient("head", ("log",), (3,)),
            Recipient("mayor", ("log",), (3,)),
        )
    }
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
    with database.write() as c:
        acknowledge(c, alert_id, Actor("r.  MORI\u200b", via="page"), "on the way", T0 + timedelta(minutes=3))
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


def test_when_nobody_can_be_reached_the_next_is_told_at_once(database, hooks):
    sites = {"north": site_with(Recipient("duty", ("webhook:NO",), (3,)), Recipient("head", ("webhook:OK",), ()))}
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:NO")
    with running(database, {"NO": f"{hooks.base}/400", "OK": f"{hooks.base}/ok"}, sites) as dispatcher:
        wait_for(lambda: states(database) == {"webhook:NO": "failed_final"})
        assert dispatcher.escalate_once(clock()) in {0, 1}  # the planner may have been quicker
        wait_for(lambda: states(database).get("webhook:OK") == "delivered")
    assert json.loads(hooks.got[-1][2])["subject"] == "nobody else could be reached: north: red"
    assert len(rows(database)) == 2


def test_a_claim_has_one_winner_and_a_lost_lease_cannot_settle(database):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
    with database.write() as c:
        (mine,) = claim_due(c, T0, "a", 30.0, 5, "log:desk")
    with database.write() as c:
        assert claim_due(c, T0, "b", 30.0, 5, "log:desk") == []
        assert release_expired(c, T0 + timedelta(seconds=29)) == 0
        assert release_expired(c, T0 + timedelta(seconds=31)) == 1
        (again,) = claim_due(c, T0 + timedelta(seconds=31), "b", 30.0, 5, "log:desk")
        assert again.idempotency_key == mine.idempotency_key
        assert again.attempts == 2
        assert not mark_delivered(c, mine.id, "a", T0)
        assert not mark_failed(c, mine.id, "a", "late", permanent=True, next_attempt_at=None)
        assert mark_delivered(c, mine.id, "b", T0)
        assert not mark_failed(c, mine.id, "b", "late", permanent=True, next_attempt_at=None)  # delivered is delivered


def test_secrets_never_reach_the_row(database):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
        (n,) = claim_due(c, T0, "a", 30.0, 1, "log:desk")
        mark_failed(c, n.id, "a", "http://ada:hunter2@host refused token=abc", permanent=False, next_attempt_at=T0)
    (row,) = rows(database).values()
    assert row.last_error == "http://ada:***@host refused token=***"


CLAIM_AND_HANG = """
import sys, time
from datetime import UTC, datetime
from monitor.store.alerting.alerts import acknowledge, find_alert
from monitor.store.database.engine import Database
from monitor.store.alerting.outbox import claim_due
db = Database(sys.argv[1])
with db.write() as c:
    n = claim_due(c, datetime.now(UTC), "victim", 2.0, 1, "webhook:OK")
print(n[0].idempotency_key, flush=True)
time.sleep(60)
"""


def test_killed_between_claim_and_send_is_delivered_after_the_lease(database, database_url, hooks):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:OK")
    victim = subprocess.Popen([sys.executable, "-c", CLAIM_AND_HANG, database_url], stdout=subprocess.PIPE, text=True)
    key = victim.stdout.readline().strip()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(10)
    victim.stdout.close()
    assert set(states(database).values()) == {"claimed"}
    with running(database, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: set(states(database).values()) == {"delivered"})
    assert [h["Idempotency-Key"] for _, h, _ in hooks.got] == [key]
    (row,) = rows(database).values()
    assert row.attempts == 2


FAR = timedelta(days=3650)
NEVER = {
    "a next attempt in ten years": {"next_attempt_at": T0 + FAR},
    "a lease for ten years": {"state": "claimed", "lease_owner": "nobody", "lease_until": T0 + FAR},
    "a lease without an end": {"state": "claimed", "lease_owner": "nobody", "lease_until": None},
    "more attempts than an integer holds": {"attempts": 2**31 - 1},
    "fewer than none": {"attempts": -(2**31)},
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_a_row_that_somebody_altered_delays_no_message(database, hooks, name):
    """What an unsent row says of its next attempt is not sealed: it is held to what the service itself could say."""
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:OK", at=clock(), **NEVER[name])
    with running(database, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: states(database) == {"webhook:OK": "delivered"})
    assert len(hooks.got) == 1


def test_what_may_wait_waits_and_what_waits_longer_than_anything_does_not(database):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
        longest = LONGEST_WAIT + CLOCK_MARGIN
        for late, due in ((longest, False), (longest + timedelta(seconds=1), True)):
            c.execute(update(notification).values(next_attempt_at=T0 + late))
            assert (due_channels(c, T0) == {"log:desk"}, load_waiting(c, "log:desk")[0].is_due(T0)) == (due, due)
        (mine,) = claim_due(c, T0, "a", 1e9, 1, "log:desk")
        assert not has_expired(c, T0)
        assert has_expired(c, T0 + LONGEST_LEASE), "no lease is longer, whatever was asked for"
        assert not has_expired(c, T0 - CLOCK_MARGIN), "a clock that went back a little voids no lease"
        assert mark_delivered(c, mine.id, "a", T0)


def test_a_worker_that_slept_until_another_core_took_over_sends_nothing(database):
    worker = ChannelWorker(database, "log:desk", lambda: T0, lambda: 0.5, {}, Limits())
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
    database.holds = lambda: False
    assert worker.work_once()
    assert states(database) == {"log:desk": "claimed"}, "whoever took over sends it when the lease is out"


@pytest.mark.parametrize("channel", ["log:desk", "nobody:desk"])
def test_who_alters_a_row_again_and_again_holds_a_message_up_for_little_more_than_an_hour(database, channel):
    now = [T0]
    worker = ChannelWorker(database, channel, lambda: now[0], lambda: 0.5, {}, Limits())
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), channel)
    looks = []
    for minute in (1, 20, 39, 60, 61, 62, 63, 64):
        now[0] = T0 + timedelta(minutes=minute)
        held = {"state": "claimed", "lease_owner": "x", "lease_until": now[0] + LONGEST_LEASE}
        wait = {"state": "queued", "next_attempt_at": now[0] + LONGEST_WAIT / 2}
        if "delivered" not in states(database).values():
            with database.write() as c:
                c.execute(update(notification).values(**(held if minute % 2 else wait)))
        looks += [minute for _ in range(3) if worker.work_once()]
    assert looks == ([62] if channel == "log:desk" else [62, 63, 64])


def test_a_message_that_is_being_sent_while_the_clock_is_set_back_is_not_sent_a_second_time(database, monkeypatch):
    """Its lease seems endless until it is moved with the clock; nobody else takes the message meanwhile."""
    now = [T0]
    dispatcher = Dispatcher(database, {}, lambda: now[0])
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "nobody:desk")
        (mine,) = claim_due(c, T0, "a", 30.0, 1, "nobody:desk")
    for back in (timedelta(days=1), timedelta(days=1, seconds=-5)):
        now[0] = T0 - back
        dispatcher.plan_once()
        assert states(database) == {"nobody:desk": "claimed"}
    with database.write() as c:
        set_back(c, 86400.0, now[0])
        assert not has_expired(c, now[0])
        assert mark_delivered(c, mine.id, "a", now[0])
        c.execute(update(notification).values(**NEVER["a lease for ten years"]))
    monkeypatch.setattr("monitor.notify.dispatcher.SET_BACK_S", 0.0)
    now[0] -= timedelta(days=1)
    dispatcher.plan_once()
    assert [r.lease_owner for r in rows(database).values()] != ["nobody"], "what is endless later on, somebody altered"
    dispatcher.stop(3.0)


def test_a_worker_that_hangs_beyond_two_leases_is_replaced(database, hooks, monkeypatch):
    calls = []
    release = threading.Event()

    class Stuck:
        def __init__(self, address, environ):
            pass

        def deliver(self, n):
            calls.append(n.idempotency_key)
            if len(calls) == 1:
                release.wait(90)

    monkeypatch.setattr("monitor.notify.worker.open_notifier", lambda channel, environ, _db: Stuck(channel, environ))
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "apprise:X")
    with running(database, lease_s=0.3):
        wait_for(lambda: set(states(database).values()) == {"delivered"})
        release.set()
    assert len(set(calls)) == 1
    assert len(calls) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hanging_workers_that_came_back_count_no_more_and_at_the_bound_it_is_an_alarm(database, monkeypatch):
    releases = []

    class Stuck:
        def deliver(self, n):
            releases.append(threading.Event())
            releases[-1].wait(30)
            raise DeliveryError("late")

    monkeypatch.setattr("monitor.notify.worker.open_notifier", lambda *_: Stuck())
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:x")
    later = [0.0]
    monkeypatch.setattr("monitor.notify.worker.time", SimpleNamespace(monotonic=lambda: time.monotonic() + later[0]))
    now = [clock()]
    dispatcher = Dispatcher(database, {}, lambda: now[0], environ={}, limits=PATIENT, lease_s=30.0)

    def hang_once(number):
        dispatcher.plan_once()
        wait_for(lambda: len(releases) == number)
        now[0] += timedelta(seconds=40)  # the lease ran out, and with it the patience below
        later[0] += 61.0

    for number in range(1, MOST_ABANDONED + 2):
        hang_once(number)
    assert dispatcher.find_hanging() == {"log:x"}
    dispatcher.plan_once()
    assert len(releases) == MOST_ABANDONED + 1, "no more than so many"
    for one in releases[:-1]:
        one.set()
    wait_for(lambda: not dispatcher.find_hanging())
    hang_once(MOST_ABANDONED + 2)
    for one in releases:
        one.set()
    dispatcher.stop(3.0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("error", [DeliveryError("busy", retry_after_s=3600.0), ConfigError("HOOK is not set")])
def test_an_urgent_message_is_held_a_minute_at_most_and_the_settings_are_read_anew(database, monkeypatch, error):
    opened = []

    class Refusing:
        def deliver(self, n):
            raise error

    monkeypatch.setattr("monitor.notify.worker.open_notifier", lambda *_: opened.append(1) or Refusing())
    now = [T0]
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:HOOK")
    worker = ChannelWorker(database, "webhook:HOOK", lambda: now[0], lambda: 0.0, {}, PATIENT)
    assert worker.work_once()
    (row,) = rows(database).values()
    assert row.next_attempt_at - T0 <= timedelta(seconds=60 if isinstance(error, DeliveryError) else 6)
    now[0] = row.next_attempt_at
    assert worker.work_once()
    assert len(opened) == 2


def test_mqtt_channel_publishes_to_a_real_broker(database, mosquitto):
    got = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    client.on_message = lambda _c, _u, m: got.append((m.topic, m.qos, json.loads(m.payload)))
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("control/room", qos=1)
    client.loop_start()
    assert subscribed.wait(60)
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "mqtt:control/room")
    with running(database, {"SLOPEWARD_BROKER__URL": mosquitto.url}):
        wait_for(lambda: states(database) == {"mqtt:control/room": DeliveryState.DELIVERED.value})
        wait_for(lambda: len(got) == 1)
    client.disconnect()
    client.loop_stop()
    assert got[0][1] == 1
    assert got[0][2]["level_name"] == "red"


def test_sqlite_locked_elsewhere_delays_but_loses_nothing(sqlite_url, hooks):
    db = Database(sqlite_url)
    with db.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "webhook:OK")
    other = Database(sqlite_url)
    # the lock comes first: else the message may be on its way before it
    with other.write(), running(db, {"OK": f"{hooks.base}/ok"}) as dispatcher:
        time.sleep(0.7)
        assert hooks.got == []
        assert clock() - dispatcher.progress()["dispatcher"] < timedelta(seconds=6)
        lock_held = True
    assert lock_held
    with running(db, {"OK": f"{hooks.base}/ok"}):
        wait_for(lambda: states(db) == {"webhook:OK": "delivered"})
    db.close()
    other.close()


def test_a_newer_message_that_must_wait_holds_back_nobody(database):
    with database.write() as c:
        add_site(c)
        raised = add_alert(c)
        red = add_message(c, raised, "log:desk", 3)
        add_message(c, raised, "log:desk", 1, sequence=2)  # lower again: ordinary, so it rests with the channel
    with database.write() as c:
        assert [m.id for m in claim_due(c, T0, "a", 30.0, 1, "log:desk", only={red})] == [red]


def test_the_mqtt_channel_trusts_the_authority_that_the_broker_section_names(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(paho.Client, "tls_set", lambda _self, ca_certs=None: asked.update(ca=ca_certs))
    file = tmp_path / "slopeward.toml"
    file.write_text('[broker]\nmode = "external"\nurl = "mqtts://broker:8883"\nca_file = "/etc/ca.pem"\n')
    open_notifier("mqtt:control/room", channel_settings(load_service(file, {}), {}))
    assert asked == {"ca": "/etc/ca.pem"}


def test_the_address_of_a_webhook_never_reaches_the_log(hooks, caplog):
    caplog.set_level("DEBUG")
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)  # as in a fresh process
    notifier = open_notifier("webhook:HOOK", {"HOOK": f"{hooks.base}/services/hunter2"})
    caplog.set_level("INFO")
    notifier.deliver(
        Notification(1, 1, 1, "north", "hazard", 3, "red", "duty", "webhook:HOOK", False, "red", "Red.", "k", 1, T0)
    )
    assert len(hooks.got) == 1
    assert "hunter2" not in caplog.text


def test_a_health_alarm_that_is_over_is_sent_to_nobody_again(database, hooks):
    """Its cause is gone, nobody acknowledged it: it waits on the list, an alarm that stands is told again."""
    person = Recipient("duty", ("webhook:OK",), (3,), escalate_after_s=60.0)
    levels = tuple(Level(v["number"], v["name"], False) for v in LEVELS)
    sites = {"north": Site("north", "North", 46.0, 8.0, "UTC", levels, (), (), recipients=(person,))}
    with database.write() as c:
        add_site(c)
        over = add_alert(c, "health:x", "health", 2, state="returned_unacknowledged")
        stands = add_alert(c, "health:y", "health", 2)
        for one in (over, stands):
            add_message(c, one, "webhook:OK", 2, ledger="health", state="delivered", sent_at=T0)
    dispatcher = Dispatcher(database, sites, clock, environ={"OK": f"{hooks.base}/ok"}, limits=PATIENT)
    assert dispatcher.escalate_once(T0 + timedelta(minutes=10)) == 1
    assert [r.alert_id for r in rows(database).values() if r.state == "queued"] == [stands]


def test_each_recipient_reads_his_own_language(database, hooks):
    sites = {
        "north": SimpleNamespace(name="North", stations=(), timezone="Europe/Rome",
            recipients=(
                Recipient("sala", ("webhook:IT",), (3,), language="it"), Recipient("duty", ("webhook:ES",), (3,)),
            )
        )
    }  # fmt: skip
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        said = {"subject": "RED pit: nothing asks for more. 2026-07-01T06:00Z", "body": "red: nothing asks for more"}
        for channel, recipient in (("webhook:IT", "sala"), ("webhook:ES", "duty"), ("webhook:GONE", "moved")):
            add_message(c, alert_id, channel, recipient=recipient, **said)
    environ = {name: f"{hooks.base}/{name}" for name in ("IT", "ES", "GONE")}
    with running(database, environ, sites, language="es"):
        wait_for(lambda: set(states(database).values()) == {"delivered"})
    got = {path: json.loads(body) for path, _, body in hooks.got}
    assert got["/IT"]["subject"] == "ROSSO pit: nulla richiede di più. 08:00"
    assert got["/ES"]["body"] == got["/GONE"]["body"] == "rojo: nada pide más"
    assert {row.subject for row in rows(database).values()} == {said["subject"]}, "what is stored stays English"
