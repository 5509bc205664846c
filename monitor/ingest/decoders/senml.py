"""Decoder of SenML packs in JSON (RFC 8428). The last part of a name is the quantity, the part before is the station.

By the standard, a record without an absolute time is relative to the time at which the pack was sent. This time is lost
if the message waits at the broker. Such records are refused, unless the site file has `date = "reception"`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import (
    RECEPTION,
    Decoder,
    ReceivedMessage,
    gather,
    join_fault,
    read_date_setting,
)
from monitor.ingest.decoders.strict_json import SAMPLE_LIMIT, read_array, read_number
from monitor.ingest.message import DecodedMessage
from monitor.readings.no_value import is_no_value
from monitor.readings.records import Observation
from monitor.sites.quantities import QUANTITIES
from monitor.sites.records import Binding
from monitor.sites.units import find_senml_unit
from monitor.text.instants import epoch_s
from monitor.text.names import is_station

_ABSOLUTE_S: Final = 2.0**28  # smaller times are relative (RFC 8428, 4.5.3)
_VERSION_MOST: Final = 10
_BASES: Final = frozenset({"bn", "bt", "bu", "bv", "bver"})
_OWN: Final = frozenset({"n", "t", "u", "v"})


def open_senml(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section; raises ConfigError."""
    of_reception = read_date_setting(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        resolved = _resolve(read_array(received.message.payload))
        observations, bad = gather(resolved, lambda record: _read(record, received, of_reception=of_reception))
        if not observations:
            raise bad[0][1] if bad else PayloadError("empty", "no record contains a value")
        bad_records = json.dumps([record for record, _ in bad]).encode()
        return DecodedMessage(tuple(observations), join_fault(bad, len(resolved), "records", bad_records))

    return decode


def _resolve(records: list[Any]) -> list[dict[str, Any]]:
    """Return the records that contain a number, each with the base fields that apply to it; raises PayloadError."""
    if not records or len(records) > SAMPLE_LIMIT:
        raise PayloadError("no_samples", f"a pack has 1 to {SAMPLE_LIMIT} records, this one {len(records)}")
    base: dict[str, Any] = {}
    resolved = []
    for record in records:
        if not isinstance(record, dict):
            raise PayloadError("not_object", "a record must be an object")
        if unknown := [key for key in record if key.endswith("_")]:
            raise PayloadError(
                "unknown_key", f"the key {unknown[0][:40]!r} must be understood (RFC 8428, 4.4), and is unknown"
            )
        base |= {key: record[key] for key in _BASES & record.keys()}
        if base.get("bver", _VERSION_MOST) != _VERSION_MOST and read_number(base["bver"], "bver") > _VERSION_MOST:
            raise PayloadError("bad_version", f"SenML of version {base['bver']}; at most {_VERSION_MOST} is read")
        if "v" in record:
            fields = {key: record[key] for key in _OWN & record.keys()}
            resolved.append({**{key: base[key] for key in base if key != "bver"}, **fields})
    if not resolved:
        raise PayloadError("empty", "no record contains a number")
    return resolved


def _read(record: Mapping[str, Any], received: ReceivedMessage, *, of_reception: bool) -> Iterator[Observation]:
    if is_no_value(record["v"]) or ("bv" in record and is_no_value(record["bv"])):
        return
    station, quantity = _split(_text(record, "bn") + _text(record, "n"))
    value = read_number(record["v"], "v") + read_number(record.get("bv", 0), "bv")
    unit = _text(record, "u") or _text(record, "bu") or None
    field = received.field(station, quantity, find_senml_unit(unit or "") or unit)
    seconds = read_number(record.get("bt", 0), "bt") + read_number(record.get("t", 0), "t")
    if abs(seconds) < _ABSOLUTE_S:
        if not of_reception:
            raise PayloadError(
                "no_time",
                f"{quantity} has no absolute time (bt or t): let the device send it, or set date = {RECEPTION}",
            )
        if received.message.retained:
            raise PayloadError("retained", "a record without a time that the broker had retained: its time is unknown")
        seconds += epoch_s(received.message.came_at)
    yield received.observe(station, field, value, received.read_time(seconds, "s", "t"))


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key, "")
    if not isinstance(value, str):
        raise PayloadError("not_text", f"{key}: expected a text")
    return value


def _split(name: str) -> tuple[str, str]:
    """Return station and quantity of a full name, such as `urn:dev:ow:G1:tilt_x` or `G1/displacement_east`."""
    parts = [part for part in re.split(r"[:/]", name) if part]
    quantity = parts[-1] if parts else ""
    measured = next(
        (q for q in sorted(QUANTITIES, key=len, reverse=True) if quantity == q or quantity.endswith("_" + q)), None
    )
    station = parts[-2] if len(parts) > 1 else ""
    if measured is not None and quantity != measured:  # `dev-7_tilt_x`
        station, quantity = quantity.removesuffix("_" + measured), measured
    if not is_station(station):
        raise PayloadError("no_station", f"name {name[:80]!r}: expected STATION:QUANTITY or STATION/QUANTITY")
    return station, quantity
