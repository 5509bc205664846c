"""Every kind of channel keeps the contract of the seam: settings checked in one line, failures as DeliveryErrors."""

import itertools
import json
import logging
from datetime import UTC, datetime

import httpx
import pytest

from monitor.alerts.notification import Notification
from monitor.cli.service.channels import app
from monitor.delivery.notifier import channel_settings, open_notifier, read_secret
from monitor.errors import ConfigError, DeliveryError
from monitor.features.telephony.gateway import Gateway
from monitor.features.telephony.queries.devices import add_device
from monitor.features.telephony.web_push import make_key
from monitor.people.queries.users import add_user
from monitor.settings.service import parse_service
from monitor.sites.channels import list_channel_kinds
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.features.telephony.push_service import Browser
from tests.fixtures.waiting import free_port
from tests.tables import tabulated

RED = {"level": 3, "level_name": "red", "recipient": "duty", "channel": "x:y", "exercise": False}
WORDS = {"subject": "north: red\r\nBcc: evil@example.org", "body": "Moves.\nClose the road.", "document": "<alert/>"}
SENT = {"idempotency_key": "k" * 64, "attempts": 1, "queued_at": datetime(2026, 3, 1, tzinfo=UTC), "sounds_from": 3}
NOTE = Notification(id=1, alert_id=2, event_id=3, site="north", ledger="hazard", **RED, **WORDS, **SENT)
# Apprise loads all its plug-ins, one of which imports a deprecated module.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def gateway_settings(port):
    settings = {
        "GATEWAY": "http",
        "URL": f"http://127.0.0.1:{port}",
        "ACCOUNT": "AC1",
        "TOKEN": "hunter2",
        "SENDER": "+100000",
    }
    return {"DUTY_PHONE": "+41 79 123 45 67", **{f"SLOPEWARD_SMS__{key}": value for key, value in settings.items()}}


def settings_of(kind, port):
    settings = {
        "log": ("desk", {}),
        "webhook": ("HOOK", {"HOOK": f"http://ada:hunter2@127.0.0.1:{port}/x"}),
        "cap": ("HOOK", {"HOOK": f"http://ada:hunter2@127.0.0.1:{port}/x"}),
        "email": ("a@b.org", {"SLOPEWARD_SMTP__HOST": "127.0.0.1", "SLOPEWARD_SMTP__PORT": str(port)}),
        "apprise": ("APP", {"APP": f"json://ada:hunter2@127.0.0.1:{port}/x"}),
        "mqtt": ("a/b", {"SLOPEWARD_BROKER__URL": f"mqtt://127.0.0.1:{port}"}),
        "sms": ("DUTY_PHONE", gateway_settings(port)),
        "voice": ("DUTY_PHONE", gateway_settings(port)),
        "siren": (
            "a/b",
            {"SLOPEWARD_BROKER__URL": f"mqtt://127.0.0.1:{port}", "SLOPEWARD_SIGNING__KEYS": f"k1:{'00' * 16}"},
        ),
        "push": ("bo", {"SLOPEWARD_PUSH__KEY": make_key(), "SLOPEWARD_PUSH__SERVICES": f"http://127.0.0.1:{port}"}),
    }
    assert kind in settings, f"add an unreachable address for {kind!r}"
    return settings[kind]


def prepare(db, kind, port):
    """Store what a kind of channel needs in the database: for push, an unreachable device."""
    if kind == "push":
        browser = Browser()
        with db.write() as c:
            add_user(c, "bo", None, "operator", NOTE.queued_at)
            url = f"http://127.0.0.1:{port}/hunter2"
            add_device(c, Actor("bo"), url, browser.p256dh, browser.auth, "phone", NOTE.queued_at)


@pytest.mark.parametrize("kind", list_channel_kinds())
def test_unreachable_receiver_is_a_temporary_failure_without_secrets(kind, monkeypatch, caplog, sqlite_url):
    monkeypatch.setattr("monitor.delivery.notifiers.mqtt.TIMEOUT_S", 0.5)
    port = free_port()
    address, environ = settings_of(kind, port)
    db = Database(sqlite_url)
    prepare(db, kind, port)
    notifier = open_notifier(f"{kind}:{address}", environ, db)
    if kind == "log":
        with caplog.at_level(logging.WARNING):
            notifier.deliver(NOTE)
        assert "level red (3)" in caplog.text
        return
    with pytest.raises(DeliveryError) as caught:
        notifier.deliver(NOTE)
    assert not caught.value.permanent
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@tabulated(
    ("channel", "environ", "words"),
    [
        ("pigeon:x", {}, "kind 'pigeon' is unknown; known: log, webhook"),
        ("webhook:HOOK", {}, "HOOK is not set"),
        ("webhook:http://x/secret", {}, "NAME of an environment variable"),
        ("webhook:HOOK", {"HOOK": "ftp://x"}, "must begin with http"),
        ("email:nobody", {"SLOPEWARD_SMTP__HOST": "h"}, "not a mail address"),
        ("email:a@b.org\nBcc: c@d.org", {"SLOPEWARD_SMTP__HOST": "h"}, "not a mail address"),
        ("email:a@b.org", {}, "SLOPEWARD_SMTP__HOST is not set"),
        ("email:a@b.org", {"SLOPEWARD_SMTP__HOST": "h", "SLOPEWARD_SMTP__SECURITY": "maybe"}, "starttls, tls, none"),
        ("email:a@b.org", {"SLOPEWARD_SMTP__HOST": "h", "SLOPEWARD_SMTP__PORT": "x"}, "is not a number"),
        ("apprise:APP", {"APP": "nothing"}, "cannot read the URL"),
        ("mqtt:a/#", {}, "without the wildcards + and #"),
        ("siren:slopeward/v1/x", {}, "choose another topic"),
        ("sms:DUTY", {}, "DUTY is not set"),
        ("sms:DUTY", {"DUTY": "call the secret man"}, "is no number such as +41791234567"),
        ("sms:DUTY", {"DUTY": "+41791234567"}, 'gateway = "http" or "modem"'),
        ("sms:DUTY", {"DUTY": "+41791234567", "SLOPEWARD_SMS__GATEWAY": "http"}, "needs url, account and sender"),
        ("voice:DUTY", {"DUTY": "+41791234567", "SLOPEWARD_SMS__GATEWAY": "modem"}, "a modem makes no calls"),
        ("push:bo", {"SLOPEWARD_PATHS__STATE": "/nowhere"}, "make one: slopeward notify push keys"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(channel, environ, words):
    with pytest.raises(ConfigError) as caught:
        open_notifier(channel, environ)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["push", "siren"])
def test_channel_that_needs_the_database_fails_without_it(kind):
    address, environ = settings_of(kind, 9)
    with pytest.raises(DeliveryError, match="which is away"):
        open_notifier(f"{kind}:{address}", environ).deliver(NOTE)


def test_text_cannot_add_a_header_to_a_mail():
    from monitor.delivery.notifiers.mail import compose

    message = compose(NOTE, "s@x", "a@b.org")
    assert message["Bcc"] is None
    assert message["Subject"] == "north: red Bcc: evil@example.org"


def test_secret_may_be_read_from_a_file(tmp_path):
    (tmp_path / "url").write_text("http://x\n")
    assert read_secret({"HOOK_FILE": str(tmp_path / "url")}, "HOOK", "webhook") == "http://x"


def test_mail_settings_of_the_service_file_reach_the_channel():
    config = parse_service('[smtp]\nhost = "mail.example.org"\nport = 2525\nsecurity = "none"\n', "x")
    settings = channel_settings(config, {"SLOPEWARD_SMTP__PORT": "26"})
    assert settings["SLOPEWARD_SMTP__HOST"] == "mail.example.org"
    assert settings["SLOPEWARD_SMTP__PORT"] == "26"  # the environment overrides the file
    open_notifier("email:a@b.org", settings)


SITE = """
[site]
id = "north"
name = "North"
latitude = 46.0
longitude = 8.0
timezone = "UTC"
[levels]
names = ["green", "red"]
[[station]]
id = "G1"
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "1h"
max_silence = "6h"
[[recipient]]
name = "duty"
channels = ["log:desk", "webhook:GONE"]
levels = ["red"]
"""


def test_notify_test_command_reports_each_channel(tmp_path):
    from typer.testing import CliRunner

    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "north.toml").write_text(SITE)
    (tmp_path / "slopeward.toml").write_text(f'[paths]\nsites = "{tmp_path}/sites"\n')
    config = ["--config", str(tmp_path / "slopeward.toml")]
    result = CliRunner().invoke(app, ["test", "--json", *config])
    assert result.exit_code == 3
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["channel"], r["delivered"]) for r in rows] == [("log:desk", True), ("webhook:GONE", False)]
    assert "GONE is not set" in rows[1]["error"]
    assert CliRunner().invoke(app, ["test", "--channel", "log:desk", *config]).exit_code == 0
    assert CliRunner().invoke(app, ["test", "--channel", "webhook:GONE", *config]).exit_code == 1
    assert "north: duty" in CliRunner().invoke(app, ["list", *config]).stdout


def test_endless_response_does_not_fill_the_memory():
    class Endless(httpx.SyncByteStream):
        def __iter__(self):
            return itertools.repeat(bytes(1 << 16))

    gateway = Gateway(gateway_settings(1), "sms:DUTY_PHONE")
    gateway._client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless())))
    with pytest.raises(DeliveryError, match="sms: ReadError"):
        gateway.post("Messages", {}, "sms", 1, "k")
