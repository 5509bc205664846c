"""What columns mean together: the components of one station, values with their errors, and repeated values."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up
from monitor.api.ingest import COUNT_UNITS, SECONDS_PER_UNIT, compile_alternatives
from monitor.api.sites import QUANTITIES, convert, is_unit_of
from monitor.api.text import Figure, NameList, Template, Term, join
from monitor.features.table_import.guess.names import COMPONENTS, ColumnMeaning, read_heading
from monitor.features.table_import.guess.numerals import Numerals, read_number
from monitor.features.table_import.guess.questions import (
    EACH,
    LEAVE_OUT,
    NO,
    FileQuestion,
    Interview,
    name_own,
    require,
)
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_forms import has_word
from monitor.features.table_import.guess.words import load_words

AXES: Final = "axes"
ERROR: Final = "error"
TILT: Final = "tilt"
HOURS: Final = "hours"
X_EAST: Final = "x east, y north"
X_NORTH: Final = "x north, y east"
TWO_AXES: Final = "two axes of one tiltmeter"
TWO_INSTRUMENTS: Final = "two instruments"
MANY_INSTRUMENTS: Final = "24 instruments"
DEVIATIONS: Final = "standard deviations"
MEASUREMENTS: Final = "measurements"
_LETTERS: Final = {"A": "tilt_x", "B": "tilt_y"}
_ANGLES: Final = {"x": "tilt_x", "y": "tilt_y"}
_DIRECTIONS: Final = {
    X_EAST: {"x": "displacement_east", "y": "displacement_north"},
    X_NORTH: {"x": "displacement_north", "y": "displacement_east"},
}
_OFFERED_MOST: Final = 12
NAMED_MOST: Final = 6  # headings in one sentence

# A column is the running sum of another if this share of its increments agree; it may restart.
SUM_ROWS_LEAST: Final = 20
SUM_ROWS_READ: Final = 2000
SUM_SHARE: Final = 0.95
SUM_ERROR: Final = 0.05  # rounding, in the unit of the rain

# Two columns are the same values in two units if they differ by at most this share of their range.
SAME_MOST: Final = 0.02
# Rain over a window longer than this many intervals of the rows is in several rows.
WINDOW_MOST: Final = 1.5
_WINDOW: Final = re.compile(
    rf"(?<![\w.,])(\d{{1,4}}(?:[.,]\d+)?)[ _-]?({compile_alternatives(COUNT_UNITS)})(?![^\W_])", re.IGNORECASE
)
# Keys of the words in `words.toml` for a window without a number.
_WINDOWS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_OF_HOUR: Final = re.compile(r"(\d{1,2})(?:[:.h]00|\W?([^\W\d_]+))?\W*$", re.IGNORECASE)
_HOURS_OF_DAY: Final = Template(
    "guess.ask.hours",
    "are {names} the 24 hours of a day? Then write a row for each hour, for the rows here are of days; or is each an "
    "instrument?",
)
_WHICH_WAY: Final = Template("guess.ask.axes", "which way do these columns count: {names}?")
_COUNTS: Final = Template("guess.ask.axes.counts", "'{column}' counts to the {side}")
_WHICH_TILT: Final = Template("guess.ask.tilt", "what are these columns: {names}?")
_ARE_ERRORS: Final = Template("guess.ask.errors", "do these columns hold standard deviations of others: {names}?")
_DEVIATION_OF: Final = Template("guess.ask.errors.of", "'{column}': {value} is the standard deviation of '{other}'")
_MEASURED: Final = Template("guess.ask.errors.none", "'{column}': {value} is a reading of an instrument")
_WHOSE_ERROR: Final = Template("guess.ask.error", "whose standard deviation is in '{column}'? no: it is a measurement")

Numbers = Callable[[str], Sequence[float]]
"""Returns the numbers of a column."""


# ---- components ------------------------------------------------------------------------------------------------


def settle_components(
    meanings: Mapping[str, ColumnMeaning], interview: Interview
) -> tuple[dict[str, ColumnMeaning], list[str]]:
    """Return the meaning of the columns with the components of motion, and the columns whose question is open.

    Letters and sides of the compass are components if a station has a full set; else they are part of its name.
    """
    settled = dict(meanings)
    groups: dict[str, dict[str, list[str]]] = {}
    for column, meaning in meanings.items():
        if meaning.component and meaning.quantity in {None, "displacement"} and not meaning.is_error:
            groups.setdefault(meaning.base, {}).setdefault(meaning.component, []).append(column)
    open_columns: list[str] = []
    for base, group in groups.items():
        columns = {component: same[0] for component, same in group.items() if len(same) == 1}
        quantities = _choose_components(columns, meanings, interview.answers.get(AXES))
        if quantities is None:
            open_columns += columns.values()
        chosen = {component: quantity for component, quantity in (quantities or {}).items() if component in columns}
        for column in meanings if chosen else ():
            own = chosen if column in columns.values() else {}
            settled[column] = _set_component(settled[column], base, own, chosen)
    if open_columns or AXES in interview.answers:
        examples = {}
        for answer, sides in ((X_EAST, ("east", "north")), (X_NORTH, ("north", "east"))):
            shown = open_columns[:2]
            parts = [_COUNTS(column=column, side=Term(side)) for column, side in zip(shown, sides, strict=False)]
            examples[answer] = join(parts)
        interview.request(AXES, _WHICH_WAY(names=name_some(open_columns)), (X_EAST, X_NORTH, EACH), examples=examples)
    return settled, [*open_columns, *_settle_letters(settled, interview)]


def _choose_components(
    columns: Mapping[str, str], meanings: Mapping[str, ColumnMeaning], way: str | None
) -> Mapping[str, str] | None:
    """Return the quantity of each component of one station.

    Returns:
        Nothing if the letters are names of instruments; None if the question is open.
    """
    components = set(columns)
    if components >= {"x", "y"} and _are(columns.values(), meanings, "tilt"):
        return _ANGLES
    if not _are(columns.values(), meanings, "displacement"):
        return {}
    if components >= {"e", "n"} and _is_set(columns, meanings):
        return COMPONENTS
    if not components >= {"x", "y"}:
        return {}
    if way is None:
        return None
    return {**_DIRECTIONS[way], "u": COMPONENTS["u"]} if way in _DIRECTIONS else {}


def _settle_letters(found: dict[str, ColumnMeaning], interview: Interview) -> list[str]:
    """Settle columns A and B of tilt: the axes of one tiltmeter or two instruments. Beside C they are instruments."""
    lettered = {
        meaning.station.upper(): c
        for c, meaning in found.items()
        if meaning.quantity == "tilt" and len(meaning.station) == 1 and meaning.station.isalpha()
    }
    if set(lettered) != set(_LETTERS):
        return []
    answer = interview.request(TILT, _WHICH_TILT(names=name_some([*lettered.values()])), (TWO_AXES, TWO_INSTRUMENTS))
    if answer is None:
        return [*lettered.values()]
    if answer == TWO_AXES:
        for letter, column in lettered.items():
            found[column] = replace(found[column], quantity=_LETTERS[letter], station="")
    return []


def _are(columns: Iterable[str], meanings: Mapping[str, ColumnMeaning], quantity: str) -> bool:
    """Return whether columns have units of a quantity; a length may have no unit, and an angle must have one."""
    units = [meanings[column].unit for column in columns]
    return all((unit is None and quantity != "tilt") or (unit and is_unit_of(unit, quantity)) for unit in units)


def _is_set(columns: Mapping[str, str], meanings: Mapping[str, ColumnMeaning]) -> bool:
    """Return whether east and north are components rather than two instruments.

    They are if they are words, if up is beside them, or if they are letters behind the name of a station. E1 and N1 may
    be two instruments, and so may E and N of displacement if the other sides of the compass are beside them.
    """
    base = meanings[columns["e"]].base
    words = meanings[columns["e"]].is_side and meanings[columns["n"]].is_side
    has_other_sides = any(
        load_words("components", "other_sides").is_whole(meaning.station) for meaning in meanings.values()
    )
    measure_motion = all(meanings[columns[component]].quantity == "displacement" for component in "en")
    moves = measure_motion and not has_other_sides
    return words or "u" in columns or (not base.isdigit() if base else moves)


def _set_component(
    meaning: ColumnMeaning, base: str, own: Mapping[str, str], all_of: Mapping[str, str]
) -> ColumnMeaning:
    """Return the meaning of a column with its component, or of an error with the component that it belongs to."""
    errors = tuple(
        replace(e, quantity=all_of[e.component], station=_format_base(base))
        if e.base == base and e.component in all_of and e.quantity is None
        else e
        for e in meaning.error_of
    )
    if meaning.component in own and meaning.base == base:
        return replace(meaning, quantity=own[meaning.component], station=_format_base(base), error_of=errors)
    return replace(meaning, error_of=errors)


def _format_base(base: str) -> str:
    return f"S{base}" if base.isdigit() else base


# ---- errors ----------------------------------------------------------------------------------------------------


def pair_errors(
    meanings: Mapping[str, ColumnMeaning], read_numbers: Numbers, interview: Interview
) -> dict[str, str | None]:
    """Return the columns that hold the standard deviation of another column, each with this column.

    A column is one if its heading calls it a standard deviation and names one other column. A heading such as "sd" or
    "SE" may also name an instrument, so its owner is asked. None instead of the other column: it is left out.
    """
    may_be = [column for column in meanings if _may_be_error(column, meanings)]
    values = [column for column in meanings if column not in may_be]
    found: dict[str, str | None] = {}
    doubtful: dict[str, str] = {}
    for column in may_be:
        meaning = meanings[column]
        partners = _find_partner(column, meanings, may_be)
        if len(values) == 1 and _is_bare(meaning):
            partners = [*partners, values[0]]
        fitting = [partner for partner in partners if _can_be_errors(read_numbers(column))]
        if fitting and meaning.is_error:
            found[column] = fitting[0]
        elif fitting:
            doubtful[column] = fitting[0]
        elif values and meaning.is_error:
            offered = [value for value in values if _may_share_unit(meanings[value], meaning)]
            found |= _ask_partner(column, offered, None, interview)
    return found | _settle_doubtful(doubtful, meanings, values, read_numbers, interview)


def _settle_doubtful(
    doubtful: Mapping[str, str],
    meanings: Mapping[str, ColumnMeaning],
    values: Sequence[str],
    read_numbers: Numbers,
    interview: Interview,
) -> dict[str, str | None]:
    """Ask in one question whether columns hold the standard deviations of others, or in one question for each."""
    if not doubtful:
        return {}
    answer = interview.answers.get(ERROR)
    has_own_answer = any(name_own(ERROR, column) in interview.answers for column in doubtful)
    if answer == EACH or (answer is None and (len(doubtful) == 1 or has_own_answer)):
        found: dict[str, str | None] = {}
        for column, partner in doubtful.items():
            offered = [value for value in values if _may_share_unit(meanings[value], meanings[column])]
            found |= _ask_partner(column, offered, partner, interview)
        return found
    column, partner = next(iter(doubtful.items()))
    examples = {
        DEVIATIONS: _DEVIATION_OF(column=column, value=Figure(read_numbers(column)[0], ".6g"), other=partner),
        MEASUREMENTS: _MEASURED(column=column, value=Figure(read_numbers(column)[0], ".6g")),
    }
    text = _ARE_ERRORS(names=name_some([*doubtful]))
    answer = interview.request(ERROR, text, (DEVIATIONS, MEASUREMENTS, LEAVE_OUT, EACH), examples=examples)
    if answer == MEASUREMENTS:
        return {}
    return {column: None if answer == LEAVE_OUT else partner for column, partner in doubtful.items()}


def _ask_partner(
    column: str, offered: Sequence[str], likely: str | None, interview: Interview
) -> dict[str, str | None]:
    """Ask whose standard deviation a column is; an empty result if it is a measurement."""
    key, choices = name_own(ERROR, column), (*offered[:_OFFERED_MOST], NO, LEAVE_OUT)
    answer = interview.answers.get(key)
    if answer is None:
        interview.questions.append(FileQuestion(key, _WHOSE_ERROR(column=column), choices, likely))
        return {column: likely}
    require(key, answer, choices)
    return {} if answer == NO else {column: None if answer == LEAVE_OUT else answer}


def _may_be_error(column: str, meanings: Mapping[str, ColumnMeaning]) -> bool:
    """Return whether a heading names, or may name, the standard deviation of another column."""
    meaning = meanings[column]
    return bool(meaning.error_of) and (
        meaning.is_error or bool(_find_partner(column, meanings, ())) or _is_bare(meaning)
    )


def _may_share_unit(one: ColumnMeaning, other: ColumnMeaning) -> bool:
    return other.unit is None or one.unit in {None, other.unit}


def _is_bare(meaning: ColumnMeaning) -> bool:
    """Return whether a heading has no other word than the one for an error."""
    return any(not error.station and error.quantity is None and not error.component for error in meaning.error_of)


def _find_partner(column: str, meanings: Mapping[str, ColumnMeaning], errors: Container[str]) -> list[str]:
    """Return the one column that is called like an error without the word for it; else the column before it."""
    for error in meanings[column].error_of:
        if not error.station and error.quantity is None:
            continue
        fitting = [
            other
            for other, meaning in meanings.items()
            if other != column
            and other not in errors
            and meaning.station == error.station
            and (error.quantity == meaning.quantity or (error.quantity is None and meanings[column].is_error))
            and error.unit in {None, meaning.unit}
        ]
        if len(fitting) == 1:
            return fitting
    return _find_column_before(column, meanings, errors)


def _find_column_before(column: str, meanings: Mapping[str, ColumnMeaning], errors: Container[str]) -> list[str]:
    """Return the column before an error if values and errors alternate throughout the table."""
    columns = list(meanings)
    bare = [other for other in columns if other in errors and meanings[other].is_error and _is_bare(meanings[other])]
    places = [columns.index(other) for other in bare]
    if len(bare) < 2 or column not in bare or any(k == 0 or columns[k - 1] in errors for k in places):
        return []
    return [columns[columns.index(column) - 1]]


def _can_be_errors(values: Sequence[float]) -> bool:
    """Return whether numbers can be standard deviations: none is negative, and few are 0, as codes of errors are."""
    return bool(values) and min(values) >= 0 and 2 * values.count(0.0) <= len(values)


# ---- sums ------------------------------------------------------------------------------------------------------


def find_totals(table: RawTable, number_columns: Sequence[str], numerals: Numerals) -> dict[str, str]:
    """Return the columns of rain that are the running sum of another column, each with this column."""
    meanings = {n: read_heading(table.heading(n), table.units.get(n)) for n in number_columns}
    found: dict[str, str] = {}
    for part in [n for n, meaning in meanings.items() if meaning.quantity == "rain"]:
        for total in [
            n for n, meaning in meanings.items() if meaning.quantity in {"rain", None} and n not in {part, *found}
        ]:
            if meanings[total].unit not in {None, meanings[part].unit}:
                continue
            pairs = islice(zip(table.columns[part], table.columns[total], strict=True), SUM_ROWS_READ)
            rows = [(read_number(a, numerals), read_number(b, numerals)) for a, b in pairs]
            known = [(a, b) for a, b in rows if a is not None and b is not None]
            rises = [(after[0], after[1] - before[1]) for before, after in pairwise(known)]
            fits = sum(abs(a - rise) <= SUM_ERROR for a, rise in rises)
            if len(rises) >= SUM_ROWS_LEAST and any(a for a, _ in rises) and fits >= SUM_SHARE * len(rises):
                found[total] = part
    return found


def find_repeats(meanings: Mapping[str, ColumnMeaning], read_numbers: Numbers) -> dict[str, str]:
    """Return the columns that repeat an earlier column in another unit, each with the earlier one."""
    found: dict[str, str] = {}
    for column, meaning in meanings.items():
        for first, other in meanings.items():
            if first == column:
                break
            measures_same = meaning.quantity == other.quantity and meaning.station == other.station
            if (
                meaning.quantity is None
                or not measures_same
                or first in found
                or meaning.unit is None
                or other.unit in {None, meaning.unit}
            ):
                continue
            here, there = read_numbers(column), read_numbers(first)
            unit = QUANTITIES[meaning.quantity].unit
            pairs = [
                (convert(a, meaning.unit, unit), convert(b, str(other.unit), unit))
                for a, b in zip(here, there, strict=False)
            ]
            spread = max((b for _, b in pairs), default=0.0) - min((b for _, b in pairs), default=0.0)
            if len(here) == len(there) and spread and max(abs(a - b) for a, b in pairs) <= SAME_MOST * spread:
                found[column] = first
    return found


def find_overlapping_rain(
    meanings: Mapping[str, ColumnMeaning],
    find_heading: Callable[[str], str],
    steps: Mapping[str, timedelta | None],
    read_numbers: Numbers,
) -> list[str]:
    """Return the columns of rain over a window that is longer than the interval of the rows.

    Their values overlap, so the rain would count several times. A column called "hourly" or "daily" may also count
    since the start of the hour or the day; its values rise, and it is read as a counter.
    """
    found = []
    for column, meaning in meanings.items():
        step, text = steps[column], find_heading(column).replace("_", " ")
        if meaning.quantity != "rain" or step is None:
            continue
        window = _WINDOW.search(find_heading(column))
        if window is not None:
            length_s = float(window[1].replace(",", ".")) * SECONDS_PER_UNIT[COUNT_UNITS[window[2].lower()]]
            length = timedelta(seconds=length_s)
            is_counter = False
        else:
            lengths = [length for key, length in _WINDOWS.items() if load_words("rain_windows", key).is_in(text)]
            length = lengths[0] if lengths else timedelta(0)
            is_counter = bool(lengths and adds_up([*enumerate(read_numbers(column))]))
        if length > WINDOW_MOST * step and not is_counter:
            found.append(column)
    return found


def request_hours(
    meanings: Mapping[str, ColumnMeaning], find_heading: Callable[[str], str], interview: Interview
) -> None:
    """Ask whether 24 columns in rows of days are the hours of the day."""
    hours: dict[str, int] = {}
    for column, meaning in meanings.items():
        match = _OF_HOUR.search(re.sub(r"[(\[].*", "", find_heading(column)).strip())
        if meaning.quantity not in {"rain", None} or match is None:
            continue
        if match[2] is None or has_word(match[2], "hour_of_day"):
            hours[find_heading(column)] = int(match[1])
    if [hour - min(hours.values()) for hour in hours.values()] == [*range(24)]:
        interview.request(HOURS, _HOURS_OF_DAY(names=name_some([*hours])), (MANY_INSTRUMENTS,))


def find_extremes(meanings: Mapping[str, ColumnMeaning], find_heading: Callable[[str], str]) -> dict[str, str]:
    """Return the columns of least and largest values, each with the column of the usual values of the same sensor."""
    extremes = load_words("errors", "extremes")
    groups: dict[tuple[str, str | None], list[str]] = {}
    for column, meaning in meanings.items():
        if meaning.quantity is not None and not meaning.is_error:
            groups.setdefault((meaning.quantity, extremes.remove(meaning.station)), []).append(column)
    found: dict[str, str] = {}
    for columns in groups.values():
        usual = [c for c in columns if not extremes.is_in(find_heading(c))]
        if len(usual) == 1:
            found |= {c: usual[0] for c in columns if c not in usual}
    return found


def name_some(columns: Sequence[str]) -> NameList:
    """Return the first headings and the number of the others."""
    return NameList(tuple(columns[:NAMED_MOST]), max(0, len(columns) - NAMED_MOST))
