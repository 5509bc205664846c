import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain.site import Binding, Level, SeriesSpec, Site, Station
from monitor.ingest.decoders.native import AXES
from monitor.ingest.message import BrokerMessage, locate, matches
from monitor.ingest.pipeline import Pipeline

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
TIME = "2026-03-01T06:00:00Z"
OBS = "slopeward/v1/north/G1/obs"


def make_site(**more):
    series = (
        SeriesSpec("G1", "displacement", "mm", 3600.0, 21600.0),
        SeriesSpec("G1", "rain", "index", 3600.0, 21600.0),
        SeriesSpec("G1", "pore_pressure", "kPa", 3600.0, 21600.0, low=0.0, high=50.0),
        SeriesSpec("G1", "pumping", "m3/h", 3600.0, 21600.0),
    )
    station = Station("G1", 46.0, 9.0, None, None, None, None, None, None, True, series)
    levels = (Level(0, "green", False), Level(1, "red", False))
    return Site("north", "North", 46.0, 9.0, "UTC", levels, (station,), (), quantities=(("pumping", "m3/h"),), **more)


@pytest.fixture
def pipeline():
    return Pipeline(None, {"north": make_site()}, lambda: NOW)


def read(pipeline, payload, topic=OBS):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return pipeline.decode(BrokerMessage(topic, raw, NOW, "live"))


def values(decoded):
    assert decoded.faults == ()
    return {o.quantity: o.value for o in decoded.observations}


def refusal(decoded):
    assert decoded.observations == ()
    (fault,) = decoded.faults
    assert fault.reason
    return fault.code


def test_samples_with_suffix_units_sigma_and_numeric_time(pipeline):
    body = {
        "time_unit": "ms",
        "samples": [{"time": 1772344800000, "pore_pressure_bar": 0.2}, {"time": 1772345400000, "pore_pressure_kpa": 1}],
    }
    decoded = read(pipeline, body)
    assert [(o.observed_at.isoformat(), o.value) for o in decoded.observations] == [
        ("2026-03-01T06:00:00+00:00", 20.0),
        ("2026-03-01T06:10:00+00:00", 1.0),
    ]
    told = {"time": TIME, "source": "logger-3", "boot_id": 12, "seq": 1842}
    told |= {"displacement_east_mm": 12.4, "displacement_north_cm": -0.31}
    decoded = read(pipeline, told | {"sigma": {"displacement_east_mm": 0.9, "displacement_north_cm": 0.1}})
    assert values(decoded) == {"displacement_east": 12.4, "displacement_north": -3.1}
    assert [o.sigma for o in decoded.observations] == [0.9, 1.0]
    assert {o.unit for o in decoded.observations} == {"mm"}
    assert (decoded.mark.source, decoded.mark.boot_id, decoded.mark.seq) == ("logger-3", 12, 1842)
    assert decoded.mark.at == datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_every_time_unit_names_the_same_instant(pipeline, unit, factor):
    count = int(1772344800 * factor)
    text = read(pipeline, {"time": str(count), "time_unit": unit, "displacement_mm": 1})  # as many programs write it
    decoded = read(pipeline, {"time": count, "time_unit": unit, "displacement_mm": 1})
    assert text.observations == decoded.observations
    assert decoded.observations[0].observed_at == datetime(2026, 3, 1, 6, tzinfo=UTC)


def test_values_with_a_unit_apart_and_those_that_keep_their_own(pipeline):
    body = {"time": TIME, "values": {"displacement_los": {"value": 0.0124, "unit": "m", "sigma": 0.001}, "tilt": None}}
    decoded = read(pipeline, body)
    assert values(decoded) == {"displacement_los": pytest.approx(12.4)}
    assert decoded.observations[0].sigma == pytest.approx(1.0)
    assert values(read(pipeline, {"time": TIME, "rain_index": 3.0})) == {"rain": 3.0}
    assert refusal(read(pipeline, {"time": TIME, "rain_mm": 3.0})) == "unit_mismatch"
    own = read(pipeline, {"time": TIME, "pumping": {"value": 7, "unit": "m3/h"}})
    assert values(own) == {"pumping": 7.0}


def gnss(**more):
    block = {"enu_mm": [12.4, -3.1, 5.0], "cov_mm2": [0.81, 0.9, 4.0, 0.1, 0.0, 0.2], "fix": "fixed", "satellites": 14}
    block |= {"epoch0": "2025-11-03T00:00:00Z", "frame": "local", "solution": "rapid", "reference": "BASE"}
    return {"time": TIME, "gnss": {k: v for k, v in (block | more).items() if v is not ...}}


def test_gnss_becomes_three_components_with_sigma_and_covariance_beside(pipeline):
    decoded = read(pipeline, gnss())
    assert values(decoded) == {"displacement_east": 12.4, "displacement_north": -3.1, "displacement_up": 5.0}
    assert [o.sigma for o in decoded.observations] == [0.9, pytest.approx(math.sqrt(0.9)), 2.0]
    assert {o.solution for o in decoded.observations} == {"rapid"}
    extra = json.loads(decoded.observations[0].extra)
    assert extra["cov_mm2"] == [0.81, 0.9, 4.0, 0.1, 0.0, 0.2]
    assert (extra["fix"], extra["satellites"], extra["reference"]) == ("fixed", 14, "BASE")


def test_the_first_epoch0_holds_and_a_change_is_refused_with_what_to_do(pipeline):
    assert refusal(read(pipeline, gnss(epoch0=...))) == "no_epoch0"
    assert refusal(read(pipeline, gnss(epoch0="2020-01-01T00:00:00Z", fix=7))) == "not_text"
    values(read(pipeline, gnss()))  # the refused position above has set nothing
    assert refusal(read(pipeline, gnss(frame="IGS20"))) == "other_frame"
    other = read(pipeline, gnss(epoch0="2026-01-01T00:00:00Z"))
    assert refusal(other) == "other_epoch0"
    assert "instruments reference north G1 new" in other.faults[0].reason
    pipeline.references.revert()  # the transaction that would have stored the first one failed
    values(read(pipeline, gnss(epoch0="2026-01-01T00:00:00Z")))


def test_flags_stand_beside_the_value_and_never_block(pipeline):
    ahead = (NOW + timedelta(minutes=6)).isoformat()
    near = (NOW + timedelta(minutes=4)).isoformat()
    flags = lambda d: {o.quantity: o.flags for o in d.observations}  # noqa: E731
    assert flags(read(pipeline, {"time": TIME, "pore_pressure_kpa": 51, "tilt_mrad": 1e9, "displacement_mm": 1})) == {
        "pore_pressure": ("out_of_range",),
        "tilt": ("out_of_range", "undeclared"),
        "displacement": (),
    }
    assert flags(read(pipeline, {"time": ahead, "displacement_mm": 1})) == {"displacement": ("future",)}
    assert flags(read(pipeline, {"time": near, "displacement_mm": 1})) == {"displacement": ()}
    assert flags(read(pipeline, {"time": "2019-01-01T00:00:00Z", "displacement_mm": 1})) == {"displacement": ()}
    other = read(pipeline, {"time": TIME, "rain_mm": 1}, "slopeward/v1/north/NEW/obs")
    assert flags(other) == {"rain": ("undeclared",)}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[1]", "not_object"),
        (b'"x"', "not_object"),
        (b"[" * 100_000, "too_deep"),
        (b" " * (1 << 20) + b"{}", "too_large"),
        (b'{"time":"2026-03-01T06:00:00Z","time":"2026-03-01T06:00:00Z","tilt_mrad":1}', "double_key"),
        ({"tilt_mrad": 1}, "no_time"),
        ({"time": "2026-03-01T06:00:00", "tilt_mrad": 1}, "no_zone"),
        ({"time": "yesterday", "tilt_mrad": 1}, "bad_time"),
        ({"time": 1772344800, "tilt_mrad": 1}, "no_time_unit"),
        ({"time": 1772344800000, "time_unit": "s", "tilt_mrad": 1}, "bad_time"),
        ({"time": 10**400, "time_unit": "s", "tilt_mrad": 1}, "not_finite"),
        ({"time": 1772344800, "time_unit": ["s"], "tilt_mrad": 1}, "no_time_unit"),
        ({"time": True, "time_unit": "s", "tilt_mrad": 1}, "not_number"),
        ({"time": 0, "time_unit": "s", "tilt_mrad": 1}, "clock_unset"),
        ({"time": "2000-01-03T00:07:00Z", "tilt_mrad": 1}, "clock_unset"),
        ({"time": TIME}, "empty"),
        ({"time": TIME, "tilt_mrad": None}, "empty"),
        ({"time": TIME, "tilt": 1}, "no_unit"),
        ({"time": TIME, "values": {"tilt": {"value": 1}}}, "no_unit"),
        ({"time": TIME, "magic_mm": 1}, "unknown_quantity"),
        ({"time": TIME, "displacement_est_mm": 1}, "unknown_quantity"),
        ({"time": TIME, "hello": 1}, "unknown_key"),
        ({"time": TIME, "tilt_kpa": 1}, "unit_mismatch"),
        ({"time": TIME, "tilt_mrad": "1"}, "not_number"),
        ({"time": TIME, "tilt_mrad": True}, "not_number"),
        ({"time": TIME, "tilt_mrad": [1]}, "not_number"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":NaN}', "empty"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":-Infinity}', "empty"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":1e999}', "empty"),
        (b'{"time":"2026-03-01T06:00:00Z","displacement_m":1e299}', "not_finite"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":' + b"9" * 400 + b"}", "not_finite"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":' + b"9" * 5000 + b"}", "not_json"),
        ({"time": TIME, "tilt_mrad": 1, "solution": "guess"}, "bad_solution"),
        ({"time": TIME, "tilt_mrad": 1, "tilt_deg": 1}, "double_value"),
        ({"time": TIME, "tilt_mrad": 1, "seq": 4}, "no_source"),
        ({"time": TIME, "tilt_mrad": 1, "source": "a", "boot_id": 1, "seq": -4}, "not_count"),
        ({"time": TIME, "tilt_mrad": 1, "source": "a\0b", "boot_id": 1, "seq": 4}, "bad_text"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":1,"source":"\\ud800"}', "bad_text"),
        ({"samples": []}, "no_samples"),
        ({"samples": [{"time": TIME, "tilt_mrad": 1}], "rain": 1}, "unknown_key"),
        ({"samples": [7]}, "not_object"),
        ({"samples": [{}] * 10_001}, "too_many"),
        (gnss(enu_mm=[1, 2]), "bad_vector"),
        (gnss(mood="good"), "unknown_key"),
        (gnss(epoch0="2025-11-03T00:00:00"), "no_zone"),
    ],
)
def test_what_cannot_be_read_says_why(pipeline, payload, code):
    assert refusal(read(pipeline, payload)) == code


def test_bad_samples_wait_in_a_payload_of_their_own_that_can_be_read_again(pipeline):
    good, bad = {"time": TIME, "tilt_mrad": 1}, {"time": TIME, "tilt_mrad": "x", "displacement_mm": 5}
    body = {"source": "l", "boot_id": 1, "seq": 9, "samples": [good, bad, {**good, "time": "2026-03-01T05:00:00Z"}]}
    decoded = read(pipeline, body)
    assert [o.value for o in decoded.observations] == [1.0, 5.0, 1.0], "a bad value takes no other along"
    (fault,) = decoded.faults
    assert json.loads(fault.payload) == {**body, "samples": [bad]}
    assert "1 of 3 samples" in fault.reason
    assert decoded.mark.seq == 9
    again = read(pipeline, fault.payload)
    assert ([o.value for o in again.observations], again.faults[0].code) == ([5.0], "not_number")
    beside = read(pipeline, {**gnss(), "tilt_mrad": "ERR", "rain_kpa": 1})
    assert ({o.quantity for o in beside.observations}, len(beside.faults)) == (set(AXES), 1), "nor the position"


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("slopeward/v1/south/G1/obs", "unknown_site"),
        ("slopeward/v1/status/G1/obs", "unknown_topic"),
        ("slopeward/v1/north/G 1/obs", "unknown_topic"),
        ("other", "unknown_topic"),
    ],
)
def test_unknown_places_are_refused(pipeline, topic, code):
    assert refusal(read(pipeline, {"time": TIME, "tilt_mrad": 1}, topic)) == code


def test_reports_and_events(pipeline):
    report = {"time": TIME, "kind": "crack", "text": "3 cm", "by": "Ada", "photo_url": "https://example.org/1.jpg"}
    assert read(pipeline, report, "slopeward/v1/north/report").report.by == "Ada"
    assert refusal(read(pipeline, {**report, "photo_url": "javascript:1"}, "slopeward/v1/north/report")) == "bad_url"
    assert refusal(read(pipeline, {**report, "photo_url": "http://[1"}, "slopeward/v1/north/report")) == "bad_url"
    assert refusal(read(pipeline, {**report, "by": " "}, "slopeward/v1/north/report")) == "not_text"
    event = {"from": TIME, "to": TIME, "kind": "blasting", "text": "bench 4", "value": 2}
    assert read(pipeline, event, "slopeward/v1/north/event").event.value == 2.0
    assert refusal(read(pipeline, {**event, "to": "2025-01-01T00:00:00Z"}, "slopeward/v1/north/event")) == "bad_time"


def test_what_comes_for_a_decoder_that_is_none_waits():
    site = make_site(decoders=(Binding("x", "nonsense"),))
    pipeline = Pipeline(None, {"north": site}, lambda: NOW)
    assert "'nonsense' is unknown" in pipeline.unusable["north"]
    assert refusal(read(pipeline, {}, "x")) == "decoder_unusable"


def test_topic_filters():
    assert matches("#", "a/b")
    assert not matches("a/+", "a")
    assert locate("slopeward/v1/north/G1/obs").station == "G1"
    assert locate("slopeward/v1/north/G1/state") is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"solution": ["final"]}, "bad_solution"),
        ({"unit": ["mm"]}, "unit_mismatch"),
        ({"quantity": "tilt_mrad", "component": "up"}, "bad_component"),  # only a velocity of a map has one
        ({"quantity": "velocity_mm_per_day", "component": 0}, "bad_component"),
        ({"quantity": "velocity_mm_per_day", "component": []}, "bad_component"),
    ],
)
def test_rows_with_lists_where_texts_belong_have_a_reason(pipeline, more, code):
    row = {"time": TIME, "station": "G1", "quantity": "rain_mm", "value": 1.0, **more}
    assert refusal(read(pipeline, {"rows": [row]}, "file/north")) == code


@pytest.mark.parametrize(("component", "extra"), [("up", '{"component":"up"}'), ("", None), (None, None)])
def test_a_velocity_of_a_map_names_its_component(pipeline, component, extra):
    row = {"time": TIME, "station": "G1", "quantity": "velocity", "unit": "mm/day", "value": 1.0}
    decoded = read(pipeline, {"rows": [row | {"component": component}]}, "file/north")
    assert [o.extra for o in decoded.observations] == [extra]
