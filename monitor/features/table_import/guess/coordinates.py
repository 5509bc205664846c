"""Coordinates of a total station: ask whether columns hold coordinates or displacements, and find the reference.

A mapping may hold coordinates in metres under the quantities of `POSITIONS`. The reader subtracts the origin of each
station and stores displacements. This module finds these origins in the file: the first reading of a station, or its
first reading on or after a date.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from math import hypot
from typing import Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import DISPLACEMENT_OF, ColumnRule, TableMapping, name_station
from monitor.api.sites import Origin, convert
from monitor.api.text import LABELLED_TEXT, Figure, Message, Template
from monitor.features.table_import.guess.grids import Place, find_exchanged_grid
from monitor.features.table_import.guess.numerals import Numerals, is_empty, list_names, read_number
from monitor.features.table_import.guess.questions import LEAVE_OUT, NO, YES, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.words import names_coordinates

COORDINATES: Final = "coordinates"
DISPLACEMENTS: Final = "displacements"
REFERENCE: Final = "reference"
EXCHANGED: Final = "exchanged"
FIRST: Final = "first"
SITE: Final = "site"

POSITIONS: Final = {displacement: position for position, displacement in DISPLACEMENT_OF.items()}
"""The quantity of a coordinate for each component of a displacement."""

EAST: Final = "displacement_east"
NORTH: Final = "displacement_north"
# Points that are compared with the position of the slope.
POINTS_MOST: Final = 20

# Units of coordinates. Displacements of slopes are also written in them, so the values and the words of the heading
# decide whether to ask. In other units only values far from zero are asked about.
LENGTHS_OF_COORDINATES: Final = ("m", "ft")
# A record of displacements starts near zero. Coordinates start at any distance from the origin of their grid.
FAR_FROM_ZERO_M: Final = 10.0
NEAR_ZERO_M: Final = 0.1
# A record whose values all differ from zero by this many times their own range does not start at zero.
RANGES_FROM_ZERO: Final = 3.0

# Distance of stations from the centre of the Earth, and a height that no station has.
RADIUS_M: Final = (6.33e6, 6.41e6)
HIGHEST_M: Final = 10_000.0

_CARTESIAN: Final = Template(
    "guess.coordinates.cartesian",
    "the coordinates of {station} are Cartesian ones from the centre of the Earth; convert them to east, north and up, "
    "and import the file again",
)
_WHICH: Final = Template(
    "guess.ask.coordinates",
    "does '{column}' hold coordinates of a survey, or displacements since a first survey?",
)
_WHICH_REFERENCE: Final = Template(
    "guess.ask.reference",
    "from which reading do displacements count: the first reading of each point, or its first reading on or after a "
    "date such as {date}?",
)
_WHICH_REFERENCE_OR_SITE: Final = Template(
    "guess.ask.reference.site",
    "from which reading do displacements count: the first reading of each point, its first reading on or after a date "
    "such as {date}, or the origins in the site file?",
)
_AS_COORDINATES: Final = Template(
    "guess.ask.coordinates.moved",
    "{station}: from {first} m to {last} m is a displacement of {moved} mm",
)
_AS_DISPLACEMENTS: Final = Template(
    "guess.ask.coordinates.far",
    "{station}: {first} m is a displacement of {displaced} mm",
)
_IN_COORDINATES: Final = Template(
    "guess.left.distance", "left out: a distance from the instrument, which the coordinates contain"
)
_ARE_EXCHANGED: Final = Template(
    "guess.ask.exchanged",
    "as they are, the coordinates of {station} lie near the position of the slope in no grid; with easting and "
    "northing exchanged, they lie near it in {grid}. Are '{east}' and '{north}' exchanged?",
)
_EXCHANGED_MEANS: Final = Template("guess.ask.exchanged.means", "{station}: easting {east}, northing {north}")
_ODD_REFERENCE: Final = Template(
    "guess.reference.odd", "reference: expected 'first', 'site' or a date such as {date}, got '{answer}'"
)
_NOT_ON: Final = Template(
    "guess.reference.late",
    "reference: {station} has no reading of {column} on or after {answer}; give an earlier date, or 'first'",
)
_NO_ORIGIN: Final = Template(
    "guess.reference.site",
    "reference: the site file has no origin for {station}; give 'first' or a date",
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The values of one coordinate of one station in metres, by the number of the row."""

    rule: ColumnRule
    station: str
    values_m: Mapping[int, float]

    @property
    def first_m(self) -> float:
        return next(iter(self.values_m.values()))

    @property
    def last_m(self) -> float:
        return next(reversed(list(self.values_m.values())))

    @property
    def is_far_from_zero(self) -> bool:
        """Whether the values do not start at zero, as displacements do."""
        nearest_m = min(abs(value) for value in self.values_m.values())
        range_m = max(self.values_m.values()) - min(self.values_m.values())
        return nearest_m >= FAR_FROM_ZERO_M or (nearest_m >= NEAR_ZERO_M and nearest_m >= RANGES_FROM_ZERO * range_m)


def settle_coordinates(
    table: RawTable,
    rules: Sequence[ColumnRule],
    station_column: str | None,
    numerals: Numerals,
    interview: Interview,
    site_origins: Mapping[str, Origin],
    site_place: Place | None = None,
) -> tuple[list[ColumnRule], dict[str, Message]]:
    """Return the rules of the columns, and why columns are left out.

    The rules of coordinates have the quantities of `POSITIONS`. A slope distance beside coordinates is left out,
    because the coordinates were computed from it.

    Args:
        table: The table of the file.
        rules: One rule for each column of values.
        station_column: The column that names the station of a row. None if each rule has a station.
        numerals: How the numbers of the table are written.
        interview: The answers and open questions.
        site_origins: Origins of the stations in the site file.
        site_place: Position of the slope.
    """
    components = [rule for rule in rules if rule.quantity in POSITIONS]
    axes = [axis for rule in components for axis in _list_axes(table, rule, station_column, numerals)]
    doubtful = [axis for axis in axes if _may_be_coordinate(table, axis)]
    if not doubtful:
        return list(rules), {}
    example = max(doubtful, key=lambda axis: abs(axis.last_m - axis.first_m))
    answer = interview.request(
        COORDINATES,
        _WHICH(column=table.heading(example.rule.name)),
        (COORDINATES, DISPLACEMENTS, LEAVE_OUT),
        COORDINATES,
        _describe_choices(example),
    )
    if answer == LEAVE_OUT:
        return [rule for rule in rules if rule not in components], {}
    if answer != COORDINATES:
        return list(rules), {}
    _refuse_cartesian(table, axes)
    request_reference(interview, site_origins)
    positions = dict(POSITIONS)
    if site_place is not None and _are_exchanged(table, axes, site_place, interview):
        positions |= {EAST: POSITIONS[NORTH], NORTH: POSITIONS[EAST]}
    left_out = {
        rule.name: _IN_COORDINATES()
        for rule in rules
        if rule.quantity == "displacement_distance"
        if any(axis.is_far_from_zero for axis in _list_axes(table, rule, station_column, numerals))
    }
    kept = [rule for rule in rules if rule.name not in left_out]
    return [replace(rule, quantity=positions.get(rule.quantity, rule.quantity)) for rule in kept], left_out


def _are_exchanged(table: RawTable, axes: Sequence[_Axis], site_place: Place, interview: Interview) -> bool:
    """Return whether easting and northing are exchanged, as an answer states it.

    The question is asked only if all points lie near the slope with them exchanged, and none as they are.
    """
    points: dict[str, dict[str, _Axis]] = {}
    for axis in axes:
        points.setdefault(axis.station, {})[axis.rule.quantity] = axis
    pairs = [(own[EAST], own[NORTH]) for own in points.values() if EAST in own and NORTH in own]
    grids = [find_exchanged_grid(site_place, east.first_m, north.first_m) for east, north in pairs[:POINTS_MOST]]
    if not grids or grids[0] is None or None in grids:
        return False
    east, north = pairs[0]
    text = _ARE_EXCHANGED(
        station=east.station, grid=grids[0], east=table.heading(east.rule.name), north=table.heading(north.rule.name)
    )
    first_m, second_m = Figure(east.first_m, ",.1f", "m"), Figure(north.first_m, ",.1f", "m")
    examples = {
        YES: _EXCHANGED_MEANS(station=east.station, east=second_m, north=first_m),
        NO: _EXCHANGED_MEANS(station=east.station, east=first_m, north=second_m),
    }
    return interview.request(EXCHANGED, text, (YES, NO), YES, examples) == YES


def find_origins(
    table: RawTable,
    mapping: TableMapping,
    times: Times,
    numerals: Numerals,
    answer: str,
    site_origins: Mapping[str, Origin],
) -> tuple[tuple[str, Origin], ...]:
    """Return the origin of each station whose coordinates a table holds; with `SITE` those of the site file.

    Args:
        table: The table of the file.
        mapping: The complete mapping of the table.
        times: The times of the rows.
        numerals: How the numbers of the table are written.
        answer: `FIRST`, `SITE` or a date in ISO form.
        site_origins: Origins of the stations in the site file.

    Raises:
        ConfigError: A station has no reading on or after the date, or no origin in the site file.
    """
    readings = ReferenceReadings(table, mapping, times, answer)
    found: dict[str, dict[str, float]] = {}
    since: dict[str, datetime] = {}
    for rule in mapping.columns:
        if rule.quantity not in DISPLACEMENT_OF:
            continue
        for axis in _list_axes(table, rule, mapping.station, numerals):
            if answer == SITE:
                if axis.station not in site_origins:
                    raise ConfigError(_NO_ORIGIN(station=axis.station))
                continue
            at, row = readings.find(axis.station, rule.name, axis.values_m)
            found.setdefault(axis.station, {})[rule.quantity] = axis.values_m[row]
            since[axis.station] = min(at, since.get(axis.station, at))
    if answer == SITE:
        return tuple(site_origins.items())
    return tuple(
        (station, Origin(since[station], baseline_m=make_baseline(axes_m))) for station, axes_m in found.items()
    )


class ReferenceReadings:
    """The readings of a table that displacement may count from.

    Args:
        table: The table.
        mapping: The complete mapping of the table.
        times: The times of the rows.
        answer: `FIRST`, or a date in ISO form before which readings are left out.
    """

    def __init__(self, table: RawTable, mapping: TableMapping, times: Times, answer: str) -> None:
        self._table = table
        self._mapping = mapping
        self._answer = answer
        self._begin = None if answer in {FIRST, SITE} else datetime.fromisoformat(answer)
        self._clocks = _list_clocks(table, mapping, times)

    def find(self, station: str, column: str, rows: Iterable[int]) -> tuple[datetime, int]:
        """Return the instant and the row of the first reading among some rows of a station.

        Raises:
            ConfigError: No reading is on or after the date.
        """
        timed = sorted((self._clocks[row], row) for row in rows if row in self._clocks)
        later = [row for clock, row in timed if self._begin is None or clock >= self._begin]
        reading = next(_read_instants(self._table, self._mapping, later), None)
        if reading is None:
            raise ConfigError(_NOT_ON(station=station, column=self._table.heading(column), answer=self._answer))
        return reading


def make_baseline(axes_m: Mapping[str, float]) -> tuple[float | None, float | None, float | None]:
    """Return east, north and up as a site file stores them, with four decimals."""
    east_m, north_m, up_m = (
        None if axes_m.get(position) is None else round(axes_m[position], 4) for position in DISPLACEMENT_OF
    )
    return east_m, north_m, up_m


def read_reference(answer: str, today: date) -> str:
    """Return an answer to the question about the reference; raises ConfigError if it is none."""
    if answer in {FIRST, SITE}:
        return answer
    try:
        return date.fromisoformat(answer).isoformat()
    except ValueError:
        raise ConfigError(_ODD_REFERENCE(date=today.isoformat(), answer=answer)) from None


def _refuse_cartesian(table: RawTable, axes: Sequence[_Axis]) -> None:
    """Raise ConfigError if coordinates are X, Y and Z from the centre of the Earth rather than east, north and up."""
    stations: dict[str, dict[str, float]] = {}
    for axis in axes:
        stations.setdefault(axis.station, {})[axis.rule.quantity] = axis.first_m
    for station, first_m in stations.items():
        is_high = abs(first_m.get("displacement_up", 0.0)) > HIGHEST_M
        if len(first_m) == len(POSITIONS) and is_high and RADIUS_M[0] < hypot(*first_m.values()) < RADIUS_M[1]:
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_CARTESIAN(station=station)))


def request_reference(interview: Interview, site_origins: Mapping[str, Origin]) -> None:
    """Ask from which reading displacement counts."""
    today = datetime.now(UTC).date()
    template = _WHICH_REFERENCE_OR_SITE if site_origins else _WHICH_REFERENCE
    answer = interview.request(REFERENCE, template(date=today.isoformat()), (), FIRST)
    if answer is not None:
        read_reference(answer, today)


def _describe_choices(axis: _Axis) -> dict[str, Message]:
    """Return what each answer means for the point that moved the most."""
    first_m = Figure(axis.first_m, ",.4f")
    moved_mm = Figure(1000.0 * (axis.last_m - axis.first_m), ",.1f")
    as_coordinates = _AS_COORDINATES(
        station=axis.station, first=first_m, last=Figure(axis.last_m, ",.4f"), moved=moved_mm
    )
    displaced_mm = Figure(1000.0 * axis.first_m, ",.1f")
    as_displacements = _AS_DISPLACEMENTS(station=axis.station, first=first_m, displaced=displaced_mm)
    return {COORDINATES: as_coordinates, DISPLACEMENTS: as_displacements}


def _may_be_coordinate(table: RawTable, axis: _Axis) -> bool:
    if axis.rule.unit not in LENGTHS_OF_COORDINATES:
        return min(abs(value) for value in axis.values_m.values()) >= FAR_FROM_ZERO_M
    return axis.is_far_from_zero or names_coordinates(table.heading(axis.rule.name))


def _list_axes(table: RawTable, rule: ColumnRule, station_column: str | None, numerals: Numerals) -> Iterator[_Axis]:
    """Yield the values of a column for each station."""
    if station_column is None:
        stations = [rule.station or ""] * table.rows
    else:
        stations = [name_station(name) for name in list_names(table.columns[station_column])]
    values_m: dict[str, dict[int, float]] = {}
    for row, (station, cell) in enumerate(zip(stations, table.columns[rule.name], strict=True)):
        if not station or is_empty(cell) or str(cell) in numerals.missing:
            continue
        number = read_number(rule.cut(cell), numerals)
        if number is not None:
            sign = -1.0 if rule.downward else 1.0
            values_m.setdefault(station, {})[row] = sign * convert(number, rule.unit, "m")
    for station, values in values_m.items():
        yield _Axis(rule, station, values)


def _list_clocks(table: RawTable, mapping: TableMapping, times: Times) -> dict[int, datetime]:
    """Return the date and time of each row that has one, in the zone of the file, by the number of the row."""
    if len(times.parsed) == table.rows:
        instants = [(at, row) for row, at in enumerate(times.parsed)]
    else:
        instants = list(_read_instants(table, mapping, range(table.rows)))
    zone = mapping.time.zone or UTC
    return {row: (at.astimezone(zone) if at.tzinfo else at).replace(tzinfo=None) for at, row in instants}


def _read_instants(table: RawTable, mapping: TableMapping, rows: Iterable[int]) -> Iterator[tuple[datetime, int]]:
    """Yield the instant and the number of each row whose time can be read."""
    for row in rows:
        cells = {name: table.columns[name][row] for name in mapping.time.columns}
        try:
            yield mapping.time.read_row(cells), row
        except PayloadError:
            continue
