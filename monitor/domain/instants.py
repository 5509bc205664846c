"""Instants and durations: one spelling of time, everywhere."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\s*$")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CORE_SILENT: Final = timedelta(minutes=1)  # core writes its sign every few seconds; older than this, nobody evaluates
STOPPED: Final = "stopped"
FUTURE_TOLERANCE: Final = timedelta(minutes=5)  # a clock that far ahead of reception is wrong


def spell(at: datetime) -> str:
    """Spell an aware instant in the one fixed-width form that sorts as text.

    >>> spell(datetime(2026, 3, 1, 6, tzinfo=UTC))
    '2026-03-01T06:00:00.000000Z'
    """
    if at.tzinfo is None:
        raise ValueError("a time without zone is refused")
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse(text: str) -> datetime:
    """Read an RFC 3339 instant with offset; a time without zone is refused, never guessed.

    >>> parse("2026-03-01T07:00:00+01:00") == datetime(2026, 3, 1, 6, tzinfo=UTC)
    True
    >>> parse("9999-12-31T23:59:59-14:00")
    Traceback (most recent call last):
    ValueError: time '9999-12-31T23:59:59-14:00' lies beyond the calendar
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; write an offset or Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"time {text!r} lies beyond the calendar") from None


def from_epoch_s(seconds: float) -> datetime:
    """Turn seconds since 1970 into an aware instant."""
    return EPOCH + timedelta(seconds=seconds)


def epoch_s(at: datetime) -> float:
    """Seconds since 1970 of an aware instant, exact to the microsecond."""
    return (at - EPOCH).total_seconds()  # unlike timestamp() it refuses an instant without zone


def go_on(now: datetime) -> Callable[[], datetime]:
    """A clock that shows `now` and goes on from there: what takes long is known when it is written, not when it began.

    >>> go_on(parse("2026-01-01T00:00:00Z"))() >= parse("2026-01-01T00:00:00Z")
    True
    """
    began_s = monotonic()
    return lambda: now + timedelta(seconds=monotonic() - began_s)


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


def spell_about(seconds: float) -> str:
    """Spell how long something takes or took, as people say it: two units at most, never nothing for something.

    >>> spell_about(0.4), spell_about(22), spell_about(600), spell_about(3700), spell_about(93600), spell_about(864000)
    ('less than 1 s', '22 s', '10 min', '1 h 2 min', '1 d 2 h', '10 d')
    >>> spell_about(59.7), spell_about(3599.0)
    ('1 min', '1 h')
    """
    whole = round(seconds)
    minutes, hours = round(whole / 60), round(whole / 3600)
    if whole < 60:
        return f"{whole} s" if whole >= 1 else "less than 1 s"
    if minutes < 60:
        return f"{minutes} min"
    if hours >= 240:
        return f"{round(whole / 86400)} d"
    in_days = minutes >= 24 * 60
    (big, small), units = (divmod(hours, 24), ("d", "h")) if in_days else (divmod(minutes, 60), ("h", "min"))
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")


def spell_age(age: timedelta) -> str:
    """How long ago something was, a second at least: clocks differ by more.

    >>> spell_age(timedelta(seconds=-3)), spell_age(timedelta(minutes=200))
    ('1 s', '3 h 20 min')
    """
    return spell_about(max(1.0, age.total_seconds()))


def spell_duration(seconds: float) -> str:
    """Spell a duration in its largest whole unit.

    >>> spell_duration(900), spell_duration(604800), spell_duration(90)
    ('15m', '7d', '90s')
    >>> spell_duration(2239488.5)
    '2239488.5s'
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.15g}{unit}"
    return f"{seconds:.15g}s"


def is_silent(core: tuple[datetime, Mapping[str, Any]], at: datetime) -> bool:
    """Whether core was stopped or lost by an instant, by the newest sign of life that it wrote.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> is_silent((noon, {"state": "running"}), noon + CORE_SILENT), is_silent((noon, {"state": "stopped"}), noon)
    (False, True)
    """
    return core[1].get("state") == STOPPED or at - core[0] > CORE_SILENT
