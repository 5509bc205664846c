"""Signatures under what is published: the example of the reference is the one that is run here."""

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.broker.probe import TRIED
from monitor.broker.signing import Keyring, SigningKey, is_signed, make_key, sign
from monitor.canonical import canonical_json
from monitor.delivery.state import OwnTopics
from monitor.errors import ConfigError, NotFoundError, RefusedError

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
TOPIC = "slopeward/v1/north/state"
GREEN = canonical_json({"level": 0, "reason": 'odd: ,"signatures":{} – "ü"', "site": "north"})
REFERENCE = Path(__file__).parents[2] / "docs/reference/mqtt-signatures.md"


def load_example():
    """`is_genuine` as the reference shows it to who builds a siren."""
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.DOTALL) if "is_genuine" in b]
    names = {}
    exec(block, names)
    return names


@pytest.fixture(params=["ours", "example"])
def check(request):
    """Both ways to check a signature: the service's own, and the example of the reference."""
    if request.param == "ours":
        return is_signed
    names = load_example()

    def is_genuine(topic, payload, keys):
        names["KEYS"] = {key.id: key.secret for key in keys}
        return names["is_genuine"](topic, payload)

    return is_genuine


def test_what_was_signed_by_either_key_is_genuine_and_what_was_touched_is_not(check):
    key, other = make_key(), make_key()
    signed = sign(TOPIC, GREEN, [key], NOW).encode()
    assert check(TOPIC, signed, [key])
    assert check(TOPIC, signed, [other, key])
    assert not check(TOPIC, signed, [other])
    assert not check(TOPIC.replace("north", "south"), signed, [key])
    assert not check(TOPIC, signed.replace(b'"level":0', b'"level":3'), [key])
    assert not check(TOPIC, signed.replace(b"2026-03-01T06", b"2026-03-01T07"), [key])
    empty = b'{"level":0,"signatures":{"%s":null}}' % key.id.encode()
    odd = b'{"level":0,"signatures":{"%s":"\xc3\xbc"}}' % key.id.encode()
    none = (b"", b"{}", GREEN.encode(), b'{"level":0,"signatures":{}}', b'{"level":0,"signatures":[]}', b"\xff")
    for forged in (*none, empty, odd, signed[:-1], signed + b"}"):
        assert not check(TOPIC, forged, [key]), forged
    old, new = make_key(), make_key()
    signed = sign(TOPIC, GREEN, [old, new], NOW).encode()
    assert check(TOPIC, signed, [old])
    assert check(TOPIC, signed, [new])


def test_keys_are_made_once_added_retired_and_those_of_the_environment_win(tmp_path):
    ring, reader = Keyring(tmp_path / "var/signing.keys"), Keyring(tmp_path / "var/signing.keys")
    assert reader.known() == ()
    (first,) = ring.keys()
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    assert reader.keys() == (first,)
    second = ring.add()
    assert reader.keys() == (first, second)
    with pytest.raises(NotFoundError, match="no key 'x'"):
        ring.retire("x")
    ring.retire(first.id)
    assert reader.keys() == (second,)
    with pytest.raises(RefusedError, match="the only key"):
        ring.retire(second.id)
    ring = Keyring(tmp_path / "k", f"a:{'00' * 16},b:{'11' * 16}")
    assert [key.id for key in ring.keys()] == ["a", "b"]
    with pytest.raises(RefusedError, match="SLOPEWARD_SIGNING__KEYS"):
        ring.add()
    (tmp_path / "k").write_text("short 00\n")
    with pytest.raises(ConfigError, match="at least 32 hexadecimal"):
        Keyring(tmp_path / "k").keys()


def test_only_what_is_not_ours_is_foreign():
    key = SigningKey("k", b"0" * 32)
    own = OwnTopics("slopeward/v1/status", lambda: [key])
    first, second = (sign(TOPIC, GREEN, [key], NOW.replace(minute=m)) for m in (1, 2))
    for content in (first, second):
        own.note(TOPIC, content)
    for content in (first, second, second):  # the newest may come twice: delivery is at least once
        own.compare(TOPIC, content.encode(), retained=False)
    own.compare(TOPIC, b"of somebody else", retained=True)
    will = sign("slopeward/v1/status", '{"status":"offline"}', [key], NOW).encode()
    own.compare("slopeward/v1/status", will, retained=False)
    own.compare("slopeward/v1/doctor-1/alert", TRIED, retained=False)  # nobody is called for what doctor tries
    assert own.status() == {"foreign": 0, "foreign_last": ""}
    own.compare(TOPIC, first.encode(), retained=False)
    assert "repeated" in own.status()["foreign_last"]
    own.compare("slopeward/v1/" + "x" * 9999 + "/state", b"{}", retained=False)
    assert own.status()["foreign"] == 2
    assert len(own.status()["foreign_last"]) < 200
    assert own.take_overwritten() == {TOPIC}
    assert own.take_overwritten() == set()
