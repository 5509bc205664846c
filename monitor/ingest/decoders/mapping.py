"""Any JSON of a gateway read by a mapping in TOML: which path is the time, the station, which paths are values.

[time]
path = "received_at"          # dots go down into objects, numbers into lists
unit = "ms"                   # only for numbers: s, ms, us, ns
zone = "Europe/Zurich"        # of text without an offset; else that of the [[decoder]]
[station]
path = "device.id"            # or: name = "T1"
[[value]]
path = "object.tilt_x"
quantity = "tilt_x"
unit = "deg"
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.instruments.no_value import is_no_value
from monitor.domain.language.local_time import read_zone
from monitor.domain.names import is_station
from monitor.domain.observation import Observation
from monitor.domain.terms import read_text, read_toml
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, gather
from monitor.ingest.decoders.strict_json import read_object
from monitor.ingest.message import DecodedMessage, MessageFault

_ABSENT: Final = object()


def open_mapping(path: str) -> Decoder:
    """Make a decoder of a mapping file; raises ConfigError with file, key and what was expected."""
    document = read_toml(read_text(Path(path)), path)
    time, station, values = document.get("time"), document.get("station"), document.get("value")
    if not isinstance(time, dict) or not isinstance(time.get("path"), str):
        raise ConfigError(f"{path}: time.path: expected the path of the time")
    if not isinstance(station, dict) or not isinstance(station.get("path", station.get("name")), str):
        raise ConfigError(f"{path}: station: expected path or name")
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{path}: value: expected at least one [[value]]")
    for index, value in enumerate(values):
        for key in ("path", "quantity", "unit"):
            if not isinstance(value, dict) or not isinstance(value.get(key), str):
                raise ConfigError(f"{path}: value[{index}].{key}: expected a text")
    _check_keys(path, "", document, ("time", "station", "value"))
    _check_keys(path, "time.", time, ("path", "unit", "zone"))
    _check_keys(path, "station.", station, ("path", "name"))
    for index, value in enumerate(values):
        _check_keys(path, f"value[{index}].", value, ("path", "quantity", "unit"))

    try:
        zone = ZoneInfo(read_zone(time["zone"])) if "zone" in time else None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: time.zone: {error}") from None

    def decode(received: ReceivedMessage) -> DecodedMessage:
        received = received if zone is None else replace(received, zone=zone)
        body = read_object(received.message.payload)
        name = station["name"] if "name" in station else _find_value(body, station["path"])
        if not isinstance(name, str) or not is_station(name):
            raise PayloadError("no_station", f"{station.get('path', 'station')}: no station id there")
        found_time = _find_value(body, time["path"])
        at = received.read_time(None if found_time is _ABSENT else found_time, time.get("unit"), time["path"])

        def read(rule: dict[str, str]) -> Iterator[Observation]:
            value = _find_value(body, rule["path"])
            if value is not _ABSENT and not is_no_value(value):  # a gateway sends what it has
                field = received.field(name, rule["quantity"], rule["unit"])
                yield received.observe_cell(name, field, value, rule["path"], at)

        found, bad = gather(values, read)
        first = bad[0][1] if bad else PayloadError("empty", "none of the mapped values is there")
        if not found:
            raise first
        return DecodedMessage(
            tuple(found), (MessageFault(first.code, str(first), received.message.payload),) if bad else ()
        )

    return decode


def _check_keys(path: str, where: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a key that nobody reads: a scale or a sign that nothing applies would be a wrong value."""
    if unknown := sorted(table.keys() - set(known)):
        raise ConfigError(f"{path}: {where}{unknown[0]}: unknown key; read are {', '.join(known)}")


def _find_value(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, dict) and part in body:
            body = body[part]
        elif isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        else:
            return _ABSENT
    return body
