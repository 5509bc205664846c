"""Rows of a table that sum up other rows, such as totals of a month: they are no readings and are set aside."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import is_time, translate_months
from monitor.api.text import LABELLED_TEXT, NameList, Template
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times

_WORD: Final = re.compile(
    r"(?:(?:monthly|annual|yearly|daily|grand|sub)[ _-]?)?"
    r"(?:totals?|sums?|mean|average|avg|max(?:imum|\.)?|min(?:imum|\.)?|median|std\.?|count|"
    r"summe|gesamt\w*|mittel\w*|durchschnitt|monats\w+|jahres\w+|somma|totale|media|massimo|minimo|"
    r"somme|moyenne|total[e]?|suma|promedio|m[aá]ximo|m[ií]nimo|合计|总计|平均|最大|最小)"
    r"(?:[ :_-].*)?",
    re.IGNORECASE,
)
_MONTH: Final = re.compile(
    r"(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?:[ ./-]?(?:\d{4}|\d{2}))?|\d{1,2}[./-]\d{4}|"
    r"\d{4}(?:[./-]\d{1,2})?)"
)
_LEAST_DATED: Final = 0.75  # share of the filled cells that are whole dates
_NAMED_MOST: Final = 8
_READABLE: Final = Template(
    "guess.summaries",
    "rows such as '{text}' look like totals, and their time can be read as a date: take these rows out and import the "
    "file again",
)


@dataclass(frozen=True, slots=True)
class Summaries:
    """The rows that were set aside: their labels, and the column that holds them."""

    column: str
    labels: tuple[str, ...]

    def list_some(self) -> NameList:
        """The first labels, and how many follow."""
        return NameList(self.labels[:_NAMED_MOST], max(0, len(self.labels) - _NAMED_MOST))


def set_aside_summaries(table: RawTable) -> tuple[RawTable, Summaries | None]:
    """The table without the rows whose cell in a column of dates is the label of a total or a month."""
    for name in table.names:
        cells = table.columns[name]
        filled = [text for cell in cells if (text := _read_text(cell))]
        dated = sum(map(_is_whole_date, filled))
        if not filled or dated == len(filled) or dated < _LEAST_DATED * len(filled):
            continue
        is_label = [_is_label(_read_text(cell)) for cell in cells]
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
    """Refuse labels of totals that the rule of the times reads as an instant; raises ConfigError."""
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
    """Whether a text holds a day, a month and a year."""
    groups: Sequence[str] = re.findall(r"\d+|[^\W\d_]{3,}", text)
    return is_time(text) and text[:1].isalnum() and len(groups) >= 3 and any(map(str.isdigit, groups))


def _is_label(text: str) -> bool:
    if not text or _is_whole_date(text):
        return False
    return _WORD.fullmatch(text) is not None or _MONTH.fullmatch(translate_months(text)) is not None
