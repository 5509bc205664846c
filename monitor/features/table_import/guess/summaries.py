"""Rows that sum up other rows, such as the total of a month. They are no readings and are left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import is_number, is_time, translate_months
from monitor.api.text import LABELLED_TEXT, NameList, Template
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.words import load_words, split_heading

_MONTH: Final = re.compile(
    r"(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?:[ ./-]?(?:\d{4}|\d{2}))?|\d{1,2}[./-]\d{4}|"
    r"\d{4}(?:[./-]\d{1,2})?)"
)
# A column holds dates if this share of its filled cells are whole dates.
_LEAST_DATED: Final = 0.75
_NAMED_MOST: Final = 8
_READABLE: Final = Template(
    "guess.summaries",
    "rows such as '{text}' look like totals, and their time can be read as a date: take these rows out and import the "
    "file again",
)


@dataclass(frozen=True, slots=True)
class Summaries:
    """The rows that are left out: their labels, and the column of the labels."""

    column: str
    labels: tuple[str, ...]

    def list_some(self) -> NameList:
        """Return the first labels and the number of the others."""
        return NameList(self.labels[:_NAMED_MOST], max(0, len(self.labels) - _NAMED_MOST))


def set_aside_summaries(table: RawTable) -> tuple[RawTable, Summaries | None]:
    """Return the table without the rows whose cell in a column of dates is the label of a total or a month.

    A word such as "total" without a number in its row is a remark, and no label.
    """
    for name in table.keys:
        cells = table.columns[name]
        filled = [text for cell in cells if (text := _read_text(cell))]
        dated = sum(map(_is_whole_date, filled))
        if not filled or dated == len(filled) or dated < _LEAST_DATED * len(filled):
            continue
        is_label = [_is_label(table, name, row) for row in range(len(cells))]
        if not any(is_label):
            continue
        labels = tuple(_read_text(cell) for cell, label in zip(cells, is_label, strict=True) if label)
        columns = {
            column: [cell for cell, label in zip(values, is_label, strict=True) if not label]
            for column, values in table.columns.items()
        }
        return replace(table, columns=columns, rows=table.rows - len(labels)), Summaries(name, labels)
    return table, None


def refuse_readable(table: RawTable, times: Times, summaries: Summaries | None) -> None:
    """Raise ConfigError if the rule of the times reads the label of a total as an instant."""
    if summaries is None or summaries.column not in times.rule.columns or len(times.rule.columns) > 1:
        return
    for label in summaries.labels:
        try:
            times.rule.read_naive(label)
        except PayloadError:
            continue
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_READABLE(text=label)))


def _read_text(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _is_whole_date(text: str) -> bool:
    """Return whether a text has a day, a month and a year."""
    groups: Sequence[str] = re.findall(r"\d+|[^\W\d_]{3,}", text)
    return is_time(text) and text[:1].isalnum() and len(groups) >= 3 and any(map(str.isdigit, groups))


def _has_number(table: RawTable, column: str, row: int) -> bool:
    """Return whether another column of a row has a number."""
    cells = [table.columns[name][row] for name in table.keys if name != column]
    return any(is_number(str(cell).strip()) for cell in cells if cell is not None)


def _is_label(table: RawTable, column: str, row: int) -> bool:
    """Return whether a cell in a column of dates is the label of a total or a month."""
    text = _read_text(table.columns[column][row])
    if not text or _is_whole_date(text):
        return False
    is_month = _MONTH.fullmatch(translate_months(text)) is not None
    return is_month or (_is_total(text) and _has_number(table, column, row))


def _is_total(text: str) -> bool:
    """Return whether a text starts with a word for a total or another statistic.

    >>> [_is_total(text) for text in ("Total", "Monthly mean", "Summe März", "Max.", "Total station moved", "Defekt")]
    [True, True, True, True, True, False]
    """
    words = split_heading(text).words.split(" ")
    prefixes = load_words("totals", "prefixes")
    rest = words[1:] if len(words) > 1 and prefixes.is_whole(words[0]) else words
    return load_words("totals").starts(" ".join(rest))
