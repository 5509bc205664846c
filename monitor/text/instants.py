"""Instants and durations: one spelling of time, everywhere."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from monitor.text.message import Message, Template, error_text, format_about, format_duration

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["format_about", "format_duration"]
Span = tuple[datetime, datetime]
_NO_SPAN: Final = Template("instant.no_span", "'{text}' is no span; give one such as 4h or 2d")
_LONG_SPAN: Final = Template("instant.long_span", "'{text}' is longer than ten years; give a span such as 4h or 2d")
_NO_TIME: Final = Template("instant.no_time", "'{text}' is no time; give one such as 2026-03-01T06:00Z")
_NO_ZONE: Final = Template("instant.no_zone", "time '{text}' has no zone; write an offset or Z")
_BEYOND: Final = Template("instant.beyond", "time '{text}' lies beyond the calendar")
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\s*$")
_LONE_HOUR: Final = re.compile(r"\d{4}-?\d\d-?\d\d\D\d\d[-.,]\d+$")
_LEAP_SECOND: Final = re.compile(r"(.*[T ]\d\d:?\d\d:?)60((?:[.,]\d+)?(?:Z|[+-].*)?)$")
_END_OF_DAY: Final = re.compile(r"(\d{4}-?\d\d-?\d\d[T ])24((?::?00){1,2}(?:[.,]0+)?(?:Z|[+-].*)?)$")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = datetime(1800, 1, 1, tzinfo=UTC)  # of what people say; every zone can show it
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)  # what lies beyond was written in another unit
LONGEST_SPAN_S: Final = 3660 * 86400.0  # of what people say: added to a time it is still one
CORE_SILENT: Final = timedelta(minutes=1)  # core writes its sign every few seconds; older than this, nobody evaluates
STOPPED: Final = "stopped"
FUTURE_TOLERANCE: Final = timedelta(minutes=5)  # a clock that far ahead of reception is wrong


def format_iso(at: datetime) -> str:
    """Format an aware instant in the one fixed-width form that sorts as text.

    >>> format_iso(datetime(2026, 3, 1, 6, tzinfo=UTC))
    '2026-03-01T06:00:00.000000Z'
    """
    if at.tzinfo is None:
        raise ValueError("a time without zone is refused")
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def format_instants(value: Any) -> Any:
    """Plain data with its instants formatted."""
    if isinstance(value, Mapping):
        return {k: format_instants(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [format_instants(v) for v in value]
    return format_iso(value) if isinstance(value, datetime) else value


def record_to_json(record: "DataclassInstance", *left_out: str) -> dict[str, Any]:
    """A record as JSON has it, its instants written, without some of its fields."""
    return {k: format_instants(v) for k, v in asdict(record).items() if k not in left_out}


def read_iso(text: str) -> datetime:
    """Read ISO 8601 as people and devices write it: small t and z, a leap second, which is the next one's begin, 24:00.

    >>> read_iso("2026-03-01t06:00:00z").isoformat(), read_iso("2016-12-31T23:59:60Z").isoformat()
    ('2026-03-01T06:00:00+00:00', '2017-01-01T00:00:00+00:00')
    >>> read_iso("2026-02-28T24:00Z").isoformat()
    '2026-03-01T00:00:00+00:00'

    Raises:
        ValueError: it is none, or behind its hour stands `-` or a point, as in 13-10 and 13.10.
    """
    try:  # the usual spelling, and that of the database
        at = datetime.fromisoformat(text)
    except ValueError:
        return _read_unusual(text)
    if at.minute == 0 and ":" not in text and _LONE_HOUR.match(text) is not None:
        raise ValueError(_NO_TIME(text=text[:40]))  # Python takes the minutes for a zone, or for parts of a second
    return at


def _read_unusual(text: str) -> datetime:
    text = text.strip().upper()
    if (found := _LEAP_SECOND.match(text)) is not None:
        instead, more = "59", timedelta(seconds=1)
    elif (found := _END_OF_DAY.match(text)) is not None:
        instead, more = "00", timedelta(days=1)
    else:
        return datetime.fromisoformat(text)
    try:
        return datetime.fromisoformat(f"{found[1]}{instead}{found[2]}") + more
    except OverflowError:
        raise ValueError(_BEYOND(text=text[:40])) from None


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 instant with offset; a time without zone is refused, never guessed.

    >>> parse_time("2026-03-01T07:00:00+01:00") == datetime(2026, 3, 1, 6, tzinfo=UTC)
    True
    >>> parse_time("9999-12-31T23:59:59-14:00")
    Traceback (most recent call last):
    ValueError: time '9999-12-31T23:59:59-14:00' lies beyond the calendar
    """
    try:
        at = read_iso(text)
    except ValueError as error:
        known = isinstance(error_text(error), Message)
        raise ValueError(error_text(error) if known else _NO_TIME(text=text[:40])) from None
    if at.tzinfo is None:
        raise ValueError(_NO_ZONE(text=text[:40]))
    if at.tzinfo is UTC:
        return at
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(_BEYOND(text=text[:40])) from None


@lru_cache(maxsize=1024)  # a decision asks for few instants, and for each of them often
def from_epoch_s(seconds: float) -> datetime:
    """Turn seconds since 1970 into an aware instant."""
    return EPOCH + timedelta(seconds=seconds)


def epoch_s(at: datetime) -> float:
    """Seconds since 1970 of an aware instant, exact to the microsecond."""
    return (at - EPOCH).total_seconds()  # unlike timestamp() it refuses an instant without zone


def start_clock(now: datetime) -> Callable[[], datetime]:
    """A clock that shows `now` and goes on from there: what takes long is known when it is written, not when it began.

    >>> start_clock(parse_time("2026-01-01T00:00:00Z"))() >= parse_time("2026-01-01T00:00:00Z")
    True
    """
    began_s = monotonic()
    return lambda: now + timedelta(seconds=monotonic() - began_s)


def join_spans(spans: Iterable[Span], gap: timedelta = timedelta(0)) -> list[Span]:
    """Spans of time in order, those that overlap, touch or lie no farther apart than a gap as one.

    >>> [a, b, c] = (EPOCH + timedelta(days=n) for n in (1, 2, 3))
    >>> join_spans([(b, c), (a, b)]) == [(a, c)]
    True
    """
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def parse_duration_s(text: str | float) -> float:
    """Read `15m`, `6h`, `7d`; a bare number means days.

    >>> parse_duration_s("15m"), parse_duration_s("7d"), parse_duration_s(2)
    (900.0, 604800.0, 172800.0)
    """
    if isinstance(text, int | float):
        return float(text) * 86400.0
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"duration {text!r} is not of the form 15m, 6h, 7d")
    return float(match[1]) * _UNITS_S[match[2]]


def read_typed_span(text: str) -> timedelta:
    """How long something lasts, as a person says it; raises ValueError.

    >>> read_typed_span("90m")
    datetime.timedelta(seconds=5400)
    >>> read_typed_span("900000000d")
    Traceback (most recent call last):
    ValueError: '900000000d' is longer than ten years; give a span such as 4h or 2d
    """
    try:
        seconds = parse_duration_s(text)
    except ValueError:
        raise ValueError(_NO_SPAN(text=text[:40])) from None
    if seconds > LONGEST_SPAN_S:
        raise ValueError(_LONG_SPAN(text=text[:40]))
    return timedelta(seconds=seconds)


def format_age(age: timedelta) -> str:
    """How long ago something was, a second at least: clocks differ by more.

    >>> format_age(timedelta(seconds=-3)), format_age(timedelta(minutes=200))
    ('1 s', '3 h 20 min')
    """
    return format_about(max(1.0, age.total_seconds()))


def format_delay(delay_s: float) -> str:
    """A delay as sentences of decisions name it: units stand close to their figures there.

    >>> format_delay(5412.0)
    '1h 30m'
    """
    return re.sub(r"(\d) (d|h|m|s)(?:in)?", r"\1\2", format_about(delay_s))


def is_silent(core: tuple[datetime, Mapping[str, Any]], at: datetime) -> bool:
    """Whether core was stopped or lost by an instant, by the newest sign of life that it wrote.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> is_silent((noon, {"state": "running"}), noon + CORE_SILENT), is_silent((noon, {"state": "stopped"}), noon)
    (False, True)
    """
    return core[1].get("state") == STOPPED or at - core[0] > CORE_SILENT
