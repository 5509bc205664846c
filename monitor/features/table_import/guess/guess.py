"""Find the meaning of a table of unknown layout, and the questions that only its owner can answer."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.api.errors import ConfigError
from monitor.api.files import ImportOptions
from monitor.api.ingest import (
    DISPLACEMENT_OF,
    MISSING,
    POLAR,
    SLOPE_DISTANCE,
    ColumnRule,
    Layout,
    TableMapping,
    format_time_of_day,
    name_station,
)
from monitor.api.queries.ingest import WIDE
from monitor.api.sites import QUANTITIES, Origin, TotalStation, convert
from monitor.api.text import LABELLED_TEXT, Figure, Message, Template
from monitor.features.table_import.guess import together
from monitor.features.table_import.guess.bounds import LevelWindow
from monitor.features.table_import.guess.columns import find_column_units, read_column_heading, settle_columns
from monitor.features.table_import.guess.coordinates import (
    FIRST,
    REFERENCE,
    find_origins,
    settle_coordinates,
)
from monitor.features.table_import.guess.facts import (
    Facts,
    describe_columns,
    describe_layout,
    describe_numerals,
    describe_reference,
    describe_sampling,
    describe_seldom,
    describe_series_sampling,
)
from monitor.features.table_import.guess.grids import Place, parse_place
from monitor.features.table_import.guess.instruments import find_instruments
from monitor.features.table_import.guess.numerals import (
    Numerals,
    is_empty,
    list_names,
    list_numbers,
    read_number,
    settle_numerals,
)
from monitor.features.table_import.guess.odd_clocks import refuse_gps_weeks, refuse_odd_clocks
from monitor.features.table_import.guess.odd_rows import (
    refuse_midnights,
    refuse_sums,
    request_factor,
    request_parts,
    settle_flags,
)
from monitor.features.table_import.guess.polar import (
    LOCAL_INSTRUMENT,
    POLAR_KEY,
    describe_local_instrument,
    find_polar_origins,
    settle_polar,
)
from monitor.features.table_import.guess.questions import FileQuestion, Interview
from monitor.features.table_import.guess.rain_stamp import COUNTER, RAIN, RainStamp, settle_rain_stamp
from monitor.features.table_import.guess.raw_table import ALL_SHEETS, SHEET, RawTable
from monitor.features.table_import.guess.stations import settle_rows
from monitor.features.table_import.guess.summaries import refuse_readable, set_aside_summaries
from monitor.features.table_import.guess.time_columns import describe_untimed, find_times
from monitor.features.table_import.guess.time_questions import (
    DATES,
    DAY,
    describe_times,
    settle_day,
    settle_times,
)
from monitor.features.table_import.guess.times import Times, describe_gaps, names_dates_alone
from monitor.features.table_import.guess.unfold import fold

# The answer about the position of a new site.
PLACE: Final = "place"

_LONG_FORM: Final = Template(
    "guess.long_form", "this is the neutral long form, nothing to guess: slopeward ingest {file}"
)
_SUMMARIES: Final = Template("guess.left.summaries", "{n} rows left out, as they are no readings: {labels}")
_RUNNING_SUM: Final = Template("guess.left.sum", "left out: the running sum of '{column}'")
_SAME_SENSOR: Final = Template("guess.left.sensor", "left out: of the same sensor as '{column}'")
_RAIN_TWICE: Final = Template("guess.left.rain", "left out: a sum over several rows, which would count rain twice")
_OTHER_UNIT: Final = Template("guess.left.unit", "left out: the same as '{column}' in another unit")
_ALL_LEFT: Final = Template("guess.all_left", "every column of numbers was left out ({names}): nothing to store")
_WHICH_SHEET: Final = Template("guess.ask.sheet", "which sheet of the workbook counts?")
_DAY_COUNTS: Final = Template("guess.day", "a date without a time counts at {time} of its day")


@dataclass(frozen=True, slots=True)
class MotionGuess:
    """The motion of a station over its record.

    Attributes:
        moved_mm: Distance between start and end, horizontal or along the line of the instrument.
        days: Length of the record.
        is_sure: Whether scatter, a season or chance are unlikely to cause this motion.
        azimuth: Direction from north and its standard error in degrees, if the station has east and north.
        plunge: Inclination below the horizon and its standard error in degrees.
        is_sure_in_height: Whether the vertical motion is as sure.
    """

    moved_mm: float
    days: float
    is_sure: bool
    azimuth: tuple[float, float] | None = None
    plunge: tuple[float, float] | None = None
    is_sure_in_height: bool = False


@dataclass(frozen=True, slots=True)
class SensorGuess:
    """A series of a file.

    Attributes:
        unit: Its unit in the file. The site file declares the canonical unit of the quantity.
        stamp: How rain is counted: `counter` or `event`. Sums of intervals need no stamp.
        motion: The motion of the station in the record.
        silence_s: `max_silence`, if it does not follow from the interval.
        noise_mm: Standard deviation of the noise of a series of motion; for components, the horizontal noise. 0 if
            unknown.
        windows: Window and bound of each level, derived from the motion in the record.
        instrument: Name of the instrument, if it has several stations. They are one witness.
    """

    station: str
    quantity: str
    unit: str
    interval_s: float | None
    stamp: str = ""
    motion: MotionGuess | None = None
    silence_s: float | None = None
    noise_mm: float = 0.0
    windows: tuple[LevelWindow, ...] = ()
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class TableGuess:
    """The meaning of a file as far as it is known.

    Attributes:
        mapping: The meaning of the columns. None while a question is open, and for files of a known form.
        facts: What was found, as lines for the owner of the file.
        questions: Open questions.
        sensors: The series.
        form: The reader of the file.
        file_options: Import options except for the mapping, such as the origins of coordinates. They come from the
            file, an answer or the site file.
    """

    mapping: TableMapping | None
    facts: tuple[tuple[str, str], ...]
    questions: tuple[FileQuestion, ...]
    sensors: tuple[SensorGuess, ...] = ()
    form: str = WIDE
    file_options: ImportOptions = ImportOptions()  # noqa: RUF009 - frozen

    @property
    def options(self) -> ImportOptions:
        """The options to read the file with, once no question is open."""
        return replace(self.file_options, mapping=self.mapping)

    @property
    def zone(self) -> str:
        """The time zone of a new site with this file."""
        zone = None if self.mapping is None else self.mapping.time.zone
        return "UTC" if zone is None else zone.key


def guess(
    table: RawTable,
    answers: Mapping[str, str],
    now: datetime | None = None,
    site_origins: Mapping[str, Origin] | None = None,
    total_stations: Sequence[TotalStation] = (),
    site_place: Place | None = None,
) -> TableGuess:
    """Find the meaning of a table, and the questions that only its owner can answer.

    Args:
        table: The cells of the file.
        answers: Answers by the key of their question.
        now: The current time; by default that of the clock.
        site_origins: Origins of stations in the site file, which coordinates may count from.
        total_stations: Total stations of the site file, which measure distances and angles.
        site_place: Position of the site. None for a new site, whose position is an answer.

    Raises:
        ConfigError: The table has no time or no measurement, or an answer is not possible.
    """
    if _is_long_form(table):
        raise _refuse(table, _LONG_FORM(file=shlex.quote(str(table.path))))
    table = replace(table, units=find_column_units(table) | table.units)
    table, summaries = set_aside_summaries(table)
    refuse_gps_weeks(table)
    interview = Interview(answers)
    times = find_times(table, interview)
    if times is None:
        raise _refuse(table, describe_untimed(table))
    refuse_odd_clocks(table, times)
    if len(table.sheets) > 1 and SHEET not in interview.answers:
        interview.request(SHEET, _WHICH_SHEET(), (*table.sheets, ALL_SHEETS) if table.joins else table.sheets)
    facts = describe_layout(table)
    times = settle_times(table, times, interview, now or datetime.now(UTC))
    facts.append(("time", describe_times(times)))
    refuse_readable(table, times, summaries)
    request_factor(table, times.rule.columns[0], interview)
    rows = settle_rows(table, times, interview)
    table, numbers, station_column = rows.table, rows.numbers, rows.station_column
    if all(question.key != DATES for question in interview.questions):
        refuse_sums(table, times, station_column, rows.kind_column)
        refuse_midnights(table, times, station_column, rows.kind_column)
    facts += rows.facts
    if summaries is not None:
        count = Figure(len(summaries.labels), "d")
        facts.append(("totals", _SUMMARIES(n=count, labels=summaries.list_some())))
    if station_column is None and not rows.kind_column:
        request_parts(table, times, interview)
    if describe_gaps(times.parsed)[0] == timedelta(days=1):
        together.request_hours({name: read_column_heading(table, name) for name in numbers}, table.heading, interview)
    numerals = settle_numerals(table, numbers, interview)
    facts += describe_numerals(numerals)
    is_one_series_a_column = station_column is None and not rows.kind_column
    steps = {name: _list_steps(table, None, times, name)[""] for name in numbers} if is_one_series_a_column else {}
    reasons = _find_repeated(table, numbers, numerals, steps)
    numbers = [name for name in numbers if name not in reasons]
    read_numbers = partial(list_numbers, table, numerals=numerals)
    polar_rules, polar_columns, polar_reasons = settle_polar(
        table, numbers, read_numbers, station_column, interview, site_origins or {}
    )
    others = [name for name in numbers if name not in polar_columns]
    rules, open_columns = settle_columns(table, others, read_numbers, station_column, interview)
    rules = [*polar_rules, *rules]
    reasons |= polar_reasons
    _require_some(table, rules, open_columns, interview, rows.numbers)
    place = site_place or parse_place(answers.get(PLACE, ""))
    rules, distances = settle_coordinates(table, rules, station_column, numerals, interview, site_origins or {}, place)
    reasons |= distances
    _require_some(table, rules, open_columns, interview, rows.numbers)
    rain = next((table.heading(rule.name) for rule in rules if rule.quantity == RAIN), None)
    times = settle_day(table, times, rain, interview)
    if names_dates_alone(table, times) and all(question.key != DAY for question in interview.questions):
        facts.append(("date", _DAY_COUNTS(time=format_time_of_day(times.rule.date_counts_at))))
    if not table.kinds:
        flags = settle_flags(table, [rule.name for rule in rules], interview)
        rules = [replace(rule, only=flags.get(rule.name)) for rule in rules]
    used = {*numbers, *times.rule.columns, station_column, rows.kind_column}
    used |= {pair[0] for pair in table.written.values()}
    read = {*open_columns, *(rule.name for rule in rules), *(rule.sigma for rule in rules)}
    left_out = [name for name in table.keys if name not in used]
    left_out += [name for name in numbers if name not in read and name not in reasons]
    facts += describe_columns(table, rules, station_column, left_out, reasons)
    mapping = TableMapping(
        times.rule,
        tuple(fold(table, rule) for rule in rules),
        table.layout,
        tuple(dict.fromkeys((*MISSING, *numerals.missing))),
        numerals.decimal,
        numerals.thousands,
        station_column,
    )
    sensors = _list_sensors(table, _list_stored(rules), mapping, times, interview)
    facts += _describe_intervals(table, rules, station_column, times, sensors)
    shared = find_instruments(table, rules, mapping, times, interview)
    sensors = tuple(replace(sensor, instrument=shared.names.get(sensor.station, "")) for sensor in sensors)
    facts += shared.facts
    if interview.questions:
        return TableGuess(None, tuple(facts), tuple(interview.questions), sensors)
    file_options = ImportOptions()
    if polar_rules:
        instruments = tuple(total_stations) or (LOCAL_INSTRUMENT,)
        answer = answers.get(REFERENCE, FIRST)
        polar_origins = find_polar_origins(table, mapping, times, numerals, answer, site_origins or {}, instruments)
        file_options = ImportOptions(origins=polar_origins, total_stations=instruments)
        measured = {sensor.station for sensor in sensors}
        facts += describe_reference([origin for origin in polar_origins if origin[0] in measured])
        facts += [] if total_stations else describe_local_instrument()
    elif any(rule.quantity in DISPLACEMENT_OF for rule in rules):
        origins = find_origins(table, mapping, times, numerals, answers[REFERENCE], site_origins or {})
        file_options = ImportOptions(origins=origins)
        facts += describe_reference(origins)
    return TableGuess(mapping, tuple(facts), (), sensors, file_options=file_options)


def _is_long_form(table: RawTable) -> bool:
    """Return whether a table has the columns of the neutral long form, which needs no mapping."""
    is_plain = table.layout == Layout(encoding=table.layout.encoding) and table.layout.encoding.startswith("utf-8")
    return is_plain and {"time", "station", "quantity", "value"} <= set(table.keys)


def _refuse(table: RawTable, text: str) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(table.path), text=text))


def _require_some(
    table: RawTable, rules: Sequence[ColumnRule], open_columns: set[str], interview: Interview, numbers: Sequence[str]
) -> None:
    """Raise ConfigError if no column is read and no question could change this."""
    # The units of distances and angles are asked after the columns.
    is_polar_open = any(
        question.key == POLAR_KEY or question.key.startswith("unit:") for question in interview.questions
    )
    if not rules and not open_columns and not is_polar_open:
        raise _refuse(table, _ALL_LEFT(names=together.name_some(list(map(table.heading, numbers)))))


def _find_repeated(
    table: RawTable,
    numbers: Sequence[str],
    numerals: Numerals,
    steps: Mapping[str, timedelta | None],
) -> dict[str, Message]:
    """Return the columns that repeat another column, with the reason why they are left out.

    Two columns of one sensor are not two independent witnesses.
    """
    read_numbers = partial(list_numbers, table, numerals=numerals)
    meanings = {column: read_column_heading(table, column) for column in numbers}
    reasons: dict[str, Message] = {}
    for total, part in together.find_totals(table, numbers, numerals).items():
        reasons[total] = _RUNNING_SUM(column=table.heading(part))
    for extreme, usual in together.find_extremes(meanings, table.heading).items():
        reasons[extreme] = _SAME_SENSOR(column=table.heading(usual))
    single = {column: meanings[column] for column in steps}
    for column in together.find_overlapping_rain(single, table.heading, steps, read_numbers):
        reasons[column] = _RAIN_TWICE()
    others = {column: meaning for column, meaning in meanings.items() if column not in reasons}
    for repeat, first in together.find_repeats(others, read_numbers).items():
        reasons[repeat] = _OTHER_UNIT(column=table.heading(first))
    return reasons


# ---- series ----------------------------------------------------------------------------------------------------


def _describe_intervals(
    table: RawTable,
    rules: Sequence[ColumnRule],
    station_column: str | None,
    times: Times,
    sensors: Sequence[SensorGuess],
) -> Facts:
    """Return the usual interval of the rows or series, and the columns that have a value in few rows."""
    if station_column is not None or table.kinds:
        kinds: Sequence[str | None] = list(table.kinds) or [None]
        steps = [step for kind in kinds for step in _list_steps(table, station_column, times, kind).values()]
        facts = describe_series_sampling([step for step in steps if step is not None])
    else:
        facts = describe_sampling(times)
    if table.kinds or len(rules) != len(sensors) or any(rule.station is None for rule in rules):
        return facts
    intervals_s = {table.heading(rule.name): sensor.interval_s for rule, sensor in zip(rules, sensors, strict=True)}
    return facts + describe_seldom(times, intervals_s)


def _list_stored(rules: Sequence[ColumnRule]) -> list[ColumnRule]:
    """Return the rules of what is stored: a distance and two angles become three components of a displacement."""
    stored = [rule for rule in rules if rule.quantity not in POLAR]
    for rule in rules:
        if rule.quantity == SLOPE_DISTANCE:
            stored += [replace(rule, quantity=position, unit="m") for position in DISPLACEMENT_OF]
    return stored


def _list_sensors(
    table: RawTable, rules: Sequence[ColumnRule], mapping: TableMapping, times: Times, interview: Interview
) -> tuple[SensorGuess, ...]:
    """Return the series of a table with their usual interval."""
    usual = describe_gaps(times.parsed)[0]
    found = []
    for rule in rules:
        steps = _list_steps(table, mapping.station, times, rule.name)
        stamps = _find_stamps(table, rule, mapping, times, interview)
        for name, own_step in steps.items():
            step = own_step or usual
            rain = stamps.get(name, RainStamp())
            interval_s = rain.interval_s if step is None or rain.interval_s else step.total_seconds()
            # Coordinates are stored as displacements.
            quantity = DISPLACEMENT_OF.get(rule.quantity, rule.quantity)
            unit = QUANTITIES[quantity].unit if quantity != rule.quantity else rule.unit
            sensor = SensorGuess(
                rule.station or name,
                quantity,
                unit,
                interval_s,
                stamp=rain.stamp,
                silence_s=rain.silence_s,
            )
            found.append(sensor)
    return tuple(found)


def _list_steps(
    table: RawTable, station_column: str | None, times: Times, column: str | None
) -> dict[str, timedelta | None]:
    """Return the usual interval of each station in a column of values.

    Args:
        table: The table.
        station_column: The column that names the station of each row. None for one series, under an empty name.
        times: The times of the rows.
        column: The column whose empty cells do not count. None if every row counts.
    """
    has_value = [True] * table.rows if column is None else [not is_empty(cell) for cell in table.columns[column]]
    names = [""] * table.rows if station_column is None else list_names(table.columns[station_column])
    stations = [name_station(name) for name in names]
    found: dict[str, list[datetime]] = {}
    for station, is_counted in zip(stations, has_value, strict=True):
        if is_counted and (station or station_column is None):
            found.setdefault(station, [])
    if len(times.parsed) == table.rows:
        for station, at, is_counted in zip(stations, times.parsed, has_value, strict=True):
            if is_counted and station in found:
                found[station].append(at)
    return {station: describe_gaps(instants)[0] for station, instants in found.items()}


def _find_stamps(
    table: RawTable, rule: ColumnRule, mapping: TableMapping, times: Times, interview: Interview
) -> dict[str, RainStamp]:
    """Return how the rain of a column is counted, by station; an empty name if each column has its station."""
    if rule.quantity != RAIN:
        return {}
    numerals = Numerals(mapping.decimal, mapping.thousands, dict.fromkeys(mapping.missing, 0))
    if len(times.parsed) != table.rows:
        # Instants and rows do not correspond. Only the order of the values is known.
        values = list_numbers(table, rule.name, numerals)
        is_counter = mapping.station is None and adds_up([*enumerate(values)])
        return {"": RainStamp(COUNTER)} if is_counter else {}
    names = [""] * table.rows if mapping.station is None else list_names(table.columns[mapping.station])
    rows: dict[str, list[tuple[float, float]]] = {}
    for name, at, cell in zip(names, times.parsed, table.columns[rule.name], strict=True):
        if is_empty(cell) or str(cell) in numerals.missing:
            continue
        value = read_number(cell, numerals)
        if value is not None:
            amount_mm = convert(value, rule.unit, "mm")
            rows.setdefault(name_station(name), []).append((at.replace(tzinfo=UTC).timestamp(), amount_mm))
    return {station: settle_rain_stamp(station or rule.name, own, interview) for station, own in rows.items()}
