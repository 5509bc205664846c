"""The zone in which texts for people show times. Stored instants are UTC and are converted when a text is rendered."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

# No zone: programs and stored evidence contain UTC.
UNCHANGED: Final = ""
_ZONE: ContextVar[str] = ContextVar("zone", default=UNCHANGED)


@lru_cache(maxsize=64)
def open_zone(name: str) -> tzinfo:
    """Return a zone by its name; UTC if this machine does not have the zone.

    >>> open_zone("Europe/Zurich").key, open_zone("Nowhere/Land")
    ('Europe/Zurich', datetime.timezone.utc)
    """
    if name in {"", "UTC"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


def read_zone(name: str) -> str:
    """Return the name of a zone of a configuration file, after a check.

    >>> read_zone("Europe/Zurich")
    'Europe/Zurich'

    Raises:
        ValueError: There is no such zone.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"expected an IANA time zone such as 'Europe/Zurich', got {name!r}") from None
    return name


@contextmanager
def use_zone(name: str) -> Iterator[None]:
    """Show times in a zone within this block; with an empty name they are shown in UTC."""
    token = _ZONE.set(name)
    try:
        yield
    finally:
        _ZONE.reset(token)


def zone_in_use() -> str:
    """Return the name of the zone in which times are shown; empty if no zone was chosen."""
    return _ZONE.get()


def _local(at: datetime, zone: str | None) -> datetime:
    return at.astimezone(open_zone(_ZONE.get() if zone is None else zone))


def format_offset(at: datetime) -> str:
    """The offset of an instant with a zone, as `+01:00`.

    >>> format_offset(datetime(2026, 7, 1, tzinfo=open_zone("Asia/Kathmandu")))
    '+05:45'
    """
    return at.isoformat()[-6:]


def is_twice(at: datetime) -> bool:
    """Whether the clock of its zone shows this time twice, in the night in which summer time ends.

    >>> zone = open_zone("Europe/Zurich")
    >>> [is_twice(datetime(2026, 10, 25, hour, 30, tzinfo=UTC).astimezone(zone)) for hour in (0, 1, 2)]
    [True, True, False]
    """
    return at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()


def name_zone(at: datetime, zone: str | None = None) -> str:
    """What a clock there is called at an instant: its abbreviation, or its offset where it has none.

    >>> at = datetime(2026, 7, 1, tzinfo=UTC)
    >>> [name_zone(at, zone) for zone in ("Europe/Zurich", "Asia/Kathmandu", "UTC")]
    ['CEST', 'UTC+05:45', 'UTC']
    """
    local = _local(at, zone)
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{format_offset(local)}"


def format_local(at: datetime, zone: str | None = None, *, seconds: bool = False, today: date | None = None) -> str:
    """An instant to the minute by the clock of a zone, with its offset where the clock shows that time twice.

    Args:
        zone: by name; None = the one in use.
        today: of this day the clock alone.

    >>> format_local(datetime(2026, 3, 1, 6, tzinfo=UTC), "Europe/Zurich")
    '2026-03-01 07:00'
    >>> [format_local(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), "Europe/Zurich") for hour in (0, 1)]
    ['2026-10-25 02:30 +02:00', '2026-10-25 02:30 +01:00']
    """
    local = _local(at, zone)
    clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    day = "" if local.date() == today else f"{local:%Y-%m-%d} "
    return f"{day}{clock}{f' {format_offset(local)}' if is_twice(local) else ''}"


def format_instant(at: datetime, zone: str | None = None) -> str:
    """An instant that stands alone, with the name of its zone; without a zone as programs read it, in UTC.

    >>> at = datetime(2026, 3, 1, 6, tzinfo=UTC)
    >>> format_instant(at, "Europe/Zurich"), format_instant(at)
    ('2026-03-01 07:00 CET', '2026-03-01T06:00Z')
    >>> format_instant(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Europe/Zurich")
    '2026-10-25 02:30 +02:00'
    """
    if (_ZONE.get() if zone is None else zone) == UNCHANGED:
        return f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    shown = format_local(at, zone)
    return shown if is_twice(_local(at, zone)) else f"{shown} {name_zone(at, zone)}"  # an offset says more than a name


def describe_zone(at: datetime, zone: str | None = None) -> str:
    """A zone as a page names it once: its place, its abbreviation now and its offset.

    >>> [describe_zone(datetime(2026, 7, 1, tzinfo=UTC), zone) for zone in ("Europe/Zurich", "UTC")]
    ['Europe/Zurich (CEST, UTC+02:00)', 'UTC']
    """
    name = (_ZONE.get() if zone is None else zone) or "UTC"
    local = _local(at, name)
    if open_zone(name) is UTC:
        return "UTC"
    short, offset = name_zone(at, name), f"UTC{format_offset(local)}"
    return f"{name} ({offset})" if short == offset else f"{name} ({short}, {offset})"
