"""Signatures of published messages, checked by the service and by the example of the reference."""

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.broker.probe import PROBE_PAYLOAD
from monitor.broker.signing import Keyring, SigningKey, is_signed, make_key, sign
from monitor.canonical import canonical_json
from monitor.delivery.state import OwnTopics
from monitor.errors import ConfigError, NotFoundError, RefusedError

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
TOPIC = "slopeward/v1/north/state"
GREEN = canonical_json({"level": 0, "reason": 'odd: ,"signatures":{} – "ü"', "site": "north"})
REFERENCE = Path(__file__).parents[2] / "docs/reference/mqtt-signatures.md"


def load_example():
    """Return the names of the example that the reference shows to builders of sirens."""
    (block,) = [
        code for code in re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.DOTALL) if "is_genuine" in code
    ]
    names = {}
    exec(block, names)
    return names


@pytest.fixture(params=["service", "example"])
def check(request):
    """Return a function that checks a signature: that of the service, or the example of the reference."""
    if request.param == "service":
        return is_signed
    names = load_example()

    def is_genuine(topic, payload, keys):
        names["KEYS"] = {key.id: key.secret for key in keys}
        return names["is_genuine"](topic, payload)

    return is_genuine


def test_changed_message_has_no_valid_signature(check):
    key, other = make_key(), make_key()
    signed = sign(TOPIC, GREEN, [key], NOW).encode()
    assert check(TOPIC, signed, [key])
    assert check(TOPIC, signed, [other, key])
    assert not check(TOPIC, signed, [other])
    assert not check(TOPIC.replace("north", "south"), signed, [key])
    assert not check(TOPIC, signed.replace(b'"level":0', b'"level":3'), [key])
    assert not check(TOPIC, signed.replace(b"2026-03-01T06", b"2026-03-01T07"), [key])
    empty_signature = b'{"level":0,"signatures":{"%s":null}}' % key.id.encode()
    invalid_signature = b'{"level":0,"signatures":{"%s":"\xc3\xbc"}}' % key.id.encode()
    unsigned = (b"", b"{}", GREEN.encode(), b'{"level":0,"signatures":{}}', b'{"level":0,"signatures":[]}', b"\xff")
    for forged in (*unsigned, empty_signature, invalid_signature, signed[:-1], signed + b"}"):
        assert not check(TOPIC, forged, [key]), forged
    old, new = make_key(), make_key()
    signed = sign(TOPIC, GREEN, [old, new], NOW).encode()
    assert check(TOPIC, signed, [old])
    assert check(TOPIC, signed, [new])


def test_keys_are_created_added_retired_and_replaced_by_environment(tmp_path):
    keyring = Keyring(tmp_path / "var/signing.keys")
    reader = Keyring(tmp_path / "var/signing.keys")
    assert reader.readable_keys() == ()
    (first,) = keyring.keys()
    assert stat.S_IMODE(keyring.path.stat().st_mode) == 0o600
    assert reader.keys() == (first,)
    second = keyring.add()
    assert reader.keys() == (first, second)
    with pytest.raises(NotFoundError, match="no key 'x'"):
        keyring.retire("x")
    keyring.retire(first.id)
    assert reader.keys() == (second,)
    with pytest.raises(RefusedError, match="the only key"):
        keyring.retire(second.id)
    keyring = Keyring(tmp_path / "k", f"a:{'00' * 16},b:{'11' * 16}")
    assert [key.id for key in keyring.keys()] == ["a", "b"]
    with pytest.raises(RefusedError, match="SLOPEWARD_SIGNING__KEYS"):
        keyring.add()
    (tmp_path / "k").write_text("short 00\n")
    with pytest.raises(ConfigError, match="at least 32 hexadecimal"):
        Keyring(tmp_path / "k").keys()


def test_only_messages_of_other_clients_are_foreign():
    key = SigningKey("k", b"0" * 32)
    topics = OwnTopics("slopeward/v1/status", lambda: [key])
    first, second = (sign(TOPIC, GREEN, [key], NOW.replace(minute=minute)) for minute in (1, 2))
    for content in (first, second):
        topics.note(TOPIC, content)
    for content in (first, second, second):  # the newest may arrive twice, because delivery is at least once
        topics.compare(TOPIC, content.encode(), retained=False)
    topics.compare(TOPIC, b"of somebody else", retained=True)
    will = sign("slopeward/v1/status", '{"status":"offline"}', [key], NOW).encode()
    topics.compare("slopeward/v1/status", will, retained=False)
    topics.compare(
        "slopeward/v1/doctor-1/alert", PROBE_PAYLOAD, retained=False
    )  # `slopeward doctor` must not cause an alarm
    assert topics.status() == {"foreign": 0, "foreign_last": ""}
    topics.compare(TOPIC, first.encode(), retained=False)
    assert "repeated" in topics.status()["foreign_last"]
    topics.compare("slopeward/v1/" + "x" * 9999 + "/state", b"{}", retained=False)
    assert topics.status()["foreign"] == 2
    assert len(topics.status()["foreign_last"]) < 200
    assert topics.take_overwritten() == {TOPIC}
    assert topics.take_overwritten() == set()
