"""Decoder of any JSON, with JMESPath expressions of the site file for time, station and values.

There are two forms. In `series = {"object.tilt_x" = "tilt_x_deg"}` each key is the expression of a value. If `quantity`
and `value` are expressions, an item is one measurement, and `series` maps the names that `quantity` returns. `each`
returns the list of items; without it, the message is one item. Messages are untrusted: their size, depth and number of
items are checked before an expression is evaluated.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import (
    Decoder,
    ReceivedMessage,
    SeriesTarget,
    check_unit,
    combine_errors,
    find_series_target,
    gather,
    join_fault,
    read_each,
    read_series,
)
from monitor.ingest.decoders.lorawan import find_device, name_device
from monitor.ingest.decoders.native import DISPLACEMENT
from monitor.ingest.decoders.strict_json import check_depth, read_json
from monitor.ingest.message import DecodedMessage
from monitor.ingest.references import PART, UNNAMED, name_base
from monitor.ingest.text.units import read_symbol
from monitor.readings.no_value import is_marked_bad, is_no_value
from monitor.readings.records import Observation
from monitor.sites.records import Binding

_LONGEST: Final = 500  # characters of an expression
ITEMS_MOST: Final = 1000
EXPRESSIONS: Final = ("each", "time", "device", "quantity", "value", "unit", "base")
BYTES_MOST: Final = 256 * 1024
_QUALITY: Final = re.compile(r"q|(?:value_?)?quality|(?:is_?)?(?:valid|good)|status_?(?:code)?", re.IGNORECASE)
_UA_BAD: Final = 1 << 31  # smallest bad status code of OPC UA


def open_json(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section.

    Raises:
        ConfigError: an expression is invalid, or a required one is missing.
    """
    settings = dict(binding.settings)
    paths: dict[str, ParsedResult] = {key: _compile(key, settings[key]) for key in EXPRESSIONS if key in settings}
    if "time" not in paths:
        raise ConfigError("decoder 'json': time is missing: the expression of the time")
    if ("quantity" in paths) != ("value" in paths):
        raise ConfigError("decoder 'json': quantity and value need each other")
    read: Callable[[ReceivedMessage, Any], Iterator[Observation]]
    if "quantity" in paths:
        read = partial(_read_listed, paths, read_series(binding), settings.get("time_unit"))
    else:
        if not binding.series:
            raise ConfigError("decoder 'json': series is missing: expression = QUANTITY_UNIT, for each value")
        if "unit" in paths:
            raise ConfigError("decoder 'json': unit is used with quantity and value only")
        values = {name: (_compile(f"series {name!r}", name), target) for name, target in read_series(binding).items()}
        read = partial(_read_named, paths, values, settings.get("time_unit"))

    def decode(received: ReceivedMessage) -> DecodedMessage:
        message = received.message
        if len(message.payload) > BYTES_MOST:
            raise PayloadError("too_large", f"{len(message.payload)} bytes; at most {BYTES_MOST} are read")
        body = read_json(message.payload)
        check_depth(body)
        items = _search(paths["each"], body, "each") if "each" in paths else [body]
        if not isinstance(items, list) or not items or len(items) > ITEMS_MOST:
            raise PayloadError("no_samples", f"each: expected a list of 1 to {ITEMS_MOST} items")
        _check_quality(body)
        observations, bad = gather(items, partial(read, received))
        if not observations and len(bad) == len(items):
            raise combine_errors(bad)
        if device := find_device(body):  # another device under the name of a station is another instrument
            for station in sorted({observation.station for observation in observations}):
                received.references.check(received.site.id, station, name_device(device), None)
        if not bad:
            if not observations:
                raise PayloadError("empty", "the message contains none of the values")
            return DecodedMessage(tuple(observations))
        # The part of the message that an item came from is not known, so the fault contains all of it. Readings that
        # are stored now are duplicates when it is decoded again.
        return DecodedMessage(tuple(observations), join_fault(bad, len(items), "items", message.payload))

    return decode


def _read_named(
    paths: dict[str, ParsedResult],
    values: dict[str, tuple[ParsedResult, SeriesTarget]],
    time_unit: str | None,
    received: ReceivedMessage,
    item: Any,
) -> Iterator[Observation]:
    _check_quality(item)
    station = _find_station(paths, item, received)
    at = received.read_time(_search(paths["time"], item, "time"), time_unit)

    def read_one(name: str) -> Iterator[Observation]:
        path, target = values[name]
        value = _search(path, item, name)
        if is_no_value(value):  # a message may contain a part of the values
            return
        target_station, field = target.find(received, station)
        reading = received.observe_cell(target_station, field, value, name, at)
        _check_base(paths, item, received, reading)
        yield reading

    return read_each(values, read_one)


def _read_listed(
    paths: dict[str, ParsedResult],
    series: dict[str, SeriesTarget],
    time_unit: str | None,
    received: ReceivedMessage,
    item: Any,
) -> Iterator[Observation]:
    _check_quality(item)
    name = _search(paths["quantity"], item, "quantity")
    value = _search(paths["value"], item, "value")
    unit = _search(paths["unit"], item, "unit") if "unit" in paths else None
    if not isinstance(name, str) or not name or not isinstance(unit, str | None):
        raise PayloadError("unknown_quantity", "quantity or unit: expected a text")
    target = series.get(name) or (SeriesTarget("", name, read_symbol(unit)) if unit else find_series_target({}, name))
    if target is None:
        raise PayloadError("unknown_quantity", f"{name[:64]!r} is not in series and has no unit")
    if is_no_value(value):
        return
    station, field = target.find(received, _find_station(paths, item, received))
    check_unit(unit, field.given_unit, f"the item {name[:64]!r}")
    at = received.read_time(_search(paths["time"], item, "time"), time_unit)
    reading = received.observe_cell(station, field, value, "value", at)
    _check_base(paths, item, received, reading)
    yield reading


def _check_base(paths: dict[str, ParsedResult], item: Any, received: ReceivedMessage, reading: Observation) -> None:
    """Raise PayloadError for a displacement measured from another base station than those before."""
    if "base" not in paths or not reading.quantity.startswith(DISPLACEMENT):
        return
    base = _search(paths["base"], item, "base")
    if base is None or is_no_value(base):
        return
    if not isinstance(base, str | int) or isinstance(base, bool):
        raise PayloadError("not_text", f"base: expected the name or number of a base station, got {str(base)[:64]}")
    frame = PART.join([UNNAMED, name_base(str(base)[:64])])
    received.references.check(received.site.id, reading.station, frame, None)


def _check_quality(item: Any) -> None:
    """Raise PayloadError for an item that is marked as bad or simulated.

    OPC gateways mark the last value of a sensor that is disconnected as bad.
    """
    for key, mark in item.items() if isinstance(item, dict) else ():
        code = mark.get("value") if isinstance(mark, dict) else mark
        if key == "simulated" and mark is True:
            raise PayloadError("simulated", "the network server marks this uplink as simulated: nothing measured it")
        is_false = mark is False and not key.lower().startswith("status")
        if _QUALITY.fullmatch(key) and (is_false or is_marked_bad(mark) or (isinstance(code, int) and code >= _UA_BAD)):
            raise PayloadError("bad_quality", f"the message marks this value: {key[:40]} = {str(mark)[:80]}")


def _find_station(paths: dict[str, ParsedResult], item: Any, received: ReceivedMessage) -> str:
    if "device" not in paths:
        return received.place.station
    name = _search(paths["device"], item, "device")
    if not isinstance(name, str):
        raise PayloadError("no_station", "device: the expression returns no text")
    return name


def _compile(key: str, text: str) -> ParsedResult:
    if len(text) > _LONGEST:
        raise ConfigError(f"decoder 'json': {key[:60]}: an expression has at most {_LONGEST} characters")
    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        raise ConfigError(f"decoder 'json': {key[:60]}: no JMESPath expression: {str(error).splitlines()[0]}") from None


def _search(path: ParsedResult, item: Any, key: str) -> Any:
    try:
        return path.search(item)
    except (JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise PayloadError("bad_payload", f"{key[:60]}: {str(error)[:200]}") from None
