"""Tables of Campbell loggers in binary TOB1 and in CSIXML. TOA5 is CSV with a header and is read as a table.

Times are those of the clock of the logger, without a zone, as ISO 8601 text in the column TIMESTAMP. Source: "Data
Formats" in the LoggerNet manual of Campbell Scientific.
"""

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.etree import ElementTree as ET

from monitor.errors import ConfigError

TIMESTAMP: Final = "TIMESTAMP"
HEAD_BYTES: Final = 1 << 18
PIECE_BYTES: Final = 1 << 16
ROW_BYTES: Final = 1 << 20
_BEGIN: Final = datetime(1990, 1, 1)  # noqa: DTZ001 - the clock of a logger has no zone
_FP2_LIMITS: Final = {0x1FFF: float("inf"), 0x9FFF: float("-inf"), 0x9FFE: float("nan")}
_TYPES: Final = {
    "ULONG": "<I",
    "LONG": "<i",
    "IEEE4": "<f",
    "IEEE8": "<d",
    "USHORT": "<H",
    "SHORT": "<h",
    "UINT2": "<H",
    "INT4": "<i",
    "FP2": ">H",
    "SECNANO": "<II",
    "BOOL": "<B",
    "BOOL8": "<B",
    "BOOL4": "<i",
}


def is_campbell(path: Path) -> bool:
    """Return whether a file starts like TOB1 or CSIXML."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return head.startswith(b'"TOB1"') or (head.lstrip().startswith(b"<?xml") and b"<csixml" in head)


def read_units(path: Path) -> dict[str, str]:
    """Return the unit of each column as the file spells it; raises ConfigError if the header is damaged."""
    with path.open("rb") as file:
        if file.read(6) == b'"TOB1"':
            file.seek(0)
            names, units, _ = _read_head(path, file)
            return {n: u for n, u in zip(names, units, strict=False) if u}
        file.seek(0)
        return {name: unit for name, unit in _read_fields(path, _events(path, file)) if unit}


def read_rows(path: Path, file: BinaryIO) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the names of the columns, and the rows.

    Raises:
        ConfigError: the file is damaged. Iterating over the rows may raise it too.
    """
    is_binary = file.read(6) == b'"TOB1"'
    file.seek(0)
    if is_binary:
        names, _, types = _read_head(path, file)
        return [TIMESTAMP, *(n for n in names if n not in {"SECONDS", "NANOSECONDS"})], _walk_tob1(
            path, file, names, types
        )
    events = _events(path, file)
    fields = [name for name, _ in _read_fields(path, events)]
    return [TIMESTAMP, *fields], _walk_csixml(events, fields)


# ---- TOB1 --------------------------------------------------------------------------------------------------------


def _read_head(path: Path, file: BinaryIO) -> tuple[list[str], list[str], list[str]]:
    lines = [file.readline(HEAD_BYTES) for _ in range(5)]
    cells = [[c.strip().strip('"') for c in line.decode("latin-1").strip().split(",")] for line in lines]
    names, units, types = cells[1], cells[2], [t.upper() for t in cells[4]]
    if len(names) != len(types) or names[:2] != ["SECONDS", "NANOSECONDS"]:
        raise ConfigError(f"{path}: the header of this TOB1 file is damaged")
    if unknown := [t for t in types if _size(t) is None]:
        raise ConfigError(f"{path}: unknown TOB1 type {unknown[0]!r}")
    return names, units, types


def _size(kind: str) -> int | None:
    if kind in _TYPES:
        return struct.calcsize(_TYPES[kind])
    if kind.startswith("ASCII(") and kind[6:-1].isdigit() and int(kind[6:-1]) <= 4096:
        return int(kind[6:-1])
    return None


def _walk_tob1(path: Path, file: BinaryIO, names: list[str], types: list[str]) -> Iterator[dict[str, Any]]:
    size = sum(_size(t) or 0 for t in types)
    while piece := file.read(size):
        if len(piece) < size:
            raise ConfigError(f"{path}: the last row is cut off after {len(piece)} of {size} bytes")
        values: dict[str, Any] = {}
        at = 0
        for name, kind in zip(names, types, strict=True):
            width = _size(kind) or 0
            values[name] = _read_value(kind, piece[at : at + width])
            at += width
        seconds, nanoseconds = values.pop("SECONDS"), values.pop("NANOSECONDS")
        yield {TIMESTAMP: _instant(seconds, nanoseconds), **values}


def _read_value(kind: str, raw: bytes) -> Any:
    if kind.startswith("ASCII"):
        return raw.split(b"\0")[0].decode("latin-1").strip()
    parts = struct.unpack(_TYPES[kind], raw)
    if kind == "SECNANO":
        return _instant(*parts)
    if kind == "FP2":
        return _read_fp2(parts[0])
    # Four bytes have seven digits: 13.04 must not become 13.039999961853027.
    return float(f"{parts[0]:.7g}") if kind == "IEEE4" else parts[0]


def _read_fp2(bits: int) -> float:
    """Return a number of two bytes: sign, a decimal exponent of two bits, thirteen bits of digits.

    >>> _read_fp2(0x2000 | 1234), _read_fp2(0x8000 | 0x6000 | 7999), _read_fp2(0x9FFE)
    (123.4, -7.999, nan)
    """
    if bits in _FP2_LIMITS:
        return _FP2_LIMITS[bits]
    digits, places = bits & 0x1FFF, (bits >> 13) & 3
    return round((-1.0 if bits & 0x8000 else 1.0) * digits * (1.0, 0.1, 0.01, 0.001)[places], places)


def _instant(seconds: int, nanoseconds: int) -> str:
    return (_BEGIN + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)).isoformat()


# ---- CSIXML ------------------------------------------------------------------------------------------------------


def _events(path: Path, file: BinaryIO) -> Iterator[ET.Element]:
    """Yield the elements of fields and rows.

    Raises:
        ConfigError: the file has a document type, which could define entities that expand, or a row that is too long.
    """
    parser: Any = ET.XMLPullParser(("end",))
    unread = 0
    last = b""
    try:
        while piece := file.read(PIECE_BYTES):
            if b"<!" in last + piece:
                raise ConfigError(f"{path}: a CSIXML file declares no document type, no entities and no comments")
            last = piece[-1:]
            parser.feed(piece)
            unread += len(piece)
            for _, element in parser.read_events():
                if element.tag in {"field", "fields", "r"}:
                    unread = 0
                    yield element
                    element.clear()
            if unread > ROW_BYTES:
                raise ConfigError(f"{path}: a line is longer than {ROW_BYTES} characters")
        parser.close()
    except ET.ParseError as error:
        raise ConfigError(f"{path}: cannot be read as CSIXML: {error}") from None


def _read_fields(path: Path, events: Iterator[ET.Element]) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for element in events:
        if element.tag == "fields":
            return fields
        if element.tag == "r":
            break
        fields.append((element.get("name") or f"field{len(fields) + 1}", element.get("units") or ""))
    raise ConfigError(f"{path}: this CSIXML file has no fields")


def _walk_csixml(events: Iterator[ET.Element], fields: list[str]) -> Iterator[dict[str, Any]]:
    for element in events:
        if element.tag == "r":
            cells = [(child.text or "").strip(chr(34)) for child in element]  # "NAN" is in quotes
            yield {TIMESTAMP: element.get("time") or "", **dict(zip(fields, cells, strict=False))}
