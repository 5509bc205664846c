"""The stations of a table as a site file declares them: a first file of a new site, or stations that one lacks."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from typing import Final

from forecasting.message import NameList, Template, Term
from monitor.config.first_site import write_first_site
from monitor.config.site_schema import SITE_ID
from monitor.domain.quantities import BATTERY, BATTERY_LEVEL, QUANTITIES, SIGNAL, convert, is_unit_of, list_units
from monitor.domain.site import Site
from monitor.domain.witnesses import find_voting_series
from monitor.errors import ConfigError
from monitor.ingest.files.mapping import name_station
from monitor.ingest.files.reader import Content, Said
from monitor.ingest.files.readers import READERS, WIDE
from monitor.ingest.guess.guess import Guess, Sensor
from monitor.ingest.guess.questions import ONE_OF, Question
from monitor.ingest.guess.spell import quote, spell_stations

PLACE: Final = "place"
DISPLACEMENT: Final = "displacement"
MOTION: Final = (DISPLACEMENT, "crack_opening")
HOLD_DAYS: Final = 3
# measured beside a slope: a bound on it warns of no landslide by itself
BESIDE: Final = frozenset({"rain", "snow_depth", "temperature", "air_pressure", "coherence", BATTERY, BATTERY_LEVEL,
                           SIGNAL})  # fmt: skip
_KEPT_READINGS: Final = 3  # a level is kept for so many of them
_PARTS: Final = ("displacement_east", "displacement_north", "displacement_up")


LEVELS: Final = ("yellow", "orange", "red")  # of a first site file, above the one that it begins with
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
class Bounds:
    """From which values on the levels of a quantity count, as a person set them.

    Args:
        quantity: of all stations that measure it.
        side: over or under.
        values: of the levels above the first one, as many as were given; in the unit that the quantity is stored in.
        author: who set them.
        reason: on what grounds.
    """

    quantity: str
    side: str
    values: tuple[float, ...]
    author: str = ""
    reason: str = ""


def read_bounds(quantity: str, text: str, author: str = "", reason: str = "") -> tuple[Bounds, ...]:
    """What a person wrote as the bounds of a quantity; who and why stand in the site file beside them.

    >>> [(b.side, b.values) for b in read_bounds("tilt_x", "5 10 mrad; under -5 -10")]
    [('over', (5.0, 10.0)), ('under', (-5.0, -10.0))]
    >>> read_bounds("crack_opening", "2.5cm")[0].values
    (25.0,)

    Raises:
        ConfigError: it is no such text; nothing of it is guessed.
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
        found.append(Bounds(quantity, side, values, author, reason))
    sides = [one.side for one in found]
    if len(set(sides)) < len(sides):
        raise ConfigError(_ONE_A_SIDE(quantity=Term(quantity), answer=text))
    if len(found) > 1 and min(b.values[0] for b in found if b.side == SIDES[0]) <= max(
        b.values[0] for b in found if b.side == SIDES[1]
    ):
        raise ConfigError(_ANY_VALUE(quantity=Term(quantity), level=Term(LEVELS[0]), answer=text))
    return tuple(found)


def ask_place(found: Guess, answers: Iterable[str]) -> Guess:
    """For a new site also where it is, unless the file says where a station stands."""
    is_known = found.form != WIDE and (found.known.places or found.questions)  # what is open may say it
    if PLACE in answers or is_known or READERS[found.form].content is Content.POINTS:
        return found
    return replace(found, questions=(*found.questions, Question(PLACE, _WHERE())))


def read_place(text: str) -> tuple[float, float]:
    """Latitude and longitude in degrees; raises ConfigError where a text is no such pair."""
    parts = text.split(",")
    with suppress(ValueError):
        latitude, longitude = (float(part) for part in parts)
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    raise ConfigError(_NO_PLACE(answer=text))


def find_place(known: Said, answers: Mapping[str, str]) -> tuple[float, float]:
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
    name: str, place: tuple[float, float], zone: str, sensors: Sequence[Sensor], bounds: Sequence[Bounds] = (),
    known: Said = Said(),  # noqa: B008 - frozen
) -> str:  # fmt: skip
    """A first site file for the stations of a table; all bounds but those that a person set are examples.

    Raises:
        ConfigError: the name cannot be that of a site, or a bound is of nothing that the table has.
    """
    if re.fullmatch(SITE_ID, name) is None:
        raise ConfigError(_NO_NAME(answer=repr(name)))
    first = write_first_site(name)
    head, _, rest = first.partition("[[station]]")
    tail = rest[rest.index("[fusion]") :]
    head = head.replace("latitude = 46.2\n", f"latitude = {place[0]}\n")
    head = head.replace("longitude = 8.9\n", f"longitude = {place[1]}\n").replace(
        'timezone = "UTC"', f'timezone = "{zone}"'
    )
    moving = {s.station for s in sensors if s.quantity.startswith(MOTION)}
    if len(moving) < 2:
        tail = tail.replace("top_needs = 2 ", "top_needs = 1 ", 1)
    slowest_days = max((s.interval_s or 0.0 for s in sensors), default=0.0) / 86400.0
    hold = f'hold_when_missing = "{max(HOLD_DAYS, math.ceil(HOLD_DAYS * slowest_days))}d"'
    tail = tail.replace(f'hold_when_missing = "{HOLD_DAYS}d"', hold, 1)
    criteria = "\n".join((*_write_criteria(sensors), *_spell_bounds(sensors, LEVELS, bounds)))
    return f"{head}{spell_stations(sensors, known)}\n{criteria}\n{tail}"


def find_absent(site: Site, sensors: Iterable[Sensor]) -> list[Sensor]:
    """The series of stations that a site file does not name."""
    return [s for s in sensors if site.station(s.station) is None]


def _find_unjudged(site: Site, sensors: Iterable[Sensor]) -> list[Sensor]:
    """The series of a table that say something of the slope, and that no criterion of the site hears."""
    heard = find_voting_series(site)

    def is_heard(sensor: Sensor) -> bool:
        station = site.station(sensor.station)
        spec = None if station is None else station.find_series(sensor.quantity)
        return spec is not None and (sensor.station, spec.quantity) in heard

    return [s for s in sensors if s.quantity not in BESIDE and not is_heard(s)]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What no criterion hears: its quantities, and a criterion for the first series that lacks only its bounds."""

    quantities: tuple[str, ...]
    criterion: str


def tell_unjudged(site: Site, sensors: Iterable[Sensor]) -> Unjudged | None:
    """What nothing judges of a table at a site, and how it would be; None where all of it is."""
    unjudged = _find_unjudged(site, sensors)
    if not unjudged:
        return None
    quantities = tuple(dict.fromkeys(s.quantity for s in unjudged))
    return Unjudged(quantities, spell_criterion(unjudged[0], [level.name for level in site.levels[1:]]))


def spell_criterion(sensor: Sensor, levels: Iterable[str], bounds: Bounds | None = None) -> str:
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


def _spell_bounds(sensors: Iterable[Sensor], levels: Sequence[str], bounds: Iterable[Bounds]) -> Iterator[str]:
    known = list(sensors)
    for one in bounds:
        own = [s for s in known if s.quantity == one.quantity]
        if not own:
            had = NameList(tuple(dict.fromkeys(s.quantity for s in known)))
            raise ConfigError(_NOT_THERE(quantity=Term(one.quantity), names=had))
        if len(one.values) > len(levels):
            raise ConfigError(_TOO_MANY(quantity=Term(one.quantity), n=len(one.values), levels=len(levels)))
        yield from (f"{spell_criterion(sensor, levels, one)}\n" for sensor in own)


def spell_more(
    sensors: Sequence[Sensor], levels: Sequence[str], bounds: Sequence[Bounds] = (), known: Said = Said()  # noqa: B008 - frozen
) -> str:  # fmt: skip
    """Stations that a site file lacks, and criteria with the bounds that a person set for them."""
    return "\n".join((spell_stations(sensors, known), *_spell_bounds(sensors, levels, bounds)))


def add_stations(
    site: Site, source: str, sensors: Sequence[Sensor], bounds: Sequence[Bounds] = (), known: Said = Said()  # noqa: B008 - frozen
) -> str:  # fmt: skip
    """A site file with stations that it lacks, at its end; what stands there stays as it is."""
    return f"{source.rstrip()}\n\n{spell_more(sensors, [level.name for level in site.levels[1:]], bounds, known)}"


def _find_movers(sensors: Iterable[Sensor]) -> dict[str, list[Sensor]]:
    """Series that say how fast a station moves, by what the site file calls their quantity.

    Along one line, or to the east and to the north: a station that goes up and down alone says no velocity.
    """
    known = [s for s in sensors if s.quantity.startswith(DISPLACEMENT)]
    found: dict[str, list[Sensor]] = {}
    for s in known:
        beside = {other.quantity for other in known if other.station == s.station}
        if s.quantity not in _PARTS:
            found.setdefault(s.quantity, []).append(s)
        elif set(_PARTS[:2]) <= beside:
            found.setdefault(DISPLACEMENT, []).append(s)
    return found


def _write_criteria(sensors: Iterable[Sensor]) -> Iterable[str]:
    """Bounds to begin with, for what moves and for rain."""
    known = list(sensors)
    movers = _find_movers(known)
    for quantity, own in movers.items():
        every = max((s.interval_s or 3600.0) for s in own)
        days = max(1, round(12 * every / 86400.0))  # a dozen readings in the shortest window
        stations = ", ".join(f'"{station}"' for station in sorted({s.station for s in own}))
        yield (
            "[[criterion]]\n"
            'kind = "velocity"\n'
            f"stations = [{stations}]\n"
            + (f'quantity = "{quantity}"\n' if quantity != DISPLACEMENT else "")
            + f'yellow = {{over = 2.0, window = "{14 * days}d"}}  # mm/day; change all of them: they are examples\n'
            f'orange = {{over = 20.0, window = "{4 * days}d"}}\n'
            f'red = {{over = 100.0, window = "{days}d"}}\n'
            "min_sigma = 3.0\n"
            f'valid_for = "{2 * days}d"\n'
        )
    stations_moving = {s.station for own in movers.values() for s in own}
    for s in known:
        every_days = max(1, round(12 * (s.interval_s or 3600.0) / 86400.0))
        if s.quantity == "crack_opening" or (s.quantity in _PARTS and s.station not in stations_moving):
            yield (
                "[[criterion]]\n"
                'kind = "rate"\n'
                f'series = "{s.station}.{s.quantity}"\n'
                f'yellow = {{over = 2.0, window = "{4 * every_days}d"}}  # mm per day\n'
                f'orange = {{over = 20.0, window = "{2 * every_days}d"}}\n'
                f'red = {{over = 100.0, window = "{every_days}d"}}\n'
            )
        elif s.quantity == "rain" and (s.interval_s or 0.0) <= 86400.0:
            yield (
                "[[criterion]]\n"
                'kind = "rain_sum"\n'
                f'series = "{s.station}.rain"\n'
                'yellow = {over = 60.0, window = "2d"}  # mm\n'
                "min_coverage = 0.8\n"
            )
