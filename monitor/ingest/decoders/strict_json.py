"""Strict reading of untrusted JSON: limits, no repeated keys, finite numbers, times with an offset from UTC."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.errors import PayloadError
from monitor.ingest.payload_limits import PAYLOAD_LIMIT
from monitor.readings.no_value import LARGEST, is_no_value
from monitor.text.instants import LATEST, from_epoch_s, parse_time, read_iso
from monitor.text.message import Figure, NameList, Template
from monitor.text.names import fold_name, tidy_name, tidy_text

SAMPLE_LIMIT: Final = 10_000
_DEPTH_LIMIT: Final = 16
_OLDEST_CLOCK: Final = datetime(1981, 1, 1, tzinfo=UTC)  # GPS clocks without a fix start at 1980-01-06
_PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_AROUND: Final = "\0\ufeff \t\r\n\v\f"
_BARE: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|(?<=[:,\[])[^"{}\[\],:]*(?=[,}\]])')  # a string, or text without quotes
_NEAR: Final = timedelta(minutes=30)  # the reception decides between two hours if one of them is this close
_TOO_LARGE: Final = Template("payload.large", "{n} bytes; at most {most} are read")
_DOUBLE_KEY: Final = Template("payload.double_key", "a key is repeated in one object")
_NO_OBJECT: Final = Template("payload.object", "expected a JSON object, got {type}")
_NO_LIST: Final = Template("payload.list", "expected a JSON list, got {type}")
_TOO_DEEP: Final = Template("payload.deep", "the JSON is nested too deeply")
_LEVELS: Final = Template("payload.levels", "nested more than {n} levels")
_NOT_UTF_8: Final = Template("payload.utf8", "the payload is not UTF-8 text")
_NOT_JSON: Final = Template("payload.json", "the payload is not JSON: {problem}")
_HUGE: Final = Template("payload.number.huge", "{name}: the number is too large")
NO_NUMBER: Final = Template("payload.number", "{name}: expected a number, got {value}")
_NOT_FINITE: Final = Template("payload.number.finite", "{name}: {value} is not a finite number")
_NO_TEXT: Final = Template("payload.text", "{name}: expected a text, got {value}")
_TOO_LONG: Final = Template("payload.text.long", "{name}: at most {n} characters")
_BLANK: Final = Template("payload.text.blank", "{name}: shows no character")
_NO_PERSON: Final = Template("payload.person", "{name}: expected the name of a person")
_NUL: Final = Template("payload.text.nul", "{name}: contains a NUL character")
_SURROGATE: Final = Template("payload.text.surrogate", "{name}: contains half a surrogate pair")
_NO_COUNT: Final = Template("payload.count", "{name}: expected a whole number >= 0, got {value}")
_NO_TIME: Final = Template("payload.time.missing", "{name} is missing")
_NO_TIME_UNIT: Final = Template("payload.time.unit", "{name}: a number needs time_unit (s, ms, us, ns), got {value}")
_ODD_TIME: Final = Template("payload.time", "{name}: {value} is no time: {problem}")
LATE: Final = Template("payload.time.late", "{name}: {value} is after 2200; is time_unit right?")
_EARLY: Final = Template("payload.time.early", "{name}: {value} is before 1981; the clock was never set")
_NO_ZONE: Final = Template(
    "payload.time.zone", "{name}: {value} has no zone; write an offset or Z, or give the decoder a zone"
)
_TWICE: Final = Template("payload.time.twice", "{name}: {value} comes twice or never in {zone}")
_UNKNOWN_KEY: Final = Template("payload.key", "key '{key}' is unknown; known: {names}")


def too_large(size: int) -> PayloadError:
    """Return the error for a payload that is too large to be read."""
    return PayloadError("too_large", _TOO_LARGE(n=Figure(size, "d"), most=Figure(PAYLOAD_LIMIT, "d")))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise PayloadError("double_key", _DOUBLE_KEY())
    return document


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_without_doubles)


def read_object(payload: bytes) -> dict[str, Any]:
    """Read a payload as one JSON object.

    Raises:
        PayloadError: too_large, not_json, too_deep, double_key or not_object.
    """
    document = read_json(payload)
    if not isinstance(document, dict):
        raise PayloadError("not_object", _NO_OBJECT(type=type(document).__name__))
    return document


def read_array(payload: bytes) -> list[Any]:
    """Read a payload as one JSON list; raises PayloadError as `read_object` does, or not_list."""
    document = read_json(payload)
    if not isinstance(document, list):
        raise PayloadError("not_list", _NO_LIST(type=type(document).__name__))
    return document


def read_json(payload: bytes) -> Any:
    """Read a payload as any JSON, with the NaN and infinities of other languages; raises PayloadError."""
    text = read_payload(payload)
    problem = ""
    for prepare in (str, _replace_nan):
        try:
            return _DECODER.decode(prepare(text))
        except PayloadError:
            raise
        except RecursionError:
            raise PayloadError("too_deep", _TOO_DEEP()) from None
        except ValueError as error:
            problem = problem or str(error)[:200]
    raise PayloadError("not_json", _NOT_JSON(problem=problem))


def _replace_nan(text: str) -> str:
    """Return a JSON text with null for words without quotes that mean no value, and for missing values.

    C writes nan and -1.#IND, JavaScript undefined.

    >>> _replace_nan('{"a": -nan, "b": 1.#QNAN, "c": , "d": "nan, nan", "e": nanny, "f": [], "g": [1, undefined]}')
    '{"a":null, "b":null, "c":null, "d": "nan, nan", "e": nanny, "f": [], "g": [1,null]}'
    """

    def to_null(match: re.Match[str]) -> str:
        is_empty_list = not match[0].strip() and text[match.start() - 1] != ":"
        return "null" if not is_empty_list and is_no_value(match[0]) else match[0]

    return _BARE.sub(to_null, text)


def read_payload(payload: bytes) -> str:
    """Return the text of a payload without NUL, white space and byte order mark around it; raises PayloadError."""
    if len(payload) > PAYLOAD_LIMIT:
        raise too_large(len(payload))
    try:
        return payload.decode().strip(_AROUND)
    except UnicodeDecodeError:
        raise PayloadError("not_json", _NOT_UTF_8()) from None


def read_sigma(value: object) -> float | None:
    """Return a standard deviation; None if it is not stated or invalid. The value that it belongs to is kept.

    >>> [read_sigma(v) for v in (0.5, "0.5", None, "", float("nan"), -1.0, "abc", True, [])]
    [0.5, 0.5, None, None, None, None, None, None, None]
    """
    if is_no_value(value):
        return None
    try:
        sigma = read_number(float(value) if isinstance(value, str) else value, "sigma")
    except (PayloadError, ValueError):
        return None
    return sigma if sigma >= 0.0 else None


def read_number(value: object, name: str) -> float:
    """Return a finite number as float; raises PayloadError for text, booleans, NaN and infinity."""
    if type(value) is float:
        number = value
    elif type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            raise PayloadError("not_finite", _HUGE(name=name)) from None
    else:
        raise PayloadError("not_number", NO_NUMBER(name=name, value=_show(value)))
    if not math.isfinite(number) or abs(number) >= LARGEST:
        raise PayloadError("not_finite", _NOT_FINITE(name=name, value=str(number)))
    return number


def read_cell(value: object, name: str) -> float:
    """Return a number that is written as a number or as text; raises PayloadError."""
    if not isinstance(value, str):
        return read_number(value, name)
    try:
        number = float(value) if value.isascii() and "_" not in value else None  # Python takes 1_0 for 10
    except ValueError:
        number = None
    if number is None:
        raise PayloadError("not_number", NO_NUMBER(name=name, value=repr(value[:60])))
    return read_number(number, name)


def read_text(value: object, name: str, limit: int = 4000) -> str:
    """Return a text that both databases can store; raises PayloadError."""
    if not isinstance(value, str) or not value.strip():
        raise PayloadError("not_text", _NO_TEXT(name=name, value=_show(value)))
    if len(value) > limit:
        raise PayloadError("too_long", _TOO_LONG(name=name, n=Figure(limit, "d")))
    check_text(value, name)
    return value


def read_line(value: object, name: str, limit: int = 4000) -> str:
    """Return a text of a person on one line, because it becomes part of a line of a message; raises PayloadError."""
    text = tidy_text(read_text(value, name, limit))
    if not text:
        raise PayloadError("not_text", _BLANK(name=name))
    return text


def read_person(value: object, name: str) -> str:
    """Return the name of a person in tidy form; raises PayloadError if it has no visible character."""
    person = tidy_name(read_text(value, name, 200))
    if not fold_name(person):
        raise PayloadError("no_name", _NO_PERSON(name=name))
    return person


def check_text(value: str, name: str) -> None:
    """Raise PayloadError for NUL and lone surrogates, which PostgreSQL cannot store."""
    if "\0" in value:
        raise PayloadError("bad_text", _NUL(name=name))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PayloadError("bad_text", _SURROGATE(name=name)) from None


def read_count(value: object, name: str) -> int:
    """Return a whole number from 0 that fits a database integer; raises PayloadError."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise PayloadError("not_count", _NO_COUNT(name=name, value=_show(value)))
    return value


def read_time(
    value: object,
    unit: object = None,
    name: str = "time",
    *,
    live: bool = True,
    zone: ZoneInfo | None = None,
    near: datetime | None = None,
) -> datetime:
    """Return an instant from RFC 3339 text with an offset, or from a number since 1970.

    Args:
        unit: Unit of a number: s, ms, us or ns.
        live: Refuse times before 1981, which come from clocks that were never set.
        zone: Time zone of a text without an offset.
        near: Time of reception. It decides which instant is meant in the hour that a time zone has twice.

    Raises:
        PayloadError: no_time, no_zone, no_time_unit, bad_time, ambiguous_time, clock_unset (live clocks before 1981).
    """
    if value is None:
        raise PayloadError("no_time", _NO_TIME(name=name))
    try:
        if isinstance(value, str) and not (isinstance(unit, str) and value.isdigit()):
            at = _parse_text(value, name, zone, near)
        else:
            if not isinstance(unit, str) or unit not in _PER_SECOND:
                raise PayloadError("no_time_unit", _NO_TIME_UNIT(name=name, value=_show(unit)))
            at = from_epoch_s(read_cell(value, name) / _PER_SECOND[unit])
    except (ValueError, OverflowError) as error:
        problem = _ODD_TIME(name=name, value=_show(value), problem=str(error)[:100])
        raise PayloadError("bad_time", problem) from None
    if at >= LATEST:
        raise PayloadError("bad_time", LATE(name=name, value=_show(value)))
    if live and at < _OLDEST_CLOCK:
        raise PayloadError("clock_unset", _EARLY(name=name, value=_show(value)))
    return at


def _parse_text(value: str, name: str, zone: ZoneInfo | None, near: datetime | None) -> datetime:
    at = read_iso(value)
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is not None:
        return parse_time(value)
    if zone is None:
        raise PayloadError("no_zone", _NO_ZONE(name=name, value=repr(value)))
    first, second = (at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    # A time in the hour that is skipped in spring does not come from a clock of this zone.
    if near is not None and first.astimezone(zone).replace(tzinfo=None) == at:
        nearest = min(first, second, key=lambda instant: abs(instant - near))
        if abs(nearest - near) <= _NEAR:
            return nearest
    raise PayloadError("ambiguous_time", _TWICE(name=name, value=repr(value), zone=zone.key))


def check_keys(document: dict[str, Any], allowed: frozenset[str]) -> None:
    """Raise PayloadError for unknown keys: a misspelt key must not be ignored."""
    if unknown := sorted(set(document) - allowed):
        names = NameList(tuple(sorted(allowed)))
        raise PayloadError("unknown_key", _UNKNOWN_KEY(key=unknown[0], names=names))


def check_depth(value: object, depth: int = 0) -> None:
    """Raise PayloadError for values that are nested too deeply to be written again."""
    if depth > _DEPTH_LIMIT:
        raise PayloadError("too_deep", _LEVELS(n=_DEPTH_LIMIT))
    if isinstance(value, dict):
        for item in value.values():
            check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_depth(item, depth + 1)


def _show(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge integer"
    return text if len(text) <= 60 else text[:57] + "..."
