"""Contract of notification channels, tested with a real server as the receiver.

A message is delivered once and under one key. A refusal is final only if the other side refuses the message itself. No
answer fails in time. Errors and logs contain no secret. An answer of any size and a text of any length and script are
accepted.
"""

import logging
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import open_notifier
from monitor.errors import DeliveryError
from monitor.sites.channels import list_channel_kinds
from monitor.storage.engine import Database
from tests.contract.channel_peers import (
    FLOODS,
    IS_BUSY,
    IS_SILENT,
    PEERS,
    REFUSES,
    SECRET,
    TAKES,
    silent_broker,
)
from tests.delivery.outbox import T0
from tests.fixtures.waiting import wait_for

# Apprise imports all its plug-ins, one of which uses a deprecated module.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
TIMEOUT_S = 0.5
SUBJECT = "RED Nordhang: close the road. 302 mm/day"
TEXTS = (
    "Straße gesperrt – über 30 mm/d",
    "关闭道路，通知经理",
    "Frana: è già più di 30 mm/giorno",
    "🚧 cerrar la vía ahora",
)
MESSAGE = Notification(
    id=1,
    alert_id=2,
    event_id=3,
    site="north",
    ledger="hazard",
    level=3,
    level_name="red",
    recipient="duty",
    channel="",
    exercise=False,
    subject=SUBJECT,
    body="Moves.\nClose the road.",
    document=f"<alert>{SUBJECT}</alert>",
    idempotency_key="0123456789abcdef" * 4,
    attempts=1,
    queued_at=T0,
    sounds_from=3,
)
KINDS = [kind for kind in list_channel_kinds() if kind != "log"]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch):
    monkeypatch.setattr("monitor.delivery.notifiers.webhook.ANSWER_S", TIMEOUT_S)
    monkeypatch.setattr("monitor.delivery.notifiers.webhook.TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr("monitor.delivery.notifiers.mail.ANSWER_S", 4 * TIMEOUT_S)
    monkeypatch.setattr("monitor.delivery.notifiers.mqtt.TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr("monitor.features.telephony.gateway.TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr("monitor.features.telephony.push.TIMEOUT_S", TIMEOUT_S)


@contextmanager
def channel(kind, request, behaviour=TAKES):
    """Yield the peer and the notifier of a kind of channel; skip a behaviour that the kind cannot show."""
    assert kind in PEERS, f"add the other side of {kind!r} to tests/contract/channel_peers.py"
    broker = request.getfixturevalue("mosquitto") if list_channel_kinds()[kind].of_broker else None
    with Database(request.getfixturevalue("sqlite_url")) as db, PEERS[kind](db, broker) as peer:
        if behaviour not in peer.behaviours:
            pytest.skip(f"the other side of {kind} cannot do this")
        peer.behaviour = behaviour
        if broker is not None and behaviour == IS_SILENT:
            with silent_broker() as url:
                settings = peer.settings | {"SLOPEWARD_BROKER__URL": url}
                yield peer, open_notifier(peer.channel, settings, db)
            return
        yield peer, open_notifier(peer.channel, peer.settings, db)


@pytest.mark.parametrize("kind", KINDS)
def test_message_is_delivered_once(kind, request):
    with channel(kind, request) as (peer, notifier):
        notifier.deliver(replace(MESSAGE, channel=peer.channel))
        wait_for(lambda: peer.messages)
        ((text, _),) = peer.messages
        assert (SUBJECT in text) is peer.has_text


@pytest.mark.parametrize("kind", KINDS)
def test_second_attempt_has_the_same_key(kind, request):
    with channel(kind, request) as (peer, notifier):
        # The worker makes a new notifier after a failed attempt.
        with Database(request.getfixturevalue("sqlite_url")) as db:
            other = open_notifier(peer.channel, peer.settings, db)
            notifier.deliver(replace(MESSAGE, channel=peer.channel))
            other.deliver(replace(MESSAGE, channel=peer.channel, attempts=2))
            wait_for(lambda: len(peer.messages) == 2)
        assert len({key for _, key in peer.messages}) == 1
        if peer.has_text:
            assert MESSAGE.idempotency_key.startswith(peer.messages[0][1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("behaviour", "permanent"), [(REFUSES, True), (IS_BUSY, False), (IS_SILENT, False)])
def test_failure_is_reported_in_time_and_without_secrets(kind, behaviour, permanent, request, caplog):
    with channel(kind, request, behaviour) as (peer, notifier), caplog.at_level(logging.INFO):
        started_s = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            notifier.deliver(replace(MESSAGE, channel=peer.channel))
    assert time.monotonic() - started_s < 5.0
    assert caught.value.permanent is permanent
    for text in (str(caught.value), caplog.text):
        assert SECRET not in text
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["webhook", "cap", "email", "sms", "voice", "push"])
def test_message_without_answer_may_have_arrived(kind, request):
    with channel(kind, request, IS_SILENT) as (peer, notifier):
        with pytest.raises(DeliveryError) as caught:
            notifier.deliver(replace(MESSAGE, channel=peer.channel))
    assert getattr(caught.value, "is_whole", False)


@pytest.mark.parametrize("kind", KINDS)
def test_answer_that_is_too_large_ends_in_time(kind, request):
    with channel(kind, request, FLOODS) as (peer, notifier):
        started_s = time.monotonic()
        # A provider that must return an id has not confirmed the message.
        outcome = pytest.raises(DeliveryError) if kind in {"sms", "voice"} else nullcontext()
        with outcome:
            notifier.deliver(replace(MESSAGE, channel=peer.channel))
    assert time.monotonic() - started_s < 5.0
    assert len(peer.messages) == 1


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_in_any_script_arrives_unchanged(kind, text, request):
    with channel(kind, request) as (peer, notifier):
        if not peer.has_text:
            pytest.skip("a siren gets no text")
        message = replace(MESSAGE, channel=peer.channel, subject=text, body=text, document=f"<alert>{text}</alert>")
        notifier.deliver(message)
        wait_for(lambda: peer.messages)
        assert text in peer.messages[0][0]


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", ["x", "é", "路", "🚧"])
def test_longest_text_keeps_the_limit_of_the_channel(kind, sign, request):
    with channel(kind, request) as (peer, notifier):
        if not peer.has_text:
            pytest.skip("a siren gets no text")
        long = " ".join([SUBJECT, *(sign * 40 for _ in range(500))])
        document = f"<alert>{long}</alert>"
        message = replace(
            MESSAGE, channel=peer.channel, subject=long, body=long, document=document, code="1234", others=12
        )
        notifier.deliver(message)
        wait_for(lambda: peer.messages)
        text = peer.messages[0][0]
        assert SUBJECT[:30] in text
        if peer.longest is None:
            assert len(text) >= len(long)
        else:
            assert len(text) <= peer.longest
