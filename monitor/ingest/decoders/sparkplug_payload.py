"""Payloads of Sparkplug B as protobuf messages.

The message types are built from field numbers and types of `sparkplug_b.proto` (Eclipse Tahu, github.com/eclipse/tahu;
Sparkplug specification 3.0.0, section 6.4). Only fields that carry numbers, names, times and qualities are declared;
protobuf skips all others.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from monitor.errors import PayloadError
from monitor.ingest.decoders.strict_json import check_text
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.text.instants import epoch_s

METRIC_LIMIT: Final = 5000
PROPERTY_LIMIT: Final = 200  # of one metric
NAME_LIMIT: Final = 500
# Width in bits of the data types Int8 to Int64. Sparkplug sends their values as unsigned numbers.
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_BOOLEAN: Final = 11
_QUALITY: Final = "Quality"  # property of a metric: 192 is good, 0 is bad, 500 is stale
# OPC codes of good quality. Hosts with codes of their own use larger numbers for values that are not good.
_GOOD: Final = range(192, 256)
_NUMBERS: Final = ("int_value", "long_value", "float_value", "double_value")
_TYPES: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}
# Message type -> fields: number, type and name. A type that is a message of this table is a nested message. Names are
# declared as bytes, because protobuf does not check the encoding of text in proto2. `metrics` are bytes too: the
# encoding is the same, and so the number of metrics is checked before the first one is parsed.
_MESSAGES: Final[dict[str, tuple[tuple[int, str, str], ...]]] = {
    "PropertyValue": (
        (3, "uint32", "int_value"),
        (4, "uint64", "long_value"),
    ),
    "PropertySet": (
        (1, "repeated bytes", "keys"),
        (2, "repeated PropertyValue", "values"),
    ),
    "Metric": (
        (1, "bytes", "name"),
        (2, "uint64", "alias"),
        (3, "uint64", "timestamp"),
        (4, "uint32", "datatype"),
        (7, "bool", "is_null"),
        (9, "PropertySet", "properties"),
        (10, "uint32", "int_value"),
        (11, "uint64", "long_value"),
        (12, "float", "float_value"),
        (13, "double", "double_value"),
        (14, "bool", "boolean_value"),
    ),
    "Payload": (
        (1, "uint64", "timestamp"),
        (2, "repeated bytes", "metrics"),
        (3, "uint64", "seq"),
    ),
}


@dataclass(frozen=True, slots=True)
class SparkplugMetric:
    """A metric of a payload.

    Attributes:
        alias: Number that stands for the name after the birth; None if the metric has no alias.
        at_ms: Time of the value, ms since 1970; None if the metric has no time.
        datatype: Sparkplug data type; 0 if the metric does not state it.
        number: The value; None if the metric has no value, a value of bad quality or a value that is no number.
    """

    name: str = ""
    alias: int | None = None
    at_ms: int | None = None
    datatype: int = 0
    number: int | float | None = None


@dataclass(frozen=True, slots=True)
class SparkplugPayload:
    """Metrics, time (ms since 1970) and sequence number of a message."""

    metrics: tuple[SparkplugMetric, ...]
    at_ms: int | None
    seq: int | None


def _build_message_classes() -> dict[str, type[Message]]:
    file = FileDescriptorProto(name="slopeward/sparkplug_b.proto", package="slopeward.sparkplug", syntax="proto2")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, declared_type, name in fields:
            type_name = declared_type.removeprefix("repeated ")
            is_repeated = type_name != declared_type
            field = message.field.add(name=name, number=number)
            field.label = FieldDescriptorProto.LABEL_REPEATED if is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
            if type_name in _TYPES:
                field.type = _TYPES[type_name]
            else:
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{file.package}.{type_name}"
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in _MESSAGES}


_CLASSES: Final = _build_message_classes()
_METRIC_FIELDS: Final = frozenset(number for number, _, _ in _MESSAGES["Metric"])


def read_payload(data: bytes) -> SparkplugPayload:
    """Parse a payload.

    Raises:
        PayloadError: the payload is no Sparkplug B, or too large.
    """
    if len(data) > PAYLOAD_LIMIT:
        raise PayloadError("too_large", f"{len(data)} bytes; at most {PAYLOAD_LIMIT} are read")
    payload = _parse("Payload", data)
    if len(payload.metrics) > METRIC_LIMIT:
        raise PayloadError("too_many", f"{len(payload.metrics)} metrics; at most {METRIC_LIMIT} are read")
    if not (payload.metrics or payload.HasField("timestamp") or payload.HasField("seq")):
        raise PayloadError("bad_payload", "no payload of Sparkplug B")
    metrics = tuple(_read_metric(_parse("Metric", metric)) for metric in payload.metrics)
    return SparkplugPayload(metrics, _find_optional(payload, "timestamp"), _find_optional(payload, "seq"))


def encode_rebirth(now: datetime) -> bytes:
    """Return the payload of the command that requests a new birth from a node (specification, section 6.4.24)."""
    name = b"Node Control/Rebirth"
    metric: Any = _CLASSES["Metric"](name=name, datatype=_BOOLEAN, boolean_value=True)
    payload = _CLASSES["Payload"](timestamp=int(epoch_s(now) * 1000), metrics=[metric.SerializeToString()])
    return bytes(payload.SerializeToString(deterministic=True))


def to_signed(number: Any, datatype: int) -> Any:
    """Return the value of a signed integer type that was sent as an unsigned number; other values as they are.

    >>> to_signed(4294967295, 3), to_signed(5, 3), to_signed(0.5, 9)
    (-1, 5, 0.5)
    """
    bits = _SIGNED_BITS.get(datatype)
    if bits is None or not isinstance(number, int):
        return number
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _parse(message_name: str, data: bytes) -> Any:
    message: Any = _CLASSES[message_name]()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise PayloadError("bad_payload", "no protobuf, or cut off") from None
    return message


def _read_metric(metric: Any) -> SparkplugMetric:
    # protobuf puts a field whose wire type differs from the declared type among the unknown fields
    if other := next((f.field_number for f in UnknownFieldSet(metric) if f.field_number in _METRIC_FIELDS), None):
        raise PayloadError("bad_payload", f"field {other} of a metric is of another type")
    number = None
    if not metric.is_null and _has_good_quality(metric.properties):
        name = next((name for name in _NUMBERS if metric.HasField(name)), None)
        number = None if name is None else to_signed(getattr(metric, name), metric.datatype)
    return SparkplugMetric(
        _read_name(metric.name),
        _find_optional(metric, "alias"),
        _find_optional(metric, "timestamp"),
        metric.datatype,
        number,
    )


def _has_good_quality(properties: Any) -> bool:
    """Return whether the properties of a metric state good quality, or no quality."""
    if len(properties.keys) > PROPERTY_LIMIT:
        raise PayloadError("too_many", f"{len(properties.keys)} properties of a metric; at most {PROPERTY_LIMIT}")
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key != _QUALITY.encode():
            continue
        code = next((getattr(value, name) for name in ("int_value", "long_value") if value.HasField(name)), None)
        if code is not None and code not in _GOOD:
            return False
    return True


def _find_optional(message: Any, name: str) -> int | None:
    return getattr(message, name) if message.HasField(name) else None


def _read_name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise PayloadError("bad_payload", "the name of a metric is not UTF-8 text") from None
    if len(name) > NAME_LIMIT:
        raise PayloadError("bad_payload", f"the name of a metric has {len(name)} characters; at most {NAME_LIMIT}")
    check_text(name, "name")
    return name
