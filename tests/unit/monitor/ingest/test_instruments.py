"""What instruments send, by the examples that their makers and the standards publish."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.site import Binding, Level, Site
from monitor.ingest.decoders.decoder import ReceivedMessage
from monitor.ingest.decoders.lorawan import read_uplink
from monitor.ingest.decoders.table import find_decoder, is_undated
from monitor.ingest.message import BrokerMessage, TopicTarget
from monitor.ingest.quality import Vocabulary
from monitor.ingest.references import References

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())
CTD10, LID = "0207d9000390888081006400000c60", "0211c90003119b117611bc119e118a119411a811a81194006401990abd"


def decode(name, payload, topic="gateway/up/W1", **more):
    return values_of(decode_whole(name, payload, topic, **more))


def decode_whole(name, payload, topic="gateway/up/W1", told=(), **more):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message, vocabulary = BrokerMessage(topic, raw, NOW, "live", **more), Vocabulary({"north": SITE})
    received = ReceivedMessage(message, TopicTarget(name, "north", ""), SITE, vocabulary, References())
    return find_decoder(name, Binding("gateway/#", name, told=told))(received)


def values_of(found):
    return {f"{o.station}.{o.quantity}": (o.value, o.unit, o.observed_at) for o in found.observations}


def chirpstack(data, at="2026-03-01T06:59:58.5+00:00"):
    payload = base64.b64encode(bytes.fromhex(data)).decode()
    return {"deviceInfo": {"deviceName": "T1", "devEui": "01" * 8}, "time": at, "fPort": 85, "data": payload}


def things_stack(data):
    payload = base64.b64encode(bytes.fromhex(data)).decode()
    uplink = {"f_port": 1, "frm_payload": payload, "received_at": "2026-03-01T06:59:58Z"}
    names = {"device_id": "t1", "dev_eui": "0004A30B001C0530"}
    return {"end_device_ids": names, "received_at": "2026-03-01T06:59:59Z", "uplink_message": uplink}


@pytest.mark.parametrize(
    ("name", "data", "values"),
    [
        ("milesight", "03CF00000000282307", {"tilt_x": 0.0, "tilt_y": 0.0}),
        ("milesight", "01756403D4000001005046", {"tilt_x": 0.0, "tilt_y": 0.0, "battery_level": 100.0}),
        ("milesight", "017564037B0A00", {"pore_pressure": 10.0, "battery_level": 100.0}),
        ("milesight", "01756403770200", {"water_level": 0.02, "battery_level": 100.0}),
        ("milesight", "017564", {"battery_level": 100.0}),
        ("decentlab-ctd10", CTD10, {"water_level": 4.232, "temperature": 12.9, "battery_voltage": 3.168}),
        ("decentlab-ctd10", "0207d900020c60", {"battery_voltage": 3.168}),
        ("decentlab-lid", LID, {"displacement_distance": 4510.0, "battery_voltage": 2.749}),
        ("decentlab-zn1", "0211110003409a00860c54", {"crack_opening": 0.9769296646118164, "battery_voltage": 3.156}),
    ],
)
def test_published_examples_of_makers(name, data, values):
    for envelope, station in ((chirpstack(data), "T1"), (things_stack(data), "t1")):
        found = decode(name, envelope)
        assert {k.removeprefix(f"{station}."): v[0] for k, v in found.items()} == pytest.approx(values)
        assert {v[2].replace(microsecond=0) for v in found.values()} == {datetime(2026, 3, 1, 6, 59, 58, tzinfo=UTC)}


def test_what_a_sensor_could_not_measure_is_no_value_and_a_time_is_the_sensors_own():
    for failed in ("FFFF", "FDFF"):
        stored = "20CE" + (1_772_000_000).to_bytes(4, "little").hex() + failed
        assert list(decode("milesight", chirpstack("0175640377" + failed + stored))) == ["T1.battery_level"]
    with pytest.raises(PayloadError, match="could not be measured"):
        decode("milesight", chirpstack("0377FFFF"))
    # Without a fix a receiver of GPS counts from 1980-01-06.
    old = {"deviceName": "T1", "rxInfo": [{"time": "1980-01-06T00:10:00Z"}], "data": "AXVk"}
    with pytest.raises(PayloadError) as found:
        decode("milesight", old)
    assert found.value.code == "clock_unset"
    found = decode("milesight", chirpstack("20CE" + (1_772_000_000).to_bytes(4, "little").hex() + "0500"))
    assert found["T1.water_level"] == (pytest.approx(0.05), "m", datetime.fromtimestamp(1_772_000_000, UTC))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("milesight", "03CF0000"),
        ("milesight", "0399"),
        ("milesight", "FF"),
        ("milesight", "0175"),
        ("decentlab-zn1", CTD10),
        ("decentlab-lid", "01"),
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
def test_uplinks_without_data_name_or_time(body, code):
    with pytest.raises(PayloadError) as found:
        read_uplink(json.dumps(body).encode())
    assert found.value.code == code


LIVE = (("date", "reception"),)


def test_senml_by_the_examples_of_its_standard():
    """RFC 8428, 5.1.1 to 5.1.3, with quantities of slopes: base values, relative times, sums of bases."""
    found = decode("senml", [{"n": "urn:dev:ow:10e2073a01080063:temperature", "u": "Cel", "v": 23.1}], told=LIVE)
    assert found == {"10e2073a01080063.temperature": (23.1, "degC", NOW)}
    base = {"bn": "urn:dev:ow:G1:", "bt": 1.772e9, "bu": "m", "bver": 5, "n": "water_level", "v": 120.1}
    found = decode("senml", [base, {"n": "battery_voltage", "u": "V", "t": -5, "v": 1.2}, {"n": "note", "vs": "ok"}])
    assert found["G1.water_level"][:2] == (120.1, "m")
    assert found["G1.battery_voltage"][2] == datetime.fromtimestamp(1.772e9 - 5, UTC)
    rain = [{"bn": "G1/", "n": "rain", "u": "mm", "t": -60, "v": 0.2}]
    assert decode("senml", rain, told=LIVE)["G1.rain"][2] == datetime(2026, 3, 1, 6, 59, tzinfo=UTC)
    warm = [{"bn": "G1:", "bt": 1.772e9, "bv": 20, "bu": "Cel", "n": "temperature", "v": 1}]
    assert decode("senml", warm)["G1.temperature"][0] == 21


def test_a_senml_record_without_time_or_known_quantity_does_not_take_the_others_along():
    pack = [{"bn": "G1:", "u": "Cel", "n": "temperature", "v": 1}]
    for told, retained, code in (((), False, "no_time"), (LIVE, True, "retained")):
        with pytest.raises(PayloadError) as found:
            decode("senml", pack, told=told, retained=retained)
        assert found.value.code == code
    assert is_undated(Binding("senml/#", "senml", told=LIVE))
    pack = [{"bn": "G1:", "bt": 1.772e9, "n": "battery_level", "u": "%EL", "v": 80}, {"n": "flux", "u": "W", "v": 1}]
    found = decode_whole("senml", [*pack, {"n": "rain", "u": "mm", "t": -60, "v": 0.2}])
    assert {k: v[0] for k, v in values_of(found).items()} == {"G1.battery_level": 80.0, "G1.rain": 0.2}
    (fault,) = found.faults
    assert (fault.code, "1 of 3 records" in fault.reason) == ("unknown_quantity", True)
    known = json.loads(fault.payload)  # whole by itself: it can be read again
    assert known == [{"bn": "G1:", "bt": 1.772e9, "n": "flux", "u": "W", "v": 1}]


@pytest.mark.parametrize(
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
def test_senml_that_is_not_understood_is_refused(pack, code):
    with pytest.raises(PayloadError) as found:
        decode("senml", pack)
    assert found.value.code == code


def test_a_weather_station_is_read_in_the_units_that_a_person_said():
    post = {"dateutc": "2022-05-18 18:17:37", "baromabsin": "28.476", "tempf": "74.5", "yrain_piezo": "1.000"}
    post["lightning"] = ""
    at = datetime(2022, 5, 18, 18, 17, 37, tzinfo=UTC)
    found = decode("ecowitt", post)
    assert found["W1.temperature"] == (pytest.approx(23.6111, abs=1e-3), "degC", at)
    assert found["W1.air_pressure"][0] == pytest.approx(964.3, abs=0.05)
    assert found["W1.rain"][:2] == (25.4, "mm")
    metric = post | {"baromabsin": "837.793", "tempf": "-4.4"}
    assert decode("ecowitt-metric", metric)["W1.temperature"][0] == -4.4
    for name, wrong in (("ecowitt", metric), ("ecowitt-metric", post), ("ecowitt", {**metric, "baromabsin": ""})):
        with pytest.raises(PayloadError) as refused:
            decode(name, {**wrong, "baromrelin": wrong["baromabsin"] or "1012.1"})
        assert refused.value.code == "unit_mismatch"


def test_a_weather_station_without_a_barometer_gives_what_it_has():
    post = {"dateutc": "2022-05-18 18:17:37", "tempf": "74.5", "yrain_piezo": "1.000"}
    for lacking in ({}, {"baromabsin": ""}, {"baromabsin": "--"}):
        found = decode("ecowitt", post | lacking)
        assert {k: v[0] for k, v in found.items()} == {"W1.temperature": pytest.approx(23.6111), "W1.rain": 25.4}
    both = {**post, "totalrainin": "4.0"}
    assert decode("ecowitt", both)["W1.rain"][0] == pytest.approx(101.6)
    piezo = (("rain", "yrain_piezo"),)  # another counter does not stand in for the one that was named
    assert decode("ecowitt", both, told=piezo)["W1.rain"][0] == 25.4
    assert "W1.rain" not in decode("ecowitt", {**both, "yrain_piezo": ""}, told=piezo)
    with pytest.raises(ConfigError, match="rain: expected one of totalrainin"):
        decode("ecowitt", post, told=(("rain", "rain"),))
    with pytest.raises(PayloadError, match="no temperature"):
        decode("ecowitt", {"dateutc": "2022-05-18 18:17:37", "uv": "3"})


def test_recorded_posts_of_fifteen_stations(measured):
    read = 0
    for path in sorted(measured("payloads-ecowitt").glob("*.json")):
        name = "ecowitt-metric" if "metric" in path.name else "ecowitt"
        with suppress(PayloadError):  # other protocols: no pressure of its own, or "now" for a time
            assert -40 < decode(name, path.read_bytes())["W1.temperature"][0] < 50, path.name
            read += 1
    assert read == 14
