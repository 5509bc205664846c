"""Payloads of each decoder in which one value is invalid and the others are valid."""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import NamedTuple

from monitor.sites.parsing import parse_site

TIME = "2026-03-01T06:00:00Z"
NO_VALUES = tuple(
    """
undefined None -1.#IND 1.#QNAN 1.#QNAN0 -1.#J "1.#R" nan(snan) n/a null NaN "nan" "NaN" Infinity -Infinity "-inf"
nan -nan "" "null" -inf
""".split()
)
BAD_SIGMAS = ("null", "NaN", "-1", '"nan"', '"x"', "Infinity", "true", "[]")
AROUND = (b"\xef\xbb\xbf%b", b"%b\0", b"\0\0%b\0\r\n", b" \t%b \n", b"\xef\xbb\xbf \r\n%b\0\0\0")
# traps: a value that is none; an error that is none; what stands around; times; a time without zone; a fill
VALUE, SIGMA, EDGES, TIMES, ZONE, FILLED = "value", "sigma", "edges", "times", "zone", "fill"
TRAPS = (VALUE, SIGMA, EDGES, TIMES, ZONE, FILLED)


class Told(NamedTuple):
    """How to write the payload of a decoder, and which invalid values it supports."""

    spell: Callable[[str, str, str], bytes]
    good: frozenset[str]
    trap: str
    lacks: Mapping[str, str] = MappingProxyType({})
    lines: str | None = ""
    topic: str = ""
    sound: str = "4.5"


def _check(body):
    return f"${body}*{reduce(lambda a, b: a ^ ord(b), body, 0):02X}"


def _nmea(token, sigma, time):
    clock, day = time[11:19].replace(":", ""), f"{time[8:10]}{time[5:7]}{time[2:4]}"
    return "\r\n".join(
        (
            _check(f"GPGGA,{clock}.00,4612.0000000,N,00854.0000000,E,4,14,0.6,950.000,M,50.000,M,1.0,0001"),
            _check(f"GPRMC,{clock}.00,A,4612.0000000,N,00854.0000000,E,0.0,0.0,{day},,"),
            _check(f"GPGST,{clock}.00,0.01,0.01,0.01,0,{sigma.strip(chr(34))},0.01,0.02"),
        )
    ).encode()


def _rtklib(token, sigma, time):
    head = "%  UTC  latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) age ratio"
    line = f"46.200000000 8.900000000 1000.0000 1 8 {sigma.strip(chr(34)) or 'x'} 0.001 0.002 0 0 0 0.00 24.3"
    head = head if time.endswith("Z") else ""  # it would say which time it is
    return f"{head}\n{time[:10].replace('-', '/')} {time[11:19]}.000 {line}\n".encode()


def _metric(name, number, at_ms):
    body = b"\x0a" + bytes([len(name)]) + name.encode() + b"\x20\x0a\x69"  # Double, field 13
    return body + struct.pack("<d", float(number.strip('"')))


def _sparkplug(token, sigma, time):
    number = {"Infinity": "inf", "-Infinity": "-inf", "-inf": "-inf"}
    plain = token.strip('"')
    number |= {} if plain in number or (plain[-1:].isdigit() and "#" not in plain) else {plain: "nan"}
    stamp = b"\x08\x80\xf2\xcb\xc2\xca\x33"  # 2026-03-01T06:00:00Z in ms, as a varint
    metrics = [_metric("G1:temperature", "20.5", 0), _metric("G1:tilt_x", number.get(plain, plain), 0)]
    return stamp + b"".join(b"\x12" + bytes([len(m)]) + m for m in metrics) + b"\x18\x00"


def _uplink(data):
    def spell(token, sigma, time):
        body = {
            "time": time,
            "deviceInfo": {"deviceName": "G1"},
            "data": base64.b64encode(bytes.fromhex(data)).decode(),
        }
        return json.dumps(body).encode()

    return spell


OF_BYTES = {
    VALUE: "the instrument sends whole numbers in bytes",
    SIGMA: "it sends no error",
    FILLED: "what its maker declares as not measured is left out where the bytes are read",
}
NO_SIGMA = {SIGMA: "it sends no error"}
COUNTS = {TIMES: "it counts milliseconds or seconds since 1970", ZONE: "it counts since 1970, in UTC"}
ITS_OWN_CLOCK = {TIMES: "its form has a clock of its own"}
SPOKEN = {VALUE: "people say it", SIGMA: "people state no error", FILLED: "it is no reading"}
POSITION = {VALUE: "a position is whole or none", FILLED: "a displacement is counted from an origin"}
G1 = frozenset({"G1.temperature"})
NORTH = frozenset({"G1.displacement_east", "G1.displacement_up"})
ECOWITT = '{"dateutc":"%s","baromabsin":%s,"tempf":%s,"yrain_piezo":"1.0"}'

WALKED = {
    "native": Told(
        lambda token, sigma, time: (
            f'{{"time":"{time}","temperature_degc":20.5,"tilt_x_mrad":{token},"sigma":{{"tilt_x_mrad":{sigma}}}}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        lines=None,
        topic="slopeward/v1/north/G1/obs",
    ),
    "rows": Told(
        lambda token, sigma, time: (
            f'{{"rows":[{{"time":"{time}","station":"G1","quantity":"temperature_degc","value":20.5}},'
            f'{{"time":"{time}","station":"G1","quantity":"tilt_x_mrad","value":{token},"sigma":{sigma}}}]}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        lines=None,
        topic="file/north",
    ),
    "campbell": Told(
        lambda token, sigma, time: (
            '{"properties":{"loggerID":"G1","observationNames":["a","b"],"observations":'
            f'{{"{time}":[20.5,{token}]}}}}}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'series = {a = "temperature_degc", b = "tilt_x_mrad"}',
    ),
    "json": Told(
        lambda token, sigma, time: f'{{"t":"{time}","a":20.5,"b":{token}}}'.encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'time = "t"\nseries = {a = "G1.temperature_degc", b = "G1.tilt_x_mrad"}',
    ),
    "sensorthings": Told(
        lambda token, sigma, time: (
            f'{{"value":[{{"phenomenonTime":"{time}","result":20.5,"Datastream":{{"@iot.id":1}}}},'
            f'{{"phenomenonTime":"{time}","result":{token},"Datastream":{{"@iot.id":2}}}}]}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'series = {1 = "G1.temperature_degc", 2 = "G1.tilt_x_mrad"}',
    ),
    "senml": Told(
        lambda token, sigma, time: (
            '[{"bn":"G1:","bt":1772344800,"n":"temperature","u":"Cel","v":20.5},'
            f'{{"n":"tilt_x","u":"mrad","v":{token}}}]'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA | COUNTS,
    ),
    "ecowitt": Told(
        lambda token, sigma, time: (ECOWITT % (time[:19].replace("T", " "), '"28.476"', token)).encode(),
        frozenset({"G1.air_pressure", "G1.rain"}),
        "G1.temperature",
        NO_SIGMA | {TIMES: "its form has a clock of its own"},
        topic="ecowitt/G1",
    ),
    "ecowitt-metric": Told(
        lambda token, sigma, time: (ECOWITT % (time[:19].replace("T", " "), token, '"14.4"')).encode(),
        frozenset({"G1.temperature", "G1.rain"}),
        "G1.air_pressure",
        NO_SIGMA | {TIMES: "its form has a clock of its own"},
        topic="ecowitt-metric/G1",
        sound='"837.7"',
    ),
    "sparkplug": Told(
        _sparkplug,
        G1,
        "G1.tilt_x",
        NO_SIGMA | COUNTS | {EDGES: "each of its bytes is content"},
        'series = {"G1:temperature" = "G1.temperature_degc", "G1:tilt_x" = "G1.tilt_x_mrad"}',
        "spBv1.0/a/NBIRTH/G1",
    ),
    "plain": Told(
        lambda token, sigma, time: token.strip('"').encode(),
        frozenset(),
        "G1.tilt_x",
        NO_SIGMA | {TIMES: "its values have no time", ZONE: "its values have no time"},
        'series = {tilt = "tilt_x_mrad"}',
        "plain/G1/tilt",
    ),
    "nmea": Told(_nmea, NORTH, "", POSITION | ITS_OWN_CLOCK, "", "nmea/G1"),
    "rtklib": Told(_rtklib, NORTH, "", POSITION | ITS_OWN_CLOCK, 'positions = "llh"', "rtklib/G1"),
    "milesight": Told(_uplink("01756403CF0100F6FF000000"), frozenset({"G1.tilt_x", "G1.tilt_y"}), "", OF_BYTES),
    "decentlab-ctd10": Told(_uplink("0207d900039088808100640000" + "0c60"), G1, "", OF_BYTES),
    "decentlab-lid": Told(
        _uplink("0211c90003119b117611bc119e118a119411a811a81194006401990abd"),
        frozenset({"G1.displacement_distance"}),
        "",
        OF_BYTES,
    ),
    "decentlab-zn1": Told(_uplink("0211110003409a00860c54"), frozenset({"G1.crack_opening"}), "", OF_BYTES),
    "report": Told(
        lambda token, sigma, time: f'{{"time":"{time}","kind":"crack","text":"3 cm","by":"Ada"}}'.encode(),
        frozenset(),
        "",
        SPOKEN,
        None,
        "slopeward/v1/north/report",
    ),
    "event": Told(
        lambda token, sigma, time: (
            f'{{"from":"{time}","to":"{time}","kind":"blasting","text":"4","value":{token}}}'
        ).encode(),
        frozenset(),
        "",
        {SIGMA: "people state no error", FILLED: "it is no reading"},
        None,
        "slopeward/v1/north/event",
    ),
}
HEAD = """
[site]
id = "north"
name = "North"
latitude = 46.2
longitude = 8.9
[[station]]
id = "G1"
origin = {latitude = 46.2, longitude = 8.9, height_m = 1000.0, since = 2026-01-01T00:00:00Z}
series = [
    {quantity = "displacement", unit = "mm", interval = "1h"},
    {quantity = "temperature", unit = "degC", interval = "1h"}, {quantity = "tilt_x", unit = "mrad", interval = "1h"},
    {quantity = "air_pressure", unit = "hPa", interval = "1h"},
]
"""


def topic_of(name: str) -> str:
    """Return the topic of the messages of a decoder."""
    return WALKED[name].topic or f"walk/{name}"


def topic_in_zone(name: str) -> str:
    """Return the topic in a site whose decoders have a time zone. Topics of Slopeward itself have no zone."""
    return topic_of(name) if WALKED[name].lines is not None else f"other/G1/{name}"


def make_site(zone: str = ""):
    """Return a site with all decoders that a site file can declare, in a time zone if one is given."""
    text = HEAD
    for name, told in WALKED.items():
        if (told.lines is None and not zone) or (zone and ZONE in told.lacks):
            continue
        pattern = {"plain": "plain/{station}/{quantity}", "nmea": "nmea/{station}", "rtklib": "rtklib/{station}"}
        pattern |= {name: f"other/{{station}}/{name}"} if told.lines is None else {}
        said = f'zone = "{zone}"\n' if zone else ""
        text += (
            f'[[decoder]]\ntopic = "{pattern.get(name, topic_of(name))}"\nname = "{name}"\n{said}{told.lines or ""}\n'
        )
    return parse_site(text, "north.toml")
