"""Readings of a second device, of another base station, and undeclared items of an uplink."""

import base64
import json
import struct
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.errors import RefusedError
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.references import HEAD_PREFIX, ReferenceAnswer, answer_reference
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.service_state import load_heartbeats
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data.site_text import FOUR, criterion, head, series, station, table

NOW = parse_time("2026-03-10T06:00:00Z")
MINUTE = timedelta(minutes=1)
ORIGIN = {"latitude": 46.2, "longitude": 8.9, "height_m": 1000.0, "since": parse_time("2026-01-01T00:00:00Z")}
JSON_DECODER = """
[[decoder]]
topic = "json/+/up"
name = "json"
time = "time"
device = "deviceInfo.deviceName"
series = {"object.tilt_x" = "tilt_x_deg", "object.t" = "temperature_degC"}
"""
ROVER_DECODER = """
[[decoder]]
topic = "rover/{station}/up"
name = "json"
time = "time"
base = "rtk.base"
series = {"e" = "displacement_east_mm", "t" = "temperature_degC"}
"""
SITE = (
    head("bench", levels=FOUR)
    + station("T3", series("tilt_x", "deg", "10m"), series("temperature", "degC", "10m"))
    + station("P1", series("pore_pressure", "kPa", "10m"))
    + station("N1", series("displacement", "mm", "1m", max_silence="1h"), origin=ORIGIN)
    + station("G1", series("displacement", "mm", "1m", max_silence="1h"))
    + criterion("velocity", stations=["N1", "G1"], yellow={"over": 2.0, "window": "6h"}, author="a", reason="r")
    + table("[[decoder]]", topic="application/+/device/+/event/up", name="milesight")
    + table("[[decoder]]", topic="v3/+/devices/+/up", name="milesight")
    + table("[[decoder]]", topic="spBv1.0/#", name="sparkplug", series={"Pore": "P1.pore_pressure_kpa"})
    + JSON_DECODER
    + ROVER_DECODER
    + table("[[decoder]]", topic="gnss/{station}/nmea", name="nmea")
    + table("[[decoder]]", topic="gnss/{station}/rtklib", name="rtklib")
)


class Bench:
    """A site and the messages that it receives, one a minute."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.site = parse_site(SITE, "bench.toml")
        self.now = NOW
        with database.write() as c:
            save_site(c, self.site, "Ada", "new", NOW - MINUTE)
        self.pipeline = Pipeline(database, {"bench": self.site}, lambda: self.now)

    def send(self, topic: str, payload: bytes | dict[str, Any]) -> int:
        """Store a message and return how many faults went to the quarantine."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.pipeline.store([BrokerMessage(topic, raw, self.now, "live")]).rejected

    def tick(self) -> None:
        self.now += MINUTE

    def count(self, station: str, quantity: str) -> int:
        return len(self.load("observation_history", station=station, quantity=quantity))

    def load(self, view: Any, **where: Any) -> list[Any]:
        with self.database.read() as c:
            return load_view(c, view, **where)

    def list_refused(self) -> list[tuple[str, str]]:
        return [(row["code"], row["reason"]) for row in self.load("rejected_messages", order_by=["received_at"])]

    def list_questions(self) -> list[str]:
        return [row["reason"] for row in self.load("active_alerts") if row["key"].startswith("health:epoch0:")]


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


def chirpstack(device: str, data: str, at: datetime, name: str = "T3") -> dict[str, Any]:
    coded = base64.b64encode(bytes.fromhex(data)).decode()
    return {"deviceInfo": {"deviceName": name, "devEui": device}, "time": format_iso(at), "fPort": 85, "data": coded}


def chirpstack_3(device: str, data: str, at: datetime) -> dict[str, Any]:
    coded = base64.b64encode(bytes.fromhex(data)).decode()
    eui = base64.b64encode(bytes.fromhex(device)).decode()
    return {"deviceName": "T3", "devEUI": eui, "rxInfo": [{"time": format_iso(at), "rssi": -80}], "data": coded}


def things_stack(device: str, data: str, at: datetime) -> dict[str, Any]:
    coded = base64.b64encode(bytes.fromhex(data)).decode()
    uplink = {"f_port": 85, "frm_payload": coded, "received_at": format_iso(at)}
    return {"end_device_ids": {"device_id": "T3", "dev_eui": device.upper()}, "uplink_message": uplink}


def decoded_json(device: str, _: str, at: datetime) -> dict[str, Any]:
    info = {"deviceName": "T3", "devEui": device}
    return {"deviceInfo": info, "time": format_iso(at), "object": {"tilt_x": 1.5, "t": 7.0}}


TILT = "03D4000001005046"
FIRST, SECOND = "24e124136b324001", "24e124136b324002"


@pytest.mark.parametrize(
    ("topic", "make"),
    [
        ("application/1/device/a/event/up", chirpstack),
        ("application/1/device/a/event/up", chirpstack_3),
        ("v3/app/devices/T3/up", things_stack),
        ("json/T3/up", decoded_json),
    ],
)
def test_second_device_with_the_same_name_is_quarantined_and_a_question(bench, topic, make):
    assert bench.send(topic, make(FIRST, TILT, bench.now)) == 0
    bench.tick()
    assert bench.send(topic, make(SECOND, TILT, bench.now)) == 1
    bench.tick()
    assert bench.send(topic, make(FIRST, TILT, bench.now)) == 0
    assert bench.count("T3", "tilt_x") == 2
    [(code, reason)] = bench.list_refused()
    assert code == "other_device"
    assert f"device {SECOND} sends under the name T3, which belongs to device {FIRST}" in reason
    [question] = bench.list_questions()
    assert "two devices send as T3 (bench)" in question


def sparkplug(at: datetime, **metrics: float) -> bytes:
    """A birth: its metrics have names and no aliases."""
    parts = [
        b"\x12"
        + bytes([11 + len(name)])
        + b"\x0a"
        + bytes([len(name)])
        + name.encode()
        + b"\x69"
        + struct.pack("<d", value)
        for name, value in metrics.items()
    ]
    number, octets = int(at.timestamp() * 1000), bytearray(b"\x08")
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number]) + b"".join(parts) + b"\x18\x00"


def test_second_sparkplug_node_with_a_device_of_the_same_name_is_a_question(bench):
    assert bench.send("spBv1.0/hill/DDATA/gateway1/T3", sparkplug(bench.now, tilt_x_deg=1.5)) == 0
    bench.tick()
    assert bench.send("spBv1.0/hill/DDATA/gateway2/T3", sparkplug(bench.now, tilt_x_deg=2.5)) == 1
    bench.tick()
    assert bench.send("spBv1.0/hill/DDATA/gateway1/T3", sparkplug(bench.now, tilt_x_deg=1.5)) == 0
    assert bench.count("T3", "tilt_x") == 2
    [(code, reason)] = bench.list_refused()
    assert code == "other_device"
    assert "device hill/gateway2/T3 sends under the name T3, which belongs to device hill/gateway1/T3" in reason
    assert any("two devices send as T3 (bench)" in question for question in bench.list_questions())


def test_station_that_series_names_gets_metrics_of_several_sparkplug_devices(bench):
    for device in ("a", "b"):
        assert bench.send(f"spBv1.0/hill/DDATA/gateway1/{device}", sparkplug(bench.now, Pore=10.0)) == 0
        bench.tick()
    assert bench.count("P1", "pore_pressure") == 2


def test_replaced_device_counts_after_the_question_is_answered(bench):
    topic = "application/1/device/a/event/up"
    bench.send(topic, chirpstack(FIRST, TILT, bench.now))
    bench.tick()
    bench.send(topic, chirpstack(SECOND, TILT, bench.now))
    with bench.database.write() as c:
        answer_reference(c, "bench/T3", Actor("Ada", via="cli"), "replaced", bench.now, answer=ReferenceAnswer.NEW)
    bench.tick()
    assert bench.send(topic, chirpstack(SECOND, TILT, bench.now)) == 0
    assert bench.count("T3", "tilt_x") == 2
    assert not any("verify now" in question for question in bench.list_questions())
    bench.tick()
    assert bench.send(topic, chirpstack(FIRST, TILT, bench.now)) == 1, "the old device is another one now"


@pytest.mark.parametrize(
    ("data", "stored", "names"),
    [
        ("0367f200" + TILT, {"tilt_x"}, ["channel 0x03 of type 0x67"]),
        (TILT + "0599aabbcc", {"tilt_x"}, ["channel 0x05 of type 0x99 and all that follows"]),
        ("0468630367f200" + TILT, {"tilt_x"}, ["channel 0x04 of type 0x68", "channel 0x03 of type 0x67"]),
        (TILT + "037b0a", {"tilt_x"}, ["channel 0x03 of type 0x7b is cut off"]),
    ],
)
def test_unknown_items_of_an_uplink_are_quarantined_by_name_and_the_rest_is_stored(bench, data, stored, names):
    assert bench.send("application/1/device/a/event/up", chirpstack(FIRST, data, bench.now)) == 1
    assert {row["quantity"] for row in bench.load("latest_observation", station="T3")} >= stored
    [(_, reason)] = bench.list_refused()
    assert all(name in reason for name in names), reason


def test_all_unknown_values_of_a_message_are_named(bench):
    body = {"time": format_iso(bench.now), "pore_pressure_kPa": 3.0, "flux_mm": 1.0, "swing": 2.0, "tilt_x_kPa": 1.0}
    assert bench.send("slopeward/v1/bench/P1/obs", body) == 1
    assert bench.count("P1", "pore_pressure") == 1
    [(_, reason)] = bench.list_refused()
    assert all(name in reason for name in ("flux", "swing", "tilt_x_kPa"))


def checksum(text: str) -> str:
    total = 0
    for letter in text:
        total ^= ord(letter)
    return f"${text}*{total:02X}"


def nmea(at: datetime, east_mm: float, base: str, quality: int = 4) -> bytes:
    minutes = (8.9 - 8) * 60.0 + east_mm / 1000.0 / 77_200.0 * 60.0
    age = "1.0" if base else ""
    position = f"{at:%H%M%S}.00,4612.000000,N,008{minutes:09.6f},E,{quality},14,0.7,950.000,M,50.000,M,{age},{base}"
    day = f"{at:%H%M%S}.00,A,4612.000000,N,00854.000000,E,0.0,0.0,{at:%d%m%y},,"
    return "\r\n".join([checksum(f"GPRMC,{day}"), checksum(f"GPGGA,{position}")]).encode()


def rtklib(at: datetime, east_mm: float, base: str) -> bytes:
    longitude = 8.9 + east_mm / 1000.0 / 77_200.0
    head = ["% (lat/lon/height=WGS84/ellipsoidal,Q=1:fix,2:float,5:single,ns=# of satellites)"]
    head += [f"% ref pos   : {base}"] if base else []
    head += ["%  UTC                  latitude(deg) longitude(deg)  height(m)   Q  ns"]
    return "\n".join([*head, f"{at:%Y/%m/%d %H:%M:%S}.000 46.200000000 {longitude:.9f} 1000.0000 1 14"]).encode()


def gnss(at: datetime, east_mm: float, base: str, key: str = "reference") -> bytes:
    block = {"enu_mm": [east_mm, 0.0, 0.0], "epoch0": "2026-01-01T00:00:00Z", "frame": "local", "fix": "fixed"}
    return json.dumps({"time": format_iso(at), "gnss": block | ({key: base} if base else {})}).encode()


def gnss_by_base(at: datetime, east_mm: float, base: str) -> bytes:
    return gnss(at, east_mm, base, "base")


def plain(at: datetime, east_mm: float, base: str) -> bytes:
    values = dict.fromkeys(("displacement_north_mm", "displacement_up_mm"), 0.0) | {"displacement_east_mm": east_mm}
    return json.dumps({"time": format_iso(at), **values} | ({"base": base} if base else {})).encode()


def by_expression(at: datetime, east_mm: float, base: str) -> bytes:
    return json.dumps({"time": format_iso(at), "e": east_mm, "rtk": {"base": base or None}}).encode()


def by_number(at: datetime, east_mm: float, base: str) -> bytes:
    return json.dumps({"time": format_iso(at), "e": east_mm, "rtk": {"base": int(base)}}).encode()


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(
    ("topic", "make", "bases"),
    [
        ("gnss/N1/nmea", nmea, ("0012", "0013")),
        ("gnss/N1/rtklib", rtklib, ("46.210000000   8.910000000   900.0000", "46.310000000   8.910000000   900.0000")),
        ("slopeward/v1/bench/G1/obs", gnss, ("REF1", "REF2")),
        ("slopeward/v1/bench/G1/obs", gnss_by_base, ("REF1", "REF2")),
        ("slopeward/v1/bench/G1/obs", plain, ("REF1", "REF2")),
        ("rover/G1/up", by_expression, ("REF1", "REF2")),
        ("rover/G1/up", by_number, ("12", "13")),
    ],
)
def test_another_base_station_is_another_frame_and_no_motion(bench, topic, make, bases):
    where = "G1" if "G1" in topic else "N1"
    for _ in range(30):
        assert bench.send(topic, make(bench.now, 0.0, bases[0])) == 0
        bench.tick()
    for _ in range(30):  # the coordinates of the second base station are wrong by 40 mm
        assert bench.send(topic, make(bench.now, 40.0, bases[1])) == 1
        bench.tick()
    assert bench.count(where, "displacement_east") == 30
    [question] = bench.list_questions()
    assert f"readings of {where} (bench) have another reference" in question
    assert {code for code, _ in bench.list_refused()} == {"other_frame"}
    decision = evaluate_site(bench.database, bench.site, bench.now + timedelta(hours=2), "tick").decision
    assert decision.level == 0
    assert decision.observability != "full"


@pytest.mark.parametrize(
    ("topic", "make", "base"),
    [
        ("gnss/N1/nmea", nmea, "0012"),
        ("slopeward/v1/bench/G1/obs", gnss, "REF1"),
        ("slopeward/v1/bench/G1/obs", plain, "REF1"),
        ("rover/G1/up", by_expression, "REF1"),
    ],
)
def test_message_without_a_base_station_changes_no_frame(bench, topic, make, base):
    for named in (base, "", base, ""):
        assert bench.send(topic, make(bench.now, 0.0, named)) == 0
        bench.tick()
    assert bench.list_questions() == []


@pytest.mark.parametrize(("fix", "flags"), [("fixed", ""), ("float", ""), ("single", "no_fix"), ("DGPS", "no_fix")])
def test_position_with_metre_accuracy_is_no_displacement(bench, fix, flags):
    block = {"enu_mm": [1.0, 0.0, 0.0], "epoch0": "2026-01-01T00:00:00Z", "frame": "local", "fix": fix}
    bench.send("slopeward/v1/bench/G1/obs", {"time": format_iso(bench.now), "gnss": block})
    assert {row["flags"] for row in bench.load("latest_observation", station="G1")} == {flags}


def test_lines_of_a_stream_are_in_the_frame_of_its_newest_header(bench):
    bases = [f"46.{k}10000000   8.910000000   900.0000" for k in (2, 3)]
    topic = "gnss/N1/rtklib"
    assert bench.send(topic, rtklib(bench.now, 0.0, bases[0])) == 0
    columns = b"%  UTC                  latitude(deg) longitude(deg)  height(m)   Q  ns"
    for base, refused in ((None, 0), (bases[1], 1)):
        if base is not None:
            bench.send(topic, f"% ref pos   : {base}\n".encode() + columns)  # the header in a separate message
        bench.tick()
        lines = rtklib(bench.now, 40.0, "").splitlines()[1:]  # without the header
        assert bench.send(topic, b"\n".join(lines)) == refused
    assert bench.count("N1", "displacement_east") == 2
    assert bench.list_refused()[-1][0] == "other_frame"


COLUMNS = b"%  UTC                  latitude(deg) longitude(deg)  height(m)   Q  ns"


def restart(bench: Bench) -> None:
    bench.pipeline = Pipeline(bench.database, {"bench": bench.site}, lambda: bench.now)


def send_lines(bench: Bench, east_mm: float) -> int:
    bench.tick()
    return bench.send("gnss/N1/rtklib", b"\n".join(rtklib(bench.now, east_mm, "").splitlines()[1:]))


def send_header(bench: Bench, base: str) -> None:
    bench.tick()
    bench.send("gnss/N1/rtklib", f"% ref pos   : {base}\n".encode() + COLUMNS)


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_newest_header_of_a_stream_applies_after_a_restart(bench, restarts):
    first, second = (f"46.{k}10000000   8.910000000   900.0000" for k in (2, 3))
    send_header(bench, first)
    assert send_lines(bench, 0.0) == 0
    send_header(bench, second)
    for _ in range(restarts):
        restart(bench)
    assert send_lines(bench, 40.0) == 1, "lines after the head of another base are in another frame"
    send_header(bench, first)
    restart(bench)
    assert send_lines(bench, 0.0) == 0
    assert bench.count("N1", "displacement_east") == 2


def test_headers_of_undeclared_stations_are_not_stored(bench):
    bench.send("gnss/N9/rtklib", b"% ref pos   : 46.2   8.9   900.0\n" + COLUMNS)
    with bench.database.read() as c:
        assert [name for name in load_heartbeats(c) if name.startswith(HEAD_PREFIX)] == []


def answer_question(bench: Bench, station: str, reply: ReferenceAnswer) -> None:
    with bench.database.write() as c:
        answer_reference(c, f"bench/{station}", Actor("Ada", via="cli"), "it is VRS", bench.now, answer=reply)


def send_bases(bench: Bench, topic: str, make: Any, bases: tuple[str, ...]) -> list[int]:
    rejected = []
    for base in bases:
        bench.tick()
        rejected.append(bench.send(topic, make(bench.now, 0.0, base)))
    return rejected


@pytest.mark.parametrize(
    ("topic", "make", "bases"),
    [
        ("gnss/N1/nmea", nmea, ("0012", "0000", "2345", "0001", "0012")),
        (
            "gnss/N1/rtklib",
            rtklib,
            tuple(f"46.2{k}0000000   8.910000000   900.0000" for k in (1, 2, 3, 4, 1)),
        ),
        ("slopeward/v1/bench/G1/obs", gnss, ("0012", "0000", "2345", "REF", "0012")),
    ],
)
def test_one_answer_covers_all_base_stations_of_a_network(bench, topic, make, bases):
    station = "G1" if "G1" in topic else "N1"
    assert send_bases(bench, topic, make, bases[:2]) == [0, 1]
    [question] = bench.list_questions()
    assert f"instruments reference bench {station} new" in question
    assert "or network" in question
    answer_question(bench, station, ReferenceAnswer.NETWORK)
    assert send_bases(bench, topic, make, bases) == [0] * 5
    restart(bench)
    assert send_bases(bench, topic, make, bases[::-1]) == [0] * 5
    assert not any("verify now" in question for question in bench.list_questions())


def test_another_single_base_is_a_question_after_the_answer_new(bench):
    topic = "gnss/N1/nmea"
    assert send_bases(bench, topic, nmea, ("0012", "0013")) == [0, 1]
    answer_question(bench, "N1", ReferenceAnswer.NEW)
    assert send_bases(bench, topic, nmea, ("0013", "0014", "0012")) == [0, 1, 1]


def test_a_network_does_not_cover_another_datum(bench):
    topic = "slopeward/v1/bench/G1/obs"
    send_bases(bench, topic, gnss, ("0012", "0013"))
    answer_question(bench, "G1", ReferenceAnswer.NETWORK)
    bench.tick()
    other = json.loads(gnss(bench.now, 0.0, "0013"))
    other["gnss"]["frame"] = "ITRF2020"
    assert bench.send(topic, other) == 1
    [question] = [text for text in bench.list_questions() if "verify now" in text]
    assert "or network" not in question
    with pytest.raises(RefusedError, match="more than the base station"):
        answer_question(bench, "G1", ReferenceAnswer.NETWORK)


@pytest.mark.parametrize(
    ("bases", "refused"),
    [
        (("VRS 0012", "VRS 2345", "vrs_0001"), 0),
        (("i-MAX 0021", "iMAX 0033", "I-MAX"), 0),
        (("MAC swipos 0007", "MAC swipos 0009"), 0),
        (("VRS swipos 0007", "VRS sapos 0007"), 1),
        (("VRS 0012", "0012"), 1),
        (("MAC1", "MAC2"), 1),
        (("VRS", "i-MAX"), 1),
    ],
)
def test_a_network_solution_that_declares_itself_is_one_frame(bench, bases, refused):
    assert sum(send_bases(bench, "slopeward/v1/bench/G1/obs", gnss, bases)) == refused


@pytest.mark.parametrize(
    ("topic", "make", "bases"),
    [
        ("gnss/N1/nmea", nmea, ("0012", "0000", "2345")),
        ("gnss/N1/rtklib", rtklib, tuple(f"46.2{k}   8.91   900.0" for k in (1, 2, 3))),
    ],
)
def test_a_decoder_that_names_its_network_asks_about_another_network_alone(bench, topic, make, bases):
    def declare(network: str) -> None:
        text = SITE.replace(f'name = "{topic[8:]}"', f'name = "{topic[8:]}"\nnetwork = "{network}"')
        bench.site = parse_site(text, "bench.toml")
        restart(bench)

    declare("swipos")
    assert send_bases(bench, topic, make, bases) == [0, 0, 0]
    assert bench.list_questions() == []
    declare("sapos")
    assert send_bases(bench, topic, make, bases[:1]) == [1]
    assert len(bench.list_questions()) == 1


def test_satellite_corrections_are_not_another_base_station(bench):
    """A receiver that loses its radio link falls back to SBAS: quality 2, and the satellite as differential station."""
    for quality, base in ((2, "0131"), (4, "0012"), (2, "0136"), (5, "0012"), (1, ""), (4, "0012")):
        assert bench.send("gnss/N1/nmea", nmea(bench.now, 0.0, base, quality)) == 0
        bench.tick()
    assert bench.list_questions() == []
    assert bench.send("gnss/N1/nmea", nmea(bench.now, 0.0, "0013")) == 1


def test_coarse_position_in_json_names_no_base(bench):
    for fix, base in (("sbas", "EGNOS"), ("fixed", "REF1"), ("dgps", "WAAS"), ("fixed", "REF1")):
        block = {"enu_mm": [1.0, 0.0, 0.0], "epoch0": "2026-01-01T00:00:00Z", "frame": "local", "fix": fix}
        sample = {"time": format_iso(bench.now), "gnss": block | {"base": base}}
        assert bench.send("slopeward/v1/bench/G1/obs", sample) == 0
        bench.tick()
    assert bench.list_questions() == []
