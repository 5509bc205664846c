"""Examples of what an answer about times means for rows of the file."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from monitor.api.errors import PayloadError
from monitor.api.ingest import TimeRule
from monitor.api.text import Message, Template
from monitor.features.table_import.guess.raw_table import RawTable

ROWS_COMPARED: Final = 500
_ONE_ROW: Final = Template("guess.example.time", "{first} becomes {first_at}")
_TWO_ROWS: Final = Template("guess.example.times", "{first} becomes {first_at}; {last} becomes {last_at}")
_UNREADABLE: Final = Template("guess.example.unreadable", "{first} cannot be read")
_LENGTH_MOST: Final = 40  # characters of a cell


def show_instants(table: RawTable, rules: Mapping[str, TimeRule]) -> dict[str, Message]:
    """Describe for each choice how its rule reads two rows of the table.

    The rows are the first and the last row for which the choices differ. If all choices agree on every row, they are
    the first and the last row of the table.

    Args:
        table: The table; at most `ROWS_COMPARED` of its rows are compared.
        rules: The rule that each choice leads to, by the text of the choice.
    """
    rows = _sample_rows(table, rules.values())
    if not rows:
        return {}
    instants = {choice: [_read(rule, row) for row in rows] for choice, rule in rules.items()}
    differing = [k for k in range(len(rows)) if len({found[k] for found in instants.values()}) > 1]
    chosen = differing or range(len(rows))
    first, last = chosen[0], chosen[-1]
    return {choice: _describe(rule, rows, instants[choice], first, last) for choice, rule in rules.items()}


def _sample_rows(table: RawTable, rules: Iterable[TimeRule]) -> list[dict[str, Any]]:
    """Return rows whose cells of the time are filled, evenly spread over the table."""
    columns = list(dict.fromkeys(column for rule in rules for column in rule.columns if column in table.columns))
    step = max(1, table.rows // ROWS_COMPARED)
    numbers = [*range(0, table.rows, step)]
    if numbers and numbers[-1] != table.rows - 1:
        numbers.append(table.rows - 1)
    rows = [{column: table.columns[column][number] for column in columns} for number in numbers]
    return [row for row in rows if all(cell not in {None, ""} for cell in row.values())]


def _read(rule: TimeRule, row: Mapping[str, Any]) -> datetime | None:
    """Read a row; return an instant without a zone while the zone of the file is open, and None if it is unreadable."""
    try:
        return rule.read_row(row) if rule.zone is not None else rule.read_row_naive(row)
    except PayloadError:
        return None


def _describe(
    rule: TimeRule, rows: list[dict[str, Any]], instants: list[datetime | None], first: int, last: int
) -> Message:
    texts = {"first": _write_cells(rule, rows[first]), "last": _write_cells(rule, rows[last])}
    first_at, last_at = instants[first], instants[last]
    if first_at is None:
        return _UNREADABLE(first=texts["first"])
    if first == last or last_at is None:
        return _ONE_ROW(first=texts["first"], first_at=_write_instant(first_at))
    return _TWO_ROWS(**texts, first_at=_write_instant(first_at), last_at=_write_instant(last_at))


def _write_cells(rule: TimeRule, row: Mapping[str, Any]) -> str:
    cells = (str(row[column]).strip() for column in rule.columns if column in row)
    return " ".join(cells)[:_LENGTH_MOST]


def _write_instant(at: datetime) -> str:
    """Write an instant in UTC with `Z`; without it while the zone of the file is open."""
    form = "%Y-%m-%dT%H:%M" if not at.second else "%Y-%m-%dT%H:%M:%S"
    if at.tzinfo is None:
        return f"{at:{form}}".replace("T", " ")
    return f"{at.astimezone(UTC):{form}}Z"
