"""Every payload becomes observations or faults with a reason. No decoder raises or drops a message."""

import gc
import json
import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import monitor.ingest
from monitor.canonical import canonical_json
from monitor.ingest.decoders.table import list_decoders
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from tests.data.payloads.hostile import damage
from tests.data.payloads.published import NOW, PUBLISHED, SITE
from tests.tables import tabulated

INGEST = str(Path(monitor.ingest.__file__).parent)
TOPICS = {one.decoder: one.topic for one in reversed(PUBLISHED)}
NO_STATION = {"event", "report"}  # these decoders return no readings
KEYS = st.sampled_from(
    """
    time time_unit samples gnss values sigma seq source boot_id solution meta rows displacement_mm rain_mm tilt
    enu_mm cov_mm2 epoch0 frame value unit kind text by from to station quantity bn bt n v u t dateutc baromabsin
    tempf deviceInfo deviceName data properties observations observationNames loggerID result phenomenonTime
    Datastream @iot.id payload_fields timestamp dev_id end_device_ids device_id uplink_message frm_payload
    received_at
    """.split()
)
TIMES = ["2026-03-01T06:00:00Z", "2026-03-01T06:00:00", "2026-03-01 06:00:00"]
WORDS = ["s", "ms", "mm", "rapid", "G1", 10**400, "1.5", "29.9", "AXVkA3sKAA==", "G1:tilt_x"]
NUMBERS = st.integers() | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | st.sampled_from([*TIMES, *WORDS])
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)


def check(topic, payload):
    """Decode a payload, check observations and faults, and return the kind of the result."""
    decoded = Pipeline(None, {"north": SITE}, lambda: NOW).decode(BrokerMessage(topic, payload, NOW, "live"))
    assert decoded.observations or decoded.faults or decoded.report or decoded.event or decoded.links
    for item in decoded.observations:
        assert math.isfinite(item.value)
        assert abs(item.value) < 1e300
        assert item.sigma is None or 0 <= item.sigma < 1e300
        assert item.observed_at.tzinfo is not None
        assert "\0" not in (item.extra or "")
        canonical_json({"extra": item.extra}).encode()
    for fault in decoded.faults:
        assert fault.code != "decoder_failed", fault.reason
        assert fault.reason
    return "observations" if decoded.observations else decoded.faults[0].code if decoded.faults else "what was said"


def test_every_decoder_is_fuzzed():
    assert set(TOPICS) == set(list_decoders())
    assert Pipeline(None, {"north": SITE}, lambda: NOW).unusable == {}


@pytest.mark.parametrize("kind", sorted(TOPICS))
def test_damaged_published_payloads_are_decoded_or_rejected(kind):
    """A sample of the 10,000 payloads per decoder that `make soak` reads (tests/bench/service/bench_hostile.py)."""
    rng = random.Random(kind)
    examples = [example for example in PUBLISHED if example.decoder == kind]
    results = {
        check(example.topic, damage(rng, example.payload))
        for example in examples
        for _ in range(max(1, 80 // len(examples)))
    }
    assert len(results) > 2  # the damage leads to different results


def rename_all(site, received_ids):
    """Return the site with new ids for all declared and received stations, and their former ids in `was`."""
    undeclared = sorted(received_ids - {s.id for s in site.stations})
    stations = [*site.stations, *(replace(site.stations[0], id=name, series=()) for name in undeclared)]
    moved = (
        replace(s, id=f"{s.id}-2", was=(s.id,), series=tuple(replace(x, station=f"{s.id}-2") for x in s.series))
        for s in stations
    )
    return replace(site, stations=tuple(moved))


@tabulated("kind", sorted(TOPICS))
def test_messages_with_a_former_station_id_belong_to_the_renamed_station(kind):
    """The test runs over the published payloads, so it includes every new decoder."""
    count = 0
    for example in (example for example in PUBLISHED if example.decoder == kind):
        message = BrokerMessage(example.topic, example.payload, NOW, "live")
        plain = Pipeline(None, {"north": SITE}, lambda: NOW).decode(message)
        stations = [item.station for item in (*plain.observations, *plain.links)]
        stations += [plain.report.station] if plain.report is not None and plain.report.station else []
        site = rename_all(SITE, set(stations))
        moved = Pipeline(None, {"north": site}, lambda: NOW).decode(message)
        assert [x.station for x in (*moved.observations, *moved.links)] == [
            f"{x.station}-2" for x in (*plain.observations, *plain.links)
        ]
        assert [replace(x, station="") for x in moved.observations] == [
            replace(x, station="") for x in plain.observations
        ]
        assert [(f.code, f.payload) for f in moved.faults] == [(f.code, f.payload) for f in plain.faults]
        count += len(stations)
    assert count or kind in NO_STATION, f"no published payload of {kind} names a station"


def test_errors_keep_no_payload_in_memory():
    """An error in a reference cycle with its frames would keep the batch in memory until a garbage collection."""
    pipeline, rows = Pipeline(None, {"north": SITE}, lambda: NOW), []
    for kind in sorted(TOPICS):
        rng, examples = random.Random(kind), [item for item in PUBLISHED if item.decoder == kind]
        rows += [
            (item.topic, damage(rng, item.payload)) for item in examples for _ in range(max(1, 40 // len(examples)))
        ]
    gc.collect()
    gc.disable()
    try:
        for topic, raw in rows:
            pipeline.decode(BrokerMessage(topic, raw, NOW, "live", connection_number=1))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(  # frames of threads of earlier tests are ignored
            (type(item).__name__, getattr(getattr(item, "f_code", None), "co_qualname", ""))
            for item in gc.garbage
            if type(item).__name__ == "PayloadError"
            or (isinstance(item, FrameType) and item.f_code.co_filename.startswith(INGEST))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(payload=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_random_bytes_are_decoded_or_rejected(kind, payload):
    event(check(TOPICS[kind], payload))


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(body=BODIES)
@settings(max_examples=20, deadline=None)
def test_random_json_is_decoded_or_rejected(kind, body):
    event(check(TOPICS[kind], json.dumps(body).encode()))


DATES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)
FIX = {"frame": st.just("local"), "epoch0": st.just("2025-11-03T00:00:00Z")}
VECTOR, COVARIANCE = (st.lists(of, min_size=n, max_size=n) for of, n in ((st.floats(), 3), (st.floats(0, 10), 6)))
SAMPLE = {
    "displacement_mm": NUMBERS,
    "rain_mm": st.floats(),
    "solution": st.sampled_from(["rapid", "x"]),
    "sigma": st.fixed_dictionaries({"displacement_mm": st.floats()}),
    "gnss": st.fixed_dictionaries({"enu_mm": VECTOR, **FIX}, optional={"cov_mm2": COVARIANCE}),
}


@given(st.fixed_dictionaries({"time": DATES}, optional=SAMPLE))
@settings(max_examples=120, deadline=None)
def test_nearly_valid_samples_are_decoded_or_rejected(body):
    event(check(TOPICS["native"], json.dumps(body).encode()))
