"""Whatever comes, it becomes observations or a fault with a reason; nothing raises and nothing is dropped."""

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
NO_STATION = {"event", "report"}  # they bring no readings
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
    """Whatever it is, it becomes rows or waits in the quarantine with a reason."""
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
def test_published_payloads_that_are_damaged(kind):
    """A share of the 10,000 of each decoder that `make soak` reads (tests/bench/service/bench_hostile.py)."""
    rng = random.Random(kind)
    mine = [one for one in PUBLISHED if one.decoder == kind]
    seen = {check(one.topic, damage(rng, one.payload)) for one in mine for _ in range(max(1, 80 // len(mine)))}
    assert len(seen) > 2  # the damage differs


def rename_all(site, heard):
    """The same site, in which each station that it declares, or that is heard, has another id and says which it had."""
    strangers = sorted(heard - {s.id for s in site.stations})
    stations = [*site.stations, *(replace(site.stations[0], id=name, series=()) for name in strangers)]
    moved = (
        replace(s, id=f"{s.id}-2", was=(s.id,), series=tuple(replace(x, station=f"{s.id}-2") for x in s.series))
        for s in stations
    )
    return replace(site, stations=tuple(moved))


@tabulated("kind", sorted(TOPICS))
def test_what_comes_under_a_former_id_is_of_the_station_of_today(kind):
    """A decoder that is new in the table is walked without being asked: its published payloads are."""
    count = 0
    for one in (one for one in PUBLISHED if one.decoder == kind):
        message = BrokerMessage(one.topic, one.payload, NOW, "live")
        plain = Pipeline(None, {"north": SITE}, lambda: NOW).decode(message)
        said = [item.station for item in (*plain.observations, *plain.links)]
        said += [plain.report.station] if plain.report is not None and plain.report.station else []
        site = rename_all(SITE, set(said))
        moved = Pipeline(None, {"north": site}, lambda: NOW).decode(message)
        assert [x.station for x in (*moved.observations, *moved.links)] == [
            f"{x.station}-2" for x in (*plain.observations, *plain.links)
        ]
        assert [replace(x, station="") for x in moved.observations] == [
            replace(x, station="") for x in plain.observations
        ]
        assert [(f.code, f.payload) for f in moved.faults] == [(f.code, f.payload) for f in plain.faults]
        count += len(said)
    assert count or kind in NO_STATION, f"no published payload of {kind} names a station"


def test_what_cannot_be_read_is_let_go_at_once():
    """An error that is kept beside the frames it came through holds its batch until the collector passes."""
    pipeline, rows = Pipeline(None, {"north": SITE}, lambda: NOW), []
    for kind in sorted(TOPICS):
        rng, mine = random.Random(kind), [one for one in PUBLISHED if one.decoder == kind]
        rows += [(one.topic, damage(rng, one.payload)) for one in mine for _ in range(max(1, 40 // len(mine)))]
    gc.collect()
    gc.disable()
    try:
        for topic, raw in rows:
            pipeline.decode(BrokerMessage(topic, raw, NOW, "live", connection_number=1))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(  # a thread that an earlier test left behind has its own frames
            (type(one).__name__, getattr(getattr(one, "f_code", None), "co_qualname", ""))
            for one in gc.garbage
            if type(one).__name__ == "PayloadError"
            or (isinstance(one, FrameType) and one.f_code.co_filename.startswith(INGEST))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(payload=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_random_bytes(kind, payload):
    event(check(TOPICS[kind], payload))


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(body=BODIES)
@settings(max_examples=20, deadline=None)
def test_random_json(kind, body):
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
def test_nearly_right_samples(body):
    event(check(TOPICS["native"], json.dumps(body).encode()))
