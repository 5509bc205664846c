"""Decode messages of instruments, with the examples that manufacturers and standards publish."""

import base64
import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.decoders.lorawan import read_uplink
from monitor.ingest.decoders.native import AXES
from monitor.ingest.decoders.table import find_decoder, is_undated
from monitor.ingest.message import BrokerMessage, TopicPlace, locate, matches
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References
from monitor.sites.records import Binding, Level, SeriesSpec, Site, Station
from tests.tables import tabulated

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


def test_units_are_read_from_key_or_object_and_converted(pipeline):
    body = {"time": TIME, "values": {"displacement_los": {"value": 0.0124, "unit": "m", "sigma": 0.001}, "tilt": None}}
    decoded = read(pipeline, body)
    assert values(decoded) == {"displacement_los": pytest.approx(12.4)}
    assert decoded.observations[0].sigma == pytest.approx(1.0)
    assert values(read(pipeline, {"time": TIME, "rain_index": 3.0})) == {"rain": 3.0}
    assert refusal(read(pipeline, {"time": TIME, "rain_mm": 3.0})) == "unit_mismatch"
    other_unit = read(pipeline, {"time": TIME, "pumping": {"value": 7, "unit": "m3/h"}})
    assert values(other_unit) == {"pumping": 7.0}


def gnss(**more):
    block = {"enu_mm": [12.4, -3.1, 5.0], "cov_mm2": [0.81, 0.9, 4.0, 0.1, 0.0, 0.2], "fix": "fixed", "satellites": 14}
    block |= {"epoch0": "2025-11-03T00:00:00Z", "frame": "local", "solution": "rapid", "reference": "BASE"}
    return {"time": TIME, "gnss": {k: v for k, v in (block | more).items() if v is not ...}}


def test_gnss_position_becomes_three_components_with_sigma_and_covariance(pipeline):
    decoded = read(pipeline, gnss())
    assert values(decoded) == {"displacement_east": 12.4, "displacement_north": -3.1, "displacement_up": 5.0}
    assert [o.sigma for o in decoded.observations] == [0.9, pytest.approx(math.sqrt(0.9)), 2.0]
    assert {o.solution for o in decoded.observations} == {"rapid"}
    extra = json.loads(decoded.observations[0].extra)
    assert extra["cov_mm2"] == [0.81, 0.9, 4.0, 0.1, 0.0, 0.2]
    assert (extra["fix"], extra["satellites"], extra["reference"]) == ("fixed", 14, "BASE")


def test_changed_epoch0_is_rejected_with_the_command_to_accept_it(pipeline):
    assert refusal(read(pipeline, gnss(epoch0=...))) == "no_epoch0"
    assert refusal(read(pipeline, gnss(epoch0="2020-01-01T00:00:00Z", fix=7))) == "not_text"
    values(read(pipeline, gnss()))  # the rejected positions above set no reference
    assert refusal(read(pipeline, gnss(frame="IGS20"))) == "other_frame"
    other = read(pipeline, gnss(epoch0="2026-01-01T00:00:00Z"))
    assert refusal(other) == "other_epoch0"
    assert "instruments reference north G1 new" in other.faults[0].reason
    pipeline.references.roll_back()  # as after a failed transaction
    values(read(pipeline, gnss(epoch0="2026-01-01T00:00:00Z")))


def test_flagged_values_are_decoded(pipeline):
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


@tabulated(
    ("payload", "code"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[1]", "not_object"),
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
        ({"time": TIME, "tilt_mrad": None}, "empty"),
        ({"time": TIME, "tilt": 1}, "no_unit"),
        ({"time": TIME, "values": {"tilt": {"value": 1}}}, "no_unit"),
        ({"time": TIME, "displacement_est_mm": 1}, "unknown_quantity"),
        ({"time": TIME, "hello": 1}, "unknown_key"),
        ({"time": TIME, "tilt_kpa": 1}, "unit_mismatch"),
        ({"time": TIME, "tilt_mrad": "1"}, "not_number"),
        ({"time": TIME, "tilt_mrad": True}, "not_number"),
        ({"time": TIME, "tilt_mrad": [1]}, "not_number"),
        (b'{"time":"2026-03-01T06:00:00Z","tilt_mrad":NaN}', "empty"),
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
def test_unreadable_message_has_a_fault_code(pipeline, payload, code):
    assert refusal(read(pipeline, payload)) == code


def test_bad_samples_are_rejected_in_a_payload_that_can_be_replayed(pipeline):
    good, bad = {"time": TIME, "tilt_mrad": 1}, {"time": TIME, "tilt_mrad": "x", "displacement_mm": 5}
    body = {"source": "l", "boot_id": 1, "seq": 9, "samples": [good, bad, {**good, "time": "2026-03-01T05:00:00Z"}]}
    decoded = read(pipeline, body)
    assert [o.value for o in decoded.observations] == [1.0, 5.0, 1.0], "a bad value removed others"
    (fault,) = decoded.faults
    assert json.loads(fault.payload) == {**body, "samples": [bad]}
    assert "1 of 3 samples" in fault.reason
    assert decoded.mark.seq == 9
    second = read(pipeline, fault.payload)
    assert ([o.value for o in second.observations], second.faults[0].code) == ([5.0], "not_number")
    position = read(pipeline, {**gnss(), "tilt_mrad": "ERR", "rain_kpa": 1})
    assert ({o.quantity for o in position.observations}, len(position.faults)) == (set(AXES), 1), (
        "a bad value removed the position"
    )


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("slopeward/v1/south/G1/obs", "unknown_site"),
        ("slopeward/v1/status/G1/obs", "unknown_topic"),
        ("slopeward/v1/north/G 1/obs", "unknown_topic"),
    ],
)
def test_unknown_sites_and_topics_are_rejected(pipeline, topic, code):
    assert refusal(read(pipeline, {"time": TIME, "tilt_mrad": 1}, topic)) == code


def test_reports_and_events_are_decoded(pipeline):
    report = {"time": TIME, "kind": "crack", "text": "3 cm", "by": "Ada", "photo_url": "https://example.org/1.jpg"}
    assert read(pipeline, report, "slopeward/v1/north/report").report.by == "Ada"
    assert refusal(read(pipeline, {**report, "photo_url": "javascript:1"}, "slopeward/v1/north/report")) == "bad_url"
    assert refusal(read(pipeline, {**report, "photo_url": "http://[1"}, "slopeward/v1/north/report")) == "bad_url"
    assert refusal(read(pipeline, {**report, "by": " "}, "slopeward/v1/north/report")) == "not_text"
    event = {"from": TIME, "to": TIME, "kind": "blasting", "text": "bench 4", "value": 2}
    assert read(pipeline, event, "slopeward/v1/north/event").event.value == 2.0
    assert refusal(read(pipeline, {**event, "to": "2025-01-01T00:00:00Z"}, "slopeward/v1/north/event")) == "bad_time"


def test_message_for_an_unknown_decoder_is_rejected():
    site = make_site(decoders=(Binding("x", "nonsense"), Binding("y", "rubbish")))
    pipeline = Pipeline(None, {"north": site}, lambda: NOW)
    assert "'nonsense' is unknown" in pipeline.unusable["north"]
    assert "'rubbish' is unknown" in pipeline.unusable["north"]
    assert refusal(read(pipeline, {}, "x")) == "decoder_unusable"


def test_topics_match_filters_and_are_located():
    assert matches("#", "a/b")
    assert not matches("a/+", "a")
    assert locate("slopeward/v1/north/G1/obs").station == "G1"
    assert locate("slopeward/v1/north/G1/state") is None


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"solution": ["final"]}, "bad_solution"),
        ({"unit": ["mm"]}, "unit_mismatch"),
        (
            {"quantity": "tilt_mrad", "component": "up"},
            "bad_component",
        ),  # only velocities of InSAR maps have a component
        ({"quantity": "velocity_mm_per_day", "component": 0}, "bad_component"),
        ({"quantity": "velocity_mm_per_day", "component": []}, "bad_component"),
    ],
)
def test_rows_with_wrong_types_have_a_fault_code(pipeline, more, code):
    row = {"time": TIME, "station": "G1", "quantity": "rain_mm", "value": 1.0, **more}
    assert refusal(read(pipeline, {"rows": [row]}, "file/north")) == code


@pytest.mark.parametrize(("component", "extra"), [("up", '{"component":"up"}'), ("", None), (None, None)])
def test_velocity_of_a_map_keeps_its_component(pipeline, component, extra):
    row = {"time": TIME, "station": "G1", "quantity": "velocity", "unit": "mm/day", "value": 1.0}
    decoded = read(pipeline, {"rows": [row | {"component": component}]}, "file/north")
    assert [o.extra for o in decoded.observations] == [extra]


SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())
CTD10, LID = "0207d9000390888081006400000c60", "0211c90003119b117611bc119e118a119411a811a81194006401990abd"


def decode(name, payload, topic="gateway/up/W1", **more):
    return values_of(decode_whole(name, payload, topic, **more))


def decode_whole(name, payload, topic="gateway/up/W1", settings=(), **more):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message, vocabulary = BrokerMessage(topic, raw, NOW, "live", **more), Vocabulary({"north": SITE})
    received = ReceivedMessage(message, TopicPlace(name, "north", ""), SITE, vocabulary, References())
    return find_decoder(name, Binding("gateway/#", name, settings=settings))(received)


def values_of(decoded):
    return {f"{o.station}.{o.quantity}": (o.value, o.unit, o.observed_at) for o in decoded.observations}


def chirpstack(data, at="2026-03-01T06:59:58.5+00:00"):
    payload = base64.b64encode(bytes.fromhex(data)).decode()
    return {"deviceInfo": {"deviceName": "T1", "devEui": "01" * 8}, "time": at, "fPort": 85, "data": payload}


def things_stack(data):
    payload = base64.b64encode(bytes.fromhex(data)).decode()
    uplink = {"f_port": 1, "frm_payload": payload, "received_at": "2026-03-01T06:59:58Z"}
    names = {"device_id": "t1", "dev_eui": "0004A30B001C0530"}
    return {"end_device_ids": names, "received_at": "2026-03-01T06:59:59Z", "uplink_message": uplink}


@tabulated(
    ("name", "data", "values"),
    [
        ("milesight", "01756403D4000001005046", {"tilt_x": 0.0, "tilt_y": 0.0, "battery_level": 100.0}),
        ("milesight", "017564037B0A00", {"pore_pressure": 10.0, "battery_level": 100.0}),
        ("milesight", "01756403770200", {"water_level": 0.02, "battery_level": 100.0}),
        ("decentlab-ctd10", CTD10, {"water_level": 4.232, "temperature": 12.9, "battery_voltage": 3.168}),
        ("decentlab-lid", LID, {"displacement_distance": 4510.0, "battery_voltage": 2.749}),
        ("decentlab-zn1", "0211110003409a00860c54", {"crack_opening": 0.9769296646118164, "battery_voltage": 3.156}),
    ],
)
def test_published_examples_of_manufacturers_are_decoded(name, data, values):
    for envelope, station in ((chirpstack(data), "T1"), (things_stack(data), "t1")):
        readings = decode(name, envelope)
        assert {k.removeprefix(f"{station}."): v[0] for k, v in readings.items()} == pytest.approx(values)
        assert {v[2].replace(microsecond=0) for v in readings.values()} == {datetime(2026, 3, 1, 6, 59, 58, tzinfo=UTC)}


def test_failed_measurements_are_left_out_and_stored_times_are_used():
    for failed in ("FFFF", "FDFF"):
        stored = "20CE" + (1_772_000_000).to_bytes(4, "little").hex() + failed
        assert list(decode("milesight", chirpstack("0175640377" + failed + stored))) == ["T1.battery_level"]
    with pytest.raises(PayloadError, match="or a failed measurement"):
        decode("milesight", chirpstack("0377FFFF"))
    # Without a fix a GPS receiver counts from 1980-01-06.
    old = {"deviceName": "T1", "rxInfo": [{"time": "1980-01-06T00:10:00Z"}], "data": "AXVk"}
    with pytest.raises(PayloadError) as error:
        decode("milesight", old)
    assert error.value.code == "clock_unset"
    result = decode("milesight", chirpstack("20CE" + (1_772_000_000).to_bytes(4, "little").hex() + "0500"))
    assert result["T1.water_level"] == (pytest.approx(0.05), "m", datetime.fromtimestamp(1_772_000_000, UTC))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("milesight", "03CF0000"),
        ("milesight", "FF"),
        ("milesight", "0175"),
        ("decentlab-zn1", CTD10),
        ("decentlab-lid", "0311c90002"),
    ],
)
def test_bytes_of_another_instrument_are_refused(name, data):
    with pytest.raises(PayloadError):
        decode(name, chirpstack(data))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"end_device_ids": {"device_id": "t1"}, "join_accept": {}}, "empty"),
        ({**things_stack("017564"), "simulated": True}, "simulated"),
        ({"deviceInfo": {"deviceName": "Hang oben 1"}, "time": "2026-03-01T06:00:00Z", "data": "AA=="}, "no_station"),
        ({"deviceInfo": {"deviceName": "T1"}, "time": "2026-03-01T06:00:00Z", "data": "A A="}, "bad_payload"),
        ({"deviceInfo": {"deviceName": "T1"}, "data": "AA=="}, "no_time"),
    ],
)
def test_uplink_without_data_name_or_time_is_rejected(body, code):
    with pytest.raises(PayloadError) as error:
        read_uplink(json.dumps(body).encode())
    assert error.value.code == code


LIVE = (("date", "reception"),)


def test_senml_examples_of_the_standard_are_decoded():
    """Examples of RFC 8428, 5.1.1 to 5.1.3, with our quantities: base values, relative times, sums with base values."""
    readings = decode("senml", [{"n": "urn:dev:ow:10e2073a01080063:temperature", "u": "Cel", "v": 23.1}], settings=LIVE)
    assert readings == {"10e2073a01080063.temperature": (23.1, "degC", NOW)}
    base = {"bn": "urn:dev:ow:G1:", "bt": 1.772e9, "bu": "m", "bver": 5, "n": "water_level", "v": 120.1}
    readings = decode("senml", [base, {"n": "battery_voltage", "u": "V", "t": -5, "v": 1.2}, {"n": "note", "vs": "ok"}])
    assert readings["G1.water_level"][:2] == (120.1, "m")
    assert readings["G1.battery_voltage"][2] == datetime.fromtimestamp(1.772e9 - 5, UTC)
    rain = [{"bn": "G1/", "n": "rain", "u": "mm", "t": -60, "v": 0.2}]
    assert decode("senml", rain, settings=LIVE)["G1.rain"][2] == datetime(2026, 3, 1, 6, 59, tzinfo=UTC)
    warm = [{"bn": "G1:", "bt": 1.772e9, "bv": 20, "bu": "Cel", "n": "temperature", "v": 1}]
    assert decode("senml", warm)["G1.temperature"][0] == 21


def test_bad_senml_record_does_not_affect_the_others():
    pack = [{"bn": "G1:", "u": "Cel", "n": "temperature", "v": 1}]
    for date_settings, retained, code in (((), False, "no_time"), (LIVE, True, "retained")):
        with pytest.raises(PayloadError) as error:
            decode("senml", pack, settings=date_settings, retained=retained)
        assert error.value.code == code
    assert is_undated(Binding("senml/#", "senml", settings=LIVE))
    pack = [{"bn": "G1:", "bt": 1.772e9, "n": "battery_level", "u": "%EL", "v": 80}, {"n": "flux", "u": "W", "v": 1}]
    result = decode_whole("senml", [*pack, {"n": "rain", "u": "mm", "t": -60, "v": 0.2}])
    assert {k: v[0] for k, v in values_of(result).items()} == {"G1.battery_level": 80.0, "G1.rain": 0.2}
    (fault,) = result.faults
    assert (fault.code, "1 of 3 records" in fault.reason) == ("unknown_quantity", True)
    known = json.loads(fault.payload)  # complete, so that it can be replayed
    assert known == [{"bn": "G1:", "bt": 1.772e9, "n": "flux", "u": "W", "v": 1}]


@tabulated(
    ("pack", "code"),
    [
        ([], "no_samples"),
        ([{"n": "G1:rain", "vs": "x"}], "empty"),
        ([{"n": "rain", "u": "mm", "v": 1}], "no_station"),
        ([{"n": "G1:rain", "u": "mm", "v": 1, "must_": 2}], "unknown_key"),
        ([{"bver": 11, "n": "G1:rain", "v": 1}], "bad_version"),
        ([{"n": "G1:rain", "v": 1}], "no_unit"),
        ([3], "not_object"),
        ({"n": "G1:rain"}, "not_list"),
    ],
)
def test_invalid_senml_is_rejected(pack, code):
    with pytest.raises(PayloadError) as error:
        decode("senml", pack)
    assert error.value.code == code


def test_weather_station_is_read_in_the_configured_units():
    post = {"dateutc": "2022-05-18 18:17:37", "baromabsin": "28.476", "tempf": "74.5", "yrain_piezo": "1.000"}
    post["lightning"] = ""
    at = datetime(2022, 5, 18, 18, 17, 37, tzinfo=UTC)
    readings = decode("ecowitt", post)
    assert readings["W1.temperature"] == (pytest.approx(23.6111, abs=1e-3), "degC", at)
    assert readings["W1.air_pressure"][0] == pytest.approx(964.3, abs=0.05)
    assert readings["W1.rain"][:2] == (25.4, "mm")
    metric = post | {"baromabsin": "837.793", "tempf": "-4.4"}
    assert decode("ecowitt-metric", metric)["W1.temperature"][0] == -4.4
    for name, wrong in (("ecowitt", metric), ("ecowitt-metric", post), ("ecowitt", {**metric, "baromabsin": ""})):
        with pytest.raises(PayloadError) as refused:
            decode(name, {**wrong, "baromrelin": wrong["baromabsin"] or "1012.1"})
        assert refused.value.code == "unit_mismatch"


def test_weather_station_without_a_barometer_is_decoded():
    post = {"dateutc": "2022-05-18 18:17:37", "tempf": "74.5", "yrain_piezo": "1.000"}
    for lacking in ({}, {"baromabsin": ""}, {"baromabsin": "--"}):
        readings = decode("ecowitt", post | lacking)
        assert {k: v[0] for k, v in readings.items()} == {"W1.temperature": pytest.approx(23.6111), "W1.rain": 25.4}
    both = {**post, "totalrainin": "4.0"}
    assert decode("ecowitt", both)["W1.rain"][0] == pytest.approx(101.6)
    piezo = (("rain", "yrain_piezo"),)  # no other counter replaces the named one
    assert decode("ecowitt", both, settings=piezo)["W1.rain"][0] == 25.4
    assert "W1.rain" not in decode("ecowitt", {**both, "yrain_piezo": ""}, settings=piezo)
    with pytest.raises(ConfigError, match="rain: expected one of totalrainin"):
        decode("ecowitt", post, settings=(("rain", "rain"),))
    with pytest.raises(PayloadError, match="no temperature"):
        decode("ecowitt", {"dateutc": "2022-05-18 18:17:37", "uv": "3"})


def test_recorded_posts_of_weather_stations_are_decoded(measured):
    read = 0
    for path in sorted(measured("payloads-ecowitt").glob("*.json")):
        name = "ecowitt-metric" if "metric" in path.name else "ecowitt"
        with suppress(PayloadError):  # posts of other protocols: no station pressure, or "now" as the time
            assert -40 < decode(name, path.read_bytes())["W1.temperature"][0] < 50, path.name
            read += 1
    assert read == 14
