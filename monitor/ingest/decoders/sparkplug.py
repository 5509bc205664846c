"""Sparkplug B 2.2 and 3.0: births name metrics and their aliases, data follow by alias, deaths say that a node is gone.

Data whose birth was not heard since we connected cannot be read: they wait in the quarantine, and the node is asked to
be born again, as the specification has it. Of the protobuf (sparkplug_b.proto of Eclipse Tahu) only the few fields that
carry numbers are read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from monitor.errors import PayloadError
from monitor.ingest.births import Births, Metric, Node
from monitor.ingest.decoders.decoder import (
    Decoder,
    ReceivedMessage,
    Target,
    combine_errors,
    find_target,
    gather,
    read_series,
)
from monitor.ingest.decoders.strict_json import PAYLOAD_LIMIT, check_text, read_number
from monitor.ingest.message import DecodedMessage, MessageFault
from monitor.ingest.quality import StationField
from monitor.readings.no_value import is_no_value
from monitor.readings.records import Link, Observation
from monitor.sites.records import Binding
from monitor.text.instants import epoch_s
from monitor.text.names import is_station

NAMESPACE: Final = "spBv1.0"
_KINDS: Final = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_METRICS, _TIMESTAMP, _SEQ = 2, 1, 3  # fields of a payload
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}  # data types Int8 to Int64
_METRICS_MOST: Final = 5000
_FIELDS_MOST: Final = 64  # of one metric
_PROPERTIES_MOST: Final = 200  # names and values of one metric
_NAME_MOST: Final = 500
# field of a metric -> its wire type
_WIRES: Final = {
    1: _BYTES,
    2: _VARINT,
    3: _VARINT,
    4: _VARINT,
    7: _VARINT,
    10: _VARINT,
    11: _VARINT,
    9: _BYTES,
    12: _FIXED32,
    13: _FIXED64,
    14: _VARINT,
    15: _BYTES,
}
_QUALITY: Final = "Quality"  # the property of a metric that says whether its value counts
_GOOD: Final = range(192, 256)  # 0 is bad, 500 stale; hosts that write codes of their own mark them beyond
_REBIRTH: Final = b"\x0a\x14Node Control/Rebirth\x20\x0b\x70\x01"  # a metric: name, Boolean, true


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of a message."""

    name: str = ""
    alias: int | None = None
    at_ms: int | None = None
    datatype: int = 0
    number: int | float | None = None  # None: it has no value, or one that is no number


@dataclass(frozen=True, slots=True)
class SparkplugPayload:
    """A message."""

    metrics: tuple[MetricValue, ...]
    at_ms: int | None
    seq: int | None


def open_sparkplug(binding: Binding) -> Decoder:
    """Make the decoder; `series` says what metrics are, by name or by DEVICE:NAME; raises ConfigError."""
    series = read_series(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        parts = received.message.topic.split("/")
        if parts[0] != NAMESPACE or len(parts) not in {4, 5} or parts[2] not in _KINDS:
            raise PayloadError("not_reading", "a command or a state of a host, no reading of Sparkplug B")
        talk = _SparkplugMessage(received, series, parts[1], parts[3], "".join(parts[4:]))
        return talk.read(parts[2], read_payload(received.message.payload))

    return decode


@dataclass(frozen=True, slots=True)
class _SparkplugMessage:
    received: ReceivedMessage
    series: dict[str, Target]
    group: str
    node: str
    device: str

    @property
    def births(self) -> Births:
        return self.received.vocabulary.births

    @property
    def key(self) -> str:
        return f"{self.received.site.id}/{self.group}/{self.node}"

    @property
    def station(self) -> str:
        return self.received.place.station or self.device or self.node

    def read(self, kind: str, payload: SparkplugPayload) -> DecodedMessage:
        known = self.births.find(self.key, self.received.message.epoch)
        if kind == "NDEATH":
            return self._end_node(known, payload)
        if kind == "NBIRTH":
            known = Node(self.received.message.epoch, _find_bd_seq(payload), payload.seq or 0)
            self.births.bear(self.key, known)
        elif known is not None and payload.seq is not None and not self.births.count(self.key, payload.seq):
            known = None
        if kind in {"NBIRTH", "DBIRTH"}:
            return self._bear(known, payload)
        if kind == "DDEATH":
            return DecodedMessage(links=self._link(self._find_stations(known, self.device), "DDEATH", online=False))
        return self._read_data(known, payload)

    def _bear(self, known: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        aliases = {v.alias: Metric(v.name, v.datatype) for v in payload.metrics if v.alias is not None and v.name}
        found, bad = self._observe(payload, [v for v in payload.metrics if v.name])
        stations = frozenset(o.station for o in found) or frozenset({self.station})
        links = self._link(stations, "DBIRTH" if self.device else "NBIRTH", online=True)
        if known is None:  # a device of a node whose own birth was not heard: its names hold, its aliases do not
            return DecodedMessage(
                tuple(found), self._fault("no_birth", self._why()), links=links, request=self._request_rebirth()
            )
        self.births.add_device(self.key, self.device, aliases, stations)
        return DecodedMessage(tuple(found), bad, links=links)

    def _read_data(self, known: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        aliases = {} if known is None else known.aliases.get(self.device)
        named = [named for v in payload.metrics if (named := _name(v, aliases or {})).name]
        found, bad = self._observe(payload, named)
        if len(named) < len(payload.metrics):
            return DecodedMessage(tuple(found), self._fault("no_birth", self._why()), request=self._request_rebirth())
        if not found and not bad:
            shown = ", ".join(v.name for v in named)[:200] or "an empty message"
            if any(is_no_value(v.number) for v in named):
                raise PayloadError("empty", f"no number, or none of good quality: {shown}")
            raise PayloadError("unknown_quantity", f"series names none of {shown}, or none has a value")
        return DecodedMessage(tuple(found), bad)

    def _observe(
        self, payload: SparkplugPayload, values: list[MetricValue]
    ) -> tuple[list[Observation], tuple[MessageFault, ...]]:
        def read(value: MetricValue) -> Iterator[Observation]:
            where = self._find_field(value.name)
            if where is not None and not is_no_value(value.number):
                stamp = value.at_ms if value.at_ms is not None else payload.at_ms
                at = self.received.read_time(stamp, "ms", "timestamp")
                yield self.received.observe(*where, read_number(value.number, value.name[:64]), at)

        found, bad = gather(values, read)
        if not bad:
            return found, ()
        error = combine_errors(bad)
        return found, self._fault(error.code, str(error))

    def _find_field(self, name: str) -> tuple[str, StationField] | None:
        target = self.series.get(f"{self.device or self.node}:{name}") or self.series.get(name)
        if target is None:
            target = find_target({}, name.rpartition("/")[2])
            if target is None or self.received.site.find_expected_range(self.station, target.name_alone) is None:
                return None
        return target.find(self.received, self.station)

    def _end_node(self, known: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        died = _find_bd_seq(payload)
        if known is not None and None not in {died, known.born} and died != known.born:
            raise PayloadError("stale_death", f"the death of connection {died}; it lives in connection {known.born}")
        stations = self._find_stations(known, "")
        for device in () if known is None else known.stations:
            stations |= self._find_stations(known, device)
        self.births.forget(self.key)
        return DecodedMessage(links=self._link(stations, "NDEATH", online=False))

    def _find_stations(self, known: Node | None, device: str) -> frozenset[str]:
        mine = None if known is None else known.stations.get(device)
        return mine or frozenset({self.received.place.station or device or self.node})

    def _link(self, stations: frozenset[str], state: str, *, online: bool) -> tuple[Link, ...]:
        text = f"Sparkplug {state} of {self.group}/{self.node}{'/' * bool(self.device)}{self.device}"
        named = filter(is_station, sorted(stations))
        return tuple(self.received.link(station, text[:200], online=online) for station in named)

    def _why(self) -> str:
        return (
            f"the birth of {self.node[:64]} did not arrive since this connection began, or a message of it was lost: "
            "aliases are unknown. It is asked for a new birth (NCMD, Node Control/Rebirth), which brings all values"
        )

    def _fault(self, code: str, reason: str) -> tuple[MessageFault, ...]:
        return (MessageFault(code, reason, self.received.message.payload),)

    def _request_rebirth(self) -> tuple[str, bytes]:
        return f"{NAMESPACE}/{self.group}/NCMD/{self.node}", encode_rebirth(self.received.message.received_at)


def _find_bd_seq(payload: SparkplugPayload) -> int | None:
    return next((v.number for v in payload.metrics if v.name == "bdSeq" and isinstance(v.number, int)), None)


def _name(value: MetricValue, aliases: dict[int, Metric]) -> MetricValue:
    known = aliases.get(value.alias) if value.alias is not None else None
    if known is None:
        return value
    number = value.number if value.datatype else _to_signed(value.number, known.datatype)
    return replace(value, name=value.name or known.name, number=number)


def encode_rebirth(now: datetime) -> bytes:
    """The payload of the command that asks a node to be born again."""
    return b"\x08" + _encode_varint(int(epoch_s(now) * 1000)) + b"\x12" + _encode_varint(len(_REBIRTH)) + _REBIRTH


def _encode_varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


# ---- protobuf -----------------------------------------------------------------------------------------------------
def read_payload(data: bytes) -> SparkplugPayload:
    """The metrics of a payload.

    Raises:
        PayloadError: it is none, or too large.
    """
    if len(data) > PAYLOAD_LIMIT:
        raise PayloadError("too_large", f"{len(data)} bytes; at most {PAYLOAD_LIMIT} are read")
    metrics: list[MetricValue] = []
    at_ms = seq = None
    for field, wire, value in tuple(_walk(data, _METRICS_MOST)):  # too many are refused before one of them is read
        if field == _METRICS and isinstance(value, bytes):
            metrics.append(_read_metric(value))
        elif field == _TIMESTAMP and wire == _VARINT and isinstance(value, int):
            at_ms = value
        elif field == _SEQ and wire == _VARINT and isinstance(value, int):
            seq = value
    if not metrics and at_ms is None and seq is None:
        raise PayloadError("bad_payload", "no payload of Sparkplug B")
    return SparkplugPayload(tuple(metrics), at_ms, seq)


def _read_metric(data: bytes) -> MetricValue:
    found: dict[int, int | bytes] = {}
    for field, wire, value in _walk(data, _FIELDS_MOST):
        expected = _WIRES.get(field)
        if expected is None:
            continue
        if wire != expected:
            raise PayloadError("bad_payload", f"field {field} of a metric is of another type")
        found[field] = value
    datatype = _whole(found, 4) or 0
    is_none = _whole(found, 7) or not _is_good(found.get(9, b""))
    number = None if is_none else _to_signed(_read_number(found), datatype)
    return MetricValue(_text(found.get(1, b"")), _whole(found, 2), _whole(found, 3), datatype, number)


def _is_good(properties: int | bytes) -> bool:
    """Whether a value counts by its quality; one without quality does."""
    names: list[int | bytes] = []
    codes: list[int | None] = []
    for field, _, value in _walk(properties, _PROPERTIES_MOST) if isinstance(properties, bytes) else ():
        if field == 1:
            names.append(value)
        elif field == 2 and isinstance(value, bytes):
            parts = {part: one for part, _, one in _walk(value, _FIELDS_MOST)}
            codes.append(_whole(parts, 3) if 3 in parts else _whole(parts, 4))
    qualities = [code for name, code in zip(names, codes, strict=False) if name == _QUALITY.encode()]
    return all(code is None or code in _GOOD for code in qualities)


def _read_number(found: dict[int, int | bytes]) -> int | float | None:
    for field, form in ((12, "<f"), (13, "<d")):
        if isinstance(raw := found.get(field), bytes):
            return float(struct.unpack(form, raw)[0])
    short = _whole(found, 10)
    return _whole(found, 11) if short is None else short


def _to_signed(number: Any, datatype: int) -> Any:
    bits = _SIGNED_BITS.get(datatype)
    if bits is None or not isinstance(number, int):
        return number
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _whole(found: dict[int, int | bytes], field: int) -> int | None:
    value = found.get(field)
    return value if isinstance(value, int) else None


def _text(raw: int | bytes) -> str:
    try:
        text = raw.decode() if isinstance(raw, bytes) else ""
    except UnicodeDecodeError:
        raise PayloadError("bad_payload", "the name of a metric is not UTF-8 text") from None
    if len(text) > _NAME_MOST:
        raise PayloadError("bad_payload", f"the name of a metric has {len(text)} characters; at most {_NAME_MOST}")
    check_text(text, "name")
    return text


def _walk(data: bytes, most: int) -> Iterator[tuple[int, int, int | bytes]]:
    at, count = 0, 0
    while at < len(data):
        count += 1
        if count > most:
            raise PayloadError("too_many", f"more than {most} fields")
        tag, at = _read_varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield tag >> 3, wire, value
            continue
        if wire == _BYTES:
            length, at = _read_varint(data, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if length < 0 or at + length > len(data):
            raise PayloadError("bad_payload", "no protobuf, or cut off")
        yield tag >> 3, wire, data[at : at + length]
        at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for k in range(10):
        if at + k >= len(data):
            break
        found |= (data[at + k] & 0x7F) << 7 * k
        if data[at + k] < 0x80:
            return found & 0xFFFFFFFFFFFFFFFF, at + k + 1
    raise PayloadError("bad_payload", "no protobuf, or cut off")
