"""A stranger's table understood as far as it can be, and the questions that only a person can answer."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.api.errors import ConfigError
from monitor.api.files import ImportOptions
from monitor.api.ingest import (
    MISSING,
    ColumnRule,
    Layout,
    TableMapping,
    format_time_of_day,
    name_station,
    read_unit,
)
from monitor.api.queries.ingest import WIDE
from monitor.api.sites import QUANTITIES, Origin, convert, is_raw, is_unit_of, list_units
from monitor.api.text import LABELLED_TEXT, Figure, Message, NameList, Template, Term, Value, join
from monitor.features.table_import.guess import together
from monitor.features.table_import.guess.bounds import LevelWindow
from monitor.features.table_import.guess.coordinates import (
    DISPLACEMENT_OF,
    REFERENCE,
    find_origins,
    settle_coordinates,
)
from monitor.features.table_import.guess.names import (
    COMPONENTS,
    ColumnMeaning,
    is_no_measurement,
    is_station_column,
    is_term_of_field,
    may_count_downward,
    read_name,
    strip_treatment,
)
from monitor.features.table_import.guess.numerals import (
    COMMA,
    POINT,
    Numerals,
    is_empty,
    is_numeric,
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
from monitor.features.table_import.guess.patterns import settle_patterns
from monitor.features.table_import.guess.questions import (
    EACH,
    LEAVE_OUT,
    NO,
    ONE_OF,
    QUANTITY,
    YES,
    FileQuestion,
    Interview,
    name_own,
    require,
)
from monitor.features.table_import.guess.rain_stamp import COUNTER, RainStamp, find_rain_stamp
from monitor.features.table_import.guess.raw_table import ALL_SHEETS, SHEET, RawTable
from monitor.features.table_import.guess.sharing import ROWS, find_owner
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
from monitor.features.table_import.guess.unfold import fold, unfold
from monitor.features.table_import.guess.words import load_words

UNIT: Final = "unit"
COLUMN: Final = "column"
DOWNWARD: Final = "downward"
ONE_SIGN: Final = 0.9  # share of the values that says which way they count
SAME: Final = "same"
_STATIONS_MOST: Final = 2000
COMPONENT: Final = re.compile(r"(?<=displacement)_(?:east|north|up)|(?<=tilt)_[xy]")  # of one instrument in one unit
_ALL_IN: Final = re.compile(
    r"(?<!\w)(?:units?|einheit(?:en)?|unit[àa](?: di misura)?|unit[ée]s?|unidad(?:es)?|单位)\s*[:：=]\s*([^,;]+)",
    re.IGNORECASE,
)

_LONG_FORM: Final = Template(
    "guess.long_form", "this is the neutral long form, nothing to guess: slopeward ingest {file}"
)
_ROWS: Final = Template("guess.rows", "{n} rows of {columns} columns")
_ROWS_MORE: Final = Template("guess.rows.more", "{n} rows of {columns} columns, and there are more")
_PARTED: Final = Template("guess.layout.parted", "cells parted by {sign}, {encoding}")
_FIXED: Final = Template("guess.layout.fixed", "columns of fixed width, {encoding}")
_EARLY: Final = Template("guess.early", "{n} rows of data stand before the names of the columns: they are put aside")
_STATIONS: Final = Template("guess.stations", "{n} of them, named by column '{column}'")
_KINDS: Final = Template("guess.kinds", "column '{column}' says what a row measures")
_MISSING: Final = Template("guess.missing", "{word} × {n}")
_SUMMARIES: Final = Template("guess.left.summaries", "{n} rows left out, as they are no readings: {labels}")
_RUNNING_SUM: Final = Template("guess.left.sum", "left out: the running sum of '{column}'")
_SAME_SENSOR: Final = Template("guess.left.sensor", "left out: of the same sensor as '{column}'")
_RAIN_TWICE: Final = Template(
    "guess.left.rain", "left out: the rain of more than one row, so it is there more than once"
)
_OTHER_UNIT: Final = Template("guess.left.unit", "left out: the same as '{column}' in another unit")
_RAW: Final = Template(
    "guess.left.raw",
    "left out: '{unit}' is a reading as it comes from the sensor; the calibration sheet turns it into a unit",
)
IN_COLUMN: Final = Template("guess.column", "station {station}: {quantity} in {unit}")
_COLUMN_ERROR: Final = Template(
    "guess.column.error", "station {station}: {quantity} in {unit}, its error in '{column}'"
)
_NAMED: Final = Template("guess.column.named", "the station that '{name}' names: {quantity} in {unit}")
_NAMED_ERROR: Final = Template(
    "guess.column.named_error", "the station that '{name}' names: {quantity} in {unit}, its error in '{column}'"
)
EVERY: Final = Template("guess.every", "every {step}")
_EVERY_SERIES: Final = Template("guess.every.series", "every {step} in a series")
_EVERY_OF: Final = Template("guess.every.of", "every {step} of {columns}")
GAPS: Final = Template("guess.gaps", "{n} gaps, the longest {longest}")
_TWICE: Final = Template("guess.twice", "{n} times come twice")
_NO_NUMBERS: Final = Template("guess.no_numbers", "no column of numbers beside the time; the columns are: {names}")
_ALL_LEFT: Final = Template("guess.all_left", "every column of numbers was left out ({names}): nothing to store")
_NO_LETTER: Final = Template(
    "guess.no_letter", "a name in column '{column}' has no letter or digit that a station id can have (a-z, 0-9)"
)
_TWINS: Final = Template("guess.twins", "stations that are not the same need names that differ: {names}")
_REFERENCE: Final = Template("guess.reference", "coordinates of {n} stations count from their reading at {at} UTC")
_REFERENCES: Final = Template(
    "guess.reference.many", "coordinates of {n} stations count from their readings at {first} to {last} UTC"
)
_NO_UNIT_OF: Final = Template("guess.unit.other", "'{unit}' is no unit of {quantity}")
_WHICH_SHEET: Final = Template("guess.ask.sheet", "which sheet of the workbook counts?")
_DAY_COUNTS: Final = Template("guess.day", "a date without a time counts at {time} of its day")
_WHAT: Final = Template("guess.ask.quantity", "what do these columns measure: {names}?")
_WHAT_IN: Final = Template("guess.ask.quantity.unit", "what do these columns measure in {unit}: {names}?")
_WHICH_UNIT: Final = Template("guess.ask.unit", "which unit has {quantity}: {names}?")
_FOREIGN: Final = Template("guess.ask.unit.foreign", "the header says '{unit}', which is no unit known here")
_WHICH_COLUMN: Final = Template("guess.ask.column", "which of these columns is {quantity}?")
_BEYOND: Final = Template(
    "guess.ask.quantity.beyond",
    "most values of '{column}' are about {value}, which no {quantity} is: are columns exchanged, or the unit?",
)
_DOWNWARD: Final = Template("guess.ask.downward", "do larger values of '{column}' mean lower ground or water?")
_SAME: Final = Template("guess.ask.same", "are these names the same station: {names}?")
Facts = list[tuple[str, str]]
"""What was understood, for people: a word or the name of a column, and a message."""


@dataclass(frozen=True, slots=True)
class MotionGuess:
    """How a station moved over its record, or one line of it."""

    moved_mm: float  # to the side, or along the line, in the end
    days: float
    is_sure: bool  # no scatter, season or chance is likely to have made it
    azimuth: tuple[float, float] | None = None  # of stations in space, with one standard error, degrees
    plunge: tuple[float, float] | None = None
    is_sure_in_height: bool = False


@dataclass(frozen=True, slots=True)
class SensorGuess:
    """A series of the table as the site file would declare it."""

    station: str
    quantity: str
    unit: str
    interval_s: float | None
    stamp: str = ""  # of rain: `counter` or `event`; sums of intervals need none
    motion: MotionGuess | None = None
    silence_s: float | None = None  # what `max_silence` is, if it does not follow from the interval
    noise_mm: float = 0.0  # of a series of motion, on the map where it has components; 0 = not known
    windows: tuple[LevelWindow, ...] = ()  # window and bound of each level, from how the record moves


@dataclass(frozen=True, slots=True)
class TableGuess:
    """What a table says."""

    mapping: TableMapping | None  # None while a question is open, or where the form of the file is known
    facts: tuple[tuple[str, str], ...]  # as `Facts`
    questions: tuple[FileQuestion, ...]
    sensors: tuple[SensorGuess, ...] = ()
    form: str = WIDE  # the reader of the file
    known: ImportOptions = ImportOptions()  # noqa: RUF009 - frozen; what a person or the file itself says beside its columns

    @property
    def options(self) -> ImportOptions:
        """How the file is read, once no question is open."""
        return replace(self.known, mapping=self.mapping)

    @property
    def zone(self) -> str:
        """Of the site that the file would make."""
        zone = None if self.mapping is None else self.mapping.time.zone
        return "UTC" if zone is None else zone.key


def guess(
    table: RawTable,
    answers: Mapping[str, str],
    now: datetime | None = None,
    site_origins: Mapping[str, Origin] | None = None,
) -> TableGuess:
    """Find the meaning of a table, and the questions that only its owner can answer.

    Args:
        table: The cells of the file.
        answers: Answers by the key of their question.
        now: The current time; by default that of the clock.
        site_origins: Origins of stations in the site file, which coordinates may count from.

    Raises:
        ConfigError: The table has no time or no measurement, or an answer is not possible.
    """
    if _is_long_form(table):
        raise _refuse(table, _LONG_FORM(file=shlex.quote(str(table.path))))
    table = replace(table, units=_find_units(table) | table.units)
    table, summaries = set_aside_summaries(table)
    refuse_gps_weeks(table)
    talk = Interview(answers)
    times = find_times(table, talk)
    if times is None:
        raise _refuse(table, describe_untimed(table))
    refuse_odd_clocks(table, times)
    if len(table.sheets) > 1 and SHEET not in talk.answers:
        talk.request(SHEET, _WHICH_SHEET(), (*table.sheets, ALL_SHEETS) if table.joins else table.sheets)
    facts = _describe_layout(table)
    times = settle_times(table, times, talk, now or datetime.now(UTC))
    facts.append(("time", describe_times(times)))
    refuse_readable(table, times, summaries)
    request_factor(table, times.rule.columns[0], talk)
    table, numbers, station, kinds, row_facts = _settle_rows(table, times, talk)
    if all(question.key != DATES for question in talk.questions):
        refuse_sums(table, times, station, kinds)
        refuse_midnights(table, times, station, kinds)
    if summaries is not None:
        row_facts.append(("totals", _SUMMARIES(n=Figure(len(summaries.labels), "d"), labels=summaries.list_some())))
    if station is None and not kinds:
        request_parts(table, times, talk)
    if describe_gaps(times.parsed)[0] == timedelta(days=1):
        together.request_hours({n: _read_name(table, n) for n in numbers}, table.title, talk)
    numerals = settle_numerals(table, numbers, talk)
    facts += [*row_facts, *_describe_numerals(numerals)]
    read_numbers = partial(list_numbers, table, numerals=numerals)
    alone = numbers if station is None and not kinds else []
    steps = {n: _list_steps(table, None, times, n)[""] for n in alone}
    less = _find_repeated(table, numbers, numerals, steps, read_numbers)
    numbers = [n for n in numbers if n not in less]
    rules, open_columns = _settle_columns(table, numbers, read_numbers, station, talk)
    if not rules and not open_columns:
        others = [table.title(name) for name in table.names if name not in times.rule.columns]
        raise _refuse(table, _ALL_LEFT(names=together.name_some(others)))
    rules, distances = settle_coordinates(table, rules, station, numerals, talk, site_origins or {})
    less |= distances
    if not rules and not open_columns:
        raise _refuse(table, _ALL_LEFT(names=together.name_some([table.title(name) for name in numbers])))
    rain = next((table.title(rule.name) for rule in rules if rule.quantity == "rain"), None)
    times = settle_day(table, times, rain, talk)
    if names_dates_alone(table, times) and all(question.key != DAY for question in talk.questions):
        facts.append(("date", _DAY_COUNTS(time=format_time_of_day(times.rule.date_counts_at))))
    if not table.kinds:
        flags = settle_flags(table, [rule.name for rule in rules], talk)
        rules = [replace(rule, only=flags.get(rule.name)) for rule in rules]
    used = {*numbers, *times.rule.columns, station, kinds, *(pair[0] for pair in table.written.values())}
    left = [*(n for n in table.names if n not in used), *_list_unsettled(numbers, rules, open_columns)]
    facts += _describe_found(table, rules, station, left, less)
    mapping = TableMapping(
        times.rule,
        tuple(fold(table, rule) for rule in rules),
        table.layout,
        tuple(dict.fromkeys((*MISSING, *numerals.missing))),
        numerals.decimal,
        numerals.thousands,
        station,
    )
    sensors = _list_sensors(table, rules, mapping, times)
    facts += _describe_sampling(times, table, station)
    facts += _describe_seldom(times, table, rules, sensors)
    if talk.questions:
        return TableGuess(None, tuple(facts), tuple(talk.questions), sensors)
    known = ImportOptions()
    if any(rule.quantity in DISPLACEMENT_OF for rule in rules):
        origins = find_origins(table, mapping, numerals, answers[REFERENCE], site_origins or {})
        known = ImportOptions(origins=origins)
        facts.append(("reference", _describe_reference(origins)))
    return TableGuess(mapping, tuple(facts), (), sensors, known=known)


def _describe_reference(origins: Sequence[tuple[str, Origin]]) -> Message:
    """Return from when on displacements count."""
    since = sorted(origin.since for _, origin in origins)
    first, last = f"{since[0]:%Y-%m-%d %H:%M}", f"{since[-1]:%Y-%m-%d %H:%M}"
    if first == last:
        return _REFERENCE(n=len(origins), at=first)
    return _REFERENCES(n=len(origins), first=first, last=last)


def _describe_numerals(numerals: Numerals) -> Facts:
    counted = [_MISSING(word=text, n=Figure(n, "d")) for text, n in numerals.missing.items()]
    facts: Facts = [("decimal mark", COMMA if numerals.decimal == "," else POINT)]
    return [*facts, ("no measurement", join(counted, ", "))] if counted else facts


def _list_unsettled(numbers: Sequence[str], rules: Sequence[ColumnRule], open_columns: Collection[str]) -> list[str]:
    """Columns of numbers that no rule reads, and that nobody is asked about."""
    settled = {*open_columns, *(r.name for r in rules), *(r.sigma for r in rules)}
    return [n for n in numbers if n not in settled]


def _is_long_form(table: RawTable) -> bool:
    """Whether a table is in the neutral long form: nothing of it is to be understood."""
    plain = table.layout == Layout(encoding=table.layout.encoding) and table.layout.encoding.startswith("utf-8")
    return plain and {"time", "station", "quantity", "value"} <= set(table.names)


def _settle_rows(
    table: RawTable, times: Times, talk: Interview
) -> tuple[RawTable, list[str], str | None, str | None, Facts]:
    """The table with a column for each kind of row, its columns of numbers, and those of stations and kinds."""
    station = _find_station(table, times, talk)
    named = station
    table, numbers, station, kinds = unfold(table, _find_numbers(table, times, station), station, times.rule.columns)
    if station is not None and all(not c or is_term_of_field(c) for c in list_names(table.columns[station])):
        named = station = None
    is_one = station is None or len({str(cell) for cell in table.columns[station]}) == 1  # name of a table, of a site
    values = [n for n in numbers if not is_no_measurement(table.title(n))]
    if (owner := find_owner(table, times, values, talk, None if is_one else station)) is not None:
        named = station = owner
        numbers = [n for n in numbers if n != owner]
    facts: Facts = []
    if named is not None:
        many = len(set(filter(None, list_names(table.columns[named]))))
        facts.append(("stations", _STATIONS(n=Figure(many, "d"), column=table.title(named))))
    facts += [("kinds", _KINDS(column=kinds))] if kinds else []
    offered = {c for question in talk.questions if question.key == ROWS for c in question.choices}
    numbers = [n for n in numbers if table.title(n) not in offered] or numbers  # one question of a column at a time
    if not numbers:
        raise _refuse(table, _NO_NUMBERS(names=NameList(table.names)))
    return table, numbers, station, kinds, facts


def _find_repeated(
    table: RawTable,
    numbers: Sequence[str],
    numerals: Numerals,
    steps: Mapping[str, timedelta | None],
    read_numbers: together.Numbers,
) -> dict[str, Message]:
    """Columns that say what another says, and why each is left out: one sensor is no two witnesses."""
    names, totals = {n: _read_name(table, n) for n in numbers}, together.find_totals(table, numbers, numerals)
    less = {n: _RUNNING_SUM(column=table.title(part)) for n, part in totals.items()}
    less |= {n: _SAME_SENSOR(column=table.title(u)) for n, u in together.find_extremes(names, table.title).items()}
    less |= dict.fromkeys(
        together.find_windows({n: names[n] for n in steps}, table.title, steps, read_numbers), _RAIN_TWICE()
    )
    repeats = together.find_repeats({n: name for n, name in names.items() if n not in less}, read_numbers)
    return less | {n: _OTHER_UNIT(column=table.title(first)) for n, first in repeats.items()}


def _describe_found(
    table: RawTable, rules: Sequence[ColumnRule], station: str | None, left: Sequence[str], less: Mapping[str, Message]
) -> Facts:
    """What is left out, rows and columns, what each column is, and those whose sign is turned."""
    left_out: list[Value] = [_EARLY(n=Figure(table.early, ","))] if table.early else []
    left_out += [join(map(table.title, left), ", ")] if left else []
    facts: Facts = [("left out", join(left_out))] if left_out else []
    facts += [(n, _RAW(unit=foreign)) for n in left if is_raw(foreign := _read_name(table, n).foreign)]
    facts += [(table.title(n), why) for n, why in less.items()]
    facts += [(table.title(rule.name), _describe_column(table, rule, station)) for rule in rules]
    turned = [table.title(rule.name) for rule in rules if rule.downward]
    return [*facts, ("sign turned", join([together.name_some(turned)]))] if turned else facts


def _refuse(table: RawTable, why: str) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(table.path), text=why))


def _describe_column(table: RawTable, rule: ColumnRule, station: str | None) -> Message:
    """What a column is; `station`: the column that names whose row it is."""
    what: dict[str, Value] = {"quantity": Term(rule.quantity), "unit": rule.unit}
    if rule.sigma:
        what["column"] = table.title(rule.sigma)
    if rule.station:
        return (_COLUMN_ERROR if rule.sigma else IN_COLUMN)(station=rule.station, **what)
    return (_NAMED_ERROR if rule.sigma else _NAMED)(name=str(station), **what)


def _describe_layout(table: RawTable) -> Facts:
    layout, names = table.layout, {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", "whitespace": "blanks"}
    is_text = table.path.suffix.lower() not in {".parquet", ".pq", ".xlsx", ".xlsm"}
    template = _ROWS if table.is_whole else _ROWS_MORE
    facts: Facts = [("file", template(n=Figure(table.rows, ","), columns=len(table.names)))]
    if len(table.sheets) > 1:
        read = layout.sheets or table.sheets[:1]
        facts.append(("sheet", join(read, ", ")))
        others = [n for n in table.sheets if n not in read]
        facts += [("other sheets", join([together.name_some(others)]))] if others else []
    if is_text:
        encoding = layout.encoding.removesuffix("-sig")
        fixed = _FIXED(encoding=encoding) if layout.starts else None
        facts.append(("layout", fixed or _PARTED(sign=Term(names[layout.delimiter]), encoding=encoding)))
    return facts


def _describe_sampling(times: Times, table: RawTable, station: str | None) -> Facts:
    if station is not None or table.kinds:
        steps = [s for kind in table.kinds or (None,) for s in _list_steps(table, station, times, kind).values()]
        own = sorted(step for step in steps if step is not None)
        return [("sampling", _EVERY_SERIES(step=_format_step(own[len(own) // 2])))] if own else []
    step, gaps, longest = describe_gaps(times.parsed)
    if step is None:
        return []
    facts = [EVERY(step=_format_step(step))]
    if gaps and longest is not None:
        facts.append(GAPS(n=Figure(gaps, "d"), longest=_format_step(longest)))
    if twice := len(times.parsed) - len(set(times.parsed)):
        facts.append(_TWICE(n=Figure(twice, "d")))
    return [("sampling", join(facts))]


def _describe_seldom(
    times: Times, table: RawTable, rules: Sequence[ColumnRule], sensors: Sequence[SensorGuess]
) -> Facts:
    """Columns that have a value at a few of the times alone."""
    usual = describe_gaps(times.parsed)[0]
    if usual is None or table.kinds or len(rules) != len(sensors) or any(rule.station is None for rule in rules):
        return []
    steps: dict[float, list[str]] = {}
    for rule, sensor in zip(rules, sensors, strict=True):
        if sensor.interval_s and sensor.interval_s > 1.5 * usual.total_seconds():
            steps.setdefault(sensor.interval_s, []).append(table.title(rule.name))
    return [
        ("sampling", _EVERY_OF(step=_format_step(timedelta(seconds=s)), columns=together.name_some(names)))
        for s, names in steps.items()
    ]


def _format_step(step: timedelta) -> Figure:
    seconds = step.total_seconds()
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit:
            return Figure(seconds / unit, ".4g", name)
    return Figure(seconds, "g", "s")


# ---- what a person may have to say -----------------------------------------------------------------------------


def _settle_columns(
    table: RawTable, numbers: Sequence[str], read_numbers: together.Numbers, station: str | None, talk: Interview
) -> tuple[list[ColumnRule], set[str]]:
    """Quantity, unit and station of each column, and those in question; several alike are asked about once."""
    names = {n: _read_name(table, n) for n in numbers if _is_measured(table.title(n), read_numbers(n))}
    names = {n: name for n, name in names.items() if not is_raw(name.foreign)}
    names, undecided = settle_patterns(names, table.title, talk)
    decided = {n: name for n, name in names.items() if n not in undecided}
    names, open_columns = together.settle_components(decided, talk)
    open_columns += undecided
    errors = together.pair_errors(names, read_numbers, talk)
    values = {n: name for n, name in names.items() if n not in errors and n not in open_columns}
    found, questions = _settle_quantities(values, _find_unit(table), talk)
    talk.questions.extend(one.to_question(key, table) for key, one in questions.items())
    found = {c: one for c, one in found.items() if _can_be(c, *one, read_numbers(c), talk)}
    found = _settle_twins(found, {} if station is not None else values, talk)
    stations = _name_stations(table, {c: values[c] for c in found}, found, station)
    sigmas = {value: error for error, value in reversed(errors.items())}
    rules = []
    for column, (quantity, unit) in found.items():
        downward = _counts_downward(table.title(column), quantity, read_numbers(column), talk)
        rules.append(ColumnRule(column, stations[column], quantity, unit, sigmas.get(column), downward=downward))
    open_columns += [column for one in questions.values() for column in one.columns]
    return rules, {*open_columns, *(e for e, value in errors.items() if value in open_columns)}


def _is_measured(title: str, values: Sequence[float]) -> bool:
    """Return whether a column of numbers holds measurements; an elevation does if it changes."""
    is_height = load_words("places", "elevations").is_in(title) and len(set(values)) > 1
    return is_height or not is_no_measurement(title)


def _settle_quantities(
    names: Mapping[str, ColumnMeaning], table_unit: str, talk: Interview
) -> tuple[dict[str, tuple[str, str]], "dict[str, _SharedQuestion]"]:
    """Quantity and unit of each column by its name or by what a person says, and the questions that are left."""
    questions: dict[str, _SharedQuestion] = {}
    found: dict[str, tuple[str, str]] = {}
    for column, name in names.items():
        # of a part of a motion nobody says it of several at once
        own = talk.answers.get(name_own(QUANTITY, column))
        quantity = name.quantity or (own if name.is_part else talk.find(QUANTITY, column, name.unit or ""))
        unit = name.unit
        if unit is None and not name.foreign and quantity and is_unit_of(table_unit, quantity):
            unit = table_unit
        elif unit is None:
            whole = COMPONENT.sub("", quantity or "")
            unit = talk.find(UNIT, column, quantity or "", whole, f"{whole} [{name.foreign}]")
        if LEAVE_OUT in {quantity, unit}:
            continue
        if quantity is None:
            _request_quantity(questions, column, name, talk.answers)
            continue
        if quantity not in QUANTITIES:
            raise ConfigError(ONE_OF(key=QUANTITY, names=NameList(tuple(sorted(QUANTITIES))), answer=quantity))
        if unit is None:
            _request_unit(questions, column, quantity, name.foreign)
        elif is_unit_of(unit, quantity):
            found[column] = quantity, unit
        else:
            raise ConfigError(LABELLED_TEXT(name=column, text=_NO_UNIT_OF(unit=unit, quantity=Term(quantity))))
    return found, questions


def _can_be(column: str, quantity: str, unit: str, values: Sequence[float], talk: Interview) -> bool:
    """Whether a column counts: a person says it where most values lie beyond what its quantity can be."""
    known = QUANTITIES[quantity]
    is_place = quantity.startswith("displacement")  # coordinates of a country are far from its origin
    if not values or is_place or known.low <= (middle := convert(median(values), unit, known.unit)) <= known.high:
        return True
    text = _BEYOND(column=column, value=Figure(middle, ".4g", known.unit), quantity=Term(quantity))
    return talk.request(name_own(QUANTITY, column), text, (quantity, LEAVE_OUT)) != LEAVE_OUT


def _counts_downward(title: str, quantity: str, values: Sequence[float], talk: Interview) -> bool:
    """Whether larger values are lower ground or water: the name says it, unless they are written below zero."""
    if not may_count_downward(title, quantity):
        return False
    nonzero = [value for value in values if value]
    above = sum(value > 0 for value in nonzero)
    if nonzero and not 1 - ONE_SIGN < above / len(nonzero) < ONE_SIGN:
        return 2 * above > len(nonzero)
    if (answer := talk.find(DOWNWARD, title, quantity)) is None:
        key = f"{DOWNWARD}:{quantity}"
        if all(question.key != key for question in talk.questions):
            talk.questions.append(FileQuestion(key, _DOWNWARD(column=title), (YES, NO)))
        return False
    require(f"{DOWNWARD}:{title}", answer, (YES, NO))
    return answer == YES


def _read_name(table: RawTable, column: str) -> ColumnMeaning:
    return read_name(table.title(column), table.units.get(column))


def _find_units(table: RawTable) -> dict[str, str]:
    """The units that lines above the names give column by column: its name, and `UNIT: m` below it."""
    columns = {table.title(name).casefold(): name for name in table.names}
    return {
        columns[name.casefold()]: unit
        for name, line in pairwise(table.above)
        if name.casefold() in columns and (unit := _read_line_unit(line))
    }


def _find_unit(table: RawTable) -> str:
    """The unit that a line above the names gives all columns; "" where none does."""
    found = [unit for line in table.above if (unit := _read_line_unit(line)) is not None]
    return found[0] if len(found) == 1 else ""


def _read_line_unit(line: str) -> str | None:
    """The unit that a line says of all below it: `UNIT: Deg C`, and `UNIT: m  Offset: 0`; "" one that is not known."""
    if (match := _ALL_IN.search(line)) is None:
        return None
    words = match[1].split()
    return next((unit for end in (len(words), 2, 1) if (unit := read_unit(" ".join(words[:end])))), "")


def _settle_twins(
    found: Mapping[str, tuple[str, str]], names: Mapping[str, ColumnMeaning], talk: Interview
) -> dict[str, tuple[str, str]]:
    """One column for each quantity of a station: two would be two values of one instant, or two witnesses of a sensor.

    `names`: of columns that name stations; those are one that differ in words for what was done with the values alone.
    """
    kept: dict[str, tuple[str, str]] = {}
    places = {c: strip_treatment(names[c].station) if c in names else ("", True) for c in found}
    for quantity, base in dict.fromkeys((q, places[c][0]) for c, (q, _) in found.items()):
        columns = [c for c, (q, _) in found.items() if (q, places[c][0]) == (quantity, base)]
        if len(columns) > 1 and any(places[c][1] for c in columns):
            text = _WHICH_COLUMN(quantity=Term(quantity))
            key = f"{COLUMN}:{base}.{quantity}" if base else f"{COLUMN}:{quantity}"
            answer = talk.request(key, text, (*columns, LEAVE_OUT))
            columns = [c for c in columns if answer in {None, c}]
        kept |= {c: found[c] for c in columns}
    return kept


@dataclass(frozen=True, slots=True)
class _SharedQuestion:
    """What is asked once about columns that are alike; `describe` says it with their names."""

    describe: Callable[[NameList], Message]
    choices: Sequence[str]
    default: str | None = None
    columns: list[str] = field(default_factory=list)

    def to_question(self, key: str, table: RawTable) -> FileQuestion:
        more = (EACH,) if key.startswith(QUANTITY) and len(self.columns) > 1 else ()
        text = self.describe(together.name_some([table.title(c) for c in self.columns]))
        return FileQuestion(key, text, (*self.choices, LEAVE_OUT, *more), self.default)


def _request_unit(questions: dict[str, _SharedQuestion], column: str, quantity: str, foreign: str) -> None:
    """Which unit columns of a quantity have: the nearest first where they say one that is not known."""
    fitting, whole = list_units(quantity, foreign), COMPONENT.sub("", quantity)
    name = f"{UNIT}:{whole} [{foreign}]" if foreign else f"{UNIT}:{whole}"
    foreign_note = [_FOREIGN(unit=foreign)] if foreign else []
    describe = lambda names: join([*foreign_note, _WHICH_UNIT(quantity=Term(whole), names=names)])  # noqa: E731
    questions.setdefault(name, _SharedQuestion(describe, fitting)).columns.append(column)


def _request_quantity(
    questions: dict[str, _SharedQuestion], column: str, name: ColumnMeaning, answers: Mapping[str, str]
) -> None:
    """What columns of one unit, or of none, measure; one by one, by their own key, where somebody wants that."""
    unit = name.unit or ""
    could_be = sorted(q for q in QUANTITIES if name.unit is None or is_unit_of(name.unit, q))
    each = name.is_part or EACH in {answers.get(f"{QUANTITY}:{unit}"), answers.get(QUANTITY)}
    choices = tuple(q for q in could_be if not name.is_part or q.startswith("displacement_"))
    key = name_own(QUANTITY, column) if each else f"{QUANTITY}:{unit}" if unit else QUANTITY
    describe = lambda names: _WHAT_IN(unit=unit, names=names) if unit else _WHAT(names=names)  # noqa: E731
    questions.setdefault(key, _SharedQuestion(describe, choices, LEAVE_OUT if each else None)).columns.append(column)


def _choose_stations(
    table: RawTable, names: Mapping[str, ColumnMeaning], found: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, str], str]:
    """The station that each column names, or the usual one, which is that of the file."""
    own = table.layout.sheets or table.sheets[:1]  # one of several sheets is a station rather than the workbook is
    sheet = name_station(own[0]) if len(table.sheets) > 1 and len(own) == 1 else ""
    usual = sheet or name_station(table.path.stem) or "S1"
    alike = Counter(quantity for quantity, _ in found.values())
    # words without a number name an instrument where they tell it from another one; else the file does
    named = {n.station for c, n in names.items() if alike[found[c][0]] > 1 or any(map(str.isdigit, n.station))}
    chosen = {c: (name.station if name.station in named else "") or usual for c, name in names.items()}
    for column, name in names.items():  # parts that a person names are of one instrument
        if found[column][0] in COMPONENTS.values() and name.sign and name.base and not name.base.isdigit():
            chosen[column] = name_station(name.base)
    return chosen, usual


def _name_stations(
    table: RawTable, names: Mapping[str, ColumnMeaning], found: Mapping[str, tuple[str, str]], station: str | None
) -> dict[str, str | None]:
    """A station for each column, never the same one twice for one quantity."""
    if station is not None:
        return dict.fromkeys(names)
    chosen, usual = _choose_stations(table, names, found)
    counts = Counter((chosen[c], found[c][0]) for c in names)
    for column in names:
        if counts[chosen[column], found[column][0]] > 1:
            chosen[column] = name_station(table.title(column)) or f"{usual}-{table.names.index(column) + 1}"
    taken: set[tuple[str, str]] = set()
    for column in names:
        base, again = chosen[column], 1
        while (chosen[column], found[column][0]) in taken:
            again += 1
            chosen[column] = f"{base[:60]}-{again}"
        taken.add((chosen[column], found[column][0]))
    return dict(chosen)


# ---- what the cells say ----------------------------------------------------------------------------------------


def _find_station(table: RawTable, times: Times, talk: Interview) -> str | None:
    """The column whose texts or numbers say whose row it is: a few names that come again and again."""
    for name in table.names:
        if name in times.rule.columns or not is_station_column(table.title(name)):
            continue
        cells = [cell for cell in list_names(table.columns[name]) if cell]
        kinds = set(cells)
        if len(cells) < 0.9 * table.rows or len(kinds) > min(_STATIONS_MOST, max(1, len(cells) // 2)):
            continue
        ids = {kind: name_station(kind) for kind in sorted(kinds)}
        if "" in ids.values():
            raise _refuse(table, _NO_LETTER(column=name))
        twins = [kind for kind, one in ids.items() if list(ids.values()).count(one) > 1]
        if twins and talk.answers.get(SAME, YES) != YES:
            raise _refuse(table, _TWINS(names=together.name_some(twins)))
        if twins:
            talk.request(SAME, _SAME(names=together.name_some(twins)), (YES, NO))
        return name
    return None


def _find_numbers(table: RawTable, times: Times, station: str | None) -> list[str]:
    filled = {n: [c for c in table.columns[n] if not is_empty(c)] for n in table.names}
    return [
        n
        for n, cells in filled.items()
        if n not in {*times.rule.columns, station}
        and cells
        and is_numeric(cells)
        and not isinstance(cells[0], datetime)
    ]


def _list_sensors(
    table: RawTable, rules: Sequence[ColumnRule], mapping: TableMapping, times: Times
) -> tuple[SensorGuess, ...]:
    """Series as a site file declares them, with their usual step."""
    usual = describe_gaps(times.parsed)[0]
    found = []
    for rule in rules:
        steps = _list_steps(table, mapping.station, times, rule.name)
        stamps = _find_stamps(table, rule, mapping, times)
        for place, own in steps.items():
            step = own or usual
            rain = stamps.get(place, RainStamp())
            every = rain.interval_s if step is None or rain.interval_s else step.total_seconds()
            station = rule.station or place
            # Coordinates are stored as displacements.
            quantity = DISPLACEMENT_OF.get(rule.quantity, rule.quantity)
            unit = QUANTITIES[quantity].unit if quantity != rule.quantity else rule.unit
            found.append(SensorGuess(station, quantity, unit, every, stamp=rain.stamp, silence_s=rain.silence_s))
    return tuple(found)


def _list_steps(table: RawTable, station: str | None, times: Times, kind: str | None) -> dict[str, timedelta | None]:
    """The usual step of each station that a column names, or of the one of a kind of rows."""
    counts = [True] * table.rows if kind is None else [not is_empty(c) for c in table.columns[kind]]
    cells = [""] * table.rows if station is None else list_names(table.columns[station])
    places = [name_station(c) if does else "" for c, does in zip(cells, counts, strict=True)]
    own: dict[str, list[datetime]] = {
        p: [] for p, does in zip(places, counts, strict=True) if does and (p or not station)
    }
    if len(times.parsed) == table.rows:
        for place, at, does in zip(places, times.parsed, counts, strict=True):
            if does and place in own:
                own[place].append(at)
    return {p: describe_gaps(at)[0] for p, at in own.items()}


def _find_stamps(table: RawTable, rule: ColumnRule, mapping: TableMapping, times: Times) -> dict[str, RainStamp]:
    """How the rain of a column is counted, by the station of its rows ("" without a column of stations)."""
    if rule.quantity != "rain":
        return {}
    numerals = Numerals(mapping.decimal, mapping.thousands, dict.fromkeys(mapping.missing, 0))
    if len(times.parsed) != table.rows:  # instants and rows do not correspond: only the order of the values is known
        values = list_numbers(table, rule.name, numerals)
        return {"": RainStamp(COUNTER)} if mapping.station is None and adds_up([*enumerate(values)]) else {}
    stations = [""] * table.rows if mapping.station is None else table.columns[mapping.station]
    rows: dict[str, list[tuple[float, float]]] = {}
    for station, at, cell in zip(stations, times.parsed, table.columns[rule.name], strict=True):
        if is_empty(cell) or str(cell) in numerals.missing or (value := read_number(cell, numerals)) is None:
            continue
        place = name_station(str(station)) if mapping.station is not None else ""
        rows.setdefault(place, []).append((at.replace(tzinfo=UTC).timestamp(), value))
    return {place: find_rain_stamp(own) for place, own in rows.items()}
