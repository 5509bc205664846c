"""Rows as CSV that people open in a spreadsheet."""

import csv
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

FORMULA: Final = ("=", "+", "-", "@")
FULL_WIDTH: Final = str.maketrans("＝＋－＠", "=+-@")


def write_csv(rows: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write rows with the names of their columns; texts of people cannot become formulas. This is no input of ours.

    All rows have the columns of the first; without a row nothing is written.
    """
    writer = csv.writer(file, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(map(guard, row))
        writer.writerow(map(guard, row.values()))


def guard(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted; numbers stay numbers.

    >>> guard("=1+1"), guard(" @SUM(A1)"), guard("G-1"), guard(-2.5)
    ("'=1+1", "' @SUM(A1)", 'G-1', -2.5)
    """
    if not isinstance(value, str):
        return value
    begin = value.translate(FULL_WIDTH).lstrip()
    return f"'{value}" if begin.startswith(FORMULA) or value[:1] in {"\t", "\r", "\n"} else value
