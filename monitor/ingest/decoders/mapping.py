"""Any JSON of a gateway read by a mapping in TOML: which path is the time, the station, which paths are values.

[time]
path = "received_at"          # dots go down into objects, numbers into lists
unit = "ms"                   # only for numbers: s, ms, us, ns
[station]
path = "device.id"            # or: name = "T1"
[[value]]
path = "object.tilt_x"
quantity = "tilt_x"
unit = "deg"
"""

from pathlib import Path
from typing import Any, Final

from monitor.domain.site import Site
from monitor.domain.terms import read_text, read_toml
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder
from monitor.ingest.decoders.rows import read_cell
from monitor.ingest.decoders.strict_json import read_object, read_time
from monitor.ingest.message import Decoded, Fault, Message, Place, is_station
from monitor.ingest.quality import Vocabulary, observe
from monitor.ingest.references import References

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
    _check_keys(path, "time.", time, ("path", "unit"))
    _check_keys(path, "station.", station, ("path", "name"))
    for index, value in enumerate(values):
        _check_keys(path, f"value[{index}].", value, ("path", "quantity", "unit"))

    def decode(message: Message, _place: Place, site: Site, vocabulary: Vocabulary, _r: References) -> Decoded:
        body = read_object(message.payload)
        name = station["name"] if "name" in station else _look(body, station["path"])
        if not isinstance(name, str) or not is_station(name):
            raise PayloadError("no_station", f"{station.get('path', 'station')}: no station id there")
        found_time = _look(body, time["path"])
        at = read_time(None if found_time is _ABSENT else found_time, time.get("unit"), time["path"])
        found = []
        first: PayloadError | None = None
        for rule in values:
            value = _look(body, rule["path"])
            if value is _ABSENT or value is None:
                continue  # a gateway sends what it has
            try:
                field = vocabulary.field(site, name, rule["quantity"], rule["unit"])
                number = read_cell(value, rule["path"])
                found.append(observe(site.id, name, field, number, at, message.received_at))
            except PayloadError as error:  # the other values count
                first = first or error.bare()
        if not found:
            raise first or PayloadError("empty", "none of the mapped values is there")
        return Decoded(tuple(found), () if first is None else (Fault(first.code, str(first), message.payload),))

    return decode


def _check_keys(path: str, where: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a key that nobody reads: a scale or a sign that nothing applies would be a wrong value."""
    if unknown := sorted(table.keys() - set(known)):
        raise ConfigError(f"{path}: {where}{unknown[0]}: unknown key; read are {', '.join(known)}")


def _look(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, dict) and part in body:
            body = body[part]
        elif isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        else:
            return _ABSENT
    return body
