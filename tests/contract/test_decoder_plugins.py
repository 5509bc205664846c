"""Decoders of third-party plugins: every message becomes readings or a rejection, whatever the decoder does."""

import math
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.api.decoders import BrokerMessage, DecodedMessage, DecoderSpec, MessageFault, Pipeline
from monitor.api.errors import ConfigError, PayloadError
from monitor.api.hooks import hookimpl
from monitor.ingest.decoders import isolation
from monitor.ingest.decoders.table import find_decoder, is_undated, list_decoders
from monitor.plugin_isolation import clear_fault, list_faults
from monitor.readings.records import ObserverReport
from monitor.sites.records import Binding, Level, SeriesSpec, Site, Station
from monitor.storage.views import load_view
from tests.fixtures.databases import SQLITE_ONLY
from tests.tables import tabulated

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
TIME = NOW - timedelta(hours=1)
BINDING = Binding("boxes/{station}", "box")
SITE = Site(
    "bench",
    "Bench",
    46.0,
    8.0,
    "UTC",
    (Level(0, "green", False),),
    (Station("S1", (SeriesSpec("S1", "tilt", "mrad", 3600.0, 21600.0),)),),
    (),
    decoders=(BINDING,),
)


@pytest.fixture
def add_decoder(add_plugin):
    """Return a function that adds the decoder `box` of a third-party plugin."""

    def add(spec, name="box"):
        class Plugin:
            @hookimpl
            def register_decoders(self):
                return {name: spec}

        add_plugin(Plugin())
        find_decoder.cache_clear()

    yield add
    find_decoder.cache_clear()
    for fault in list_faults():
        clear_fault(fault.plugin, fault.what)


def open_pipeline(database=None):
    return Pipeline(database, {SITE.id: SITE}, lambda: NOW)


def message(payload=b"works"):
    return BrokerMessage("boxes/S1", payload, NOW, "live")


def observe(received):
    field = received.field("S1", "tilt", "mrad")
    return received.observe("S1", field, 0.4, TIME)


def decode(received):
    return DecodedMessage((observe(received),))


def change(**values):
    """Return a decoder that returns a reading with wrong values."""
    return lambda received: DecodedMessage((replace(observe(received), **values),))


def raise_error(error):
    def decode(_received):
        raise error

    return decode


FAULTS = {
    "raises": (lambda _received: 1 / 0, "ZeroDivisionError: division by zero"),
    "exits": (lambda _received: sys.exit(3), "it called sys.exit (3)"),
    "returns nothing": (lambda _received: None, "TypeError: expected DecodedMessage, got None"),
    "returns a number": (lambda _received: 0.4, "TypeError: expected DecodedMessage, got 0.4"),
    "returns an empty message": (
        lambda _received: DecodedMessage(),
        "ValueError: it returned neither readings nor faults",
    ),
    "takes no argument": (lambda: None, "TypeError"),
    "gives a list": (
        lambda received: DecodedMessage([observe(received)]),
        "TypeError: observations: expected tuple, got [Observation(",
    ),
    "gives numbers": (
        lambda _received: DecodedMessage((0.4,)),
        "TypeError: each of observations: expected Observation, got 0.4",
    ),
    "another site": (change(site="north"), "ValueError: the message belongs to the site bench, not to 'north'"),
    "a bad station": (change(station="S 1\0"), r"ValueError: 'S 1\x00' is no station id"),
    "another unit": (change(unit="deg"), "ValueError: expected tilt in mrad, got 'deg'"),
    "not a number": (change(value=math.nan), "ValueError: S1.tilt is nan"),
    "a text": (change(value="0.4"), "TypeError: the value of S1.tilt: expected int or float, got '0.4'"),
    "an infinite error": (change(sigma=math.inf), "ValueError: S1.tilt is inf"),
    "a time without a zone": (
        change(observed_at=datetime(2026, 3, 1)),
        "ValueError: S1.tilt: the time 2026-03-01 00:00:00 has no zone",
    ),
    "a time as text": (
        change(observed_at="2026-03-01"),
        "TypeError: a time: expected datetime, got '2026-03-01'",
    ),
    "a report of another site": (
        lambda _received: DecodedMessage(report=ObserverReport("north", NOW, "crack", "new", "Ada")),
        "ValueError: the message belongs to the site bench, not to 'north'",
    ),
    "a code that is no code": (
        raise_error(PayloadError("Bad number!", "0.4")),
        "its PayloadError has the code 'Bad number!'",
    ),
    "a code that is a number": (raise_error(PayloadError(5, "0.4")), "its PayloadError has the code 5"),
    "a fault that is a text": (
        lambda _received: DecodedMessage(faults=("bad",)),
        "TypeError: each of faults: expected MessageFault, got 'bad'",
    ),
    "a fault without bytes": (
        lambda _received: DecodedMessage(faults=(MessageFault("bad", "bad", "0.4"),)),
        "TypeError: the payload of a fault: expected bytes, got '0.4'",
    ),
}


@pytest.mark.parametrize("database_url", SQLITE_ONLY, indirect=True)
def test_messages_of_a_failing_decoder_are_rejected_with_the_reason_and_others_are_stored(add_decoder, database):
    by_payload = {name.encode(): failing for name, (failing, _) in FAULTS.items()} | {b"works": decode}
    add_decoder(DecoderSpec(lambda _binding: lambda received: by_payload[received.message.payload](received)))
    result = open_pipeline(database).store([message(payload) for payload in by_payload])
    assert (result.rejected, result.added.stored, result.unwritten) == (len(FAULTS), 1, ())
    with database.read() as connection:
        rows = load_view(connection, "rejected_messages")
        (reading,) = load_view(connection, "latest_observation", site="bench")
    assert (reading["station"], reading["quantity"], reading["value"]) == ("S1", "tilt", 0.4)
    assert {row["code"] for row in rows} == {"decoder_failed"}
    reasons = {bytes.fromhex(row["payload_start_hex"]).decode(): row["reason"] for row in rows}
    for name, (_, problem) in FAULTS.items():
        assert f"the decoder 'box' of the plugin test-0 failed: {problem}" in reasons[name]


def test_a_fault_of_a_decoder_is_listed_until_the_decoder_works(add_decoder):
    by_payload = {b"fails": lambda _received: 1 / 0, b"works": decode}
    add_decoder(DecoderSpec(lambda _binding: lambda received: by_payload[received.message.payload](received)))
    pipeline = open_pipeline()
    assert pipeline.decode(message(b"fails")).faults
    assert [fault[:2] for fault in list_faults()] == [("test-0", "decoder box")]
    assert pipeline.decode(message(b"works")).observations
    assert list_faults() == []


def test_a_message_that_the_decoder_rejects_is_no_fault_of_the_plugin(add_decoder):
    add_decoder(DecoderSpec(lambda _binding: raise_error(PayloadError("bad_number", "'x' is no number"))))
    (fault,) = open_pipeline().decode(message()).faults
    assert (fault.code, fault.reason) == ("bad_number", "'x' is no number")
    assert list_faults() == []


def test_a_decoder_that_hangs_rejects_messages_and_works_again_when_it_returns(add_decoder, monkeypatch):
    monkeypatch.setattr(isolation, "LIMIT_S", 0.05)
    release = threading.Event()
    threads = []

    def wait(received):
        threads.append(threading.current_thread())
        release.wait(60.0)
        return decode(received)

    add_decoder(DecoderSpec(lambda _binding: wait))
    pipeline = open_pipeline()
    for expected in ("a call did not return within 0.05 s", "and still hangs"):
        (fault,) = pipeline.decode(message()).faults
        assert fault.code == "decoder_failed"
        assert expected in fault.reason
    assert len(threads) == 1
    release.set()
    threads[0].join(60.0)
    monkeypatch.setattr(isolation, "LIMIT_S", 60.0)
    assert pipeline.decode(message()).observations


@tabulated(
    ("open_decoder", "problem"),
    [
        (lambda _binding: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _binding: sys.exit(3), "it called sys.exit (3)"),
        (lambda _binding: "box", "TypeError: expected a function that decodes a message, got 'box'"),
    ],
)
def test_a_decoder_that_cannot_be_opened_is_unusable_at_its_site_only(add_decoder, open_decoder, problem):
    name = f"box-{len(list_decoders())}"
    add_decoder(DecoderSpec(open_decoder), name)
    binding = Binding("boxes/{station}", name)
    pipeline = Pipeline(None, {SITE.id: replace(SITE, decoders=(binding,))}, lambda: NOW)
    assert problem in pipeline.unusable["bench"]
    (fault,) = pipeline.decode(message()).faults
    assert fault.code == "decoder_unusable"
    assert problem in fault.reason


def test_each_decoder_of_a_site_that_cannot_be_used_is_named():
    decoders = (Binding("a/+", "nowhere"), Binding("b/+", "senml", settings=(("date", "tomorrow"),)))
    pipeline = Pipeline(None, {SITE.id: replace(SITE, decoders=decoders)}, lambda: NOW)
    assert "'nowhere' is unknown" in pipeline.unusable["bench"]
    assert "'tomorrow'" in pipeline.unusable["bench"]


def test_wrong_settings_of_a_site_file_are_no_fault_of_the_plugin(add_decoder):
    def open_box(binding):
        raise ConfigError(f"decoder {binding.name!r}: expected a station")

    add_decoder(DecoderSpec(open_box))
    with pytest.raises(ConfigError, match=r"^decoder 'box': expected a station$"):
        find_decoder("box", BINDING)
    assert list_faults() == []


def test_a_decoder_reads_the_keys_that_it_declares(add_decoder):
    add_decoder(DecoderSpec(lambda _binding: decode, frozenset({"series"}), takes_zone=True))
    told = (("zone", "Europe/Zurich"),)
    assert find_decoder("box", Binding("boxes/+", "box", series=(("a", "tilt_mrad"),), settings=told))
    with pytest.raises(ConfigError, match="decoder 'box' does not read the key 'station'; it reads series, zone"):
        find_decoder("box", Binding("boxes/+", "box", station="S1"))


def test_a_decoder_may_give_readings_the_time_of_their_reception(add_decoder):
    add_decoder(DecoderSpec(lambda _binding: decode, is_undated=lambda _binding: True), "box-undated")
    add_decoder(DecoderSpec(lambda _binding: decode, is_undated=lambda _binding: 1 / 0), "box-broken")
    assert is_undated(Binding("boxes/+", "box-undated"))
    assert not is_undated(Binding("boxes/+", "box-broken"))
    assert [fault.what for fault in list_faults()] == ["decoder box-broken"]
