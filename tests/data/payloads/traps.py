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
INVALID_VALUES = tuple(
    """
undefined None -1.#IND 1.#QNAN 1.#QNAN0 -1.#J "1.#R" nan(snan) n/a null NaN "nan" "NaN" Infinity -Infinity "-inf"
nan -nan "" "null" -inf
""".split()
)
INVALID_SIGMAS = ("null", "NaN", "-1", '"nan"', '"x"', "Infinity", "true", "[]")
SURROUNDINGS = (b"\xef\xbb\xbf%b", b"%b\0", b"\0\0%b\0\r\n", b" \t%b \n", b"\xef\xbb\xbf \r\n%b\0\0\0")
# Kinds of traps.
VALUE = "value"  # an invalid value
SIGMA = "sigma"  # an invalid standard error
SURROUNDED = "surrounded"  # bytes before and after the payload
TIMES = "times"  # unusual forms of a time
ZONE = "zone"  # a time without a zone
FILL_VALUE = "fill"  # the number that an instrument sends if it has no reading
TRAPS = (VALUE, SIGMA, SURROUNDED, TIMES, ZONE, FILL_VALUE)


class DecoderPayload(NamedTuple):
    """A payload of one decoder, and the traps that apply to it.

    Attributes:
        encode: Returns the payload for the text of a value, the text of its standard error, and a time.
        valid_series: Series whose readings are valid, whatever the trap is.
        trapped_series: Series with the value that a trap makes invalid; empty if there is none.
        inapplicable: Traps that do not apply, with the reason.
        decoder_lines: Lines of the `[[decoder]]` table; None if a site file cannot declare this decoder.
        topic: Topic of the message; empty for `walk/NAME`.
        valid_token: Text of a valid value.
    """

    encode: Callable[[str, str, str], bytes]
    valid_series: frozenset[str]
    trapped_series: str
    inapplicable: Mapping[str, str] = MappingProxyType({})
    decoder_lines: str | None = ""
    topic: str = ""
    valid_token: str = "4.5"


def add_nmea_checksum(body):
    return f"${body}*{reduce(lambda a, b: a ^ ord(b), body, 0):02X}"


def _nmea(token, sigma, time):
    clock, day = time[11:19].replace(":", ""), f"{time[8:10]}{time[5:7]}{time[2:4]}"
    return "\r\n".join(
        (
            add_nmea_checksum(f"GPGGA,{clock}.00,4612.0000000,N,00854.0000000,E,4,14,0.6,950.000,M,50.000,M,1.0,0001"),
            add_nmea_checksum(f"GPRMC,{clock}.00,A,4612.0000000,N,00854.0000000,E,0.0,0.0,{day},,"),
            add_nmea_checksum(f"GPGST,{clock}.00,0.01,0.01,0.01,0,{sigma.strip(chr(34))},0.01,0.02"),
        )
    ).encode()


def _rtklib(token, sigma, time):
    head = "%  UTC  latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) age ratio"
    line = f"46.200000000 8.900000000 1000.0000 1 8 {sigma.strip(chr(34)) or 'x'} 0.001 0.002 0 0 0 0.00 24.3"
    head = head if time.endswith("Z") else ""  # it names the zone
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
    def encode(token, sigma, time):
        body = {
            "time": time,
            "deviceInfo": {"deviceName": "G1"},
            "data": base64.b64encode(bytes.fromhex(data)).decode(),
        }
        return json.dumps(body).encode()

    return encode


BINARY = {
    VALUE: "the instrument sends whole numbers in bytes",
    SIGMA: "it sends no error",
    FILL_VALUE: "what its maker declares as not measured is left out where the bytes are read",
}
NO_SIGMA = {SIGMA: "it sends no error"}
EPOCH_TIMES = {TIMES: "it counts milliseconds or seconds since 1970", ZONE: "it counts since 1970, in UTC"}
OWN_TIME_FORMAT = {TIMES: "its form has a time format of its own"}
FROM_PEOPLE = {VALUE: "people write it", SIGMA: "people state no error", FILL_VALUE: "it is no reading"}
POSITION = {VALUE: "a position is whole or none", FILL_VALUE: "a displacement is counted from an origin"}
G1 = frozenset({"G1.temperature"})
NORTH = frozenset({"G1.displacement_east", "G1.displacement_up"})
ECOWITT = '{"dateutc":"%s","baromabsin":%s,"tempf":%s,"yrain_piezo":"1.0"}'

PAYLOADS = {
    "native": DecoderPayload(
        lambda token, sigma, time: (
            f'{{"time":"{time}","temperature_degc":20.5,"tilt_x_mrad":{token},"sigma":{{"tilt_x_mrad":{sigma}}}}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        decoder_lines=None,
        topic="slopeward/v1/north/G1/obs",
    ),
    "rows": DecoderPayload(
        lambda token, sigma, time: (
            f'{{"rows":[{{"time":"{time}","station":"G1","quantity":"temperature_degc","value":20.5}},'
            f'{{"time":"{time}","station":"G1","quantity":"tilt_x_mrad","value":{token},"sigma":{sigma}}}]}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        decoder_lines=None,
        topic="file/north",
    ),
    "campbell": DecoderPayload(
        lambda token, sigma, time: (
            '{"properties":{"loggerID":"G1","observationNames":["a","b"],"observations":'
            f'{{"{time}":[20.5,{token}]}}}}}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'series = {a = "temperature_degc", b = "tilt_x_mrad"}',
    ),
    "json": DecoderPayload(
        lambda token, sigma, time: f'{{"t":"{time}","a":20.5,"b":{token}}}'.encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'time = "t"\nseries = {a = "G1.temperature_degc", b = "G1.tilt_x_mrad"}',
    ),
    "sensorthings": DecoderPayload(
        lambda token, sigma, time: (
            f'{{"value":[{{"phenomenonTime":"{time}","result":20.5,"Datastream":{{"@iot.id":1}}}},'
            f'{{"phenomenonTime":"{time}","result":{token},"Datastream":{{"@iot.id":2}}}}]}}'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA,
        'series = {1 = "G1.temperature_degc", 2 = "G1.tilt_x_mrad"}',
    ),
    "senml": DecoderPayload(
        lambda token, sigma, time: (
            '[{"bn":"G1:","bt":1772344800,"n":"temperature","u":"Cel","v":20.5},'
            f'{{"n":"tilt_x","u":"mrad","v":{token}}}]'
        ).encode(),
        G1,
        "G1.tilt_x",
        NO_SIGMA | EPOCH_TIMES,
    ),
    "ecowitt": DecoderPayload(
        lambda token, sigma, time: (ECOWITT % (time[:19].replace("T", " "), '"28.476"', token)).encode(),
        frozenset({"G1.air_pressure", "G1.rain"}),
        "G1.temperature",
        NO_SIGMA | {TIMES: "its form has a time format of its own"},
        topic="ecowitt/G1",
    ),
    "ecowitt-metric": DecoderPayload(
        lambda token, sigma, time: (ECOWITT % (time[:19].replace("T", " "), token, '"14.4"')).encode(),
        frozenset({"G1.temperature", "G1.rain"}),
        "G1.air_pressure",
        NO_SIGMA | {TIMES: "its form has a time format of its own"},
        topic="ecowitt-metric/G1",
        valid_token='"837.7"',
    ),
    "sparkplug": DecoderPayload(
        _sparkplug,
        G1,
        "G1.tilt_x",
        NO_SIGMA | EPOCH_TIMES | {SURROUNDED: "each of its bytes is content"},
        'series = {"G1:temperature" = "G1.temperature_degc", "G1:tilt_x" = "G1.tilt_x_mrad"}',
        "spBv1.0/a/NBIRTH/G1",
    ),
    "plain": DecoderPayload(
        lambda token, sigma, time: token.strip('"').encode(),
        frozenset(),
        "G1.tilt_x",
        NO_SIGMA | {TIMES: "its values have no time", ZONE: "its values have no time"},
        'series = {tilt = "tilt_x_mrad"}',
        "plain/G1/tilt",
    ),
    "nmea": DecoderPayload(_nmea, NORTH, "", POSITION | OWN_TIME_FORMAT, "", "nmea/G1"),
    "rtklib": DecoderPayload(_rtklib, NORTH, "", POSITION | OWN_TIME_FORMAT, 'positions = "llh"', "rtklib/G1"),
    "milesight": DecoderPayload(_uplink("01756403CF0100F6FF000000"), frozenset({"G1.tilt_x", "G1.tilt_y"}), "", BINARY),
    "decentlab-ctd10": DecoderPayload(_uplink("0207d900039088808100640000" + "0c60"), G1, "", BINARY),
    "decentlab-lid": DecoderPayload(
        _uplink("0211c90003119b117611bc119e118a119411a811a81194006401990abd"),
        frozenset({"G1.displacement_distance"}),
        "",
        BINARY,
    ),
    "decentlab-zn1": DecoderPayload(_uplink("0211110003409a00860c54"), frozenset({"G1.crack_opening"}), "", BINARY),
    "report": DecoderPayload(
        lambda token, sigma, time: f'{{"time":"{time}","kind":"crack","text":"3 cm","by":"Ada"}}'.encode(),
        frozenset(),
        "",
        FROM_PEOPLE,
        None,
        "slopeward/v1/north/report",
    ),
    "event": DecoderPayload(
        lambda token, sigma, time: (
            f'{{"from":"{time}","to":"{time}","kind":"blasting","text":"4","value":{token}}}'
        ).encode(),
        frozenset(),
        "",
        {SIGMA: "people state no error", FILL_VALUE: "it is no reading"},
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
    return PAYLOADS[name].topic or f"walk/{name}"


def topic_in_zone(name: str) -> str:
    """Return the topic in a site whose decoders have a time zone. Topics of Slopeward itself have no zone."""
    return topic_of(name) if PAYLOADS[name].decoder_lines is not None else f"other/G1/{name}"


def make_site(zone: str = ""):
    """Return a site with all decoders that a site file can declare, in a time zone if one is given."""
    text = HEAD
    for name, payload in PAYLOADS.items():
        if (payload.decoder_lines is None and not zone) or (zone and ZONE in payload.inapplicable):
            continue
        pattern = {"plain": "plain/{station}/{quantity}", "nmea": "nmea/{station}", "rtklib": "rtklib/{station}"}
        pattern |= {name: f"other/{{station}}/{name}"} if payload.decoder_lines is None else {}
        zone_line = f'zone = "{zone}"\n' if zone else ""
        text += f'[[decoder]]\ntopic = "{pattern.get(name, topic_of(name))}"\nname = "{name}"\n'
        text += f"{zone_line}{payload.decoder_lines or ''}\n"
    return parse_site(text, "north.toml")
