"""The stations of a table as a site file declares them: a first file of a new site, or stations that one lacks."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from typing import Final

from forecasting.message import NameList, Template, Term
from monitor.config.first_site import INTERVALS_LEAST, LONGEST_WAIT_S, write_first_site
from monitor.config.site import parse_site
from monitor.decision.judgements import is_judged
from monitor.domain.errors import ConfigError
from monitor.domain.instants import format_duration
from monitor.domain.quantities import (
    BATTERY,
    BATTERY_LEVEL,
    MOTION,
    QUANTITIES,
    SIGNAL,
    convert,
    is_unit_of,
    list_units,
)
from monitor.domain.site import SITE_ID, Site
from monitor.domain.witnesses import find_voting_series
from monitor.extensions.table_import.guess.guess import SensorGuess, TableGuess
from monitor.extensions.table_import.guess.questions import ONE_OF, FileQuestion
from monitor.extensions.table_import.guess.record import PARTS, find_bases, list_in_space
from monitor.extensions.table_import.guess.toml_writer import format_stations, quote
from monitor.ingest.files.mapping import name_station
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.readers import WIDE

PLACE: Final = "place"
DISPLACEMENT: Final = "displacement"
HOLD_DAYS: Final = 3
# measured beside a slope: a bound on it warns of no landslide by itself
AUXILIARY: Final = frozenset(
    {"rain", "snow_depth", "temperature", "air_pressure", "coherence", BATTERY, BATTERY_LEVEL, SIGNAL}
)
_KEPT_READINGS: Final = 3  # a level is kept for so many of them

LEVELS: Final = ("yellow", "orange", "red")  # of a first site file, above the one that it begins with
EXAMPLES: Final = ((14 * 86400.0, 2.0), (4 * 86400.0, 20.0), (86400.0, 100.0))  # windows and bounds in mm/day
INTERVALS_USUAL: Final = 12  # in a window, where that is not too long to wait
SIDES: Final = ("over", "under")
_NUMBERS_WANTED: Final = Template(
    "bound.numbers", "bound of {quantity}: expected numbers parted by blanks, such as '5 10 20 {unit}', got '{answer}'"
)
_OTHER_UNIT: Final = Template("bound.unit", "bound of {quantity}: '{unit}' is no unit of it; {units}")
_NOT_FARTHER: Final = Template(
    "bound.order", "bound of {quantity}: each level lies farther out than the one before, got '{answer}'"
)
_ONE_A_SIDE: Final = Template("bound.sides", "bound of {quantity}: one part for each side, got '{answer}'")
_ANY_VALUE: Final = Template("bound.any", "bound of {quantity}: any value would reach '{level}', got '{answer}'")
_NOT_THERE: Final = Template("bound.absent", "bound of {quantity}: the table has no such quantity; it has {names}")
_TOO_MANY: Final = Template("bound.many", "bound of {quantity}: {n} numbers for {levels} levels")
_WHERE: Final = Template("guess.ask.place", "where is the slope? latitude,longitude in degrees, such as 46.2,8.9")
_NO_PLACE: Final = Template(
    "guess.place.odd", "place: expected latitude,longitude in degrees such as 46.2,8.9, got '{answer}'"
)
_NO_NAME: Final = Template("guess.site.name", "site: expected small letters, digits and hyphens, got {answer}")
_NUMBERS: Final = re.compile(r"((?:[+-]?\d+(?:\.\d+)?(?:\s+|$|(?=[^\s\d.,+-])))+)(\S*)")


@dataclass(frozen=True, slots=True)
class LevelBounds:
    """From which values on the levels of a quantity count, as a person set them."""

    quantity: str  # of all stations that measure it
    side: str  # over or under
    # of the levels above the first one, as many as were given; in the unit that the quantity is stored in
    values: tuple[float, ...]
    author: str = ""  # who set them
    reason: str = ""  # on what grounds


def read_bounds(quantity: str, text: str, author: str = "", reason: str = "") -> tuple[LevelBounds, ...]:
    """What a person wrote as the bounds of a quantity; who and why stand in the site file beside them.

    >>> [(b.side, b.values) for b in read_bounds("tilt_x", "5 10 mrad; under -5 -10")]
    [('over', (5.0, 10.0)), ('under', (-5.0, -10.0))]
    >>> read_bounds("crack_opening", "2.5cm")[0].values
    (25.0,)

    Raises ConfigError: it is no such text; nothing of it is guessed.
    """
    if quantity not in QUANTITIES:
        raise ConfigError(ONE_OF(key="bound", names=NameList(tuple(sorted(QUANTITIES))), answer=quantity))
    canonical = QUANTITIES[quantity].unit
    found = []
    for part in text.split(";"):
        side, _, rest = part.strip().partition(" ")
        side, rest = (side, rest.strip()) if side in SIDES else (SIDES[0], part.strip())
        if (match := _NUMBERS.fullmatch(rest)) is None:
            raise ConfigError(_NUMBERS_WANTED(quantity=Term(quantity), unit=canonical, answer=text))
        unit = match[2] or canonical
        if not is_unit_of(unit, quantity):
            units = NameList(tuple(list_units(quantity, unit)))
            raise ConfigError(_OTHER_UNIT(quantity=Term(quantity), unit=unit, units=units))
        values = tuple(convert(float(number), unit, canonical) for number in match[1].split())
        if any((b < a) if side == SIDES[0] else (b > a) for a, b in pairwise(values)):
            raise ConfigError(_NOT_FARTHER(quantity=Term(quantity), answer=text))
        found.append(LevelBounds(quantity, side, values, author, reason))
    sides = [one.side for one in found]
    if len(set(sides)) < len(sides):
        raise ConfigError(_ONE_A_SIDE(quantity=Term(quantity), answer=text))
    if len(found) > 1 and min(b.values[0] for b in found if b.side == SIDES[0]) <= max(
        b.values[0] for b in found if b.side == SIDES[1]
    ):
        raise ConfigError(_ANY_VALUE(quantity=Term(quantity), level=Term(LEVELS[0]), answer=text))
    return tuple(found)


def request_place(found: TableGuess, answers: Iterable[str]) -> TableGuess:
    """For a new site also where it is, unless the file says where a station stands."""
    is_known = found.form != WIDE and (found.known.places or found.questions)  # what is open may say it
    if PLACE in answers or is_known:
        return found
    return replace(found, questions=(*found.questions, FileQuestion(PLACE, _WHERE())))


def read_place(text: str) -> tuple[float, float]:
    """Latitude and longitude in degrees; raises ConfigError where a text is no such pair."""
    parts = text.split(",")
    with suppress(ValueError):
        latitude, longitude = (float(part) for part in parts)
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    raise ConfigError(_NO_PLACE(answer=text))


def find_place(known: ImportOptions, answers: Mapping[str, str]) -> tuple[float, float]:
    """Where a new site is: as a person says, else where the first station stands; raises ConfigError."""
    if PLACE not in answers and known.places:
        return round(known.places[0].latitude, 6), round(known.places[0].longitude, 6)
    return read_place(answers.get(PLACE, ""))


def name_site(stem: str) -> str:
    """A site id made of the name of a file.

    >>> name_site("Messung_Hang Süd"), name_site("监测")
    ('messung-hang-sud', 'slope')
    """
    return name_station(stem).lower().replace("_", "-")[:64] or "slope"


def write_site(
    name: str,
    place: tuple[float, float],
    zone: str,
    sensors: Sequence[SensorGuess],
    bounds: Sequence[LevelBounds] = (),
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
) -> str:
    """A first site file for the stations of a table; all bounds but those that a person set are examples.

    Raises ConfigError: the name cannot be that of a site, or a bound is of nothing that the table has.
    """
    if re.fullmatch(SITE_ID, name) is None:
        raise ConfigError(_NO_NAME(answer=repr(name)))
    first = write_first_site(name)
    head, _, rest = first.partition("[[station]]")
    tail = rest[rest.index("[fusion]") :]
    head = head.replace("latitude = 46.2 ", f"latitude = {place[0]} ", 1)
    head = head.replace("longitude = 8.9 ", f"longitude = {place[1]} ", 1).replace('"UTC"', f'"{zone}"', 1)
    bases = find_bases(sensors)
    moving = [s for s in sensors if s.quantity.startswith(MOTION) and s.station not in bases]
    fast = {s.station for s in moving if LEVELS[-1] in choose_windows(s.interval_s or 3600.0, LEVELS)}
    if len(fast) < 2:
        tail = tail.replace("top_needs = 2 ", "top_needs = 1 ", 1)
    reports = () if fast or not moving else (_REPORT,)
    slowest_days = max((s.interval_s or 0.0 for s in sensors), default=0.0) / 86400.0
    hold = f'hold_when_missing = "{max(HOLD_DAYS, math.ceil(HOLD_DAYS * slowest_days))}d"'
    tail = tail.replace(f'hold_when_missing = "{HOLD_DAYS}d"', hold, 1)
    examples = (*_format_motion(moving, LEVELS), *reports, *_format_rain(sensors))
    criteria = "\n".join((*examples, *_format_bounds(sensors, LEVELS, bounds)))
    return f"{head}{format_stations(sensors, known, bases)}\n{criteria}\n{tail}"


def find_absent(site: Site, sensors: Iterable[SensorGuess]) -> list[SensorGuess]:
    """The series of stations that a site file does not name."""
    return [s for s in sensors if site.station(s.station) is None]


def _find_unjudged(site: Site, sensors: Iterable[SensorGuess]) -> list[SensorGuess]:
    """Return the series of a table that show the state of the slope, and that can raise no level of the site."""
    return [s for s in sensors if s.quantity not in AUXILIARY and not is_judged(site, s.station, s.quantity)]


@dataclass(frozen=True, slots=True)
class UnusedQuantities:
    """What no criterion hears: its quantities, and a criterion for the first series that lacks only its bounds."""

    quantities: tuple[str, ...]
    criterion: str


def describe_unused(site: Site, sensors: Iterable[SensorGuess]) -> UnusedQuantities | None:
    """What nothing judges of a table at a site, and how it would be; None where all of it is."""
    unjudged = _find_unjudged(site, sensors)
    if not unjudged:
        return None
    quantities = tuple(dict.fromkeys(s.quantity for s in unjudged))
    return UnusedQuantities(quantities, format_criterion(unjudged[0], [level.name for level in site.levels[1:]]))


def format_criterion(sensor: SensorGuess, levels: Iterable[str], bounds: LevelBounds | None = None) -> str:
    """A criterion for a series; without bounds BOUND stands where a person puts a number."""
    unit = QUANTITIES[sensor.quantity].unit
    side = SIDES[0] if bounds is None else bounds.side
    values = repeat("BOUND") if bounds is None else map(repr, bounds.values)
    lines = ["[[criterion]]", 'kind = "level"', f'series = "{sensor.station}.{sensor.quantity}"']
    days = math.ceil(_KEPT_READINGS * (sensor.interval_s or 0.0) / 86400.0)
    lines += [f'valid_for = "{days}d"'] if bounds is not None and days > 1 else []
    pairs = zip(levels, values, strict=False)
    lines += [f"{level} = {{{side} = {value}}}  # {unit}" for level, value in pairs]
    if bounds is not None and bounds.author:
        lines += [f"author = {quote(bounds.author)}", f"reason = {quote(bounds.reason)}"]
    return "\n".join(lines)


def _format_bounds(
    sensors: Iterable[SensorGuess], levels: Sequence[str], bounds: Iterable[LevelBounds]
) -> Iterator[str]:
    known = list(sensors)
    for one in bounds:
        own = [s for s in known if s.quantity == one.quantity]
        if not own:
            had = NameList(tuple(dict.fromkeys(s.quantity for s in known)))
            raise ConfigError(_NOT_THERE(quantity=Term(one.quantity), names=had))
        if len(one.values) > len(levels):
            raise ConfigError(_TOO_MANY(quantity=Term(one.quantity), n=len(one.values), levels=len(levels)))
        yield from (f"{format_criterion(sensor, levels, one)}\n" for sensor in own)


def format_additions(
    site: Site,
    sensors: Sequence[SensorGuess],
    bounds: Sequence[LevelBounds] = (),
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
) -> str:
    """Stations that a site file lacks, with criteria: by bounds that a person set, and examples for motion not judged.

    A station of motion that falls under no criterion of the file gets one, whatever it is called.
    """
    levels = [level.name for level in site.levels[1:]]
    bases = find_bases(sensors, others=any(q.startswith(MOTION) for _, q in find_voting_series(site)))
    given = "\n".join((format_stations(sensors, known, bases), *_format_bounds(sensors, levels, bounds)))
    whole = parse_site(f"{site.source}\n{given}", site.id)
    motion = [s for s in _find_unjudged(whole, sensors) if s.quantity.startswith(MOTION)]
    return "\n".join((given, *_format_motion(motion, levels, is_first=False)))


def add_stations(
    site: Site,
    sensors: Sequence[SensorGuess],
    bounds: Sequence[LevelBounds] = (),
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
) -> str:
    """A site file with stations that it lacks, at its end; what stands there stays as it is."""
    return f"{site.source.rstrip()}\n\n{format_additions(site, sensors, bounds, known)}"


def choose_windows(interval_s: float, levels: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Window in seconds and bound in mm/day of each level that readings so far apart can warn of in time.

    A window holds a dozen intervals, and is no longer than a warning of its level may wait for. Where four intervals do
    not fit into that, the level is left out.

    >>> {level: window_s / 86400 for level, (window_s, _) in choose_windows(86400.0, LEVELS).items()}
    {'yellow': 14.0, 'orange': 7.0}
    """
    below = zip(reversed(levels), reversed(EXAMPLES), LONGEST_WAIT_S, strict=False)  # the top level first
    found = [
        (level, (min(most_s, max(usual_s, 3600.0 * math.ceil(INTERVALS_USUAL * interval_s / 3600.0))), bound))
        for level, (usual_s, bound), most_s in below
        if INTERVALS_LEAST * interval_s <= most_s
    ]
    return dict(reversed(found))


def _list_ways(sensors: Sequence[SensorGuess]) -> Iterator[tuple[str, str, str, list[SensorGuess]]]:
    """Kind, side and quantity of the criteria for series of motion, and the series that each is for.

    A line may be read from either end, so it is watched towards both sides. Height is watched by itself where it is all
    that a station says, or all that surely moves.
    """
    in_space = list_in_space(sensors)
    lines: dict[str, list[SensorGuess]] = {}
    for s in sensors:
        is_part = s.station in in_space and s.quantity in PARTS
        rises = s.motion is not None and s.motion.is_sure_in_height and not s.motion.is_sure
        if not is_part or (s.quantity == PARTS[2] and rises):
            lines.setdefault(s.quantity, []).append(s)
    if vectors := [s for s in sensors if s.station in in_space and s.quantity in PARTS]:
        yield "velocity", SIDES[0], DISPLACEMENT, vectors + lines.get(DISPLACEMENT, [])
    for quantity, own in lines.items():
        kind = "velocity" if quantity.startswith(DISPLACEMENT) and quantity not in PARTS else "rate"
        if quantity != DISPLACEMENT or not vectors:
            yield kind, SIDES[0], quantity, own
        yield "rate", SIDES[1], quantity, own


def _format_motion(sensors: Sequence[SensorGuess], levels: Sequence[str], *, is_first: bool = True) -> Iterator[str]:
    """Bounds to begin with for what moves, by how often it is read.

    In a first site file a glob takes all stations that measure it, and those that are added later.
    """
    in_space = list_in_space(sensors)
    for kind, side, quantity, own in _list_ways(sensors):
        every: dict[str, float] = {}
        for s in own:
            every[s.station] = max(every.get(s.station, 0.0), s.interval_s or 3600.0)
        # a glob takes every station that declares a displacement for a part of it
        glob = {quantity, DISPLACEMENT} if quantity in PARTS else {quantity}
        matched = {s.station for s in sensors if s.quantity in glob}
        matched |= in_space.keys() if quantity.startswith(DISPLACEMENT) else set()
        paces = {station: tuple(choose_windows(pace_s, levels).items()) for station, pace_s in every.items()}
        takes_all = is_first and matched == every.keys() and all(paces.values())
        for windows in sorted(set(paces.values()), key=lambda w: -sum(window_s for _, (window_s, _) in w)):
            stations = sorted(station for station, pace in paces.items() if pace == windows)
            slowest_s = max(every[station] for station in stations)
            names = '"*"' if takes_all else ", ".join(map(quote, stations))
            yield _format_rates(kind, side, quantity, names, slowest_s, levels)
            takes_all = False  # faster ones besides


def _format_rates(kind: str, side: str, quantity: str, names: str, interval_s: float, levels: Sequence[str]) -> str:
    windows = choose_windows(interval_s, levels)
    lines = ["[[criterion]]", f'kind = "{kind}"', f"stations = [{names}]", f'quantity = "{quantity}"']
    lines += [
        f'{level} = {{{side} = {bound if side == SIDES[0] else -bound}, window = "{format_duration(round(window_s))}"}}'
        "  # mm/day, an example: change it"
        for level, (window_s, bound) in windows.items()
    ]
    every = format_duration(max(1, round(interval_s)))
    lines += [
        f"# {level}: left out. A warning of it may wait for {format_duration(round(wait_s))}, and {INTERVALS_LEAST} "
        f"intervals of {every} take longer: read it more often, or add an instrument that is read so"
        for level, wait_s in reversed([*zip(reversed(levels), LONGEST_WAIT_S, strict=False)])
        if level not in windows
    ]
    days = max(2, math.ceil(_KEPT_READINGS * interval_s / 86400.0))
    lines += ["min_sigma = 3.0", f'valid_for = "{days}d"']
    return "\n".join(lines if windows else [f"# {line.removeprefix('# ')}" for line in lines]) + "\n"


def _format_rain(sensors: Iterable[SensorGuess]) -> Iterator[str]:
    """A bound to begin with for rain that is read each day."""
    for s in sensors:
        if s.quantity == "rain" and (s.interval_s or 0.0) <= 86400.0:
            lines = ("[[criterion]]", 'kind = "rain_sum"', f'series = "{s.station}.rain"')
            yield "\n".join((*lines, 'yellow = {over = 60.0, window = "2d"}  # mm', "min_coverage = 0.8\n"))


_REPORT: Final = f"""\
[[criterion]]                          # nothing here is read often enough for {LEVELS[-1]}: two people raise it
kind = "report"
kinds = ["rockfall", "road_damage"]
needs = 2
level = "{LEVELS[-1]}"
"""
