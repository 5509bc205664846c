"""Messages in the outbox, a server that takes webhooks, and a dispatcher: what tests of delivery share."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import insert, select

from monitor.alerts.outbox_tables import notification
from monitor.alerts.tables import alert, alert_event
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.sites.records import Level, Site
from monitor.sites.tables import site
from tests.fixtures.waiting import free_port

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
# that nobody confirmed is in tests/features/duty/test_page.py, that nobody was reached in test_order.py
PATIENT = DeliveryLimits(unconfirmed_after_s=1e9, unreached_after_s=1e9)
LEVELS = [
    {"number": n, "name": name, "action": "", "auto_lower": False}
    for n, name in enumerate(["green", "yellow", "orange", "red"])
]


def clock():
    return datetime.now(UTC)


def add_site(c, name="north"):
    place = {"latitude": 46.0, "longitude": 8.0, "timezone": "UTC"}
    c.execute(insert(site).values(id=name, name=name, levels=LEVELS, config_sha256="x", active=True, **place))


def add_alert(c, key="hazard", ledger="hazard", level=3, state="unacknowledged", at=T0):
    facts = {"site": "north", "ledger": ledger, "key": key, "level": level, "peak_level": level, "state": state}
    facts |= {"exercise": False, "raised_at": at, "reason": "moves", "rule_version": "1"}
    return c.execute(insert(alert).values(**facts).returning(alert.c.id)).scalar_one()


def add_event(c, alert_id, level, sequence=1, at=T0):
    """The number of that event of an alert, made where it is not there."""
    event_id = c.execute(
        select(alert_event.c.id).where(alert_event.c.alert_id == alert_id, alert_event.c.sequence == sequence)
    ).scalar()
    if event_id is not None:
        return event_id
    facts = {"alert_id": alert_id, "sequence": sequence, "at": at, "to_state": "unacknowledged", "to_level": level}
    facts |= {"actor": "slopeward", "actor_kind": "service", "reason": "moves"}
    return c.execute(insert(alert_event).values(**facts).returning(alert_event.c.id)).scalar_one()


def add_message(c, alert_id, channel, level=3, sequence=1, recipient="duty", at=T0, ledger="hazard", **more):
    event_id = add_event(c, alert_id, level, sequence, at)
    key = hashlib.sha256(f"{event_id}|{recipient}|{channel}".encode()).hexdigest()
    name = LEVELS[level]["name"]
    facts = {"alert_id": alert_id, "event_id": event_id, "site": "north", "ledger": ledger, "level": level}
    facts |= {"level_name": name, "recipient": recipient, "channel": channel, "exercise": False}
    facts |= {"subject": f"north: {name}", "body": f"Level {name}.", "state": "queued", "queued_at": at}
    facts |= {"idempotency_key": key} | more
    return c.execute(insert(notification).values(**facts).returning(notification.c.id)).scalar_one()


def queue_message(db, channel, **more):
    with db.write() as c:
        add_site(c)
        return add_message(c, add_alert(c), channel, **more)


def rows(db):
    with db.read() as c:
        return {r.id: r for r in c.execute(select(notification))}


class PostServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def serving_posts(answer):
    """A server of loopback: `answer(server, path, headers, body)` gives status (None: no answer), headers, content."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, content = answer(self.server, self.path, dict(self.headers), body)
            if status is None:
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = PostServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def serving_mail(handler):
    """The settings of a mail server of loopback that a handler of aiosmtpd answers for."""
    smtp = Controller(handler, hostname="127.0.0.1", port=free_port())
    smtp.start()
    settings = {"HOST": "127.0.0.1", "PORT": str(smtp.server.sockets[0].getsockname()[1]), "SECURITY": "none"}
    try:
        yield {f"SLOPEWARD_SMTP__{name}": value for name, value in settings.items()}
    finally:
        smtp.stop()


STATUS = {"/500": 500, "/429": 429, "/400": 400, "/401": 401, "/404": 404, "/302": 302}
MORE = {429: {"Retry-After": 7}, 302: {"Location": "/ok"}}


@pytest.fixture
def hooks():
    """A server that remembers what came and answers by path."""
    got, release = [], threading.Event()

    def answer(server, path, headers, body):
        got.append((path, headers, body))
        status = STATUS.get(path, 204)
        if path == "/slow":
            server.answering.wait(25.0)
        elif path == "/hang":
            release.wait(30)
            status = None
        elif path == "/outage" and not server.back.is_set():
            status = 503
        elif path == "/flaky" and sum(p == "/flaky" for p, *_ in got) < 3:
            status = 503
        elif path == "/429":
            server.refused_at = clock()
        return status, MORE.get(status, {}), b""

    with serving_posts(answer) as server:
        server.got, server.base = got, server.url
        server.back, server.answering = threading.Event(), threading.Event()
        yield server
        release.set()
        server.answering.set()


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


def site_with(*recipients):
    levels = tuple(Level(v["number"], v["name"], False) for v in LEVELS)
    return Site("north", "north", 46.0, 8.0, "UTC", levels, (), (), recipients=recipients)
