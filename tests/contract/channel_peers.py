"""Receivers of each kind of channel on loopback, for tests/contract/test_channel_contract.py."""

import asyncio
import json
import socket
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy
from urllib.parse import parse_qs

from monitor.broker.access import parse_access
from monitor.features.telephony.queries.devices import add_device
from monitor.features.telephony.web_push import make_key
from monitor.people.queries.users import add_user
from monitor.storage.actor import Actor
from tests.data.servers.mqtt_client import calling
from tests.delivery.outbox import T0, serving_mail, serving_posts
from tests.features.telephony.push_service import Browser
from tests.fixtures.waiting import free_port

SECRET = "hunter2"
# How the other side responds to each message.
TAKES, REFUSES, IS_BUSY, IS_SILENT, FLOODS = "takes", "refuses for good", "is busy", "is silent", "answers too much"
FLOOD = b'{"ok": true, "x": "' + b"x" * (3 << 20) + b'"}'


class Peer:
    """The other side of one channel.

    Attributes:
        channel: `kind:address`.
        settings: Settings of the channel.
        behaviour: How the other side responds.
        behaviours: Responses that this kind of other side can give.
        messages: Received messages as pairs of text and idempotency key.
        has_text: Whether the message contains the text for people.
        longest: Largest number of characters (bytes for push) of the text; None without a limit.
    """

    def __init__(self, channel, settings, behaviours, *, has_text=True, longest=None):
        self.channel = channel
        self.settings = settings
        self.behaviours = behaviours
        self.behaviour = TAKES
        self.messages = []
        self.has_text = has_text
        self.longest = longest
        self.released = threading.Event()

    def close(self):
        self.released.set()


@contextmanager
def _serving_http(make_peer, read_message, statuses=(400, 503), success=(200, b"ok")):
    """Serve a channel that uses HTTP.

    Args:
        make_peer: Returns the peer from the port of the server.
        read_message: Returns text and key from headers and body.
    """

    def answer(server, _path, headers, body):
        peer.messages.append(read_message({name.lower(): value for name, value in headers.items()}, body))
        if peer.behaviour == IS_SILENT:
            peer.released.wait(20)
            return None, {}, b""
        refused, busy = statuses
        contents = {REFUSES: (refused, b"no"), IS_BUSY: (busy, b"later"), FLOODS: (success[0], FLOOD)}
        status, content = contents.get(peer.behaviour, success)
        return status, {}, content

    with serving_posts(answer) as server:
        peer = make_peer(server.server_port)
        try:
            yield peer
        finally:
            peer.close()


ALL = (TAKES, REFUSES, IS_BUSY, IS_SILENT, FLOODS)


def _webhook(_db, _broker):
    def read(headers, body):
        content = json.loads(body)
        return f"{content['subject']}\n{content['body']}", headers["idempotency-key"]

    def make(port):
        return Peer("webhook:HOOK", {"HOOK": f"http://ada:{SECRET}@127.0.0.1:{port}/{SECRET}"}, ALL)

    return _serving_http(make, read)


def _cap(_db, _broker):
    def make(port):
        return Peer("cap:HOOK", {"HOOK": f"http://ada:{SECRET}@127.0.0.1:{port}/{SECRET}"}, ALL)

    return _serving_http(make, lambda headers, body: (body.decode(), headers["idempotency-key"]))


def _apprise(_db, _broker):
    def read(_headers, body):
        content = json.loads(body)
        return f"{content['title']}\n{content['message']}", content["message"][-13:-1]

    def make(port):
        # Apprise does not report why a service took no message, so that nothing is refused for good.
        url = f"json://ada:{SECRET}@127.0.0.1:{port}/{SECRET}?rto=0.5&cto=0.5"
        return Peer("apprise:APP", {"APP": url}, (TAKES, IS_BUSY, IS_SILENT, FLOODS))

    return _serving_http(make, read)


def _make_gateway_settings(port):
    settings = {"GATEWAY": "http", "ACCOUNT": "AC1", "TOKEN": SECRET, "SENDER": "+100000"}
    settings["URL"] = f"http://127.0.0.1:{port}"
    return {"DUTY_PHONE": "+41791234567", **{f"SLOPEWARD_SMS__{name}": value for name, value in settings.items()}}


def _telephone(kind, field, longest):
    def open_peer(_db, _broker):
        def read(headers, body):
            return parse_qs(body.decode())[field][0], headers["idempotency-key"]

        def make(port):
            return Peer(f"{kind}:DUTY_PHONE", _make_gateway_settings(port), ALL, longest=longest)

        return _serving_http(make, read, success=(201, b'{"sid": "SM1"}'))

    return open_peer


@contextmanager
def _push(db, _broker):
    browser = Browser()

    def read(_headers, body):
        content = browser.open(body)
        return f"{content['title']}\n{content['body']}", content["key"]

    def make(port):
        settings = {"SLOPEWARD_PUSH__KEY": make_key(), "SLOPEWARD_PUSH__SERVICES": f"http://127.0.0.1:{port}"}
        with db.write() as c:
            add_user(c, "bo", None, "operator", T0)
            url = f"http://127.0.0.1:{port}/{SECRET}"
            add_device(c, Actor("bo"), url, browser.p256dh, browser.auth, "phone", T0)
        return Peer("push:bo", settings, ALL, longest=3993)

    with _serving_http(make, read, success=(201, b"")) as peer:
        yield peer


@contextmanager
def _email(_db, _broker):
    class Inbox:
        async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
            mail = message_from_bytes(envelope.original_content, policy=policy.default)
            text = f"{mail['Subject']}\n{mail.get_content()}"
            peer.messages.append((text, mail["Message-ID"].strip(" <>").removesuffix("@slopeward")))
            if peer.behaviour == IS_SILENT:
                await asyncio.to_thread(peer.released.wait, 20)
            replies = {REFUSES: "550 no", IS_BUSY: "451 later", FLOODS: f"250 {'x' * 400}\r\n"}
            return replies.get(peer.behaviour, "250 taken")

    with serving_mail(Inbox()) as settings:
        password = {"SLOPEWARD_SMTP__PASSWORD": SECRET}
        peer = Peer("email:duty@example.org", settings | password, ALL)
        try:
            yield peer
        finally:
            peer.close()


@contextmanager
def _listening(broker, topic, peer, read):
    with calling(parse_access(broker.url)) as client:
        client.client.on_message = lambda _c, _u, message: peer.messages.append(read(json.loads(message.payload)))
        client.listen(topic)
        yield peer


@contextmanager
def _mqtt(_db, broker):
    peer = Peer("mqtt:control/room", {"SLOPEWARD_BROKER__URL": broker.url}, (TAKES, IS_SILENT))

    def read(content):
        return f"{content['subject']}\n{content['body']}", content["idempotency_key"]

    with _listening(broker, "control/room", peer, read):
        yield peer


@contextmanager
def _siren(_db, broker):
    settings = {"SLOPEWARD_BROKER__URL": broker.url, "SLOPEWARD_SIGNING__KEYS": f"k1:{'00' * 16}"}
    peer = Peer("siren:valley/horn", settings, (TAKES, IS_SILENT), has_text=False)
    with _listening(broker, "valley/horn", peer, lambda content: (content["wanted"], str(content["sequence"]))):
        yield peer


PEERS = {
    "webhook": _webhook,
    "cap": _cap,
    "apprise": _apprise,
    "email": _email,
    "mqtt": _mqtt,
    "siren": _siren,
    # A message of up to 400 characters is at most three parts of a text message.
    "sms": _telephone("sms", "Body", 399),
    "voice": _telephone("voice", "Twiml", 2500),
    "push": _push,
}


@contextmanager
def silent_broker():
    """Serve a port whose connections are accepted and never answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
        server.listen()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
