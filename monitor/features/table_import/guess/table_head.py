"""Which lines of an unknown table are names, units and data."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from monitor.api.ingest import (
    DIGITS,
    TIME_COLUMN_NAME,
    is_annotation,
    is_number,
    is_plain,
    is_time,
    names_rise,
    read_unit,
    unit_of_header,
)
from monitor.api.sites import is_raw
from monitor.features.table_import.guess.names import is_station_column, read_heading

Cells = Sequence[Sequence[str]]
_HEAD_MOST: Final = 30  # lines that are not considered when the usual width is determined
_AHEAD: Final = 5  # lines below the first row that are compared with it
_ROWS_LEAST: Final = 3  # of them that must be data
_NUMBER_WITH_UNIT: Final = re.compile(DIGITS + r"([^\W\d]{1,12}|[%°‰][A-Z]?)")


# ---- cells and rows --------------------------------------------------------------------------------------------------


def is_data_cell(text: str) -> bool:
    """Return whether a cell is a number, a number with its unit, a time, or a word for "no value"."""
    return is_plain(text) or find_tail(text) != ""


def find_tail(text: str) -> str:
    """Return the unit behind a number; "" if there is none."""
    match = _NUMBER_WITH_UNIT.fullmatch(text)
    return match[1] if match is not None and read_unit(match[1]) is not None else ""


def find_unit(text: str) -> str | None:
    """Return the unit that a cell contains, or the word for a raw reading of a sensor; None if there is none."""
    bare = text.strip("[]() ")
    return read_unit(text) or (bare if is_raw(bare) else None)


def is_row(row: Sequence[str]) -> bool:
    """Return whether a line is a row of data.

    Words of people, such as weather, names and remarks, may be beside a time and a number.
    """
    filled = [cell for cell in row if cell]
    times = sum(map(is_time, filled))
    if times and sum(map(is_number, filled)) and times != len(filled):
        return True
    has_data = any(is_number(cell) or is_time(cell) for cell in filled)
    return has_data and sum(map(is_data_cell, filled)) >= 0.5 * len(filled)


def is_timed_row(row: Sequence[str]) -> bool:
    """Return whether a line contains a time and, beside it, a number."""
    times = [cell for cell in row if cell and is_clear_time(cell)]
    numbers = [cell for cell in row if cell and is_number(cell) and not is_clear_time(cell)]
    return bool(times) and bool(numbers)


def is_clear_time(text: str) -> bool:
    """Return whether a cell is a time and not a number; 03.02.2025 is also a number with thousands."""
    return is_time(text) and (not is_number(text) or text.count(".") > 1)


def find_usual_width(cells: Cells) -> int | None:
    """Return how many cells most lines have, without the head; None if all lines are empty."""
    widths = [len(row) for row in cells if any(row)]
    widths = widths[min(len(widths) // 3, _HEAD_MOST) :]
    return Counter(widths).most_common(1)[0][0] if widths else None


def find_timed_columns(rows: Cells) -> list[int]:
    """Return the columns that contain times in most rows."""
    columns = enumerate(zip(*rows, strict=True))
    return [place for place, column in columns if 2 * sum(map(is_clear_time, column)) > len(column)]


def score_cells(cells: Cells) -> float:
    """Return how much lines of cells look like a table, from 0 to 1.

    The score is the share of the lines that have the usual width, times the share of their cells that are data. The
    names of a station among numbers do not lower it. Lines whose names do not fit the rows have a lower score.
    """
    body = [row for row in cells if any(row)]
    body = body[min(len(body) // 3, _HEAD_MOST) :]
    if not body:
        return 0.0
    width, count = Counter(len(row) for row in body).most_common(1)[0]
    if width < 2:
        return 0.0
    inside = [cell for row in body if len(row) == width for cell in row if cell]
    data_share = sum(is_data_cell(cell) for cell in inside) / max(1, len(inside))
    first = find_first_row(cells)
    header_fits = not first or find_header(cells, first) is not None
    return count / len(body) * min(1.0, 0.4 + data_share) * (1.0 if header_fits else 0.6)


# ---- the first row of data -------------------------------------------------------------------------------------------


def find_first_row(cells: Cells) -> int | None:
    """Return the first row of data; None if there is none.

    The rows below it must be data, too. A remark in one cell between them does not matter.
    """
    cells = _cut_second_part(cells)
    width = find_usual_width(cells)
    if width is None:
        return None
    timed = find_timed_columns([row for row in cells if len(row) == width])
    for index, row in enumerate(cells):
        if len(row) != width or not is_row(row):
            continue
        if index and timed and not any(is_clear_time(row[place]) for place in timed):
            continue  # serial numbers or factors below the names
        if names_rise(row) and any(below and is_plain(below[0]) for below in cells[index + 1 : index + 2]):
            continue  # depths, or the numbers of instruments
        ahead = [below for below in cells[index : index + _AHEAD] if any(below) and not _is_remark(below)]
        ahead = ahead[:_ROWS_LEAST]
        if all(len(below) == width and is_row(below) for below in ahead):
            return index
    return None


def _is_remark(row: Sequence[str]) -> bool:
    """Return whether a line has one filled cell, which is not data."""
    filled = [cell for cell in row if cell]
    return len(filled) == 1 and not is_data_cell(filled[0])


def _cut_second_part(cells: Cells) -> Cells:
    """Return the lines before the names come again, maybe in another order."""
    seen: set[frozenset[str]] = set()
    for index, row in enumerate(cells):
        names = frozenset(cell for cell in row if cell)
        if len(names) > 1 and not any(map(is_data_cell, names)):
            if names in seen and any(map(is_row, cells[:index])):
                return cells[:index]
            seen.add(names)
    return cells


def find_row_below_names(cells: Cells) -> int | None:
    """Return the first row of data below names among the data, where a file begins in the middle of a part."""
    width = len(cells[0])
    names = next((k for k, row in enumerate(cells) if len(row) == width and all(row) and names_time(row)), None)
    if names is None:
        return None
    below = find_first_row(cells[names + 1 :])
    return None if below is None else names + 1 + below


# ---- names and units -------------------------------------------------------------------------------------------------


def names_time(row: Sequence[str]) -> bool:
    """Return whether a line contains the name of a column of times and no data."""
    return any(map(TIME_COLUMN_NAME.search, row)) and not any(is_plain(cell) for cell in row if cell)


def find_header(cells: Cells, first: int) -> int | None:
    """Return the first line of names above the first row of data; None if there are no names.

    The names are the block of lines as wide as the data directly above it. Between the names and the data there may be
    blank lines, units that lack those of some columns, a remark, and rows of data of another width, which are refused
    later with their line.
    """
    width = len(cells[first])
    if cells[0][:1] == ["TOA5"] and first > 1 and len(cells[1]) == width:
        return 1  # below are units, and how each was processed: one word in a table with one sensor
    header = None
    for index in range(first - 1, -1, -1):
        row = list(cells[index])
        while row and not row[-1] and len(row) > width:
            row.pop()
        if header is None and _may_be_below_names(row, width, cells[:index]):
            continue
        # an index column may lack its name
        is_sparse = sum(map(bool, row)) < min(2, width) and not (width > 1 and all(row[1:]))
        if len(row) != width or row[0].upper() == "TOA5" or is_sparse or is_annotation(row):
            break
        header = index
    return header


def _may_be_below_names(row: Sequence[str], width: int, above: Cells) -> bool:
    """Return whether a line may be between the names and the data."""
    if not any(row):
        return True
    if len(row) < width and all(find_unit(cell) for cell in row if cell):
        return True
    has_names_above = any(len(line) == width and names_time(line) for line in above[-_ROWS_LEAST:])
    return has_names_above and (_is_remark(row) or (len(row) != width and is_row(row)))


def is_unit_row(row: Sequence[str]) -> bool:
    """Return whether at least half of the filled cells of a line are units."""
    filled = [cell for cell in row if cell]
    return 2 * sum(find_unit(cell) is not None for cell in filled) >= len(filled)


def extends_names(row: Sequence[str]) -> bool:
    """Return whether a line below the names contains more than units: a quantity, a name with its unit, an error."""
    words = [cell for cell in row[1:] if cell and find_unit(cell) is None]
    meanings = [read_heading(cell, None) for cell in words]
    has_units = any(unit_of_header(cell) is not None for cell in words)
    return has_units or any(meaning.quantity is not None or meaning.is_error for meaning in meanings)


def are_names_continued(cells: Cells, block: Sequence[int], header: int) -> bool:
    """Return whether names have a second line: the quantity below them, or a station for each column above them."""
    if any(extends_names(cells[line]) for line in block if line > header):
        return True
    first, *above = cells[header - 1][: len(cells[header])] if header - 1 in block else [""]
    if first and not is_station_column(first):
        return False
    return bool(above) and all(above) and len(set(above)) > 1 and not any(map(is_data_cell, above))


def join_names(cells: Cells, lines: Sequence[int], header: int) -> list[str]:
    """Return the names of columns from several lines; a name above others is that of a group of columns."""
    joined: list[list[str]] = [[] for _ in cells[header]]
    for line in lines:
        group = ""
        for place, cell in enumerate(cells[line][: len(joined)]):
            group = cell or (group if line < header else "")
            if group and (line == header or any(character.isalpha() for character in group)):
                joined[place].append(group)
    return [" ".join(dict.fromkeys(parts)) for parts in joined]


def read_lines_below_names(rows: Cells, keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the units, and any other texts, that lines below the names contain, by column."""
    units: dict[str, str] = {}
    notes: dict[str, str] = {}
    for row in rows:
        for name, cell in zip(keys, row, strict=False):
            unit = find_unit(cell) if name else None
            if unit:
                units[name] = unit
            elif name and cell:
                notes[name] = cell
    return units, notes
