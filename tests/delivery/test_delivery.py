"""Delivery against real servers of loopback: mail, webhooks that fail in their ways, a broker."""

import hashlib
import hmac
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import Mock

import paho.mqtt.client as paho
import pytest
from typer.testing import CliRunner

from monitor.alerts.notification import DeliveryState, Notification
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.app.checks.machine import DatabaseFacts
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.alarms import make_alarm
from monitor.broker.access import parse_access
from monitor.cli.main import run_command
from monitor.cli.service.check import app
from monitor.decision.alert_texts import OF_LEVEL
from monitor.decision.subjects import make_subject
from monitor.delivery import trial
from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.delivery.notifiers.webhook import WebhookNotifier
from monitor.delivery.queries.outbox import claim_due, mark_failed
from monitor.delivery.queries.receipts import load_tested, note_test
from monitor.delivery.trial import is_due, send_test
from monitor.errors import ConfigError
from monitor.settings.service import load_service, parse_service
from monitor.sites.channels import Channel, list_channel_kinds
from monitor.sites.first_site import write_first_site
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Recipient
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.views import load_view
from monitor.text.message import Template, Term
from tests.contract.test_notify_channels import SITE
from tests.data.servers.mqtt_client import calling
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.delivery.outbox import (
    T0,
    add_alert,
    add_message,
    add_site,
    clock,
    queue_message,
    rows,
    running,
    serving_mail,
    states,
)
from tests.features.telephony.test_telephone import NUMBER, TOKEN, provider
from tests.fixtures.waiting import REPOSITORY, wait_for

CALM = Template("level.no_request", "nothing requests a higher level")
SUMMER = datetime(2026, 7, 1, 6, tzinfo=UTC)


# Apprise loads all its plug-ins, one of which imports a deprecated module
# Apprise loads all its plug-ins, one of which imports a deprecated module
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_hanging_a_failing_and_a_refusing_channel_do_not_stop_the_others(database, hooks):
    mails = []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802
            mails.append(envelope)
            return "250 taken"

    paths = {"HANG": "hang", "BAD": "500", "SLOW": "429", "OK": "ok"}
    environ = {name: f"{hooks.base}/{path}" for name, path in paths.items()}
    environ |= {"OK_SECRET": "s3cret", "APP": f"json://127.0.0.1:{hooks.server_port}/app"}
    good = {"webhook:OK", "apprise:APP", "email:duty@example.org", "log:desk"}
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        for channel in ("webhook:HANG", "webhook:BAD", "webhook:SLOW", "webhook:GONE", *sorted(good)):
            add_message(c, alert_id, channel)
    failed = ("webhook:SLOW", "webhook:GONE", "webhook:BAD")
    with serving_mail(Inbox()) as of_mail, running(database, environ | of_mail):
        wait_for(lambda: {k for k, v in states(database).items() if v == "delivered"} == good)
        assert states(database)["webhook:SLOW"] != "delivered"
        wait_for(lambda: {states(database)[one] for one in failed} == {"failed_retry"})
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
    queue_message(database, "webhook:FLAKY")
    with running(database, {"FLAKY": f"{hooks.base}/flaky"}):
        wait_for(lambda: states(database) == {"webhook:FLAKY": "delivered"})
    (row,) = rows(database).values()
    assert row.attempts == 3
    assert row.last_error is None
    assert {h["Idempotency-Key"] for _, h, _ in hooks.got} == {row.idempotency_key}


def test_refusal_is_final_unless_a_person_can_correct_it(database, hooks):
    wanted = {"400": "failed_final", **dict.fromkeys(("302", "401", "404"), "failed_retry")}
    with database.write() as c:
        add_site(c)
        for path in wanted:
            add_message(c, add_alert(c, key=path), f"webhook:H{path}")
    with running(database, {f"H{path}": f"{hooks.base}/{path}" for path in wanted}):
        wait_for(lambda: states(database) == {f"webhook:H{path}": state for path, state in wanted.items()})
    assert len(hooks.got) == len(wanted)


def test_refused_recipient_is_final_and_busy_server_is_not(database):
    answers = iter(["451 later", "550 nobody here"])

    class Inbox:
        async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
            return next(answers)

    queue_message(database, "email:duty@example.org")
    with serving_mail(Inbox()) as environ, running(database, environ):
        wait_for(lambda: set(states(database).values()) == {"failed_final"})
    (row,) = rows(database).values()
    assert (row.attempts, "550" in row.last_error) == (2, True)


def test_secrets_are_not_stored_with_a_message(database):
    with database.write() as c:
        add_site(c)
        add_message(c, add_alert(c), "log:desk")
        (n,) = claim_due(c, T0, "a", 30.0, 1, "log:desk")
        mark_failed(c, n.id, "a", "http://ada:hunter2@host refused token=abc", permanent=False, next_attempt_at=T0)
    (row,) = rows(database).values()
    assert row.last_error == "http://ada:***@host refused token=***"


def test_mqtt_channel_publishes_to_a_real_broker(database, mosquitto):
    queue_message(database, "mqtt:control/room")
    got = []
    with calling(parse_access(mosquitto.url)) as room:
        room.client.on_message = lambda _c, _u, m: got.append((m.qos, json.loads(m.payload)["level_name"]))
        room.listen("control/room")
        with running(database, {"SLOPEWARD_BROKER__URL": mosquitto.url}):
            wait_for(lambda: states(database) == {"mqtt:control/room": DeliveryState.DELIVERED.value})
            room.wait(lambda: got, "the message")
    assert got == [(1, "red")]


def test_mqtt_channel_uses_the_certificate_authority_of_the_broker_section(tmp_path, monkeypatch):
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
    assert (len(hooks.got), "hunter2" in caplog.text) == (1, False)


def test_each_recipient_reads_the_configured_language(database, hooks):
    people = (Recipient("sala", ("webhook:IT",), (3,), language="it"), Recipient("duty", ("webhook:ES",), (3,)))
    sites = {
        "north": SimpleNamespace(name="North", stations=(), timezone="Europe/Rome", recipients=people, shadow=False)
    }
    with database.write() as c:
        add_site(c)
        alert_id = add_alert(c)
        calm = OF_LEVEL(level=Term("red"), text=CALM())
        said = {"subject": make_subject(Term("RED"), "pit", "", CALM(), SUMMER), "body": calm}
        for channel, recipient in (("webhook:IT", "sala"), ("webhook:ES", "duty"), ("webhook:GONE", "moved")):
            add_message(c, alert_id, channel, recipient=recipient, **said)
    environ = {name: f"{hooks.base}/{name}" for name in ("IT", "ES", "GONE")}
    with running(database, environ, sites, language="es"):
        wait_for(lambda: set(states(database).values()) == {"delivered"})
    got = {path: json.loads(body) for path, _, body in hooks.got}
    assert got["/IT"]["subject"] == "ROSSO pit: nulla richiede un livello più alto. 08:00"
    bodies = {got[path]["body"].splitlines()[0] for path in ("/ES", "/GONE")}
    assert bodies == {"rojo: nada pide un nivel más alto"}
    assert {row.subject for row in rows(database).values()} == {said["subject"]}, "what is stored stays English"


LIT = []


class LampNotifier:
    def __init__(self, address, environ):
        self.address = address

    def deliver(self, notification):
        LIT.append((self.address, notification.level))


def test_a_channel_is_known_to_site_files_check_and_dispatcher_by_its_line_alone(database, tmp_path, monkeypatch):
    file = tmp_path / "sites" / "a.toml"
    file.parent.mkdir()
    file.write_text(write_first_site("a").replace('channels = ["log"', 'channels = ["lamp:roof", "log"'))
    (tmp_path / "slopeward.toml").write_text(f'[paths]\nsites = "{file.parent}"\n')
    check = ["--json", "--config", str(tmp_path / "slopeward.toml")]
    assert "expected kind:address with a kind of log" in CliRunner().invoke(app, check).stdout
    monkeypatch.setitem(list_channel_kinds(), "lamp", Channel(LampNotifier))
    checked = CliRunner().invoke(app, check)
    assert checked.exit_code == 0, checked.stdout
    queue_message(database, "lamp:roof")
    with running(database, {}):
        wait_for(lambda: states(database) == {"lamp:roof": "delivered"})
    assert LIT == [("roof", next(iter(rows(database).values())).level)]


# ---- each channel is tested each shift ------------------------------------------------------------------------------
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
TWO = 'channels = ["webhook:GOOD", "webhook:BAD"]'


@pytest.fixture
def config(database, hooks, monkeypatch):
    north = parse_site(SITE.replace('channels = ["log:desk", "webhook:GONE"]', TWO), "north")
    tell(database, save_site, north, "ada", "first", NOW)
    monkeypatch.setenv("GOOD", f"{hooks.base}/ok")
    monkeypatch.setenv("BAD", f"{hooks.base}/500")
    monkeypatch.setenv("ELSEWHERE", f"{hooks.base}/test-target")
    settings = '[channels]\ntest_every = "12h"\n'
    return parse_service(f'{settings}[channels.test_to]\n"webhook:GOOD" = "webhook:ELSEWHERE"\n', "x")


def test_test_that_fails_in_a_shell_names_the_secrets_of_systemd(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    assert run_command(["notify", "channels", "test", "--channel", "webhook:ABSENT"]) == 1
    error = capsys.readouterr().err
    assert "webhook:ABSENT: the environment variable ABSENT is not set" in error
    assert error.count("webhook:ABSENT") == 1
    hint = "With systemd, run `sudo slopeward notify channels test`: it has the secrets of the service"
    assert hint in error
    assert hint in (REPOSITORY / "docs/how-to/troubleshooting.md").read_text()


def test_channels_are_tested_when_due_and_a_failure_is_an_alarm(database, config, hooks):
    assert trial.run(database, config, None, NOW) == "2 of 2 channels tested, 1 failed"
    assert ([path for path, *_ in hooks.got], b"EXERCISE" in hooks.got[0][2]) == (["/test-target", "/500"], True)
    assert trial.run(database, config, None, datetime.now(UTC)) == "0 of 2 channels tested, 0 failed"
    good, bad = ask(database, load_view, "channel_tests", order_by=["test_id"])
    assert (good["target"], good["good"], bad["good"]) == ("webhook:ELSEWHERE", True, False)
    assert "answered 500" in bad["found"]
    channels = ["webhook:GOOD", "webhook:BAD", "webhook:NEVER"]
    for hours, said, expected in (
        (23, config, [False] * 2),
        (25, config, [True] * 2),
        (25, parse_service("", "x"), []),
    ):
        facts = DatabaseFacts(database, said, (), channels, datetime.now(UTC) + timedelta(hours=hours))
        assert [c.reaches_check_level for c in run_checks(facts) if c.check.area == "channel"] == expected


def test_fault_in_one_channel_does_not_end_the_tests_of_the_others(database, config, monkeypatch):
    """A notifier of a plugin may raise any exception. Its test failed, and the next channel is tested."""
    monkeypatch.setattr(WebhookNotifier, "deliver", Mock(side_effect=[KeyError("sid"), None]))
    assert trial.run(database, config, None, NOW) == "2 of 2 channels tested, 1 failed"
    first, second = ask(database, load_view, "channel_tests", order_by=["test_id"])
    assert (first["good"], first["found"], second["good"]) == (False, "KeyError: 'sid'", True)


def test_alarm_about_a_channel_is_sent_by_the_others(database):
    two = Recipient("duty", ("sms:DUTY", "email:a@b.org", "siren:x"), (3,))
    one = Recipient("chief", ("sms:DUTY",), (3,))
    with database.write() as c:
        change = make_alarm("channel:sms:DUTY", 2, "channel sms:DUTY fails its tests: no answer in time", is_open=True)
        apply_changes(c, [change], ChangeContext("status", None, [two, one], SERVICE_ACTOR, NOW, "1"))
        told = [(n["recipient"], n["channel"]) for n in load_view(c, "deliveries", order_by=["notification_id"])]
    assert told == [("duty", "email:a@b.org"), ("chief", "sms:DUTY")]


def test_times_of_a_shift_are_local_and_targets_are_of_their_kind():
    shifts = parse_service('[channels]\ntest_at = ["06:00", "18:00"]\n', "x").channels
    spring = datetime(2026, 3, 29, 4, 0, tzinfo=UTC)  # 06:00 of Zurich on the day the clock goes ahead
    assert is_due(shifts, "Europe/Zurich", spring - timedelta(hours=1), spring)
    assert not is_due(shifts, "Europe/Zurich", spring, spring + timedelta(hours=11, minutes=59))
    assert is_due(shifts, "Europe/Zurich", spring, spring + timedelta(hours=12))
    for wrong in ('test_at = ["6 o clock"]', '[channels.test_to]\n"sms:A" = "email:a@b.org"'):
        with pytest.raises(ConfigError, match=r"channels\.test"):
            parse_service(f"[channels]\n{wrong}\n", "x")


def test_channel_test_fails_if_the_provider_could_not_deliver_it(database, monkeypatch):
    with provider() as twilio:
        settings = f'[sms]\ngateway = "http"\nurl = "http://127.0.0.1:{twilio.server_port}"\naccount = "AC1"\n'
        config = parse_service(f'{settings}sender = "+100000"\n', "x", {"SLOPEWARD_SMS__TOKEN": TOKEN})
        error, name = send_test("sms:DUTY", channel_settings(config, {"DUTY": NUMBER}), database)
    assert (error, name) == (None, "SM1")
    with database.write() as c:
        trial.add_test(c, "sms:DUTY", "sms:DUTY", NOW, good=True, found="taken", provider_id=name)
        assert note_test(c, name, "undelivered", NOW, good=False)
        assert load_tested(c, ["sms:DUTY"])["sms:DUTY"].good_at is None
        assert not note_test(c, "SM9", "delivered", NOW, good=True)
