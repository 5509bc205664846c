"""Decode payloads that manufacturers and standards publish. `tests/data/payloads` names the source of each payload."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import ConfigError, PayloadError
from monitor.ingest import births
from monitor.ingest.decoders.sensorthings import read_next_link
from monitor.ingest.decoders.sparkplug_payload import encode_rebirth, read_payload
from monitor.ingest.decoders.table import find_decoder
from monitor.ingest.files.gnss import find_place
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.positions import find_enu_mm, gps_to_utc
from monitor.sites.parsing import parse_site
from monitor.sites.records import Binding, Origin
from tests.data.payloads import published as p
from tests.data.payloads.published import NOW, PUBLISHED, SITE, message
from tests.ingest.test_decoders import refusal
from tests.tables import tabulated

POS, NMEA, STATE = "gnss/OMRE/pos", "gnss/NOV/nmea", "homie/super-car/$state"
NODE = "spBv1.0/tedge/{}/sim-cnc01"


@pytest.fixture
def pipeline():
    return Pipeline(None, {"north": SITE}, lambda: NOW)


def read(pipeline, topic, payload, **more):
    text = payload if isinstance(payload, bytes | str) else json.dumps(payload)
    raw = text.encode() if isinstance(text, str) else text
    return pipeline.decode(
        BrokerMessage(topic, raw, NOW, "live", connection_number=more.pop("connection_number", 1), **more)
    )


def values(decoded):
    assert decoded.faults == ()
    return {f"{o.station}.{o.quantity}": pytest.approx(o.value, abs=5e-4) for o in decoded.observations}


def with_decoder(**more):
    return Pipeline(None, {"north": replace(SITE, decoders=(Binding(**more),))}, lambda: NOW)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_every_published_payload_is_decoded(pipeline):
    assert pipeline.unusable == {}
    for example in PUBLISHED:
        decoded = pipeline.decode(message(example))
        if example.decoder == "sparkplug" and "DATA" in example.topic:
            continue  # needs a birth first; tested below
        assert decoded.observations or decoded.links or decoded.report or decoded.event, example.topic
        assert decoded.faults == (), example.topic


def test_tables_of_campbell_loggers_are_decoded(pipeline):
    decoded = read(pipeline, "cs/v2/data/x", p.CAMPBELL_HELP)
    assert values(decoded) == {"CR1000X_400.battery_voltage": 13.67, "CR1000X_400.temperature": 24.31}
    assert {o.observed_at for o in decoded.observations} == {utc(2019, 2, 28, 19)}
    cr6 = json.loads(p.CAMPBELL_CR6)
    rows = {"2022-05-24T08:53:00Z": [11.9, "NAN"], "2022-05-24T08:54:00": [11.9, 26.9], "2022-05-24T08:55:00Z": [1]}
    cr6["properties"]["observations"] = rows
    decoded = read(pipeline, "cs/v2/data/x", cr6)  # a missing value, a row without a zone and a short row
    assert [(o.quantity, o.value) for o in decoded.observations] == [("battery_voltage", 11.9)]
    (fault,) = decoded.faults
    assert (fault.code, "2 of 3 rows" in fault.reason) == ("no_zone", True)
    assert len(json.loads(fault.payload)["properties"]["observations"]) == 2
    cr6["properties"]["observations"] = {"2022-05-24T08:53:00Z": [11.9, "warm"]}
    decoded = read(pipeline, "cs/v2/data/x", cr6)  # a bad cell does not affect the other one
    assert ([o.value for o in decoded.observations], decoded.faults[0].code) == ([11.9], "not_number")
    cr6["properties"]["observationNames"] = ["Depth", "displacement_mm"]
    cr6["properties"]["observations"] = {"2022-05-24T08:53:00Z": [1, 2]}
    assert values(read(pipeline, "cs/v2/data/x", cr6)) == {"CR6_18341.displacement": 2.0}
    cr6["properties"]["observationNames"] = ["Depth"]
    assert refusal(read(pipeline, "cs/v2/data/x", cr6)) == "unknown_quantity"


def test_state_of_a_campbell_logger_applies_to_its_stations(pipeline):
    topic = "cs/v2/state/QU8Q-9JTY-HVP8/"
    gone = read(pipeline, topic, p.CAMPBELL_STATE)
    assert [(k.station, k.online, k.text) for k in gone.links] == [
        (name, False, "state offline: OS update") for name in ("CR1000X_70681", "CR6_18341")
    ]
    back = {"clientId": "CR1000X_70681", "state": "online", "fileTransfer": "OS file download"}
    assert [(k.online, k.text) for k in read(pipeline, topic, back).links] == [(True, "state online")] * 2
    assert refusal(read(pipeline, "cs/v2/data/x", p.CAMPBELL_STATE)) == "no_station"
    other = {"clientId": "T1", "state": "offline"}
    assert "T1" not in [k.station for k in read(pipeline, topic, other).links]
    named = read(pipeline, "cs/v2/named/x", other).links
    assert [k.station for k in named] == ["CR6_18341"], "the station of the site file was not used"
    assert refusal(read(pipeline, topic, {"state": ["offline"]})) == "bad_payload"


def test_battery_level_of_lorawan_devices_is_decoded(pipeline):
    at = {"time": p.CHIRPSTACK["time"], "deviceInfo": p.CHIRPSTACK["deviceInfo"]}
    status = {**at, "margin": 10, "batteryLevelUnavailable": False, "batteryLevel": 73.2}
    assert values(read(pipeline, "mile/up", status)) == {"T1.battery_level": 73.2}
    assert refusal(read(pipeline, "mile/up", {**status, "batteryLevelUnavailable": True})) == "empty"
    outside = {**status, "externalPowerSource": True, "batteryLevel": 0}
    assert refusal(read(pipeline, "mile/up", outside)) == "empty", (
        "a device on mains power was reported as a flat battery"
    )
    battery = {"last_battery_percentage": {"f_cnt": 8, "value": 53.5}}
    uplink = {"received_at": at["time"], "frm_payload": "A3sKAA==", **battery}
    stack = {"end_device_ids": {"device_id": "T1"}, "uplink_message": uplink}
    assert values(read(pipeline, "mile/up", stack)) == {"T1.pore_pressure": 10.0, "T1.battery_level": 53.5}
    uplink["frm_payload"] = "AXVkA3sKAA=="  # the payload contains the battery level
    assert values(read(pipeline, "mile/up", stack))["T1.battery_level"] == 100.0


def test_observations_of_sensorthings_are_decoded(pipeline):
    decoded = read(pipeline, "v1.1/Datastreams(1)/Observations", p.OBSERVATION)
    assert decoded.observations[0].observed_at == utc(2014, 12, 31, 3, 59, 59)
    span = "2017-02-07T18:00:00Z/2017-02-07T18:02:00Z"
    created = {"phenomenonTime": span, "result": 21.6, "Datastream": {"@iot.id": 423}}
    decoded = read(pipeline, "v1.1/Observations", created)
    assert refusal(decoded) == "unknown_topic"
    decoded = read(pipeline, "v1.1/any/Observations", created)
    assert values(decoded) == {"WUM.temperature": 21.6}
    assert decoded.observations[0].observed_at == utc(2017, 2, 7, 18, 2)  # the end of the interval
    without_datastream = read(
        pipeline, "v1.1/any/Observations", {k: v for k, v in created.items() if k != "Datastream"}
    )
    assert "bind topics such as v1.1/+/Observations" in without_datastream.faults[0].reason
    for quality, count in (("bad", 0), ({"DQ_Status": {"code": "suspect"}}, 0), ("good", 1), ([{"error": "0.1"}], 1)):
        assert len(read(pipeline, "v1.1/any/Observations", {**created, "resultQuality": quality}).observations) == count
    for unit in ({"symbol": "°F", "name": "degree Fahrenheit"}, {"symbol": "", "name": "Fahrenheit"}):
        body = {**created, "Datastream": {"@iot.id": 423, "unitOfMeasurement": unit}}
        assert refusal(read(pipeline, "v1.1/any/Observations", body)) == "unit_mismatch"
    assert refusal(read(pipeline, "v1.1/Datastreams(7)/Observations", p.OBSERVATION)) == "unknown_quantity"
    bad = {"result": "x"}, {"phenomenonTime": "2018", "result": 1}
    page = {**p.OBSERVATIONS, "value": [*p.OBSERVATIONS["value"], *bad]}
    decoded = read(pipeline, "v1.1/Datastreams(423)/Observations", page)
    assert [o.value for o in decoded.observations] == [-3.4]
    assert "2 of 3" in decoded.faults[0].reason
    assert read_next_link(page).endswith("$skip=1")
    assert read_next_link({}) is None


def test_measured_groundwater_record_of_sensorthings_is_decoded(measured):
    lines = (measured("sensorthings-groundwater") / "observations1.json").read_text().splitlines()
    page = {"value": [json.loads(line) for line in lines if line.strip()]}
    site = with_decoder(pattern="v1.1/+/Observations", name="sensorthings", series=(("1", "GMW.groundwater_level_m"),))
    decoded = read(site, "v1.1/Datastreams(1)/Observations", page)
    assert len(decoded.observations) == len(page["value"]) > 3000
    assert (decoded.observations[0].value, decoded.observations[0].observed_at) == (10.906, utc(2018, 8, 6, 12))


def test_sparkplug_birth_resolves_aliases_of_data_messages(pipeline):
    birth = read(pipeline, NODE.format("NBIRTH"), p.NBIRTH)
    expected = {"sim-cnc01.displacement": 0.0, "sim-cnc01.temperature": 20.9692, "sim-cnc01.pore_pressure": 14031.5393}
    assert values(birth) == expected
    assert [(link.station, link.online) for link in birth.links] == [("sim-cnc01", True)]
    gap = read(pipeline, NODE.format("NDATA"), p.NDATA)  # sequence number 14: messages between were lost
    assert refusal(gap) == "no_birth"
    assert "Node Control/Rebirth" in gap.faults[0].reason
    assert gap.request == ("spBv1.0/tedge/NCMD/sim-cnc01", encode_rebirth(NOW))
    pipeline.vocabulary.births.roll_back()
    read(pipeline, NODE.format("NBIRTH"), p.NBIRTH[:-1] + b"\x0d")  # the same birth with sequence number 13
    decoded = read(pipeline, NODE.format("NDATA"), p.NDATA)
    assert [o.value for o in decoded.observations] == pytest.approx([424.703, 22.26272, 15109.2937])
    assert {o.observed_at for o in decoded.observations} == {utc(2026, 3, 5, 15, 44, 10, 873000)}
    assert refusal(read(pipeline, NODE.format("NDATA"), p.NDATA)) == "no_birth"  # repeated sequence number
    assert read_payload(p.NDATA).seq == 14


def test_sparkplug_birth_is_forgotten_after_a_reconnect_or_a_rollback(pipeline):
    birth = p.NBIRTH[:-1] + b"\x0d"
    memory = pipeline.vocabulary.births
    read(pipeline, NODE.format("NBIRTH"), birth)
    memory.roll_back()
    assert refusal(read(pipeline, NODE.format("NDATA"), p.NDATA)) == "no_birth"
    read(pipeline, NODE.format("NBIRTH"), birth)
    memory.commit()
    assert read(pipeline, NODE.format("NDATA"), p.NDATA).observations
    memory.roll_back()  # the batch is retried with the earlier sequence number
    assert read(pipeline, NODE.format("NDATA"), p.NDATA).observations
    memory.roll_back()
    assert refusal(read(pipeline, NODE.format("NDATA"), p.NDATA, connection_number=2)) == "no_birth"


def test_number_of_stored_sparkplug_aliases_is_limited(monkeypatch):
    monkeypatch.setattr(births, "ALIASES_MOST", 10)
    store = births.Births()
    for number in range(20):
        store.store(f"n{number}", births.Node(1, None, 0))
        store.add_device(f"n{number}", "", {k: births.Metric("x", 10) for k in range(4)}, frozenset())
    stored_numbers = [number for number in range(20) if store.find(f"n{number}", 1) is not None]
    assert stored_numbers == [18, 19]


def test_sparkplug_death_takes_a_node_offline_unless_it_is_stale(pipeline):
    died = read(pipeline, NODE.format("NDEATH"), p.NDEATH)
    assert [(link.station, link.online) for link in died.links] == [("sim-cnc01", False)]
    read(pipeline, NODE.format("NBIRTH"), p.NBIRTH)  # bdSeq 1
    assert refusal(read(pipeline, NODE.format("NDEATH"), p.NDEATH)) == "stale_death"  # bdSeq 3
    assert refusal(read(pipeline, NODE.format("NCMD"), p.REBIRTH)) == "not_reading"
    assert refusal(read(pipeline, NODE.format("DDATA") + "/lock", p.DDATA)) == "no_birth"


def encode_varint(number):
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def encode_field(number, wire_type, content):
    tag = encode_varint(number << 3 | wire_type)
    return tag + encode_varint(len(content)) + content if wire_type == 2 else tag + content


def encode_payload(*metrics):
    time = b"\x08\x80\xe6\xed\xbf\xca3"
    return time + b"".join(encode_field(2, 2, metric) for metric in metrics)


@pytest.mark.parametrize(("code", "counts"), [(192, True), (0, False), (500, False), (0x80000200, False)])
def test_value_of_bad_or_stale_quality_is_no_value(code, counts):
    """Sparkplug 3.0, 6.4.9.1: the property Quality is 192 where a value is good, 0 where bad, 500 where stale."""
    value = b"\x08\x03" + encode_field(3, 0, encode_varint(code))
    quality = encode_field(1, 2, b"Quality") + encode_field(2, 2, value)
    metric = encode_field(1, 2, b"tilt_deg") + encode_field(9, 2, quality) + b"\x65\x00\x00\x80\x3f"
    payload = encode_payload(metric)
    (read_metric,) = read_payload(payload).metrics
    assert (read_metric.name, read_metric.number) == ("tilt_deg", 1.0 if counts else None)
    site = with_decoder(pattern="spBv1.0/#", name="sparkplug", series=(("tilt_deg", "G1.tilt_x_deg"),))
    decoded = read(site, NODE.format("NDATA"), payload)
    assert [o.quantity for o in decoded.observations] == ["tilt_x"] * counts
    assert counts or refusal(decoded) == "empty"


@pytest.mark.parametrize(
    ("datatype", "field", "sent", "expected"),
    [
        (1, 10, 0xFF, -1),
        (2, 10, 0xFFFE, -2),
        (3, 10, 0xFFFFFFFD, -3),
        (3, 10, 7, 7),
        (4, 11, (1 << 64) - 5, -5),
        (7, 10, 0xFFFFFFFD, 0xFFFFFFFD),
        (11, 14, 1, None),
    ],
)
def test_integer_has_the_sign_of_its_data_type(datatype, field, sent, expected):
    metric = encode_field(1, 2, b"m") + encode_field(4, 0, encode_varint(datatype))
    (read_metric,) = read_payload(encode_payload(metric + encode_field(field, 0, encode_varint(sent)))).metrics
    assert read_metric.number == expected


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "bad_payload"),
        (b"not protobuf", "bad_payload"),
        (encode_payload(encode_field(1, 2, b"m"))[:-1], "bad_payload"),
        (encode_payload(encode_field(1, 2, b"\xff")), "bad_payload"),
        (encode_payload(encode_field(1, 2, b"m" * 501)), "bad_payload"),
        (encode_payload(encode_field(1, 2, b"a\0b")), "bad_text"),
        (encode_payload(encode_field(1, 2, b"m") + encode_field(12, 0, b"\x01")), "bad_payload"),
        (encode_payload(*[b""] * 5001), "too_many"),
        (encode_payload(encode_field(9, 2, encode_field(1, 2, b"k") * 201)), "too_many"),
        (b"\0" * ((1 << 20) + 1), "too_large"),
    ],
)
def test_damaged_or_excessive_sparkplug_payload_is_refused(payload, code):
    with pytest.raises(PayloadError) as refused:
        read_payload(payload)
    assert refused.value.code == code


def test_rebirth_command_equals_the_published_one():
    assert encode_rebirth(utc(2026, 9, 17, 9, 46, 40)) != p.REBIRTH
    at = read_payload(p.REBIRTH).at_ms / 1000
    assert encode_rebirth(datetime.fromtimestamp(at, UTC)) == p.REBIRTH


def test_homie_values_and_states_are_decoded(pipeline):
    decoded = read(pipeline, "homie/super-car/engine/temperature", b"21.5", first_at=NOW - timedelta(days=3))
    assert values(decoded) == {"super-car.temperature": 21.5}
    assert decoded.observations[0].observed_at == NOW - timedelta(days=3)  # time of reception, not of the replay
    assert refusal(read(pipeline, "homie/super-car/engine/temperature", b"21.5", retained=True)) == "retained"
    assert refusal(read(pipeline, "homie/super-car/engine/speed", b"21.5")) == "unknown_quantity"
    refused = dict.fromkeys((b"true", b"\xff", b"1" * 99, b"1_0"), "not_number") | {b"nan": "empty", b"inf": "empty"}
    for payload, code in refused.items():
        assert refusal(read(pipeline, "homie/super-car/engine/temperature", payload)) == code
    words = ("ready", "sleeping", "lost", "disconnected")
    states = {word: read(pipeline, STATE, word.encode()).links[0].online for word in words}
    assert states == {"ready": True, "sleeping": True, "lost": False, "disconnected": False}
    assert refusal(read(pipeline, STATE, b"happy")) == "bad_payload"
    plain_site = with_decoder(pattern="shed/scale", name="plain", station="S1", series=(("x", "reservoir_level_m"),))
    assert values(read(plain_site, "shed/scale", b"3.5")) == {"S1.reservoir_level": 3.5}


def test_json_is_decoded_by_expressions(pipeline):
    decoded = read(pipeline, "gateway/json", p.WATER)
    assert values(decoded) == {"357518080166580.temperature": 13.86, "357518080166580.battery_voltage": 4.15}
    assert decoded.observations[0].observed_at == utc(2019, 10, 29, 15, 46, 42)
    polled = {"pattern": "poll/{station}", "name": "json"}
    list_settings = (("each", "value"), ("time", "phenomenonTime"), ("quantity", "'air'"), ("value", "result"))
    listed = with_decoder(**polled, series=(("air", "temperature_degc"),), settings=list_settings)
    assert values(read(listed, "poll/WUM", p.OBSERVATIONS)) == {"WUM.temperature": -3.4}
    both = (("a", "temperature_degc"), ("b", "battery_voltage_v"))
    named = with_decoder(**polled, series=both, settings=(("time", "t"),))
    decoded = read(named, "poll/WUM", {"t": "2026-01-01T00:00:00Z", "a": "warm", "b": 12.5})
    assert ([o.value for o in decoded.observations], decoded.faults[0].code) == ([12.5], "not_number")
    assert refusal(read(named, "poll/WUM", {"t": "2026-01-01T00:00:00Z", "a": "warm"})) == "not_number"
    bad = {"value": [*p.OBSERVATIONS["value"], {"result": 1}]}
    decoded = read(listed, "poll/WUM", bad)
    assert (len(decoded.observations), decoded.faults[0].code) == (1, "no_time")
    assert refusal(read(listed, "poll/WUM", {"value": 3})) == "no_samples"
    assert refusal(read(listed, "poll/WUM", b"[" * 20 + b"]" * 20)) == "too_deep"
    assert refusal(read(listed, "poll/WUM", b'"' + b"x" * 300_000 + b'"')) == "too_large"


def test_json_item_with_another_unit_than_the_site_file_is_rejected():
    expressions = (("each", "r"), ("time", "t"), ("time_unit", "ms"), ("quantity", "n"), ("value", "v"), ("unit", "u"))
    site = with_decoder(pattern="poll/{station}", name="json", series=(("tx", "tilt_x_deg"),), settings=expressions)
    item = {"t": 1772344800000, "n": "tx", "v": 1.0}
    units = {"mrad": "unit_mismatch", "rad": "unit_mismatch", "°": "", "deg": "", "degrees": "", "odd": ""}
    units |= dict.fromkeys(
        ("meters", "Millimetres", "FEET", "Neugrad"), "unit_mismatch"
    )  # these spellings were once ignored
    for unit, code in units.items():
        decoded = read(site, "poll/WUM", {"r": [{**item, "u": unit}]})
        assert [f.code for f in decoded.faults] == [code] * bool(code), unit
    named = {"r": [{**item, "n": "temperature", "u": "°F", "v": 50}]}
    assert values(read(site, "poll/WUM", named)) == {"WUM.temperature": 10.0}


def test_json_item_of_bad_quality_is_rejected_and_other_items_are_read():
    """OPC gateways repeat the last value of a failed sensor with a bad quality, which was once stored as a reading."""
    expressions = (("each", "r"), ("time", "t"), ("time_unit", "ms"), ("quantity", "n"), ("value", "v"))
    site = with_decoder(
        pattern="poll/{station}", name="json", series=(("tx", "crack_opening_mm"),), settings=expressions
    )
    item = {"t": 1772344800000, "n": "tx", "v": 1.0}
    opc = {"value": 2158886912, "description": "BadSensorFailure"}
    bad = ({"q": False}, {"quality": "bad"}, {"Status": "Sensor fault"}, {"valid": False}, {"statusCode": opc})
    for mark in (*bad, {"statusCode": 2147483648}):
        decoded = read(site, "poll/WUM", {"r": [item | mark, item | {"v": 2.0}]})
        assert ([o.value for o in decoded.observations], decoded.faults[0].code) == ([2.0], "bad_quality"), mark
        named = with_decoder(
            pattern="poll/{station}", name="json", series=(("v", "crack_opening_mm"),), settings=(("time", "t"),)
        )
        assert refusal(read(named, "poll/WUM", {"t": "2026-01-01T00:00:00Z", "v": 1.0} | mark)) == "bad_quality"
    good = (
        {"q": True},
        {"quality": 192},
        {"status": "no error"},
        {"statusCode": 0},
        {"error": False},
        {"status": False},
    )
    for mark in good:
        assert not read(site, "poll/WUM", {"r": [item | mark]}).faults, mark
    assert refusal(read(site, "poll/WUM", {"simulated": True, "r": [item]})) == "simulated"


def test_rtklib_solutions_in_gps_time_become_displacement_from_the_origin(pipeline):
    decoded = read(pipeline, POS, p.RTKLIB_HEAD + p.RTKLIB_LINES)
    assert decoded.faults == ()
    first = decoded.observations[:3]
    assert {o.observed_at for o in first} == {utc(2009, 7, 15, 7, 9, 45)}  # 15 leap seconds in 2009
    assert [o.value for o in first] == pytest.approx([-4.32, 7.98, -1.7], abs=0.02)
    assert [o.sigma for o in first] == pytest.approx([20.2, 18.6, 89.9])
    extra = json.loads(first[0].extra)
    assert (extra["fix"], extra["satellites"]) == ("fixed", 10)
    assert extra["cov_mm2"][3] == pytest.approx(-(7.2**2))
    assert refusal(read(pipeline, POS, p.RTKLIB_LINES)) == "no_zone"  # without its header
    bare = with_decoder(pattern="gnss/{station}/pos", name="rtklib", settings=(("time", "gpst"), ("positions", "llh")))
    assert len(read(bare, POS, p.RTKLIB_LINES).observations) == 6
    week = "1540 285000.000 32.560273272 -116.953525346 118.6783 5 10"
    observation = read(bare, POS, week).observations[0]
    assert (observation.observed_at, observation.flags) == (utc(2009, 7, 15, 7, 9, 45), ("no_fix",))
    head = "%  JST latitude(deg) longitude(deg)  height(m)   Q  ns\n"  # Japan Standard Time, named only in the header
    observation = read(
        bare, POS, head + "2009/07/15 16:09:45.000 32.560273272 -116.953525346 118.6783 1 10"
    ).observations[0]
    assert observation.observed_at == utc(2009, 7, 15, 7, 9, 45)
    assert refusal(read(bare, "gnss/G1/pos", p.RTKLIB_LINES)) == "no_origin"
    assert refusal(read(bare, POS, "% GPST x-ecef(m)\n1 2 3 4 5 6 7")) == "bad_payload"
    base = "% (e/n/u-baseline=WGS84)\n% UTC e-baseline(m) n-baseline(m) u-baseline(m) Q ns\n"
    assert refusal(read(bare, POS, base + "2009/07/15 07:10:00 1 2 3 1 9")) == "no_origin"
    mixed = read(pipeline, POS, p.RTKLIB_HEAD + p.RTKLIB_LINES + "2009/07/15 07:10:20.000 nonsense\n")
    assert len(mixed.observations) == 6
    assert mixed.faults[0].payload.decode().splitlines()[-1].endswith("nonsense")
    assert refusal(read(pipeline, POS, mixed.faults[0].payload)) == "cell_count"


def test_rtklib_baseline_becomes_displacement_from_the_origin_baseline():
    place = "{latitude = 32.5602732, longitude = -116.9535253, height_m = 118.68,"
    text = p.SITE_FILE.replace(place, "{east_m = 1.0, north_m = 2.0, up_m = 3.0,")
    pipeline = Pipeline(None, {"north": parse_site(text, "north.toml")}, lambda: NOW)
    head = "% UTC e-baseline(m) n-baseline(m) u-baseline(m) Q ns sde(m) sdn(m) sdu(m) sden(m) sdnu(m) sdue(m)\n"
    line = "2009/07/15 07:10:00.000 1.0010 2.0020 2.9970 2 9 0.001 0.002 0.003 0.0005 -0.0004 0.0003\n"
    decoded = read(pipeline, POS, head + line)
    assert [o.value for o in decoded.observations] == pytest.approx([1.0, 2.0, -3.0])
    assert decoded.observations[0].observed_at == utc(2009, 7, 15, 7, 10)
    extra = json.loads(decoded.observations[0].extra)
    assert extra["cov_mm2"] == pytest.approx([1.0, 4.0, 9.0, 0.25, 0.09, -0.16])
    assert (extra["fix"], extra["frame"]) == ("float", "baseline 1.0000 2.0000 3.0000")


def test_nmea_position_takes_its_date_from_another_sentence(pipeline):
    decoded = read(pipeline, NMEA, f"{p.NOVATEL_GGA}\r\n{p.NOVATEL_RMC}\r\n")
    assert {o.observed_at for o in decoded.observations} == {utc(2022, 5, 13, 20, 25, 30)}
    assert json.loads(decoded.observations[0].extra)["fix"] == "float"
    assert json.loads(decoded.observations[0].extra)["satellites"] == 40
    assert max(abs(o.value) for o in decoded.observations) < 1.0
    assert read(pipeline, NMEA, f"{p.NOVATEL_ZDA}\n{p.NOVATEL_GGA}").faults == ()
    assert refusal(read(pipeline, NMEA, p.NOVATEL_GGA)) == "no_time"
    assert refusal(read(pipeline, NMEA, p.NOVATEL_RMC)) == "empty"
    assert refusal(read(pipeline, NMEA, f"{p.NOVATEL_RMC}\n{p.NOVATEL_GGA.replace('5109', '5108')}")) == "bad_payload"
    assert refusal(read(pipeline, "gnss/G1/nmea", f"{p.NOVATEL_RMC}\n{p.NOVATEL_GGA}")) == "no_origin"
    ship = read(pipeline, "gnss/SHIP/nmea", p.SHIP)
    assert {o.flags for o in ship.observations} == {
        ("no_fix",)
    }  # differential code solution, decimetre accuracy at best
    assert [o.sigma for o in ship.observations] == pytest.approx([360.0, 260.0, 680.0])  # GST
    near = with_decoder(pattern="gnss/{station}/nmea", name="nmea", settings=(("date", "reception"),))
    late = read(near, NMEA, p.NOVATEL_GGA, first_at=utc(2026, 2, 1, 0, 5))
    assert late.observations[0].observed_at == utc(2026, 1, 31, 20, 25, 30)


def test_second_origin_is_rejected_and_signal_strength_is_stored(pipeline):
    read(pipeline, POS, p.RTKLIB_HEAD + p.RTKLIB_LINES)
    station = SITE.station("OMRE")
    other = replace(station, origin=replace(station.origin, place=(32.56, -116.95, 118.0)))
    pipeline.sites["north"] = replace(SITE, stations=(other,))
    assert refusal(read(pipeline, POS, p.RTKLIB_HEAD + p.RTKLIB_LINES)) == "other_frame"
    decoded = read(pipeline, "lora/up", p.CHIRPSTACK)
    signal = decoded.observations[-1]
    assert (signal.quantity, signal.value, signal.unit) == ("signal_strength", -36.0, "dBm")
    assert json.loads(signal.extra) == {"snr_db": 10.5}
    many = {**p.CHIRPSTACK, "rxInfo": [{"rssi": -120}, {"rssi": -90, "loRaSNR": 2}, {"rssi": "x"}, 7]}
    assert read(pipeline, "lora/up", many).observations[-1].value == -90.0


@tabulated(
    ("lines", "message"),
    [
        ('name = "milesight"\nseries = {a = "tilt_deg"}', "does not read the key 'series'; it reads zone"),
        ('name = "senml"\nseries = {a = "tilt_deg"}', "does not read the key 'series'; it reads date"),
        ('name = "plain"\ntime = "x"', "does not read the key 'time'; it reads series, station"),
        ('name = "plain"', "expected a level {quantity}"),
        ('name = "campbell"\nseries = {a = "tilt"}', "expected QUANTITY_UNIT"),
        ('name = "json"\nseries = {a = "tilt_deg"}', "time is missing"),
        ('name = "json"\ntime = "a["', "no JMESPath expression"),
        ('name = "json"\ntime = "a"\nquantity = "q"', "need each other"),
        ('name = "rtklib"\ntime = "local"', "expected gpst or utc"),
        ('name = "nmea"\ndate = "today"', "expected reception"),
    ],
)
def test_unknown_keys_of_a_decoder_are_named(lines, message):
    site = parse_site(p.SITE_FILE.partition("[[decoder]]")[0] + f'[[decoder]]\ntopic = "x"\n{lines}', "n.toml")
    with pytest.raises(ConfigError) as error:
        find_decoder(site.decoders[0].name, site.decoders[0])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('topic = "gateway/json"', 'topic = "gateway/json"\ntimes = 1', "times"),
        ("homie/{station}/engine", "homie/x{station}/engine", "as a whole level"),
        (", since = 2009-07-01T00:00:00Z", "", "since"),
        ("height_m = 118.68,", "", "latitude, longitude and height_m"),
        ("2009-07-01T00:00:00Z", "2009-07-01T00:00:00", "zone"),
    ],
)
def test_wrong_decoder_or_origin_of_a_site_file_is_refused(old, new, message):
    with pytest.raises(ConfigError, match=message):
        parse_site(p.SITE_FILE.replace(old, new), "north.toml")


def test_displacement_from_an_origin_is_computed_on_the_ellipsoid():
    """Compare a second of arc to the north and east with the radii of curvature (Torge, Geodesy, 4.1)."""
    a, e2, latitude, second = 6_378_137e3, 0.00669437999014, math.radians(46.0), math.radians(1 / 3600)
    across = a / math.sqrt(1 - e2 * math.sin(latitude) ** 2)
    along = across**3 * (1 - e2) / a**2
    here = Origin(NOW, (46.0, 9.0, 0.0))
    north, east = find_enu_mm(here, 46.0 + 1 / 3600, 9.0, 0.0), find_enu_mm(here, 46.0, 9.0 + 1 / 3600, 0.0)
    assert north == pytest.approx((0.0, along * second, 0.0), abs=0.1)
    assert east == pytest.approx((across * math.cos(latitude) * second, 0.0, 0.0), abs=0.1)


@pytest.mark.parametrize(
    ("gps", "ahead_s"),
    [
        (utc(2017, 1, 1, 0, 0, 18), 18),
        (utc(2016, 12, 31, 23, 59), 17),
        (utc(2009, 7, 15), 15),
        (utc(1981, 6, 30), 0),
    ],
)
def test_gps_time_is_ahead_of_utc_by_the_leap_seconds(gps, ahead_s):
    assert (gps - gps_to_utc(gps)).total_seconds() == ahead_s


TENV3 = (
    "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m) sig_e(m) "
    "sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu _latitude(deg) _longitude(deg) __height(m)\n"
    "IRKJ 01AUG02 2001.5852 52123 1125 4 104.3 1105 0.850890 5787713 0.876094 502 0.037682 0.1280 0.001251 0.001765 "
    "0.005737 -0.044317 0.177658 -0.150916 52.2190208542 -255.6838189495 502.03768\n"
)
POS_PLACES = (
    "PBO Station Position Time Series. Reference Frame : ITRF08\n4-character ID: P156\n"
    "XYZ Reference position :  -2728552.76567 -4059578.57836  4080378.74254 (ITRF08)\n"
    "NEU Reference position :    40.0244429509  236.0938828649  488.99986 (ITRF08/WGS84)\n"
)
CSV = (
    "PBO Station Position Time Series.\n4-character ID, P816\n"
    "Reference position, 47.9371111486 North Latitude, -124.5570865568 East Longitude, 35.75720 meters elevation\n"
)
TENV = "LHAS 95MAY19 1995.3785 49856  801 5  -0.000000   0.000000   0.000000  0.0000 0.002231 0.001932 0.008643\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TENV3, (52.2190208542, 104.3161810505, 502.03768)),
        (POS_PLACES, (40.0244429509, -123.9061171351, 488.99986)),
        ("#" + POS_PLACES.replace("\n", "\n#"), (40.0244429509, -123.9061171351, 488.99986)),
        (CSV, (47.9371111486, -124.5570865568, 35.7572)),
        (TENV, None),
        (TENV3.replace("52.2190208542", "152.2190208542"), None),
        (TENV3.replace("502.03768", "n/a") + TENV3.splitlines()[1], (52.2190208542, 104.3161810505, 502.03768)),
    ],
)
def test_place_of_a_station_is_read_from_its_file(text, place, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    found_place = find_place(tmp_path / "a.txt")
    assert found_place == (None if place is None else pytest.approx(place, abs=1e-9))
