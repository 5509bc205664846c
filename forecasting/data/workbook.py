"""Reads worksheets by python-calamine, in a process of its own whose memory and time are bounded.

Calamine lays a table over all cells from the first to the last: two cells in far corners of a file of 5 kB ask for
512 GiB, and its answer to memory that is not there ends the process.
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

SHEET_BYTES = 1 << 26  # of one part as XML: a million cells
MEMORY_BYTES = 1 << 30
SECONDS = 120  # of processor time
LONGEST_S = 600.0  # by the wall: a process that waits takes no processor time
UNCALCULATED = 3  # exit status of the process that reads
CELLS_NAMED = 5
_PERCENT_FORMATS = ("9", "10")  # 0% and 0.00%, which every workbook has
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_sheet(path: Path) -> "pd.DataFrame":
    """The first visible worksheet, its first used row as names of columns.

    Numbers are floats, dates ISO 8601 text without a zone; empty cells and errors such as #N/A are missing.
    """
    import pandas as pd

    rows = [
        row for row in next(iter(read_sheets(path, first=True).values()), []) if any(value is not None for value in row)
    ]
    if not rows:
        raise RecipeError(f"{path}: the first sheet is empty")
    return pd.DataFrame(rows[1:], columns=[str(name) for name in rows[0]])


def read_sheets(
    path: Path, names: Sequence[str] = (), *, first: bool = False, rows: int | None = None, as_shown: bool = False
) -> dict[str, list[list[Any]]]:
    """Visible worksheets by their name, in their order, with their cells as `read_sheet` spells them.

    Args:
        rows: So many of each, also where formulas have no result; None: all.
        as_shown: A number that is shown as a percentage is the text that people see: 0.297 is "29.7%".
    """
    check_parts(path)
    request = json.dumps({"names": list(names), "first": first, "rows": rows, "as_shown": as_shown})
    command = [sys.executable, "-P", "-m", "forecasting.data.workbook", str(path), str(MEMORY_BYTES), str(SECONDS)]
    try:
        done = subprocess.run([*command, request], capture_output=True, text=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise RecipeError(f"{path}: was not read within {LONGEST_S:g} s: save the sheet as CSV") from None
    if done.returncode < 0 or "MemoryError" in done.stderr:
        raise RecipeError(
            f"{path}: reading it takes more than {MEMORY_BYTES >> 20} MiB of memory or {SECONDS} s: "
            "save the sheet as CSV"
        )
    if done.returncode == UNCALCULATED:
        no_result = Reason("workbook.no_result", {"cells": done.stderr.strip()})
        raise RecipeError(explain_file(path, no_result))
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["unknown reason"])[-1]
        raise RecipeError(f"{path}: no workbook that can be read: {reason}")
    found: dict[str, list[list[Any]]] = json.loads(done.stdout)
    if absent := [name for name in names if name not in found]:
        raise RecipeError(f"{path}: there is no visible sheet {absent[0]!r}")
    return found


def read_day_zero(path: Path) -> str:
    """The day from which a workbook counts plain numbers as dates: 1899-12-30, or 1904-01-01 where it says so."""
    with zipfile.ZipFile(path) as book:
        spelled = [part for part in book.namelist() if part.lower().lstrip("/") == "xl/workbook.xml"]
        head = read_part(book, spelled[0], SHEET_BYTES) if spelled else b""
    return "1904-01-01" if re.search(rb"""date1904\s*=\s*["'](1|true)["']""", head) else "1899-12-30"


def check_parts(path: Path) -> None:
    """Refuse a workbook of which one part says that it unpacks to more than `SHEET_BYTES`."""
    try:
        with zipfile.ZipFile(path) as book:
            for part in book.infolist():
                check_part(book, part.filename, SHEET_BYTES)
    except DAMAGED as error:
        raise RecipeError(f"{path}: no workbook that can be read: {error}") from error


def _print_sheets(path: str, names: Sequence[str], *, first: bool, rows: int | None, as_shown: bool) -> None:
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    found = {}
    with CalamineWorkbook.from_path(path) as book:
        sheets = [s for s in book.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
        seen = [s.name for s in sheets if s.visible == SheetVisibleEnum.Visible]
        for name in seen[:1] if first else [one for one in seen if one in names or not names]:
            sheet = book.get_sheet_by_name(name)
            cells: list[list[Any]] = sheet.to_python(nrows=rows)
            uncalculated, shares = _scan_cells(path, name, percentages=as_shown)
            if uncalculated and rows is None:
                more = f" and {len(uncalculated) - CELLS_NAMED} more" if len(uncalculated) > CELLS_NAMED else ""
                sys.stderr.write(", ".join(uncalculated[:CELLS_NAMED]) + more)
                sys.exit(UNCALCULATED)
            _show_percentages(cells, shares, sheet.start or (0, 0))
            found[name] = [[None if value == "" else value for value in row] for row in cells]
    json.dump(found, sys.stdout, default=_format_cell)


def _show_percentages(cells: list[list[Any]], shares: Sequence[tuple[int, int]], start: tuple[int, int]) -> None:
    """Write numbers as the percentages that the sheet shows; `start` is the row and column of the first cell."""
    for row, column in shares:
        at, k = row - start[0], column - start[1]
        if at < len(cells) and isinstance(cells[at][k], int | float) and not isinstance(cells[at][k], bool):
            cells[at][k] = f"{100 * cells[at][k]:.12g}%"


def _scan_cells(path: str, sheet: str, *, percentages: bool) -> tuple[list[str], list[tuple[int, int]]]:
    """Cells with a formula and no result, which calamine calls empty; and where numbers are shown as percentages."""
    uncalculated, shares = [], []
    with zipfile.ZipFile(path) as book:
        parts = {part.lower().lstrip("/"): part for part in book.namelist()}
        if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= parts.keys():
            return [], []
        sheets = ET.fromstring(book.read(parts["xl/workbook.xml"])).iter(f"{_MAIN}sheet")  # noqa: S314 - bounded
        wanted = next((one.get(_RELATION) for one in sheets if one.get("name") == sheet), None)
        relations = ET.fromstring(book.read(parts["xl/_rels/workbook.xml.rels"]))  # noqa: S314 - bounded
        target = next((str(one.get("Target")) for one in relations if one.get("Id") == wanted), "")
        name = parts.get((target.lstrip("/") if target.startswith("/") else f"xl/{target}").lower())
        if name is None:
            return [], []
        styles = parts.get("xl/styles.xml") if percentages else None
        of_share = _list_percent_styles(book.read(styles)) if styles is not None else set()
        with book.open(name) as part:
            for _, cell in ET.iterparse(part):  # noqa: S314 - bounded
                if cell.tag != f"{_MAIN}c":
                    continue
                place = str(cell.get("r"))
                # the result of a formula may be an empty text
                if cell.find(f"{_MAIN}f") is not None and cell.get("t") != "str" and not cell.findtext(f"{_MAIN}v"):
                    uncalculated.append(place)
                if cell.get("s") in of_share and (at := _find_place(place)) is not None:
                    shares.append(at)
                cell.clear()
    return uncalculated, shares


def _list_percent_styles(styles: bytes) -> set[str]:
    root = ET.fromstring(styles)  # noqa: S314 - bounded
    own = {str(f.get("numFmtId")): str(f.get("formatCode")) for f in root.iter(f"{_MAIN}numFmt")}
    percent = {*_PERCENT_FORMATS, *(k for k, code in own.items() if "%" in re.sub(r'"[^"]*"|\\\\.', "", code))}
    block = root.find(f"{_MAIN}cellXfs")
    return {str(k) for k, one in enumerate(block if block is not None else ()) if one.get("numFmtId") in percent}


def _find_place(cell: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"([A-Z]{1,3})(\d{1,7})", cell)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = 26 * column + ord(letter) - ord("A") + 1
    return int(match[2]) - 1, column - 1


def _format_cell(value: Any) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a workbook knows no zone
    # one spelling for all, so that a column of dates has one format
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else str(value)


def _bound(what: int, most: int) -> None:
    """Bound this process; who started it may have bounded it more strictly already, and that cannot be lifted."""
    hard = resource.getrlimit(what)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, least))


if __name__ == "__main__":
    _bound(resource.RLIMIT_AS, int(sys.argv[2]))
    _bound(resource.RLIMIT_CPU, int(sys.argv[3]))
    _bound(resource.RLIMIT_CORE, 0)
    request = json.loads(sys.argv[4])
    _print_sheets(
        sys.argv[1], request["names"], first=request["first"], rows=request["rows"], as_shown=request["as_shown"]
    )
