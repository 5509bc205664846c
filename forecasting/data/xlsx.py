"""Reads one plain worksheet with the standard library, so that a workbook needs no further dependency."""

import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

from forecasting.data.bounds import DAMAGED, read_part
from forecasting.errors import RecipeError

SHEET_BYTES = 1 << 26  # of XML: a million cells; the tree of it takes ten times as much
_NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[dict[str, str | float]]:
    """Rows of the first sheet as dictionaries by the header row; numbers as floats, shared strings as text.

    Raises:
        RecipeError: The file is no workbook.
    """
    try:
        with zipfile.ZipFile(path) as book:
            shared = _shared(book)
            sheet = _parse(book, "xl/worksheets/sheet1.xml")
    except (*DAMAGED, KeyError, ET.ParseError) as error:
        raise RecipeError(f"{path}: no workbook that can be read: {error}") from error
    table = [_cells(row, shared) for row in sheet.iter(f"{_NS}row")]
    if not table:
        raise RecipeError(f"{path}: the first sheet is empty")
    header = table[0]
    return [{str(header[c]): value for c, value in row.items() if c in header} for row in table[1:]]


def _shared(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    strings = _parse(book, "xl/sharedStrings.xml")
    return ["".join(text.text or "" for text in item.iter(f"{_NS}t")) for item in strings.iter(f"{_NS}si")]


def _parse(book: zipfile.ZipFile, name: str) -> ET.Element:
    content = read_part(book, name, SHEET_BYTES)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise RecipeError(f"{book.filename}: {name} declares entities, which no worksheet needs")
    return ET.fromstring(content)  # noqa: S314 - entities are refused, and the size is bounded


def _cells(row: ET.Element, shared: list[str]) -> dict[str, str | float]:
    out: dict[str, str | float] = {}
    for cell in row.iter(f"{_NS}c"):
        value = cell.find(f"{_NS}v")
        if value is None or value.text is None:
            continue
        column = "".join(ch for ch in cell.attrib["r"] if ch.isalpha())
        out[column] = shared[int(value.text)] if cell.attrib.get("t") == "s" else float(value.text)
    return out
