"""What a real receiver answers decides whether a message counts as delivered."""

import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from typer.testing import CliRunner

from monitor.cli.service.channels import app
from monitor.delivery.notifier import open_notifier
from monitor.delivery.notifiers.mail import MailNotifier, compose
from monitor.errors import ConfigError, DeliveryError
from tests.contract.test_notify_channels import NOTE, SITE
from tests.fixtures.waiting import free_port

TEAMS = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x"
LOGIN = '<!DOCTYPE html>\n<html><form><input type="password"></form></html>'
REFUSALS = [TEAMS, LOGIN, '{"ok": false, "error": "channel_not_found"}', '{"success": false}', '{"errcode": 93000}']
SUCCESSES = ["", "ok", "1", "{}", '{"ok": true}', '{"status": "queued", "errors": []}', "<h1>Thank you</h1>"]


class Receiver(BaseHTTPRequestHandler):
    """Answer 200 with the body of the server, and optionally never end the answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = self.server.body.encode()
        self.send_response(200)
        if not self.server.is_endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if self.server.is_endless:
            self.server.released.wait(30)

    def log_message(self, *_):
        """Print nothing."""


class Server(ThreadingHTTPServer, socketserver.ThreadingMixIn):
    daemon_threads = True
    body = ""
    is_endless = False


@pytest.fixture
def receiver():
    server = Server(("127.0.0.1", 0), Receiver)
    server.released = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/secret"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["webhook", "cap"])
@pytest.mark.parametrize("body", REFUSALS)
def test_an_error_in_the_answer_is_not_delivered_and_tried_again(receiver, kind, body):
    receiver.body = body
    with pytest.raises(DeliveryError) as caught:
        open_notifier(f"{kind}:HOOK", {"HOOK": receiver.url}).deliver(NOTE)
    assert not caught.value.permanent
    assert f"{kind}: answered 200" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", SUCCESSES)
def test_an_ordinary_answer_is_delivered(receiver, body):
    receiver.body = body
    open_notifier("webhook:HOOK", {"HOOK": receiver.url}).deliver(NOTE)


def test_the_address_of_the_receiver_does_not_appear_in_the_error(receiver):
    receiver.body = f"error: no hook at {receiver.url}"
    with pytest.raises(DeliveryError) as caught:
        open_notifier("webhook:HOOK", {"HOOK": receiver.url}).deliver(NOTE)
    assert "secret" not in str(caught.value)


def test_the_expected_text_decides_where_it_is_set(receiver):
    environ = {"HOOK": receiver.url, "HOOK_EXPECTS": "received"}
    receiver.body = "<html><body>message received</body></html>"
    open_notifier("webhook:HOOK", environ).deliver(NOTE)
    receiver.body = "ok"
    with pytest.raises(DeliveryError, match="without the expected text; the answer begins: ok"):
        open_notifier("webhook:HOOK", environ).deliver(NOTE)


@pytest.mark.parametrize(("body", "is_refused"), [("", False), ("ok", False), (LOGIN, True)])
def test_an_answer_that_never_ends_is_judged_by_its_beginning(receiver, monkeypatch, body, is_refused):
    monkeypatch.setattr("monitor.delivery.notifiers.webhook.BEGINNING_S", 0.3)
    receiver.body, receiver.is_endless = body, True
    notifier = open_notifier("webhook:HOOK", {"HOOK": receiver.url})
    started = time.monotonic()
    if is_refused:
        with pytest.raises(DeliveryError):
            notifier.deliver(NOTE)
    else:
        notifier.deliver(NOTE)
    assert time.monotonic() - started < 20.0, "the lease of a message is longer"


def test_the_test_of_channels_reports_an_error_in_the_answer(receiver, tmp_path, monkeypatch):
    receiver.body = TEAMS
    monkeypatch.setenv("HOOK", receiver.url)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/north.toml").write_text(SITE.replace("webhook:GONE", "webhook:HOOK"))
    (tmp_path / "slopeward.toml").write_text(f'[paths]\nsites = "{tmp_path}/sites"\n')
    words = ["test", "--json", "--channel", "webhook:HOOK", "--config", str(tmp_path / "slopeward.toml")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    row = json.loads(result.stdout.splitlines()[0])
    assert (row["delivered"], "Microsoft Teams endpoint returned" in row["error"]) == (False, True)


class MailServer:
    """Refuse one recipient, and record the recipients of each mail."""

    def __init__(self, code):
        self.code = code
        self.taken = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802
        if address.startswith("nobody"):
            return f"{self.code} no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        self.taken.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.mark.parametrize(("code", "permanent"), [(550, True), (551, True), (452, False)])
def test_a_mail_that_one_of_several_recipients_does_not_get_is_not_delivered(code, permanent):
    handler = MailServer(code)
    server = Controller(handler, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        settings = {"HOST": "127.0.0.1", "PORT": str(server.port), "SECURITY": "none"}
        notifier = MailNotifier("a@example.org", {f"SLOPEWARD_SMTP__{key}": value for key, value in settings.items()})
        with pytest.raises(DeliveryError, match=f"recipient refused \\({code} no such user\\)") as caught:
            notifier.send(compose(NOTE, "s@example.org", "a@example.org, nobody@example.org"))
    finally:
        server.stop()
    assert caught.value.permanent == permanent
    assert handler.taken == [["a@example.org"]]


class Farewell:
    """Take every mail, and answer to the end of the session with a text."""

    def __init__(self, text):
        self.text = text
        self.taken = 0

    async def handle_DATA(self, _server, _session, _envelope):  # noqa: N802 - aiosmtpd calls it so
        self.taken += 1
        return "250 queued"

    async def handle_QUIT(self, _server, _session, _envelope):  # noqa: N802 - aiosmtpd calls it so
        return self.text


@pytest.mark.parametrize("text", ["221 bye", "421 too busy", "500 what"])
def test_a_mail_is_delivered_however_the_server_ends_the_session(text):
    handler = Farewell(text)
    server = Controller(handler, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        settings = {"HOST": "127.0.0.1", "PORT": str(server.port), "SECURITY": "none"}
        notifier = MailNotifier("a@example.org", {f"SLOPEWARD_SMTP__{key}": value for key, value in settings.items()})
        notifier.deliver(NOTE)
    finally:
        server.stop()
    assert handler.taken == 1


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org, nobody@example.org",
        "a@example.org;nobody@example.org",
        "a@example.org nobody@example.org",
        "Anna <a@example.org>, Bo <b@example.org>",
        "duty: a@example.org, b@example.org;",
    ],
)
def test_several_addresses_in_one_channel_are_refused_with_the_remedy(address):
    with pytest.raises(ConfigError, match=r"several addresses; write a channel for each"):
        open_notifier(f"email:{address}", {"SLOPEWARD_SMTP__HOST": "h"})


@pytest.mark.parametrize("address", ["a@example.org", "Anna <a@example.org>", '"Meier, Anna" <a@example.org>'])
def test_one_address_is_accepted_with_and_without_a_name(address):
    open_notifier(f"email:{address}", {"SLOPEWARD_SMTP__HOST": "h"})
