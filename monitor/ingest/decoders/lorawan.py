"""Uplinks of LoRaWAN network servers (ChirpStack 3 and 4, The Things Stack 3) with the payloads of common instruments.

The station is the name of the device on the network server. The time is that at which the network received the uplink,
because these instruments have no clock. Payloads are decoded by the tables and examples that the makers publish
(Milesight EM310-TILT, EM320-TILT, EM500-SWL, EM500-PP; Decentlab DL-CTD10, DL-LID, DL-ZN1).
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from monitor.canonical import canonical_json
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, combine_errors, gather, join_fault
from monitor.ingest.decoders.strict_json import read_number, read_object, read_time
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import ReadingDetails
from monitor.ingest.references import DEVICE, PART, UNNAMED
from monitor.readings.records import Observation
from monitor.sites.quantities import BATTERY_LEVEL, SIGNAL_STRENGTH
from monitor.sites.records import Binding
from monitor.text.instants import from_epoch_s
from monitor.text.names import is_station

Value = tuple[str, str, float, datetime | None]
"""Quantity, unit, number, and the time of the value if the payload states one."""
_PAYLOAD_BYTES: Final = 255
EUI_BYTES: Final = 8
_EUI: Final = re.compile(r"[0-9a-f]{16}")


class Payload(NamedTuple):
    """Content of the bytes of an uplink: values, and errors for items that are unknown."""

    values: list[Value]
    unknown: tuple[PayloadError, ...] = ()


class Uplink(NamedTuple):
    """An uplink as a network server reports it.

    Attributes:
        station: Name of the device on the network server.
        device: Its devEui, 16 hexadecimal digits; empty if the server does not report it.
        at: When the network received it.
        data: The bytes that the instrument sent; empty for a status.
        radio: Signal strength (dBm) and signal to noise (dB) at the gateway that received it best.
        battery: Battery level in percent, if the network server reports it.
    """

    station: str
    device: str
    at: datetime
    data: bytes
    radio: tuple[float, float | None] | None
    battery: float | None

    @property
    def device_frame(self) -> str:
        """The device as a frame: another device of the same name is another instrument."""
        return name_device(self.device)


def open_lorawan(binding: Binding) -> Decoder:
    """Return the decoder of an instrument, which is the name of the decoder."""
    return partial(_decode, _INSTRUMENTS[binding.name])


def _decode(read: Callable[[bytes], Payload], received: ReceivedMessage) -> DecodedMessage:
    """Return the readings of an uplink, and a fault that names its unknown items."""
    uplink = read_uplink(received.message.payload, received.read_time)
    station = uplink.station
    if uplink.device:
        received.references.join(received.site.id, received.site.find_current_id(station), uplink.device_frame, None)
    payload = read(uplink.data) if uplink.data else Payload([])
    measured = list(payload.values)
    if uplink.battery is not None and all(value[0] != BATTERY_LEVEL for value in measured):
        measured.append((BATTERY_LEVEL, "%", uplink.battery, None))

    def observe(value: Value) -> Iterator[Observation]:
        quantity, unit, number, at = value
        yield received.observe(station, received.field(station, quantity, unit), number, at or uplink.at)

    observations, bad = gather(measured, observe)
    wrong = [*bad, *((None, error) for error in payload.unknown)]
    if not observations:
        raise (
            combine_errors(wrong)
            if wrong
            else PayloadError("empty", "the payload contains no value of a sensor, or a failed measurement")
        )
    if uplink.radio is not None:
        signal_dbm, snr_db = uplink.radio
        extra = None if snr_db is None else canonical_json({"snr_db": snr_db})
        field = received.field(station, SIGNAL_STRENGTH, "dBm")
        observations.append(received.observe(station, field, signal_dbm, uplink.at, ReadingDetails(extra=extra)))
    # After everything else: an uplink of which nothing is stored must not determine the device of a station.
    if uplink.device:
        received.references.check(received.site.id, received.site.find_current_id(station), uplink.device_frame, None)
    parts = len(measured) + len(payload.unknown)
    return DecodedMessage(
        tuple(observations), join_fault(wrong, parts, "items of the uplink", received.message.payload)
    )


def name_device(device: str) -> str:
    """Return the frame of a station that states only its device."""
    return PART.join([UNNAMED, f"{DEVICE} {device.replace(PART.strip(), ',')}"])


def find_device(body: Any) -> str:
    """Return the devEui of an uplink of ChirpStack or The Things Stack; empty if there is none."""
    if not isinstance(body, dict):
        return ""
    ids, info = body.get("end_device_ids"), body.get("deviceInfo")
    if isinstance(ids, dict):
        return _read_device(ids.get("dev_eui"))
    return _read_device(info.get("devEui") if isinstance(info, dict) else body.get("devEUI"))


def read_uplink(payload: bytes, read: Callable[[Any], datetime] = read_time) -> Uplink:
    """Read an uplink. A status of ChirpStack has a battery level and no bytes.

    Raises:
        PayloadError: it is a join or simulated, the name of the device is no station id, or there is no time.
    """
    body = read_object(payload)
    # The Things Stack marks uplinks that were typed into its console.
    if body.get("simulated") is True:
        raise PayloadError("simulated", "the network server marks this uplink as simulated: nothing measured it")
    ids = body.get("end_device_ids")
    if isinstance(ids, dict):  # The Things Stack
        uplink = body.get("uplink_message")
        uplink = uplink if isinstance(uplink, dict) else {}
        name, coded = ids.get("device_id"), uplink.get("frm_payload")
        at = uplink.get("received_at") or body.get("received_at")
        gateways, level = uplink.get("rx_metadata"), uplink.get("last_battery_percentage")
        battery = _as_number(level.get("value")) if isinstance(level, dict) else None
    else:
        info = body.get("deviceInfo")
        name = info.get("deviceName") if isinstance(info, dict) else body.get("deviceName")
        gateways = body.get("rxInfo")
        battery = None if body.get("batteryLevelUnavailable") else _as_number(body.get("batteryLevel"))
        if body.get("externalPowerSource") and not battery:
            battery = None  # LoRaWAN reports level 0 for external power
        at, coded = body.get("time") or body.get("publishedAt") or _first_time(gateways), body.get("data")
    if coded is None and battery is None:
        raise PayloadError("empty", "no uplink with data: a join or a status")
    if not isinstance(name, str) or not is_station(name):
        raise PayloadError("no_station", "the name of the device is no station id (letters, digits, _ and -)")
    if coded is None:
        return Uplink(name, find_device(body), read(at), b"", None, battery)
    try:
        data = base64.b64decode(coded, validate=True) if isinstance(coded, str) else b""
    except (binascii.Error, ValueError):
        raise PayloadError("bad_payload", "the data of the uplink are not base64") from None
    if not 0 < len(data) <= _PAYLOAD_BYTES:
        raise PayloadError("bad_payload", f"the uplink contains {len(data)} bytes; expected 1 to {_PAYLOAD_BYTES}")
    return Uplink(name, find_device(body), read(at), data, _find_best_radio(gateways), battery)


def _read_device(value: Any) -> str:
    """Return a devEui as 16 hexadecimal digits; ChirpStack 3 sends its bytes in base64. Empty if it is invalid.

    >>> _read_device("24E124136B324001"), _read_device("JOEkE2syQAE="), _read_device(None)
    ('24e124136b324001', '24e124136b324001', '')
    """
    if not isinstance(value, str):
        return ""
    text = re.sub(r"[-: ]", "", value).lower()
    if _EUI.fullmatch(text):
        return text
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return octets.hex() if len(octets) == EUI_BYTES else ""


def _first_time(gateways: Any) -> Any:
    """Return the time of the first gateway that has one. ChirpStack 3 reports the time for each gateway only."""
    if not isinstance(gateways, list):
        return None
    times = (gateway.get("time") for gateway in gateways if isinstance(gateway, dict))
    return next((time for time in times if isinstance(time, str)), None)


def _find_best_radio(gateways: Any) -> tuple[float, float | None] | None:
    """Return signal strength and signal to noise at the gateway with the strongest signal; None without any."""
    signals = []
    for gateway in gateways if isinstance(gateways, list) else []:
        rssi = _as_number(gateway.get("rssi")) if isinstance(gateway, dict) else None
        if rssi is not None:
            signals.append((rssi, _as_number(gateway.get("snr", gateway.get("loRaSNR")))))
    return max(signals, key=lambda signal: signal[0], default=None)


def _as_number(value: Any) -> float | None:
    try:
        return read_number(value, "radio")
    except PayloadError:
        return None


# ---- Milesight: channel, type, data -------------------------------------------------------------------------------
ATTRIBUTES: Final = 0xFF  # channel of attributes of the device, such as its version
# Length in bytes of types that have the same length on all instruments: temperature, humidity, digital input, CO2, air
# pressure.
_TYPE_BYTES: Final = {0x00: 1, 0x01: 1, 0x67: 2, 0x68: 1, 0x73: 2, 0x75: 1, 0x77: 2, 0x7B: 2, 0x7D: 2}
_ATTRIBUTES: Final = {0x01: 1, 0x09: 2, 0x0A: 2, 0xFF: 2, 0x16: 8, 0x0F: 1, 0xFE: 1, 0x0B: 1}


def read_milesight(data: bytes) -> Payload:
    """Read the channels of a payload.

    An unknown channel is skipped if the length of its type is known. After a type of unknown length nothing can be
    read. Both are returned as errors.

    >>> read_milesight(bytes.fromhex("017564037B0A00")).values
    [('battery_level', '%', 100.0, None), ('pore_pressure', 'kPa', 10.0, None)]
    >>> read = read_milesight(bytes.fromhex("0367F200037B0A00"))
    >>> read.values, [str(error) for error in read.unknown]
    ([('pore_pressure', 'kPa', 10.0, None)], ['channel 0x03 of type 0x67 is not known (bytes f200)'])
    """
    values: list[Value] = []
    unknown: list[PayloadError] = []
    rest = data
    while rest:
        channel, kind, rest = rest[0], rest[1] if len(rest) > 1 else -1, rest[2:]
        length = _ATTRIBUTES.get(kind) if channel == ATTRIBUTES else _MILESIGHT_BYTES.get((channel, kind))
        name = f"channel {channel:#04x} of type {kind & 0xFF:#04x}"
        if length is None:
            skipped = _TYPE_BYTES.get(kind)
            shown = rest if skipped is None else rest[:skipped]
            tail = " and all that follows" if skipped is None and rest else ""
            unknown.append(PayloadError("unknown_item", f"{name}{tail} is not known (bytes {shown.hex()})"))
            if skipped is None:
                break
            rest = rest[skipped:]
            continue
        piece, rest = rest[:length], rest[length:]
        if len(piece) < length:
            unknown.append(PayloadError("bad_payload", f"{name} is cut off"))
            break
        values += _read_channel(channel, kind, piece)
    return Payload(values, tuple(unknown))


def _read_channel(channel: int, kind: int, piece: bytes) -> Iterator[Value]:
    words = [int.from_bytes(piece[k : k + 2], "little", signed=True) for k in range(0, len(piece) - 1, 2)]
    match channel, kind:
        case 0x01, 0x75:
            yield BATTERY_LEVEL, "%", float(piece[0]), None
        case 0x03, 0xCF:
            yield from (
                (f"tilt_{axis}", "deg", register / 100, None) for axis, register in zip("xy", words, strict=False)
            )
        case 0x03, 0xD4:  # the lowest bit reports a threshold
            yield from (
                (f"tilt_{a}", "deg", (register >> 1) / 100, None) for a, register in zip("xy", words, strict=False)
            )
        case 0x03, 0x77 if words[0] & 0xFFFF not in _FAILURES:
            yield "water_level", "cm", float(words[0] & 0xFFFF), None
        case 0x03, 0x7B if words[0] & 0xFFFF not in _FAILURES:
            yield "pore_pressure", "kPa", float(words[0] & 0xFFFF), None
        case 0x20, 0xCE if words[2] & 0xFFFF not in _FAILURES:
            at = from_epoch_s(int.from_bytes(piece[:4], "little"))
            yield "water_level", "cm", float(words[2] & 0xFFFF), at


_FAILURES: Final = frozenset({0xFFFF, 0xFFFD})  # not measured, and out of range (decoder published by Milesight)
_MILESIGHT_BYTES: Final = {
    (0x01, 0x75): 1,
    (0x03, 0xCF): 7,
    (0x03, 0xD4): 6,
    (0x03, 0x77): 2,
    (0x03, 0x7B): 2,
    (0x20, 0xCE): 6,
}


# ---- Decentlab: version, device, flags, words, battery ------------------------------------------------------------


def read_decentlab(data: bytes, words: int, read: Callable[[list[int]], list[Value]]) -> Payload:
    """Return the values of a payload of version 2.

    Args:
        words: Number of words that the instrument sends if its first flag is set.
        read: Converts these words to values.

    Raises:
        PayloadError: the payload has another version or another number of bytes.
    """
    if len(data) < 5 or data[0] != 2:
        raise PayloadError("bad_payload", "no payload of Decentlab's protocol 2")
    flags = int.from_bytes(data[3:5], "big")
    rest = data[5:]
    expected = 2 * (words * (flags & 1) + (flags >> 1 & 1))
    if flags > 3 or len(rest) != expected:
        raise PayloadError(
            "bad_payload", f"{len(rest)} bytes of values, expected {expected}: is it another instrument?"
        )
    numbers = [int.from_bytes(rest[k : k + 2], "big") for k in range(0, len(rest), 2)]
    values = read(numbers[:words]) if flags & 1 else []
    if flags & 2:
        values.append(("battery_voltage", "V", numbers[-1] / 1000, None))
    return Payload(values)


def _read_ctd10(words: list[int]) -> list[Value]:
    return [
        ("water_level", "mm", float(words[0] - 32768), None),
        ("temperature", "degC", (words[1] - 32768) / 10, None),
    ]


def _read_lid(words: list[int]) -> list[Value]:
    return [("displacement_distance", "mm", float(words[3]), None)]


def _read_zn1(words: list[int]) -> list[Value]:
    return [("crack_opening", "um", ((words[0] + words[1] * 65536) / 8388608 - 1) * 20000, None)]


_INSTRUMENTS: Final[dict[str, Callable[[bytes], Payload]]] = {
    "milesight": read_milesight,
    "decentlab-ctd10": partial(read_decentlab, words=4, read=_read_ctd10),  # water level, temperature
    "decentlab-lid": partial(read_decentlab, words=11, read=_read_lid),  # laser distance, median of the samples
    "decentlab-zn1": partial(read_decentlab, words=2, read=_read_zn1),  # across a crack
}
