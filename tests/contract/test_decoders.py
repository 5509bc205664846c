"""Whatever comes, it becomes observations or a fault with a reason; nothing raises and nothing is dropped."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from monitor.domain.canonical import canonical_json
from monitor.domain.site import Level, SeriesSpec, Site, Station
from monitor.ingest.decoders.table import DECODERS, find_decoder
from monitor.ingest.message import Message
from monitor.ingest.pipeline import Pipeline

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
STATION = Station(
    "G1", 46.0, 9.0, None, None, None, None, None, None, True, (SeriesSpec("G1", "displacement", "mm", 60.0, 600.0),)
)
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (STATION,), (),
            decoders=tuple((f"gateway/{name}/#", name) for name in DECODERS))  # fmt: skip
TOPICS = {
    "native": "slopeward/v1/north/G1/obs", "report": "slopeward/v1/north/report", "event": "slopeward/v1/north/event",
    "rows": "file/north",
}  # fmt: skip
TOPICS |= {name: f"gateway/{name}/up/G1" for name in DECODERS if name not in TOPICS}
KEYS = st.sampled_from(
    ["time", "time_unit", "samples", "gnss", "values", "sigma", "seq", "source", "boot_id", "solution", "meta", "rows",
     "displacement_mm", "rain_mm", "tilt", "enu_mm", "cov_mm2", "epoch0", "frame", "value", "unit", "kind", "text",
     "by", "from", "to", "station", "quantity", "bn", "bt", "n", "v", "u", "t", "dateutc", "baromabsin", "tempf",
     "deviceInfo", "deviceName", "data", "end_device_ids", "device_id", "uplink_message", "frm_payload", "received_at"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["2026-03-01T06:00:00Z", "2026-03-01T06:00:00", "s", "ms", "mm", "rapid", "G1", 10**400, "1.5",
                       "AXVkA3sKAA==",
                       "2026-03-01 06:00:00", "29.9", "G1:tilt_x"])
)  # fmt: skip
BODIES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


def check(kind, payload):
    pipeline = Pipeline(None, {"north": SITE}, lambda: NOW)
    decoded = pipeline.decode(Message(TOPICS[kind], payload, NOW, "live"))
    assert decoded.observations or decoded.faults or decoded.report or decoded.event
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
    event("observations" if decoded.observations else decoded.faults[0].code if decoded.faults else "report or event")


def test_every_decoder_is_fuzzed():
    assert set(TOPICS) == set(DECODERS)
    assert all(callable(find_decoder(name)) for name in DECODERS)


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(payload=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_random_bytes(kind, payload):
    check(kind, payload)


@pytest.mark.parametrize("kind", sorted(TOPICS))
@given(body=BODIES)
@settings(max_examples=250, deadline=None)
def test_random_json(kind, body):
    check(kind, json.dumps(body).encode())


@given(
    st.fixed_dictionaries(
        {"time": st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)},  # noqa: E501
        optional={
            "displacement_mm": st.floats() | st.integers(), "rain_mm": st.floats(), "solution": st.sampled_from(["rapid", "x"]),  # noqa: E501
            "sigma": st.fixed_dictionaries({"displacement_mm": st.floats()}),
            "gnss": st.fixed_dictionaries(
                {"enu_mm": st.lists(st.floats(), min_size=3, max_size=3), "frame": st.just("local"),
                 "epoch0": st.just("2025-11-03T00:00:00Z")},
                optional={"cov_mm2": st.lists(st.floats(0, 10), min_size=6, max_size=6)},
            ),
        },
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_nearly_right_samples(body):
    check("native", json.dumps(body).encode())
