"""The columns of numbers of a table: quantity, unit, station and sign of each, or the question that settles them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import ColumnRule, name_station, read_unit
from monitor.api.sites import QUANTITIES, convert, is_raw, is_unit_of, list_units
from monitor.api.text import LABELLED_TEXT, Figure, Message, NameList, Template, Term, join
from monitor.features.table_import.guess import together
from monitor.features.table_import.guess.names import (
    COMPONENTS,
    ColumnMeaning,
    is_no_measurement,
    list_measured_quantities,
    may_count_downward,
    read_heading,
    strip_treatment,
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
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.words import load_words

UNIT: Final = "unit"
COLUMN: Final = "column"
DOWNWARD: Final = "downward"
# If this share of the values has one sign, the sign shows which way they count.
ONE_SIGN: Final = 0.9
# The components of one instrument have one unit, so one question is about all of them.
_COMPONENT: Final = re.compile(r"(?<=displacement)_(?:east|north|up)|(?<=tilt)_[xy]")
_STATION_LONGEST: Final = 60
# Name of a rain gauge whose column names no station, in a file of other instruments.
RAIN_STATION: Final = "rain"
_UNIT_LINE: Final = re.compile(r"\s*[:：=]\s*([^,;]+)")

_NO_UNIT_OF: Final = Template("guess.unit.other", "'{unit}' is no unit of {quantity}")
_WHAT: Final = Template("guess.ask.quantity", "what do these columns measure: {names}?")
_WHAT_IN: Final = Template("guess.ask.quantity.unit", "what do these columns measure in {unit}: {names}?")
_WHICH_UNIT: Final = Template("guess.ask.unit", "what is the unit of {quantity} in {names}?")
_FOREIGN: Final = Template("guess.ask.unit.foreign", "the header says '{unit}', which is no unit known here")
_WHICH_COLUMN: Final = Template("guess.ask.column", "which of these columns is {quantity}?")
_BEYOND: Final = Template(
    "guess.ask.quantity.beyond",
    "the median of '{column}' is {value}, outside the range of {quantity}: is this column {quantity} in this unit?",
)
_DOWNWARD: Final = Template("guess.ask.downward", "do larger values of '{column}' mean lower ground or water?")
_IS_OF: Final = Template("guess.example.quantity.unit", "'{column}': {value} is {quantity} of {converted}")
_BECOMES: Final = Template("guess.example.unit", "'{column}': {value} becomes {converted}")


@dataclass(frozen=True, slots=True)
class _ColumnQuestion:
    """A question about several columns of one table that one answer settles.

    `SharedQuestion` later joins the questions of several files.

    Attributes:
        key: The key of the answer.
        choices: The possible answers, without those that leave columns out or ask about each.
        quantity: The quantity of the columns, if the question is about their unit.
        unit: The unit of the columns, if the question is about their quantity; a text that is no unit, if the headings
            have one and the question is about the unit.
        default: The likely answer; None if none is likely.
        columns: The columns.
    """

    key: str
    choices: Sequence[str]
    quantity: str = ""
    unit: str = ""
    default: str | None = None
    columns: list[str] = field(default_factory=list)

    def to_question(self, table: RawTable, read_numbers: together.Numbers) -> FileQuestion:
        """Return the question, with what each answer means for the largest value of a column, if a unit is involved."""
        names = together.name_some([table.heading(column) for column in self.columns])
        is_about_each = self.key.startswith(QUANTITY) and len(self.columns) > 1
        choices = (*self.choices, LEAVE_OUT, *((EACH,) if is_about_each else ()))
        column = self.columns[0]
        examples = {}
        values = sorted(read_numbers(column), key=abs) if self.quantity or self.unit else []
        for value in values[-1:]:
            for choice in self.choices:
                if (example := self._describe(table.heading(column), value, choice)) is not None:
                    examples[choice] = example
        return FileQuestion(self.key, self._ask(names), choices, self.default, examples)

    def _ask(self, names: NameList) -> Message:
        if self.quantity:
            question = _WHICH_UNIT(quantity=Term(self.quantity), names=names)
            return join([_FOREIGN(unit=self.unit), question]) if self.unit else question
        return _WHAT_IN(unit=self.unit, names=names) if self.unit else _WHAT(names=names)

    def _describe(self, heading: str, value: float, choice: str) -> Message | None:
        """Return what an answer means for a value; None if the columns have no unit that can be converted."""
        if self.quantity:
            unit, canonical = choice, QUANTITIES[self.quantity].unit
            with suppress(ValueError):
                converted = Figure(convert(value, unit, canonical), ".6g", canonical)
                return _BECOMES(column=heading, value=Figure(value, ".6g", unit), converted=converted)
            return None
        if not self.unit:
            return None
        canonical = QUANTITIES[choice].unit
        with suppress(ValueError):
            converted = Figure(convert(value, self.unit, canonical), ".6g", canonical)
            measured = Figure(value, ".6g", self.unit)
            return _IS_OF(column=heading, value=measured, quantity=Term(choice), converted=converted)
        return None


def settle_columns(
    table: RawTable,
    numbers: Sequence[str],
    read_numbers: together.Numbers,
    station_column: str | None,
    interview: Interview,
) -> tuple[list[ColumnRule], set[str]]:
    """Return a rule for each column that is settled, and the columns whose question is open.

    Args:
        table: The table.
        numbers: The columns of numbers.
        read_numbers: Returns the numbers of a column.
        station_column: The column that names the station of each row, if there is one.
        interview: The answers and open questions.
    """
    meanings = {n: read_column_heading(table, n) for n in numbers if _is_measured(table.heading(n), read_numbers(n))}
    meanings = {column: meaning for column, meaning in meanings.items() if not is_raw(meaning.foreign)}
    meanings, undecided = settle_patterns(meanings, table.heading, interview)
    decided = {column: meaning for column, meaning in meanings.items() if column not in undecided}
    meanings, open_columns = together.settle_components(decided, interview)
    open_columns += undecided
    errors = together.pair_errors(meanings, read_numbers, interview)
    values = {n: meaning for n, meaning in meanings.items() if n not in errors and n not in open_columns}
    found, questions = _resolve_quantities(values, _find_table_unit(table), interview)
    interview.questions.extend(question.to_question(table, read_numbers) for question in questions)
    found = {
        column: (quantity, unit)
        for column, (quantity, unit) in found.items()
        if _is_possible(column, quantity, unit, read_numbers(column), interview)
    }
    found = _settle_twins(found, {} if station_column is not None else values, interview)
    stations = _name_stations(table, {column: values[column] for column in found}, found, station_column)
    sigmas = {value: error for error, value in reversed(errors.items())}
    rules = []
    for column, (quantity, unit) in found.items():
        downward = _counts_downward(table.heading(column), quantity, read_numbers(column), interview)
        rules.append(ColumnRule(column, stations[column], quantity, unit, sigmas.get(column), downward=downward))
    open_columns += [column for question in questions for column in question.columns]
    open_errors = [error for error, value in errors.items() if value in open_columns]
    return rules, {*open_columns, *open_errors}


def read_column_heading(table: RawTable, column: str) -> ColumnMeaning:
    """Return the meaning of the heading of a column and of the unit below it."""
    return read_heading(table.heading(column), table.units.get(column))


def find_column_units(table: RawTable) -> dict[str, str]:
    """Return the units of columns that lines above the table give.

    An example are the two lines `Level` and `UNIT: m` above a table with the heading `Level`.
    """
    columns = {table.heading(name).casefold(): name for name in table.keys}
    return {
        columns[name.casefold()]: unit
        for name, line in pairwise(table.above)
        if name.casefold() in columns and (unit := _read_unit_line(line))
    }


def _find_table_unit(table: RawTable) -> str:
    """Return the unit that a line above the headings gives all columns; an empty text if there is none."""
    found = [unit for line in table.above if (unit := _read_unit_line(line)) is not None]
    return found[0] if len(found) == 1 else ""


def _read_unit_line(line: str) -> str | None:
    """Return the unit in a line such as `UNIT: Deg C` or `UNIT: m  Offset: 0`; an empty text if it is not known."""
    matches = [_UNIT_LINE.match(line, end) for _, end in load_words("kinds", "units").find_spans(line)]
    texts = [match[1] for match in matches if match is not None]
    if not texts:
        return None
    words = texts[0].split()
    for count in (len(words), 2, 1):
        if (unit := read_unit(" ".join(words[:count]))) is not None:
            return unit
    return ""


def _is_measured(heading: str, values: Sequence[float]) -> bool:
    """Return whether a column of numbers holds measurements; an elevation does if it changes."""
    is_height = load_words("places", "elevations").is_in(heading) and len(set(values)) > 1
    return is_height or not is_no_measurement(heading)


# ---- quantity and unit -----------------------------------------------------------------------------------------


def _resolve_quantities(
    meanings: Mapping[str, ColumnMeaning], table_unit: str, interview: Interview
) -> tuple[dict[str, tuple[str, str]], list[_ColumnQuestion]]:
    """Return quantity and unit of each column, by its heading or an answer, and the open questions."""
    questions: dict[str, _ColumnQuestion] = {}
    found: dict[str, tuple[str, str]] = {}
    for column, meaning in meanings.items():
        quantity = meaning.quantity or _find_quantity_answer(column, meaning, interview)
        unit = meaning.unit
        if unit is None and not meaning.foreign and quantity and is_unit_of(table_unit, quantity):
            unit = table_unit
        elif unit is None:
            whole = _COMPONENT.sub("", quantity or "")
            unit = interview.find(UNIT, column, quantity or "", whole, f"{whole} [{meaning.foreign}]")
        if LEAVE_OUT in {quantity, unit}:
            continue
        if quantity is None:
            question = _ask_quantity(column, meaning, interview.answers)
        elif quantity not in QUANTITIES:
            raise ConfigError(ONE_OF(key=QUANTITY, names=NameList(tuple(sorted(QUANTITIES))), answer=quantity))
        elif unit is None:
            question = _ask_unit(quantity, meaning.foreign)
        elif not is_unit_of(unit, quantity):
            raise ConfigError(LABELLED_TEXT(name=column, text=_NO_UNIT_OF(unit=unit, quantity=Term(quantity))))
        else:
            found[column] = quantity, unit
            continue
        questions.setdefault(question.key, question).columns.append(column)
    return found, list(questions.values())


def _find_quantity_answer(column: str, meaning: ColumnMeaning, interview: Interview) -> str | None:
    """Return the quantity that an answer gives a column; a part of a motion needs an answer of its own."""
    if meaning.is_part:
        return interview.answers.get(name_own(QUANTITY, column))
    return interview.find(QUANTITY, column, meaning.unit or "")


def _ask_unit(quantity: str, foreign: str) -> _ColumnQuestion:
    """Return the question about the unit of a quantity; the unit nearest to a text that is no unit is the first."""
    whole = _COMPONENT.sub("", quantity)
    key = f"{UNIT}:{whole} [{foreign}]" if foreign else f"{UNIT}:{whole}"
    return _ColumnQuestion(key, list_units(quantity, foreign), quantity=whole, unit=foreign)


def _ask_quantity(column: str, meaning: ColumnMeaning, answers: Mapping[str, str]) -> _ColumnQuestion:
    """Return the question about the quantity of all columns of a unit, or of one column if its owner prefers this.

    Quantities that the heading names are the first choices.
    """
    unit = meaning.unit or ""
    is_alone = meaning.is_part or EACH in {answers.get(f"{QUANTITY}:{unit}"), answers.get(QUANTITY)}
    measured = list_measured_quantities()
    fitting = [quantity for quantity in measured if meaning.unit is None or is_unit_of(meaning.unit, quantity)]
    if meaning.is_part:
        fitting = [quantity for quantity in fitting if quantity.startswith("displacement_")]
    likely = [quantity for quantity in meaning.rivals if quantity in fitting]
    choices = tuple(dict.fromkeys((*likely, *fitting)))
    group_key = f"{QUANTITY}:{unit}" if unit else QUANTITY
    key = name_own(QUANTITY, column) if is_alone else group_key
    return _ColumnQuestion(key, choices, unit=unit, default=LEAVE_OUT if is_alone else None)


def _is_possible(column: str, quantity: str, unit: str, values: Sequence[float], interview: Interview) -> bool:
    """Return whether a column is read; its owner is asked if most values are outside the range of its quantity.

    Displacements are not compared with a range: coordinates, which are large, have a question of their own.
    """
    limits = QUANTITIES[quantity]
    if not values or quantity.startswith("displacement"):
        return True
    middle = convert(median(values), unit, limits.unit)
    if limits.low <= middle <= limits.high:
        return True
    text = _BEYOND(column=column, value=Figure(middle, ".4g", limits.unit), quantity=Term(quantity))
    return interview.request(name_own(QUANTITY, column), text, (quantity, LEAVE_OUT)) != LEAVE_OUT


def _counts_downward(heading: str, quantity: str, values: Sequence[float], interview: Interview) -> bool:
    """Return whether the sign of a column is turned, because larger values are lower ground or water.

    A heading such as "depth to water" counts downward. Values below zero under such a heading count upward already.
    """
    if not may_count_downward(heading, quantity):
        return False
    nonzero = [value for value in values if value]
    above = sum(value > 0 for value in nonzero)
    if nonzero and not 1 - ONE_SIGN < above / len(nonzero) < ONE_SIGN:
        return 2 * above > len(nonzero)
    answer = interview.find(DOWNWARD, heading, quantity)
    if answer is None:
        key = f"{DOWNWARD}:{quantity}"
        if all(question.key != key for question in interview.questions):
            interview.questions.append(FileQuestion(key, _DOWNWARD(column=heading), (YES, NO)))
        return False
    require(f"{DOWNWARD}:{heading}", answer, (YES, NO))
    return answer == YES


def _settle_twins(
    found: Mapping[str, tuple[str, str]], meanings: Mapping[str, ColumnMeaning], interview: Interview
) -> dict[str, tuple[str, str]]:
    """Ask which of several treated columns of one quantity and station to read. All are kept until it is answered.

    Columns whose headings differ only in words for the treatment of values, such as "raw" and "corrected", are one
    sensor. Two of them would be two values of one instant, or two witnesses.

    Args:
        found: Quantity and unit of each column.
        meanings: Meanings of columns that name stations; empty if a column names the station of each row.
        interview: The answers and open questions.
    """
    kept: dict[str, tuple[str, str]] = {}
    bases = {
        column: strip_treatment(meanings[column].station) if column in meanings else ("", True) for column in found
    }
    groups: dict[tuple[str, str], list[str]] = {}
    for column, (quantity, _) in found.items():
        groups.setdefault((quantity, bases[column][0]), []).append(column)
    for (quantity, base), columns in groups.items():
        if len(columns) > 1 and any(bases[column][1] for column in columns):
            key = f"{COLUMN}:{base}.{quantity}" if base else f"{COLUMN}:{quantity}"
            answer = interview.request(key, _WHICH_COLUMN(quantity=Term(quantity)), (*columns, LEAVE_OUT))
            kept |= {column: found[column] for column in columns if answer in {None, column}}
        else:
            kept |= {column: found[column] for column in columns}
    return kept


# ---- stations --------------------------------------------------------------------------------------------------


def _choose_stations(
    table: RawTable, meanings: Mapping[str, ColumnMeaning], found: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, str], str]:
    """Return the station that each column names, or the usual one, which is named by the sheet or the file.

    Rain without a station beside columns that name theirs is the station `RAIN_STATION`.
    """
    sheets = table.layout.sheets or table.sheets[:1]
    sheet = name_station(sheets[0]) if len(table.sheets) > 1 and len(sheets) == 1 else ""
    usual = sheet or name_station(table.path.stem) or "S1"
    counts = Counter(quantity for quantity, _ in found.values())
    # Words without a number name an instrument only if they distinguish it from another instrument of its quantity.
    named = {
        meaning.station
        for column, meaning in meanings.items()
        if counts[found[column][0]] > 1 or any(map(str.isdigit, meaning.station))
    }
    chosen = {
        column: (meaning.station if meaning.station in named else "") or usual for column, meaning in meanings.items()
    }
    if not sheet and set(chosen.values()) != {usual}:
        # The other columns name instruments, so the file is no instrument.
        chosen |= {
            column: RAIN_STATION for column in meanings if chosen[column] == usual and found[column][0] == "rain"
        }
    for column, meaning in meanings.items():
        # Components that an answer names belong to one instrument.
        if (
            found[column][0] in COMPONENTS.values()
            and meaning.component
            and meaning.base
            and not meaning.base.isdigit()
        ):
            chosen[column] = name_station(meaning.base)
    return chosen, usual


def _name_stations(
    table: RawTable,
    meanings: Mapping[str, ColumnMeaning],
    found: Mapping[str, tuple[str, str]],
    station_column: str | None,
) -> dict[str, str | None]:
    """Return a station for each column, which no other column of its quantity has."""
    if station_column is not None:
        return dict.fromkeys(meanings)
    chosen, usual = _choose_stations(table, meanings, found)
    counts = Counter((chosen[column], found[column][0]) for column in meanings)
    for column in meanings:
        if counts[chosen[column], found[column][0]] > 1:
            number = table.keys.index(column) + 1
            chosen[column] = name_station(table.heading(column)) or f"{usual}-{number}"
    taken: set[tuple[str, str]] = set()
    for column in meanings:
        base = chosen[column]
        number = 1
        while (chosen[column], found[column][0]) in taken:
            number += 1
            chosen[column] = f"{base[:_STATION_LONGEST]}-{number}"
        taken.add((chosen[column], found[column][0]))
    return dict(chosen)
