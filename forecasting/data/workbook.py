"""Read worksheets with python-calamine, in a process of its own with limits on memory and time.

Calamine allocates a table for all cells from the first to the last one. Two cells in opposite corners of a file of 5 kB
need 512 GiB, and calamine ends the process if it cannot allocate them.
"""

import json
import re
import resource
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from forecasting.data.bounds import DAMAGED, check_part, read_part
from forecasting.errors import RecipeError
from forecasting.reasons import Reason, explain_file

if TYPE_CHECKING:
    import pandas as pd

# Largest size of one part as XML, about a million cells.
SHEET_BYTES = 1 << 26
MEMORY_BYTES = 1 << 30
# Processor time of the process.
SECONDS = 120
# Elapsed time of the process. A process that waits uses no processor time.
LONGEST_S = 600.0
# Exit status of the process if a formula has no result.
UNCALCULATED = 3
# Cells without a result that a message names.
CELLS_NAMED = 5
# The built-in number formats 0% and 0.00%.
_PERCENT_FORMATS = ("9", "10")
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_sheet(path: Path) -> "pd.DataFrame":
    """Return the first visible worksheet. Its first row with a value has the names of the columns.

    Numbers are floats, and dates are ISO 8601 text without a time zone. Empty cells and errors such as #N/A are
    missing.

    Raises:
        RecipeError: The file cannot be read, is too large, or has formulas without a result.
    """
    import pandas as pd

    cells = next(iter(read_sheets(path, first=True).values()), [])
    rows = [row for row in cells if any(value is not None for value in row)]
    if not rows:
        raise RecipeError(f"{path}: the first sheet is empty")
    return pd.DataFrame(rows[1:], columns=[str(name) for name in rows[0]])


def read_sheets(
    path: Path, names: Sequence[str] = (), *, first: bool = False, rows: int | None = None, as_shown: bool = False
) -> dict[str, list[list[Any]]]:
    """Return the visible worksheets by name, in their order, with cells as in `read_sheet`.

    Args:
        names: Worksheets to read; empty for all.
        first: Whether to read the first worksheet only.
        rows: Rows to read of each worksheet, also if formulas have no result; None for all.
        as_shown: Whether a number that is shown as a percentage is returned as text: 0.297 as "29.7%".

    Raises:
        RecipeError: The file cannot be read, is too large, lacks a worksheet, or has formulas without a result.
    """
    check_parts(path)
    request = json.dumps({"names": list(names), "first": first, "rows": rows, "as_shown": as_shown})
    command = [sys.executable, "-P", "-m", "forecasting.data.workbook", str(path), str(MEMORY_BYTES), str(SECONDS)]
    try:
        completed = subprocess.run([*command, request], capture_output=True, text=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise RecipeError(f"{path}: was not read within {LONGEST_S:g} s: save the sheet as CSV") from None
    if completed.returncode < 0 or "MemoryError" in completed.stderr:
        raise RecipeError(
            f"{path}: reading it takes more than {MEMORY_BYTES >> 20} MiB of memory or {SECONDS} s: "
            "save the sheet as CSV"
        )
    if completed.returncode == UNCALCULATED:
        no_result = Reason("workbook.no_result", {"cells": completed.stderr.strip()})
        raise RecipeError(explain_file(path, no_result))
    if completed.returncode:
        reason = (completed.stderr.strip().splitlines() or ["unknown reason"])[-1]
        raise RecipeError(f"{path}: no workbook that can be read: {reason}")
    sheets: dict[str, list[list[Any]]] = json.loads(completed.stdout)
    missing = [name for name in names if name not in sheets]
    if missing:
        raise RecipeError(f"{path}: there is no visible sheet {missing[0]!r}")
    return sheets


def read_day_zero(path: Path) -> str:
    """Return day zero of the dates of a workbook: 1899-12-30, or 1904-01-01 if the workbook states so."""
    with zipfile.ZipFile(path) as book:
        parts = [part for part in book.namelist() if part.lower().lstrip("/") == "xl/workbook.xml"]
        content = read_part(book, parts[0], SHEET_BYTES) if parts else b""
    return "1904-01-01" if re.search(rb"""date1904\s*=\s*["'](1|true)["']""", content) else "1899-12-30"


def check_parts(path: Path) -> None:
    """Raise RecipeError if a part of a workbook unpacks to more than `SHEET_BYTES`, or the file is no workbook."""
    try:
        with zipfile.ZipFile(path) as book:
            for part in book.infolist():
                check_part(book, part.filename, SHEET_BYTES)
    except DAMAGED as error:
        raise RecipeError(f"{path}: no workbook that can be read: {error}") from error


def _print_sheets(path: str, names: Sequence[str], *, first: bool, rows: int | None, as_shown: bool) -> None:
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    sheets = {}
    with CalamineWorkbook.from_path(path) as book:
        visible = [
            sheet.name
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
        ]
        selected = visible[:1] if first else [name for name in visible if name in names or not names]
        for name in selected:
            sheet = book.get_sheet_by_name(name)
            cells: list[list[Any]] = sheet.to_python(nrows=rows)
            uncalculated, percentages = _scan_cells(path, name, find_percentages=as_shown)
            if uncalculated and rows is None:
                more = f" and {len(uncalculated) - CELLS_NAMED} more" if len(uncalculated) > CELLS_NAMED else ""
                sys.stderr.write(", ".join(uncalculated[:CELLS_NAMED]) + more)
                sys.exit(UNCALCULATED)
            _show_percentages(cells, percentages, sheet.start or (0, 0))
            sheets[name] = [[None if value == "" else value for value in row] for row in cells]
    json.dump(sheets, sys.stdout, default=_format_cell)


def _show_percentages(cells: list[list[Any]], percentages: Sequence[tuple[int, int]], start: tuple[int, int]) -> None:
    """Replace numbers by the text of the percentage that the worksheet shows.

    Args:
        cells: Cells of the worksheet.
        percentages: Row and column of each number that is shown as a percentage.
        start: Row and column of the first cell.
    """
    for row, column in percentages:
        if row - start[0] >= len(cells):
            continue
        row_cells = cells[row - start[0]]
        value = row_cells[column - start[1]]
        if isinstance(value, int | float) and not isinstance(value, bool):
            row_cells[column - start[1]] = f"{100 * value:.12g}%"


def _scan_cells(path: str, sheet: str, *, find_percentages: bool) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the cells with a formula without a result, which calamine reads as empty, and those with percentages."""
    uncalculated: list[str] = []
    percentages: list[tuple[int, int]] = []
    with zipfile.ZipFile(path) as book:
        parts = {part.lower().lstrip("/"): part for part in book.namelist()}
        if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= parts.keys():
            return [], []
        sheets = ET.fromstring(book.read(parts["xl/workbook.xml"])).iter(f"{_MAIN}sheet")  # noqa: S314 - bounded
        sheet_id = next((element.get(_RELATION) for element in sheets if element.get("name") == sheet), None)
        relations = ET.fromstring(book.read(parts["xl/_rels/workbook.xml.rels"]))  # noqa: S314 - bounded
        target = next((str(element.get("Target")) for element in relations if element.get("Id") == sheet_id), "")
        name = parts.get((target.lstrip("/") if target.startswith("/") else f"xl/{target}").lower())
        if name is None:
            return [], []
        styles = parts.get("xl/styles.xml") if find_percentages else None
        percent_styles = _list_percent_styles(book.read(styles)) if styles is not None else set()
        with book.open(name) as part:
            for _, cell in ET.iterparse(part):  # noqa: S314 - bounded
                if cell.tag != f"{_MAIN}c":
                    continue
                reference = str(cell.get("r"))
                # the result of a formula may be an empty text
                if cell.find(f"{_MAIN}f") is not None and cell.get("t") != "str" and not cell.findtext(f"{_MAIN}v"):
                    uncalculated.append(reference)
                position = _parse_reference(reference) if cell.get("s") in percent_styles else None
                if position is not None:
                    percentages.append(position)
                cell.clear()
    return uncalculated, percentages


def _list_percent_styles(styles: bytes) -> set[str]:
    """Return the numbers of the cell styles with a percentage format."""
    root = ET.fromstring(styles)  # noqa: S314 - bounded
    codes = {str(element.get("numFmtId")): str(element.get("formatCode")) for element in root.iter(f"{_MAIN}numFmt")}
    # a percent sign in quotes or after a backslash is text
    percent_formats = {
        *_PERCENT_FORMATS,
        *(number for number, code in codes.items() if "%" in re.sub(r'"[^"]*"|\\.', "", code)),
    }
    cell_styles = root.find(f"{_MAIN}cellXfs")
    elements = cell_styles if cell_styles is not None else ()
    return {str(number) for number, style in enumerate(elements) if style.get("numFmtId") in percent_formats}


def _parse_reference(reference: str) -> tuple[int, int] | None:
    """Return row and column, from 0, of a reference such as `B12`; None if it is no reference."""
    match = re.fullmatch(r"([A-Z]{1,3})(\d{1,7})", reference)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = 26 * column + ord(letter) - ord("A") + 1
    return int(match[2]) - 1, column - 1


def _format_cell(value: Any) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a workbook has no time zones
    # all dates in the same format
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)


def _limit(resource_type: int, limit: int) -> None:
    """Set a limit of this process. A stricter limit of the parent process stays."""
    hard_limit = resource.getrlimit(resource_type)[1]
    strictest = limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit)
    resource.setrlimit(resource_type, (strictest, strictest))


if __name__ == "__main__":
    _limit(resource.RLIMIT_AS, int(sys.argv[2]))
    _limit(resource.RLIMIT_CPU, int(sys.argv[3]))
    _limit(resource.RLIMIT_CORE, 0)
    request = json.loads(sys.argv[4])
    _print_sheets(
        sys.argv[1], request["names"], first=request["first"], rows=request["rows"], as_shown=request["as_shown"]
    )
