"""A reader of one plain worksheet by zipfile and XML, so that tests of measured data need no spreadsheet library."""

import xml.etree.ElementTree as ET
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[dict[str, str | float]]:
    """Rows of the first sheet as dictionaries by the header row; numbers as floats, shared strings as text."""
    with zipfile.ZipFile(path) as book:
        shared: list[str] = []
        if "xl/sharedStrings.xml" in book.namelist():
            strings = ET.fromstring(book.read("xl/sharedStrings.xml"))
            shared = [
                "".join(t.text or "" for t in item.findall(f"{NS}t") + item.findall(f"{NS}r/{NS}t"))
                for item in strings.iter(f"{NS}si")
            ]
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    table = []
    for row in sheet.iter(f"{NS}row"):
        cells: dict[str, str | float] = {}
        for cell in row.findall(f"{NS}c"):
            value = cell.find(f"{NS}v")
            if value is None or value.text is None:
                continue
            column = "".join(ch for ch in cell.attrib["r"] if ch.isalpha())
            is_text = cell.attrib.get("t") == "s"
            cells[column] = shared[int(value.text)] if is_text else float(value.text)
        table.append(cells)
    header = table[0]
    return [{str(header[c]): v for c, v in row.items() if c in header} for row in table[1:]]


def serial_to_time(days: float) -> datetime:
    """A spreadsheet's day number (1900 system) as aware UTC."""
    return datetime(1899, 12, 30, tzinfo=UTC) + timedelta(days=days)
