"""Times, units and sums as the CF conventions write them (cfconventions.org, chapters 3 and 4.4); dates in names."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.errors import ConfigError
from monitor.ingest.files.reader import StationPlace
from monitor.ingest.text.counts import read_since
from monitor.ingest.text.time_words import ZONES
from monitor.text.names import list_names

# what models that count from their beginning, or from midnight, call their rain: ERA5-Land, IFS, WRF, COSMO, ICON, GFS
_RUNNING: Final = (
    *("tp", "lsp", "cp", "rainnc", "rainc", "rainsh", "snownc", "tot_prec"),
    *("acpcp", "apcp", "acprcp", "total_precipitation"),
)
_WORDS: Final = ("accum", "running sum", "since the start", "cumul")
COUNTER: Final = "counter"
_RAIN: Final = re.compile(r"rain|prec|\btp\b|regen|nieder|pluie|pioggia|lluvia|chuva", re.IGNORECASE)
_NO_RAIN: Final = re.compile(r"evap|transpir|snow|run_?off|soil|moisture|temperature|\be?sf\b", re.IGNORECASE)
# how values of an interval came about (CF conventions, appendix E; ecCodes), where that is no sum
_NO_SUM: Final = re.compile(
    r"\btime\d*: *(?:mean|max\w*|min\w*|median|mid_range|standard_deviation|variance|range)|^\s*(?:avg|max|min)$"
)


def find_no_rain(names: Sequence[str], methods: str) -> str:
    """What a variable says of itself that sums of rain are not, by its names or by how its values came about.

    >>> find_no_rain(["sf", "Snowfall"], ""), find_no_rain(["rr", "rain and snow"], "area: mean time: sum")
    ("'Snowfall'", '')
    >>> find_no_rain(["pr"], "time: maximum (interval: 1 hour)")
    "'time: maximum'"
    """
    others = [name for name in names if _NO_RAIN.search(name)]
    if others and not _RAIN.search(" ".join(names)):
        return repr(max(others, key=len)[:60])
    found = _NO_SUM.search(methods)
    return repr(found[0].strip()) if found else ""


def may_add_up(name: str, texts: Iterable[str]) -> bool:
    """Whether a variable is called as models call rain that adds up; its values may still be those of each hour.

    >>> may_add_up("RAINNC", ()), may_add_up("precip", ["Accumulated total"]), may_add_up("precip", ["of the hour"])
    (True, True, False)
    """
    text = " ".join(texts).lower()
    return name.lower() in _RUNNING or any(term in text for term in _WORDS)


def classify_sums(stations: Iterable[Iterable[tuple[float, float]]]) -> bool | None:
    """Whether what a grid says at its stations, (seconds, amount), adds up; None where nobody can tell."""
    found = [adds_up(sorted(rows)) for rows in stations]
    yes, no = found.count(True), found.count(False)
    return None if not yes and not no else yes >= no


def check_stamp(
    name: str, places: Sequence[StationPlace], stamp: str | None, *, adds: bool | None, is_doubtful: bool
) -> None:
    """Refuse rain that adds up where the site file does not say so, and the other way round.

    Args:
        stamp: what a person says: interval_end or counter.
        adds: what the values or the file say; None where nobody can tell.
        is_doubtful: it is called as rain that adds up, and not all of it is nothing.

    Raises:
        ConfigError: one line, with what to do.
    """
    declared = [place for place in places if place.rain] or list(places)
    sums = [place.station for place in declared if place.rain != COUNTER]
    counters = [place.station for place in declared if place.rain == COUNTER]
    if stamp is not None:
        adds = stamp == COUNTER
    if adds and sums:
        raise ConfigError(
            f"{name}: its rain adds up from a beginning: no value is the rain of its own interval. Declare "
            f'stamp = "counter" for the rain of {list_names(sums)} in the site file'
        )
    if adds is False and counters:
        raise ConfigError(
            f"{name}: each value is the rain of its own interval, and the site file says stamp = "
            f'"counter" for {list_names(counters)}: leave that out there'
        )
    # where no rain is declared nothing reads it before somebody says what it is
    if adds is None and is_doubtful and sums and declared[0].rain:
        raise ConfigError(
            f"{name}: such rain may add up from a beginning, and too few layers show it. Say --stamp interval_end "
            'where each value is the rain of its own interval; else declare stamp = "counter" for the rain of '
            f"{list_names(sums)} in the site file"
        )


_CALENDARS: Final = ("standard", "gregorian", "proleptic_gregorian", "")
_REFORMED: Final = datetime(1582, 10, 15, tzinfo=UTC)
# how grids spell units -> how we do; a mass of rain on an area is its depth
_UNITS: Final = {
    text: unit
    for unit, texts in {
        "mm": ("kg m-2", "kg m**-2", "kg/m2", "kg/m^2", "kg m^-2", "kg/(m^2)", "millimeter", "millimeters", "mm"),
        "cm": ("cm",),
        "m": ("m", "meter", "meters", "metre", "metres"),
        "mm/yr": ("mm/yr", "mm/year", "mm yr-1", "mm year-1", "mm/a"),
        "cm/yr": ("cm/yr", "cm/year", "cm year-1"),
        "m/yr": ("m/yr", "m/year", "m year-1"),
        "mm/day": ("mm/d", "mm/day", "mm day-1", "mm d-1"),
        "m/day": ("m/day", "m day-1"),
        "rad": ("radian", "radians"),
        "K": ("k",),
        "degC": ("degc", "celsius", "degree_celsius"),
        "%": ("%",),
        "1": ("1",),
    }.items()
    for text in texts
}
_DATE: Final = re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)")
# how a clock stands behind its date: 0050, -S003000, T00:50Z, _00-50-30, -6h, 06Z; two figures alone close behind it
_CLOCK: Final = re.compile(
    r"(?:[-_. ]?[TSts]|[-_. ])?([01]\d|2[0-3]|24(?=\D?00))([:.\-_h]?)([0-5]\d)(?:\2([0-5]\d))?(?:[.,]\d+)?"
    r"(?:Z|UTC|utc|z)?(?![\dA-Za-z:])"
    r"|(?:[-_. ]?[Tt]|[-_. ])?(\d|[01]\d|2[0-4])(?:[hH]|[zZ]|UTC|utc)(?![\dA-Za-z])"
    r"|[-_. ]?T([01]\d|2[0-4])(?![\dA-Za-z:])|([01]\d|2[0-4])(?!\d)"
)
# the zone of a clock: +0100, CET
_AHEAD: Final = re.compile(r"\+(\d\d):?([0-5]\d)?(?!\d)|[-_. ]?([A-Z]{3,4})(?![A-Za-z])")
# a zone, but which one: of the place, or what may be the end of an interval
_UNSURE: Final = re.compile(r"[-_. ]?(?:LT|LST|local(?:time)?)(?![A-Za-z])|-\d\d:?[0-5]\d(?!\d)", re.IGNORECASE)
_END: Final = re.compile(r"[-_. ]?E(\d\d)(\d\d)(\d\d)(?!\d)")  # of an interval whose beginning stands before


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
        if begin < _REFORMED and not calendar.lower().startswith("proleptic"):
            raise LookupError  # from there the usual calendar counts Julian days: two more since the year 1
        found = []
        for number in numbers:
            if not isfinite(number):
                raise ValueError
            found.append(begin + timedelta(seconds=round(float(number) * second, 3)))
    except LookupError:
        problem = f"time in {units[:60]!r}, calendar {calendar[:30] or 'standard'!r}, cannot be read"
        raise ConfigError(f"{name}: {problem}") from None
    except (ValueError, OverflowError):
        raise ConfigError(f"{name}: a time of {units[:60]!r} is none") from None
    return tuple(found)


def read_unit(text: str) -> str:
    """How we spell a unit of a grid; as it stands where we do not know it.

    >>> read_unit("kg m-2"), read_unit("m"), read_unit("furlong")
    ('mm', 'm', 'furlong')
    """
    return _UNITS.get(" ".join(text.split()).lower(), text.strip())


def choose_unit(found: str, given: str | None, name: str) -> str:
    """The unit of a grid: what the file says, or what a person says where it does not.

    Raises:
        ConfigError: neither says it, or they contradict each other.
    """
    unit = read_unit(found)
    if not unit and not given:
        raise ConfigError(f"{name}: the file says no unit: give --unit")
    if unit and given and unit != given:
        raise ConfigError(f"{name}: the file says the unit {unit!r}, not {given!r}")
    return unit or str(given)


def _find_ahead(behind: str) -> timedelta:
    """How far ahead of UTC the clock is behind which this stands in a name."""
    found = _AHEAD.match(behind)
    if found is None:
        return timedelta()
    hours, minutes = int(found[1] or ZONES.get(found[3], 0)), int(found[2] or 0)
    return timedelta(hours=hours, minutes=minutes)


def find_date(text: str, *, ends: bool = False) -> datetime | None:
    """The one date, or date and time, that a name holds; None where it holds none or several.

    Where it says when an interval begins and ends, the end counts if that is asked for (`ends`).

    >>> find_date("disp_20240105.tif").isoformat(), find_date("20240105T051230").isoformat(), find_date("a_12.tif")
    ('2024-01-05T00:00:00+00:00', '2024-01-05T05:12:30+00:00', None)
    >>> [find_date(name).isoformat()[11:16] for name in ("RW_20240105-0050.tif", "X.20240105-S003000-E005959.0030.tif")]
    ['00:50', '00:30']
    >>> [str(find_date(f"20240105T0630{zone}.tif"))[11:16] for zone in ("+0100", "_CEST", "_UTC", "-0500", "_LST")]
    ['05:30', '04:30', '06:30', '', '']
    """
    found = set()
    for match in _DATE.finditer(text):
        try:
            day = datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=UTC)
        except ValueError:
            continue
        after = text[match.end() :]
        clock = _CLOCK.match(after)
        if clock is None and after[:1].isdigit():
            continue  # part of a longer number
        length = timedelta()
        if clock is not None:
            hour, _, minute, second, *bare = clock.groups("0")
            length = timedelta(hours=max(map(int, (hour, *bare))), minutes=int(minute), seconds=int(second))
            zone = after[clock.end() :]
            if (clock[0][0] in "Tt" or not zone.startswith("-")) and _UNSURE.match(zone):
                return None
            day -= _find_ahead(zone)
        if ends and clock is not None and (end := _END.match(after[clock.end() :])):
            until = timedelta(hours=int(end[1]), minutes=int(end[2]), seconds=int(end[3]))
            until += timedelta(seconds=1) if until.seconds % 60 == 59 else timedelta()
            length = until if until > length else until + timedelta(days=1)
        found.add(day + length)
    return found.pop() if len(found) == 1 else None
