"""Write the stations of a table into a site file: a new file, or the stations that an existing file lacks."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from monitor.api.decision import DaysAtLevel, PreparedSite, WarningSummary, is_judged
from monitor.api.errors import ConfigError
from monitor.api.files import ImportOptions
from monitor.api.ingest import name_station
from monitor.api.queries.ingest import WIDE
from monitor.api.sites import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    EXAMPLES_COMMENT,
    MOTION_PREFIXES,
    QUANTITIES,
    SIGNAL_STRENGTH,
    SITE_ID,
    Site,
    convert,
    find_voting_series,
    is_unit_of,
    list_units,
    parse_site,
    write_first_site,
)
from monitor.api.text import Message, NameList, Template, Term, format_duration
from monitor.features.table_import.guess.bounds import LevelWindow, choose_dwell, merge_bounds, propose_bounds
from monitor.features.table_import.guess.grids import parse_place
from monitor.features.table_import.guess.guess import SensorGuess, TableGuess
from monitor.features.table_import.guess.motion import PARTS, find_bases, list_in_space
from monitor.features.table_import.guess.questions import ONE_OF, FileQuestion
from monitor.features.table_import.guess.toml_writer import format_stations, format_total_stations, quote

PLACE: Final = "place"
DISPLACEMENT: Final = "displacement"
HOLD_DAYS: Final = 3
# Conditions beside the slope. A bound on one of them does not warn of a landslide by itself.
AUXILIARY: Final = frozenset(
    {"rain", "snow_depth", "temperature", "air_pressure", "coherence", BATTERY_VOLTAGE, BATTERY_LEVEL, SIGNAL_STRENGTH}
)
# Series or stations that are named in one sentence.
_NAMED: Final = 20
# Number of usual intervals for which a level stays valid.
_KEPT_READINGS: Final = 3

# Levels of a new site file above the lowest one.
LEVELS: Final = ("yellow", "orange", "red")
# Time left until the failure window at which each of these levels is raised.
WITHIN: Final = ("30d", "10d", "3d")
DAILY_S: Final = 1.1 * 86400.0
SIDES: Final = ("over", "under")
# The quantity whose units bounds on speeds have.
_SPEED: Final = "velocity"
_NUMBERS_WANTED: Final = Template(
    "bound.numbers",
    "bound of {quantity}: expected numbers separated by blanks, such as '5 10 20 {unit}', got '{answer}'",
)
_OTHER_UNIT: Final = Template("bound.unit", "bound of {quantity}: '{unit}' is no unit of it; {units}")
_NOT_FARTHER: Final = Template(
    "bound.order",
    "bound of {quantity}: each level needs a bound that is not nearer than that of the level before, got '{answer}'",
)
_HEADER: Final = """\
# The bounds below were derived from a record, or are fixed bounds where their comments say so.
# A geologist must confirm them: they prove nothing about this slope. How: page /help/how-to/write-a-site-file of the
# service, section "Confirm the bounds of a new file".
# The comment above a bound gives, for the station with the largest values:
#   steady speed: four fifths of the speeds of the record are higher, in windows of up to 30 days;
#   usual largest speed: the median, over up to twelve parts of the record, of the largest speed in each part;
#   noise between two readings: one standard deviation, from second differences of the readings.
"""
_SPEEDS_ALONE: Final = Template(
    "bound.speeds",
    "bound of {quantity}: speeds are positive numbers without 'over' and 'under', such as '1 5 10 mm/day': they count "
    "in both directions; got '{answer}'",
)
_ONE_A_SIDE: Final = Template("bound.sides", "bound of {quantity}: one part for each side, got '{answer}'")
_ANY_VALUE: Final = Template("bound.any", "bound of {quantity}: any value would reach '{level}', got '{answer}'")
_NOT_THERE: Final = Template("bound.absent", "bound of {quantity}: the table has no such quantity; it has {names}")
_TOO_MANY: Final = Template("bound.many", "bound of {quantity}: {n} numbers for {levels} levels")
_WHERE: Final = Template("guess.ask.place", "where is the slope? latitude,longitude in degrees, such as 46.2,8.9")
PLACE_QUESTION: Final = FileQuestion(PLACE, _WHERE())
_NO_PLACE: Final = Template(
    "guess.place.odd", "place: expected latitude,longitude in degrees such as 46.2,8.9, got '{answer}'"
)
_NO_NAME: Final = Template("guess.site.name", "site: expected small letters, digits and hyphens, got {answer}")
_NOT_JUDGED: Final = Template(
    "guess.not_judged",
    "judged by nothing: {series}. No change there raises a level until bounds are given for it",
)
_STORED_ONLY: Final = Template(
    "guess.stored_only", "stored and shown, but no level is raised by it: {series} (conditions beside the slope)"
)
_FIXED_BOUNDS: Final = Template(
    "guess.fixed_bounds",
    "the record of {stations} is too short to show the usual speed in every window: the comments in the site file name "
    "the bounds that are fixed examples",
)
_NUMBERS: Final = re.compile(r"((?:[+-]?\d+(?:\.\d+)?(?:\s+|$|(?=[^\s\d.,+-])))+)(\S*)")


@dataclass(frozen=True, slots=True)
class LevelBounds:
    """Bounds of a quantity for all stations that measure it, as a person set them.

    Attributes:
        side: `over` or `under`.
        values: Bounds of the levels above the lowest one, as many as were given, in the unit in which the quantity is
            stored.
        author: Who set them.
        reason: Why.
        is_speed: Whether the values are speeds in mm/day, for the criteria on rates.
    """

    quantity: str
    side: str
    values: tuple[float, ...]
    author: str = ""
    reason: str = ""
    is_speed: bool = False


def read_bounds(quantity: str, text: str, author: str = "", reason: str = "") -> tuple[LevelBounds, ...]:
    """Read the text of a person about the bounds of a quantity, at most one part for each side.

    >>> [(b.side, b.values) for b in read_bounds("tilt_x", "5 10 mrad; under -5 -10")]
    [('over', (5.0, 10.0)), ('under', (-5.0, -10.0))]
    >>> read_bounds("crack_opening", "2.5cm")[0].values
    (25.0,)
    >>> [(b.is_speed, b.values) for b in read_bounds("displacement", "0.5 1 2 cm/day")]
    [(True, (5.0, 10.0, 20.0))]

    Raises:
        ConfigError: The text has another form. Nothing of it is guessed.
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
        if quantity.startswith(MOTION_PREFIXES) and is_unit_of(unit, _SPEED):
            found.append(_read_speeds(quantity, text, match[1], unit, LevelBounds(quantity, side, (), author, reason)))
            continue
        if not is_unit_of(unit, quantity):
            units = NameList(tuple(list_units(quantity, unit)))
            raise ConfigError(_OTHER_UNIT(quantity=Term(quantity), unit=unit, units=units))
        values = tuple(convert(float(number), unit, canonical) for number in match[1].split())
        if any((b < a) if side == SIDES[0] else (b > a) for a, b in pairwise(values)):
            raise ConfigError(_NOT_FARTHER(quantity=Term(quantity), answer=text))
        found.append(LevelBounds(quantity, side, values, author, reason))
    if any(one.is_speed for one in found) and len(found) > 1:
        raise ConfigError(_SPEEDS_ALONE(quantity=Term(quantity), answer=text))
    sides = [one.side for one in found]
    if len(set(sides)) < len(sides):
        raise ConfigError(_ONE_A_SIDE(quantity=Term(quantity), answer=text))
    if len(found) > 1 and min(b.values[0] for b in found if b.side == SIDES[0]) <= max(
        b.values[0] for b in found if b.side == SIDES[1]
    ):
        raise ConfigError(_ANY_VALUE(quantity=Term(quantity), level=Term(LEVELS[0]), answer=text))
    return tuple(found)


def _read_speeds(quantity: str, text: str, numbers: str, unit: str, bounds: LevelBounds) -> LevelBounds:
    values = tuple(convert(float(number), unit, QUANTITIES[_SPEED].unit) for number in numbers.split())
    if bounds.side != SIDES[0] or min(values) <= 0.0:
        raise ConfigError(_SPEEDS_ALONE(quantity=Term(quantity), answer=text))
    if any(b < a for a, b in pairwise(values)):
        raise ConfigError(_NOT_FARTHER(quantity=Term(quantity), answer=text))
    return replace(bounds, values=values, is_speed=True)


def request_place(found: TableGuess, answers: Iterable[str]) -> TableGuess:
    """Add the question where the slope is, for a file of a new site, unless a person or the file states it."""
    return replace(found, questions=(*found.questions, PLACE_QUESTION)) if needs_place(found, answers) else found


def needs_place(found: TableGuess, answers: Iterable[str]) -> bool:
    """Return whether a person has to say where the slope of a file is.

    A file of a known form may state it once its own questions are answered.
    """
    is_known = found.form != WIDE and bool(found.file_options.places or found.questions)
    return PLACE not in answers and not is_known


def read_place(text: str) -> tuple[float, float]:
    """Read latitude and longitude in degrees.

    Raises:
        ConfigError: The text has another form.
    """
    place = parse_place(text)
    if place is None:
        raise ConfigError(_NO_PLACE(answer=text))
    return place


def find_place(known: ImportOptions, answers: Mapping[str, str]) -> tuple[float, float]:
    """Return the position of a new site: the answer of a person, else the position of the first station.

    Raises:
        ConfigError: The answer is no position.
    """
    if PLACE not in answers and known.places:
        return round(known.places[0].latitude, 6), round(known.places[0].longitude, 6)
    return read_place(answers.get(PLACE, ""))


def name_site(stem: str) -> str:
    """Return a site id made from the name of a file.

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
    days: DaysAtLevel = MappingProxyType({}),
) -> str:
    """Return a first site file for the stations of a table, with bounds that fit their records.

    Args:
        bounds: Bounds that a person set, in addition to those from the record.
        days: On how many days of the record each level was reached; known only after a replay of the file.

    Raises:
        ConfigError: The name cannot be that of a site, or a bound is for a quantity that the table does not have.
    """
    if re.fullmatch(SITE_ID, name) is None:
        raise ConfigError(_NO_NAME(answer=repr(name)))
    first = write_first_site(name)
    head, _, rest = first.partition("[[station]]")
    tail = rest[rest.index("[fusion]") :]
    head = head.replace(EXAMPLES_COMMENT, _HEADER, 1)
    head = head.replace("latitude = 46.2 ", f"latitude = {place[0]} ", 1)
    head = head.replace("longitude = 8.9 ", f"longitude = {place[1]} ", 1).replace('"UTC"', f'"{zone}"', 1)
    bases = find_bases(sensors)
    moving = [s for s in sensors if s.quantity.startswith(MOTION_PREFIXES) and s.station not in bases]
    if len({s.instrument or s.station for s in moving}) < 2:  # there is one witness, so one is enough
        tail = tail.replace("top_needs = 2 ", "top_needs = 1 ", 1)
    slowest_days = max((s.interval_s or 0.0 for s in sensors), default=0.0) / 86400.0
    hold = f'hold_when_missing = "{max(HOLD_DAYS, math.ceil(HOLD_DAYS * slowest_days))}d"'
    tail = tail.replace(f'hold_when_missing = "{HOLD_DAYS}d"', hold, 1)
    speeds = [one for one in bounds if one.is_speed]
    proposed = (*_format_motion(moving, LEVELS, days, speeds), *_format_failure_windows(moving), *_format_rain(sensors))
    criteria = "\n".join((*proposed, *_format_bounds(sensors, LEVELS, bounds)))
    stations = "\n".join(
        filter(None, (format_stations(sensors, known, bases), format_total_stations(known.total_stations)))
    )
    return f"{head}{stations}\n{criteria}\n{tail}"


def find_absent(site: Site, sensors: Iterable[SensorGuess]) -> list[SensorGuess]:
    """Return the series whose station is not in the site file."""
    return [s for s in sensors if site.station(s.station) is None]


def _find_unjudged(site: Site, sensors: Iterable[SensorGuess]) -> list[SensorGuess]:
    """Return the series of a table that show the state of the slope, and that can raise no level of the site."""
    prepared = PreparedSite(site)
    return [s for s in sensors if s.quantity not in AUXILIARY and not is_judged(prepared, s.station, s.quantity)]


@dataclass(frozen=True, slots=True)
class UnjudgedQuantities:
    """Quantities that no criterion judges, and the text of a criterion for the first series without its bounds."""

    quantities: tuple[str, ...]
    criterion: str


def describe_unjudged(site: Site, sensors: Iterable[SensorGuess]) -> UnjudgedQuantities | None:
    """Return the quantities of a table that no criterion of a site judges; None if all are judged."""
    unjudged = _find_unjudged(site, sensors)
    if not unjudged:
        return None
    quantities = tuple(dict.fromkeys(s.quantity for s in unjudged))
    return UnjudgedQuantities(quantities, format_criterion(unjudged[0], [level.name for level in site.levels[1:]]))


def list_notes(warnings: WarningSummary, sensors: Sequence[SensorGuess]) -> list[Message]:
    """Return notes on new stations: about the whole site, series without a judgement, and fixed bounds."""
    notes = list(warnings.notes)
    auxiliary = [name for name in warnings.unjudged if name.rpartition(".")[2] in AUXILIARY]
    unjudged = [name for name in warnings.unjudged if name not in auxiliary]
    judged = {name for group in warnings.groups for name in group.series}
    unmeasured = [
        sensor.station
        for sensor in sensors
        if judged & {f"{sensor.station}.{sensor.quantity}", f"{sensor.station}.{DISPLACEMENT}"}
        and sensor.quantity.startswith(MOTION_PREFIXES)
        and (not sensor.windows or any(window.speeds is None for window in sensor.windows))
    ]
    if unmeasured:
        notes.append(_FIXED_BOUNDS(stations=_list_names(unmeasured)))
    if unjudged:
        notes.append(_NOT_JUDGED(series=_list_names(unjudged)))
    if auxiliary:
        notes.append(_STORED_ONLY(series=_list_names(auxiliary)))
    return notes


def _list_names(names: Iterable[str]) -> NameList:
    listed = tuple(dict.fromkeys(names))
    return NameList(listed[:_NAMED], max(0, len(listed) - _NAMED))


def format_criterion(sensor: SensorGuess, levels: Sequence[str], bounds: Sequence[LevelBounds] = ()) -> str:
    """Return the text of a criterion for a series.

    Args:
        sensor: The series.
        levels: Names of the levels above the lowest one.
        bounds: One entry for each side. Without an entry, the text has the word BOUND in place of each number.
    """
    unit = QUANTITIES[sensor.quantity].unit
    lines = ["[[criterion]]", 'kind = "level"', f'series = "{sensor.station}.{sensor.quantity}"']
    days = math.ceil(_KEPT_READINGS * (sensor.interval_s or 0.0) / 86400.0)
    lines += [f'valid_for = "{days}d"'] if bounds and days > 1 else []
    for number, level in enumerate(levels):
        sides = [f"{one.side} = {one.values[number]!r}" for one in bounds if number < len(one.values)]
        if sides or not bounds:
            lines.append(f"{level} = {{{', '.join(sides) or f'{SIDES[0]} = BOUND'}}}  # {unit}")
    if bounds and bounds[0].author:
        lines += [f"author = {quote(bounds[0].author)}", f"reason = {quote(bounds[0].reason)}"]
    return "\n".join(lines)


def _format_bounds(
    sensors: Iterable[SensorGuess], levels: Sequence[str], bounds: Iterable[LevelBounds]
) -> Iterator[str]:
    known = list(sensors)
    vectors = [
        replace(next(iter(parts.values())), quantity=DISPLACEMENT) for parts in list_in_space(known).values() if parts
    ]
    judged = [*known, *vectors]
    values: dict[str, list[LevelBounds]] = {}
    for one in bounds:
        own = [s for s in judged if s.quantity == one.quantity]
        if not own:
            had = NameList(tuple(dict.fromkeys(s.quantity for s in judged)))
            raise ConfigError(_NOT_THERE(quantity=Term(one.quantity), names=had))
        if len(one.values) > len(levels):
            raise ConfigError(_TOO_MANY(quantity=Term(one.quantity), n=len(one.values), levels=len(levels)))
        if not one.is_speed:
            values.setdefault(one.quantity, []).append(one)
    for quantity, sides in values.items():
        for sensor in judged:
            if sensor.quantity == quantity:
                yield f"{format_criterion(sensor, levels, sides)}\n"


def format_additions(
    site: Site,
    sensors: Sequence[SensorGuess],
    bounds: Sequence[LevelBounds] = (),
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
) -> str:
    """Return the text of stations that a site file lacks, with their criteria.

    Criteria have the bounds that a person set. Motion that no criterion of the file judges gets one as in a new file.
    """
    levels = [level.name for level in site.levels[1:]]
    bases = find_bases(sensors, others=any(q.startswith(MOTION_PREFIXES) for _, q in find_voting_series(site)))
    sensors, copied = _share_loggers(site, sensors)
    stations = format_stations(sensors, known, bases, copied)
    if known.total_stations and not site.total_stations:
        stations = f"{stations}\n{format_total_stations(known.total_stations)}"
    given = "\n".join((stations, *_format_bounds(sensors, levels, bounds)))
    whole = parse_site(f"{site.source}\n{given}", site.id)
    motion = [s for s in _find_unjudged(whole, sensors) if s.quantity.startswith(MOTION_PREFIXES)]
    speeds = [one for one in bounds if one.is_speed]
    return "\n".join((given, *_format_motion(motion, levels, {}, speeds, is_first=False)))


def _share_loggers(site: Site, sensors: Iterable[SensorGuess]) -> tuple[list[SensorGuess], dict[str, str]]:
    """Return new series with the logger of the declared station that has the same values.

    Returns:
        The series, and the declared stations without a logger, by the new station that has the same values.
    """
    shared: list[SensorGuess] = []
    copied: dict[str, str] = {}
    for sensor in sensors:
        # The instrument of copies has the name of the first of them.
        declared = site.station(sensor.instrument) if sensor.instrument else None
        if declared is not None and declared.logger is not None:
            shared.append(replace(sensor, instrument=declared.logger))
            continue
        if declared is not None:
            copied[sensor.station] = declared.id
        shared.append(sensor)
    return shared, copied


def add_stations(
    site: Site,
    sensors: Sequence[SensorGuess],
    bounds: Sequence[LevelBounds] = (),
    known: ImportOptions = ImportOptions(),  # noqa: B008 - frozen
) -> str:
    """Return a site file with the stations that it lacks at its end. The rest of the file is unchanged."""
    return f"{site.source.rstrip()}\n\n{format_additions(site, sensors, bounds, known)}"


def _list_ways(sensors: Sequence[SensorGuess]) -> Iterator[tuple[str, str, str, list[SensorGuess]]]:
    """Return kind, side and quantity of the criteria for series of motion, and the series of each.

    A single component is judged in both directions. The height is judged by itself if a station has nothing else, or if
    only the height certainly moves.
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


def _format_motion(
    sensors: Sequence[SensorGuess],
    levels: Sequence[str],
    days: DaysAtLevel,
    speeds: Sequence[LevelBounds] = (),
    *,
    is_first: bool = True,
) -> Iterator[str]:
    """Return criteria for what moves, with the windows and bounds that fit the record of each station.

    Speeds that a person gave take the place of those that fit the record.

    Stations with the same windows and bounds share a criterion. In a first site file, if all stations share them, the
    criterion takes stations that are added later as well.
    """
    in_space = list_in_space(sensors)
    counts: Counter[str] = Counter()  # criteria so far, by kind
    for kind, side, quantity, own in _list_ways(sensors):
        windows: dict[str, tuple[LevelWindow, ...]] = {}
        for sensor in own:
            known = windows.get(sensor.station)
            mine = sensor.windows or propose_bounds((), sensor.interval_s or 3600.0)
            windows[sensor.station] = mine if known is None else merge_bounds(known, mine)
        given = next((one for one in speeds if one.quantity == quantity), None)
        if given is not None:
            # The first speed is that of yellow. A level without one keeps at least the last of them.
            windows = {station: _set_speeds(proposed, given.values) for station, proposed in windows.items()}
        # A pattern also matches stations that declare a displacement of which the quantity is a component.
        glob = {quantity, DISPLACEMENT} if quantity in PARTS else {quantity}
        matched = {s.station for s in sensors if s.quantity in glob}
        matched |= in_space.keys() if quantity.startswith(DISPLACEMENT) else set()
        groups: dict[tuple[tuple[float, float, bool], ...], list[str]] = {}
        for station, proposed in windows.items():
            key = tuple((window.window_s, window.over_mm_per_day, window.is_survey) for window in proposed)
            groups.setdefault(key, []).append(station)
        takes_all = is_first and len(groups) == 1 and matched == windows.keys()
        for stations in groups.values():
            names = '"*"' if takes_all else ", ".join(map(quote, sorted(stations)))
            shared = [windows[station] for station in stations]
            yield from _format_speeds(kind, side, quantity, names, shared, levels, days, counts, given)


def _set_speeds(windows: Sequence[LevelWindow], speeds: Sequence[float]) -> tuple[LevelWindow, ...]:
    """Return windows whose bounds are given speeds in mm/day, for yellow first, as in `LevelBounds.values`.

    A level without a speed of its own gets at least the last speed.
    Where a line through several readings judges a level at its speed, the rate between two readings, which is less
    certain, keeps its own bound if that is higher.
    """
    lines = {window.level for window in windows if not window.is_survey}
    bounded: list[LevelWindow] = []
    for window in windows:
        speed = speeds[min(window.level, len(speeds) - 1)]
        is_own_kept = window.level >= len(speeds) or (window.is_survey and window.level in lines)
        bound = max(window.over_mm_per_day, speed) if is_own_kept else speed
        bounded.append(replace(window, over_mm_per_day=bound))
    return tuple(bounded)


def _format_speeds(
    kind: str,
    side: str,
    quantity: str,
    names: str,
    proposed: Sequence[Sequence[LevelWindow]],
    levels: Sequence[str],
    days: DaysAtLevel,
    counts: Counter[str],
    given: LevelBounds | None = None,
) -> Iterator[str]:
    """Return the criteria of stations with the same bounds: on a line through many readings, and between surveys."""
    # The highest proposed level belongs to the highest level of the site.
    offset = len(levels) - len(LEVELS)
    named = [
        (levels[windows[0].level + offset], windows)
        for windows in zip(*proposed, strict=True)
        if windows[0].level + offset >= 0
    ]
    for is_survey in (False, True):
        bounds = [(level, windows) for level, windows in named if windows[0].is_survey == is_survey]
        if not bounds or (is_survey and side != SIDES[0]):
            continue  # the rate between two surveys counts in any direction
        criterion = "survey_rate" if is_survey else kind
        counts[criterion] += 1
        criterion_id = f"{criterion}-{counts[criterion]}"  # as the site file is read
        lines = ["[[criterion]]", f'kind = "{criterion}"', f"stations = [{names}]", f'quantity = "{quantity}"']
        for level, windows in bounds:
            bound = windows[0].over_mm_per_day if side == SIDES[0] else -windows[0].over_mm_per_day
            length = format_duration(round(windows[0].window_s))
            is_given = given is not None and windows[0].over_mm_per_day in given.values
            basis = "given by a person; " if is_given else ""
            lines.append(f"# {level}: {basis}{_describe_bound(windows, days.get((criterion_id, level)))}")
            lines.append(f'{level} = {{{side} = {bound:g}, window = "{length}"}}  # mm/day')
        interval_s = bounds[0][1][0].interval_s
        hits, of = choose_dwell(interval_s, is_survey=is_survey)
        lines += ["min_sigma = 3.0", f"dwell = {{hits = {hits}, of = {of}}}"]
        valid_days = max(2, math.ceil(_KEPT_READINGS * interval_s / 86400.0))
        lines.append(f'valid_for = "{valid_days}d"')
        has_record = any(window.speeds is not None for _, windows in bounds for window in windows)
        grounds = "from the usual speeds of the record" if has_record else "fixed bounds of a first site file"
        author = "slopeward import" if given is None else given.author or "slopeward import"
        grounds = grounds if given is None else given.reason or "given speeds"
        lines += [f"author = {quote(author)}", f"reason = {quote(grounds)}"]
        yield "\n".join(lines) + "\n"


def _format_failure_windows(sensors: Sequence[SensorGuess]) -> Iterator[str]:
    """Return criteria on the time of failure by inverse velocity, for stations that are read at least daily.

    A trusted window of one station alone raises nothing, so a single station gets advice instead of a vote.
    """
    in_space = list_in_space(sensors)
    stations: dict[str, set[str]] = {}
    for sensor in sensors:
        if (sensor.interval_s or 3600.0) <= DAILY_S:
            is_part = sensor.station in in_space and sensor.quantity in PARTS
            stations.setdefault(DISPLACEMENT if is_part else sensor.quantity, set()).add(sensor.station)
    for quantity, names in stations.items():
        lines = ["[[criterion]]", 'kind = "inverse_velocity"']
        instruments = {sensor.instrument or sensor.station for sensor in sensors if sensor.station in names}
        lines += ['role = "witness"  # two independent stations must agree'] if len(instruments) > 1 else []
        lines += [f"stations = [{', '.join(map(quote, sorted(names)))}]", f'quantity = "{quantity}"']
        lines += [f'{level} = {{within = "{within}"}}' for level, within in zip(LEVELS, WITHIN, strict=True)]
        lines += ['author = "slopeward import"', 'reason = "time left until the middle of the failure window"']
        yield "\n".join(lines) + "\n"


def _describe_bound(windows: Sequence[LevelWindow], days: int | None) -> str:
    """Return the comment on a bound: steady speed, noise, and on how many days of the record the level was reached."""
    speeds = [window.speeds for window in windows if window.speeds is not None]
    if not speeds:
        return "a fixed bound, because the record is too short to show a steady speed"
    steady = max(statistics.steady for statistics in speeds)
    noises = [statistics.noise for statistics in speeds if statistics.noise is not None]
    if noises:
        grounds = f"noise between two readings {max(noises):.2g} mm/day"
    else:
        grounds = f"usual largest speed in this window {max(statistics.largest for statistics in speeds):.2g} mm/day"
    reached = "" if days is None else f"; condition met on {days} {'day' if days == 1 else 'days'} of this record"
    return f"steady speed {steady:.2g} mm/day, {grounds}{reached}"


def _format_rain(sensors: Iterable[SensorGuess]) -> Iterator[str]:
    """Return a criterion with an example bound for rain with daily or more frequent readings."""
    for s in sensors:
        if s.quantity == "rain" and (s.interval_s or 0.0) <= 86400.0:
            lines = ("[[criterion]]", 'kind = "rain_sum"', f'series = "{s.station}.rain"')
            yield "\n".join((*lines, 'yellow = {over = 60.0, window = "2d"}  # mm', "min_coverage = 0.8\n"))
