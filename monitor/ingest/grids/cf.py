"""Times and units as the CF conventions write them (cfconventions.org, chapters 3 and 4.4), and dates in names."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from monitor.errors import ConfigError
from monitor.ingest.text.clocks import read_since

_CALENDARS: Final = ("standard", "gregorian", "proleptic_gregorian", "")
# how grids spell units -> how we do; a mass of rain on an area is its depth
_UNITS: Final = {
    "kg m-2": "mm", "kg m**-2": "mm", "kg/m2": "mm", "kg/m^2": "mm", "kg m^-2": "mm",
    "millimeter": "mm", "millimeters": "mm",
    "mm": "mm", "cm": "cm", "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "mm/yr": "mm/yr", "mm/year": "mm/yr", "mm yr-1": "mm/yr", "mm year-1": "mm/yr", "mm/a": "mm/yr",
    "mm/d": "mm/day", "cm/yr": "cm/yr", "cm/year": "cm/yr", "cm year-1": "cm/yr", "m/yr": "m/yr", "m/year": "m/yr",
    "m year-1": "m/yr",
    "mm/day": "mm/day", "mm day-1": "mm/day", "mm d-1": "mm/day", "m/day": "m/day", "m day-1": "m/day",
    "k": "K", "degc": "degC", "celsius": "degC", "degree_celsius": "degC", "%": "%", "1": "1",
}  # fmt: skip
_DATE: Final = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?:[T_ ]?(\d{2}):?(\d{2})(?::?(\d{2}))?Z?)?(?!\d)")


def read_times(numbers: Iterable[float], units: str, calendar: str, name: str) -> tuple[datetime, ...]:
    """Instants of a time axis; without a zone it counts in UTC, as the conventions say.

    >>> read_times([0, 1.5], "hours since 2020-10-31 06:00:00", "", "a.nc")[1].isoformat()
    '2020-10-31T07:30:00+00:00'
    >>> read_times([10], "days since 2020-10-31T00:00:00Z", "standard", "a.nc")[0].isoformat()
    '2020-11-10T00:00:00+00:00'
    >>> read_times([1500], "ms since 2020-10-31", "", "a.nc")[0].isoformat()
    '2020-10-31T00:00:01.500000+00:00'

    Raises:
        ConfigError: the unit or the calendar is none that can be read.
    """
    try:
        if calendar.lower() not in _CALENDARS:
            raise LookupError
        second, begin = read_since(units)
        found = []
        for number in numbers:
            if not isfinite(number):
                raise ValueError
            found.append(begin + timedelta(seconds=round(float(number) * second, 3)))
    except LookupError:
        said = f"time in {units[:60]!r}, calendar {calendar[:30] or 'standard'!r}, cannot be read"
        raise ConfigError(f"{name}: {said}") from None
    except (ValueError, OverflowError):
        raise ConfigError(f"{name}: a time of {units[:60]!r} is none") from None
    return tuple(found)


def read_unit(text: str) -> str:
    """How we spell a unit of a grid; as it stands where we do not know it.

    >>> read_unit("kg m-2"), read_unit("m"), read_unit("furlong")
    ('mm', 'm', 'furlong')
    """
    return _UNITS.get(" ".join(text.split()).lower(), text.strip())


def choose_unit(found: str, said: str | None, name: str) -> str:
    """The unit of a grid: what the file says, or what a person says where it does not.

    Raises:
        ConfigError: neither says it, or they contradict each other.
    """
    unit = read_unit(found)
    if not unit and not said:
        raise ConfigError(f"{name}: the file says no unit: give --unit")
    if unit and said and unit != said:
        raise ConfigError(f"{name}: the file says the unit {unit!r}, not {said!r}")
    return unit or str(said)


def find_date(text: str) -> datetime | None:
    """The one date, or date and time, that a name holds; None where it holds none or several.

    >>> find_date("disp_20240105.tif").isoformat(), find_date("20240105T051230").isoformat(), find_date("a_12.tif")
    ('2024-01-05T00:00:00+00:00', '2024-01-05T05:12:30+00:00', None)
    """
    found = set()
    for match in _DATE.finditer(text):
        parts = [int(part) for part in match.groups() if part is not None]
        try:
            found.add(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type,misc]
        except ValueError:
            continue
    return found.pop() if len(found) == 1 else None
