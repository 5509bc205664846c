"""Patterns of headings, such as `Ink_[5][1]_dA` of an inclinometer chain: one question for all columns of a pattern."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from monitor.api.ingest import name_station
from monitor.api.sites import is_unit_of
from monitor.api.text import Message, NameList, Template, Term, join
from monitor.features.table_import.guess.names import ColumnMeaning, list_measured_quantities
from monitor.features.table_import.guess.questions import EACH, LEAVE_OUT, QUANTITY, FileQuestion, Interview, require

PATTERN: Final = "pattern"
COLUMNS_LEAST: Final = 3
COLUMNS_NAMED: Final = 4
COLUMNS_SHOWN: Final = 2

_BRACKETED_UNIT: Final = re.compile(r"\s*[\[(（［][^\])）］\d]*[\])）］]\s*$")
_BRACKETS: Final = re.compile(r"[_\s]*[\[\](){}]+[_\s]*")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)?")
_AXIS: Final = re.compile(r"(?<![^\W_])([dΔ]?)([ABXYZ])(?=[+]?$)", re.IGNORECASE)
_TILT_AXES: Final = {"a": "tilt_x", "x": "tilt_x", "b": "tilt_y", "y": "tilt_y"}
_TILT: Final = "tilt"
# Quantities that an instrument with axes measures, the likeliest first.
MEASURED_ALONG_AXES: Final = (_TILT, "displacement", "crack_opening", "strain", "acceleration")
_WHAT: Final = Template("guess.ask.pattern", "what do these {n} columns measure: {names}?")
_WHAT_IN: Final = Template("guess.ask.pattern.unit", "what do these {n} columns measure in {unit}: {names}?")
_MEANS: Final = Template("guess.ask.pattern.means", "'{column}' is {quantity} of station {station}")


@dataclass(frozen=True, slots=True)
class HeadingPattern:
    """Columns whose headings differ in numbers, and maybe in a letter for the axis at their end.

    Attributes:
        text: The heading with `#` for each number and `@` for the axis.
        unit: The unit that all columns have. None if their headings name none.
        axes: The letter of the axis of each column; empty if the headings have none.
    """

    text: str
    unit: str | None
    axes: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """The keys of the columns."""
        return list(self.axes)

    @property
    def has_axes(self) -> bool:
        """Whether the headings end with at least two different axis letters."""
        return len(set(self.axes.values()) - {""}) > 1

    @property
    def has_components(self) -> bool:
        """Whether the columns are lengths along X and Y."""
        is_length = self.unit is not None and is_unit_of(self.unit, "displacement")
        return is_length and {"x", "y"} <= set(self.axes.values())

    @property
    def key(self) -> str:
        """The key of the question about these columns."""
        return f"{PATTERN}:{self.text}"


def settle_patterns(
    meanings: Mapping[str, ColumnMeaning], find_heading: Callable[[str], str], interview: Interview
) -> tuple[dict[str, ColumnMeaning], list[str]]:
    """Return the meaning of the columns except those that are left out, and the columns whose question is open.

    Args:
        meanings: The meaning of each column.
        find_heading: Returns the heading of a column.
        interview: The answers and open questions.
    """
    found = dict(meanings)
    open_columns: list[str] = []
    for pattern in find_patterns(meanings, find_heading):
        if all(interview.find(QUANTITY, column, pattern.unit or "") is not None for column in pattern.columns):
            continue
        choices = _list_choices(pattern)
        answer = interview.answers.get(pattern.key)
        if answer is None:
            interview.questions.append(_make_question(pattern, choices, find_heading))
            open_columns += pattern.columns
            continue
        require(pattern.key, answer, (*choices, LEAVE_OUT, EACH))
        for column in pattern.columns if answer != EACH else ():
            if answer == LEAVE_OUT:
                del found[column]
            else:
                found[column] = _apply(found[column], pattern, column, find_heading(column), answer)
    return found, open_columns


def find_patterns(meanings: Mapping[str, ColumnMeaning], find_heading: Callable[[str], str]) -> list[HeadingPattern]:
    """Return the patterns of columns whose heading names no quantity.

    A pattern counts if it has at least three columns, and if its headings end with axes or columns of other patterns
    share its unit, so that one answer would not fit all columns of this unit. Lengths along X and Y are components of a
    displacement, which have a question of their own.
    """
    groups: dict[tuple[str, str | None], dict[str, str]] = {}
    for column, meaning in meanings.items():
        if meaning.quantity is None and not meaning.is_part and not meaning.is_error:
            text, axis = split_pattern(find_heading(column))
            groups.setdefault((text, meaning.unit), {})[column] = axis
    patterns = [HeadingPattern(text, unit, axes) for (text, unit), axes in groups.items() if "#" in text]
    units = [unit for _, unit in groups]
    return [
        pattern
        for pattern in patterns
        if len(pattern.columns) >= COLUMNS_LEAST and not pattern.has_components
        if pattern.has_axes or units.count(pattern.unit) > 1
    ]


def split_pattern(heading: str) -> tuple[str, str]:
    """Return the pattern of a heading, and the letter of its axis.

    >>> split_pattern("Ink_[5][1]_dA"), split_pattern("SAA1 N12 X (mm)"), split_pattern("Node 3")
    (('Ink_[#][#]_d@', 'a'), ('SAA# N# @', 'x'), ('Node #', ''))
    """
    bare = _BRACKETED_UNIT.sub("", heading).strip()
    axis = _AXIS.search(bare)
    if axis is not None and _NUMBER.search(bare):
        bare = f"{bare[: axis.start()]}{axis[1]}@"
    return _NUMBER.sub("#", bare), axis[2].lower() if axis is not None else ""


def _list_choices(pattern: HeadingPattern) -> tuple[str, ...]:
    """Return the quantities that the columns of a pattern may measure; of tilt the axes follow from the headings."""
    offered = MEASURED_ALONG_AXES if pattern.has_axes else list_measured_quantities()
    return tuple(name for name in offered if pattern.unit is None or is_unit_of(pattern.unit, name))


def _make_question(pattern: HeadingPattern, choices: Sequence[str], find_heading: Callable[[str], str]) -> FileQuestion:
    headings = [find_heading(column) for column in pattern.columns]
    names = NameList(tuple(headings[:COLUMNS_NAMED]), max(0, len(headings) - COLUMNS_NAMED))
    text = _WHAT(n=len(headings), names=names)
    if pattern.unit is not None:
        text = _WHAT_IN(n=len(headings), unit=pattern.unit, names=names)
    examples = {choice: _describe(pattern, choice, find_heading) for choice in choices} if pattern.has_axes else {}
    return FileQuestion(pattern.key, text, (*choices, LEAVE_OUT, EACH), None, examples)


def _describe(pattern: HeadingPattern, quantity: str, find_heading: Callable[[str], str]) -> Message:
    """Return what a quantity means for the first columns."""
    shown = []
    for column in pattern.columns[:COLUMNS_SHOWN]:
        meaning = _apply(ColumnMeaning(None, None, ""), pattern, column, find_heading(column), quantity)
        described = Term(str(meaning.quantity))
        shown.append(_MEANS(column=find_heading(column), quantity=described, station=meaning.station))
    return join(shown)


def _apply(meaning: ColumnMeaning, pattern: HeadingPattern, column: str, heading: str, quantity: str) -> ColumnMeaning:
    """Return the meaning of a column of a pattern: an axis of the tilt of a station, or a station of its own."""
    bare = _BRACKETED_UNIT.sub("", heading).strip()
    axis = _TILT_AXES.get(pattern.axes[column])
    if quantity == _TILT and pattern.has_axes and axis is not None:
        return replace(meaning, quantity=axis, station=_name_station(_AXIS.sub("", bare)))
    return replace(meaning, quantity=quantity, station=_name_station(bare))


def _name_station(heading: str) -> str:
    """Return the id of a station.

    >>> _name_station("Ink_[5][1]_dA"), _name_station("IPI_5_1_")
    ('Ink-5-1-dA', 'IPI_5_1')
    """
    return name_station(_BRACKETS.sub("-", heading)).strip("_")
