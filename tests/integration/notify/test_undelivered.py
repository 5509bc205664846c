"""A channel that takes no messages, and a level that reached nobody, are told past it: to people, at once."""

from datetime import timedelta

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select

from monitor.checks.live import EscalationStatus
from monitor.checks.table import run_checks
from monitor.domain.alert import UNCONFIRMED
from monitor.domain.site import Recipient
from monitor.notify.trial import send_test
from monitor.notify.verdict import DeliveryLimits
from monitor.service.alarms import ServiceAlarms
from monitor.service.self_checks import AlarmConditions
from monitor.store.alerting.alerts import UNDELIVERED
from monitor.store.delivery.receipts import add_test
from monitor.store.schema.tables import alert
from tests.conftest import free_port, wait_for
from tests.integration.notify.outbox import add_alert, add_message, add_site, clock, hooks, rows, running, site_with

__all__ = ["hooks"]  # fixtures
MAIL = "email:duty@example.org"


@pytest.fixture
def mail():
    """A mail server with the answer that is put into it."""

    class Server:
        answer = "550 no such user"

        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            return self.answer

    handler = Server()
    smtp = Controller(handler, hostname="127.0.0.1", port=free_port())
    smtp.start()
    handler.environ = {
        "SLOPEWARD_SMTP__HOST": "127.0.0.1",
        "SLOPEWARD_SMTP__PORT": str(smtp.server.sockets[0].getsockname()[1]),
        "SLOPEWARD_SMTP__SECURITY": "none",
    }
    yield handler
    smtp.stop()


def put(database, channel, **more):
    with database.write() as c:
        return add_message(c, add_alert(c, key=f"k{len(rows(database))}"), channel, at=clock(), **more)


def alarms_of(database, key):
    with database.read() as c:
        return [*c.execute(select(alert).where(alert.c.key == key, alert.c.closed_at.is_(None)))]


def followed(database, dispatcher, sites):
    """One round of the core's watch over its channels, and what comes of it."""
    alarms = ServiceAlarms(database, sites, clock, dispatcher.wake)
    conditions = AlarmConditions(alarms)

    def follow(at_s):
        named = {k for s in sites.values() for r in s.recipients for k in r.channels}
        seen = EscalationStatus(
            sites, (), {*named, *dispatcher.list_channels()}, (), dispatcher.find_undelivered(named)
        )
        conditions.follow(run_checks(seen), at_s)
        alarms.write_pending()

    return follow


def test_a_mail_that_is_refused_for_good_is_told_by_the_other_channels(database, hooks, mail, capsys):
    environ = mail.environ | {"HOOK": f"{hooks.base}/ok"}
    with database.write() as c:
        add_site(c)
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
        assert found.level == 2
        assert "550 no such user" in found.reason
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


def test_a_test_that_it_passes_clears_a_refusal(database, mail):
    with running(database, mail.environ) as dispatcher:
        with database.write() as c:
            add_site(c)
        put(database, MAIL)
        wait_for(lambda: dispatcher.find_undelivered([MAIL]))
        mail.answer = "250 taken"
        error, provider_id = send_test(MAIL, mail.environ, database)
        assert error is None
        with database.write() as c:
            add_test(c, MAIL, MAIL, clock(), good=True, found="taken", provider_id=provider_id)
        assert not dispatcher.find_undelivered([MAIL])


@pytest.mark.parametrize("path", ["500", "404"])
def test_a_channel_that_fails_three_times_in_a_row_is_told(database, hooks, path):
    environ = {"HOOK": f"{hooks.base}/{path}"}
    with database.write() as c:
        add_site(c)
    with running(database, environ) as dispatcher:
        assert not dispatcher.find_undelivered(["webhook:HOOK"])
        put(database, "webhook:HOOK")
        wait_for(lambda: dispatcher.find_undelivered(["webhook:HOOK"]), 60.0)
        (row,) = rows(database).values()
        assert row.state == "failed_final" or row.attempts >= 3


def test_a_variable_that_is_not_set_is_told_before_any_message(database):
    with running(database, {}) as dispatcher:
        assert "GONE is not set" in dispatcher.find_undelivered(["webhook:GONE"])["webhook:GONE"]
        assert not dispatcher.find_undelivered(["log:desk"])


def test_a_level_that_reached_nobody_goes_to_the_people_of_all_sites(database, hooks, mail):
    environ = mail.environ | {"FAR": f"{hooks.base}/ok"}
    with database.write() as c:
        add_site(c)
        add_site(c, "south")
    sites = {
        "north": site_with(Recipient("duty", (MAIL,), (3,))),
        "south": site_with(Recipient("far", ("webhook:FAR",), (3,))),
    }
    with running(database, environ, sites, limits=DeliveryLimits()) as dispatcher:
        number = put(database, MAIL)
        wait_for(lambda: rows(database)[number].state == "failed_final")
        dispatcher.escalate_once(clock())
        (found,) = alarms_of(database, f"{UNCONFIRMED}{rows(database)[number].alert_id}")
        assert found.reason_id == "unconfirmed.unreached"
        wait_for(lambda: any(b"reached nobody" in body for _, _, body in hooks.got))


@pytest.mark.parametrize(
    ("state", "age_s", "is_told"),
    [
        ("failed_final", 0, True),
        ("failed_retry", 61, True),
        ("queued", 61, True),
        ("failed_retry", 20, False),
        ("delivered", 300, False),
        ("confirmed", 300, False),
    ],
)
def test_reached_is_who_was_sent_a_message_that_a_channel_took(database, state, age_s, is_told):
    now = clock()
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c, at=now - timedelta(seconds=age_s))
        add_message(
            c, alert_id, "siren:gate", at=now - timedelta(seconds=age_s), state="delivered"
        )  # reaches no person
        add_message(
            c,
            alert_id,
            MAIL,
            at=now - timedelta(seconds=age_s),
            state=state,
            next_attempt_at=now + timedelta(hours=1) if state in {"queued", "failed_retry"} else None,
        )
    with running(
        database, {}, {"north": site_with(Recipient("duty", (MAIL,), (3,)))}, poll_s=60.0, limits=DeliveryLimits()
    ) as dispatcher:
        dispatcher.escalate_once(now)
    assert bool(alarms_of(database, f"{UNCONFIRMED}{alert_id}")) is is_told
