"""Parse the text of files with readings by depth: heads, names of columns, rows, dates and units.

Sources of the supported forms:

* GEOKON .gkn: csv_to_gkn.py in github.com/joelefrain/geo_sentry.
* RST and Soil Instruments: funciones_importar.py in github.com/cuervocampa/Inclidata, and the INC parser in
  github.com/averriK/dbAudit.
* Slope Indicator .rpp: AdrDataHarvestCompleted in github.com/SadraMoh/IncliForms.
* Encardio-rite .di1: manual of EAN-26, section 6.3.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import TIME_COLUMN_NAME, translate_months
from monitor.api.sites import UNITS, is_raw

HEAD_LINES: Final = 200
DIGIT: Final = "digit"
_IN: Final = r"(?:[\s_]*[\[(]\s*([^\])]+?)\s*[\])]|[\s_]+(mm|cm|m|met(?:er|re)s|ft|feet|in|deg|mrad|digits?))?"
_FACE: Final = r"(?:face[\s_]+)?[ab][\s_]?(?:0°?|180°?|\+|-|positive|negative)|[ab]|anchor|fibre|pressure|temperature"
_FACES: Final = re.compile(rf"({_FACE}){_IN}", re.IGNORECASE)
_DEPTHS: Final = re.compile(
    rf"(?:f?level|depth|tiefe|teufe|prof(?:ondit[àa]|undidad|ondeur)?|深度){_IN}", re.IGNORECASE
)
_DEPTH: Final = r"(-?\d+(?:[.,]\d+)?)[\s_]?(m|ft)?"
_BOTH: Final = re.compile(
    rf"(?:({_FACE})[\s_:@]+)?{_DEPTH}(?:[\s_]+({_FACE}))?(?:\s*[\[(]([^\])]+)[\])])?", re.IGNORECASE
)
_KEYS: Final = tuple(
    (key, re.compile(pattern, re.IGNORECASE))
    for key, pattern in {
        "date": r"(?:(?:reading|survey|mess)[ -]?)?(?:date|datum|data|fecha|date ?/? ?time)(?: ?\(.*)?|survey v\d+",
        "time": r"(?:(?:reading|survey) )?(?:time|uhrzeit|zeit|ora|hora)",
        "hole": r"(?:bore)?hole ?(?:no\.?|name|id|#)?|bohrloch|bohrung|foro|sondaggio|sondeo|"
        r"installation|casing|station",
        "unit": r"(?:(?:readings?|data) )?units?|einheit|unit[àa]|unidad",
        "depth unit": r"depth units?|english/metric",
        "constant": r"(?:(?:instr(?:ument)?|probe|sensor|gauge) )?(?:const(?:ant)?|konstante|costante|constante)\.?",
        "count": r"readings",
    }.items()
)
_PAIRED: Final = frozenset({"a0", "a180", "b0", "b180"})
_OF_AXES: Final = _PAIRED | {"a", "b"}
# Entries of a head that hold for the following surveys of the file too.
_LASTING: Final = ("hole", "unit", "depth unit", "constant")
_WORDS: Final = {
    term: unit
    for unit, words in {
        "m": "m meter meters metre metres metric",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "ft": "ft foot feet e english",
        "in": "in inch inches",
        "deg": "deg degree degrees °",
    }.items()
    for term in words.split()
}
_SINE: Final = re.compile(r"sin\D*(\d{4,6})(?!\d)|(?<!\d)(\d{4,6})\W*sin", re.IGNORECASE)
_RPP: Final = re.compile(r"\s*(?:(-?[\d.]+)\s+)?(?:(A0)|A180)\s+(\S+)(?:\s+B(?:0|180)\s+(\S+))?\s*")
_YEAR_FIRST: Final = re.compile(r"(?<!\d)(\d{4})([-/. ]?)(\d{1,2})\2(\d{1,2})(?!\d)")
_YEAR_LAST: Final = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)(?!\d)")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BY_NAME: Final = re.compile(rf"(?<!\d)(\d{{1,2}})\.? +({'|'.join(_MONTHS)}) +(\d{{4}})")
_CLOCK: Final = re.compile(
    r"(?<![\d:])(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)? ?([AaPp][Mm])?(Z|[+-]\d\d:?\d\d)?(?![\d:])"
)
_PACKED: Final = re.compile(r"[_T](\d\d)(\d\d)(\d\d)()()$")


_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:[eE][+-]?\d+)?")


class ReadingUnit(NamedTuple):
    """Unit of readings, and the reading at 90 deg if it is stated, else 0."""

    name: str
    constant: float = 0.0


class ValueColumn(NamedTuple):
    """A column of values, as its name describes it.

    An empty string or None means that the name does not state it.
    """

    face: str
    unit: str
    depth: float | None = None
    depth_unit: str = ""


@dataclass
class SurveyBlock:
    """Rows below the names of their columns, and the head above them."""

    head: dict[str, str]
    values: dict[int, ValueColumn]  # by position of the column
    names: Sequence[str]
    depth_at: int | None = None  # position of the column of depths; None for a table
    times: tuple[int, ...] = ()  # positions of the columns of date and time
    hole_at: int | None = None  # position of the column of boreholes
    is_digit: bool = False  # files of this form always contain digits
    rows: list[tuple[int, list[str]]] = field(default_factory=list)  # number of the line, and its cells

    @property
    def depth_unit(self) -> str:
        """Unit of depths whose column states none."""
        return self.head.get("depth unit", "m")

    def find_hole(self, cells: Sequence[str]) -> str:
        """Return the borehole of a row as the file names it."""
        named = "" if self.hole_at is None or len(cells) <= self.hole_at else cells[self.hole_at]
        return named or self.head.get("hole", "")

    def describe_units(self) -> tuple[frozenset[str], str]:
        """Return the units in the names of the columns, else in the head, and the constant of the instrument."""
        texts = {column.unit for column in self.values.values()} - {""} or {self.head.get("unit", "")} - {""}
        return frozenset(texts or ({DIGIT} if self.is_digit else ())), self.head.get("constant", "")

    def list_places(self, read_depth: Callable[[str], float]) -> Iterator[tuple[str, float, str]]:
        """Yield face, depth and unit of the depth for all columns of a table, or for one face of all survey rows."""
        for column in self.values.values():
            if column.depth is not None:
                yield column.face, column.depth, column.depth_unit or self.depth_unit
        for _, cells in self.rows:
            with suppress(ValueError, IndexError, TypeError, PayloadError):
                yield next(iter(self.values.values())).face, read_depth(cells[self.depth_at]), self.depth_unit  # type: ignore[index]


def split_cells(line: str, mark: str) -> list[str]:
    """Return the cells of a line. A line with an unclosed quote is one cell."""
    with suppress(csv.Error):
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])]
    return [line]


def _name_face(text: str) -> str:
    """Return the name of a face as in quantities: a0 for "Face A+", b180 for "b_negative"."""
    plain = re.sub(r"^face|[\s_°]", "", text.lower())
    return re.sub(r"(?:negative|-)$", "180", re.sub(r"(?:positive|\+)$", "0", plain))


def begin_block(cells: Sequence[str], head: dict[str, str]) -> SurveyBlock | None:
    """Return the block whose columns a line names; None if the line does not name columns.

    The columns of a survey are a depth and faces. Those of a table are times, and names that contain depths.

    >>> begin_block(["Time", "A_0.5", "12,5m A180 [digit]", "A0"], {}).values[2]
    ValueColumn(face='a180', unit='digit', depth=12.5, depth_unit='m')
    """
    hole_at = next((i for i, cell in enumerate(cells) if _find_key(cell) == "hole"), None)
    return _begin_survey(cells, head, hole_at) or _begin_table(cells, head, hole_at)


def _begin_survey(cells: Sequence[str], head: dict[str, str], hole_at: int | None) -> SurveyBlock | None:
    depth = next(((i, m) for i, cell in enumerate(cells) if (m := _DEPTHS.fullmatch(cell))), None)
    faces = {i: m for i, cell in enumerate(cells) if (m := _FACES.fullmatch(cell))}
    if depth is None or not faces:
        return None
    if unit := depth[1][1] or depth[1][2]:
        head = head | {"depth unit": unit}
    values = {i: ValueColumn(_name_face(m[1]), m[2] or m[3] or "") for i, m in faces.items()}
    times = tuple(i for i, cell in enumerate(cells) if _find_key(cell) in {"date", "time"})
    return SurveyBlock(head, values, cells, depth[0], times, hole_at, cells[depth[0]].upper() == "FLEVEL")


def _begin_table(cells: Sequence[str], head: dict[str, str], hole_at: int | None) -> SurveyBlock | None:
    values = {
        i: ValueColumn(_name_face(m[1] or m[4] or ""), m[5] or "", abs(float(m[2].replace(",", "."))), m[3] or "")
        for i, m in enumerate(map(_BOTH.fullmatch, cells))
        if m is not None and not (m[1] and m[4])
    }
    times = tuple(i for i, cell in enumerate(cells) if i not in values and TIME_COLUMN_NAME.search(cell))
    return SurveyBlock(head, values, cells, None, times, hole_at) if len(values) > 1 and 0 < len(times) < 3 else None


def _find_names(lines: Sequence[str]) -> tuple[str, SurveyBlock | None]:
    """Return the delimiter of a file and its first block."""
    for line in lines[:HEAD_LINES]:
        for mark in filter(line.__contains__, ";\t, "):
            block = begin_block(split_cells(line, mark), {})
            if block is not None and (
                mark != " " or len(_PAIRED & {column.face for column in block.values.values()}) > 1
            ):
                return mark, block
    return "", None


def is_survey(text: str) -> bool:
    """Return whether a text is a file with readings by depth. Other tables may have columns of depths too."""
    lines = text.splitlines()[:HEAD_LINES]
    _, block = _find_names(lines)
    if block is None:
        return any(_RPP.fullmatch(line) for line in lines)
    faces = {column.face for column in block.values.values()}
    if block.depth_at is not None:
        # A table of times, depths and temperatures may describe water.
        return faces <= _OF_AXES and bool(not block.times or _PAIRED & faces)
    axis_columns = [column for column in block.values.values() if column.face in _OF_AXES]
    return sum(bool(column.depth_unit or (column.depth or 0.0) % 1.0) for column in axis_columns) > 1


def list_blocks(lines: Sequence[str]) -> tuple[str, list[SurveyBlock]]:
    """Return the delimiter of a file, empty for columns at fixed positions, and its blocks."""
    mark, first = _find_names(lines)
    if first is None:
        return "", _list_fixed(lines)
    blocks: list[SurveyBlock] = []
    head: dict[str, str] = {}
    is_open = False  # whether rows of the last block may follow
    for number, line in enumerate(lines, 1):
        cells = split_cells(line, mark)
        last = blocks[-1] if blocks else first
        if not any(cells) or (blocks and cells == last.names and last.depth_at is None):
            continue
        is_row = bool(blocks) and _is_row(last, cells)
        if is_open and is_row:
            last.rows.append((number, cells))
        elif is_open and not last.rows and _add_units(last, cells):
            continue
        elif (begun := begin_block(cells, head)) is not None:
            if blocks and begun.depth_at is None:
                raise ConfigError(f"line {number} starts a second table with other columns: divide the file there")
            blocks.append(begun)
            head, is_open = {key: value for key, value in head.items() if key in _LASTING}, True
        elif is_row:
            raise ConfigError(f"line {number}: readings below an unknown line: repeat the names of the columns there")
        elif _add_head(head, cells, line):
            is_open = False
    return mark, blocks


def _list_fixed(lines: Sequence[str]) -> list[SurveyBlock]:
    """Return the blocks of a .rpp file, in which each row consists of two lines."""
    blocks: list[SurveyBlock] = []
    head: dict[str, str] = {}
    is_open = False
    for number, line in enumerate(lines, 1):
        if (fixed := _RPP.fullmatch(line)) is None:
            is_open = not _add_head(head, split_cells(line, ","), line) and is_open
            continue
        if not is_open:
            values = {i: ValueColumn(face, "") for i, face in enumerate(("a0", "a180", "b0", "b180"), 1)}
            blocks.append(SurveyBlock(head, values, [""] * 5, 0, is_digit=True))
            head, is_open = {key: value for key, value in head.items() if key in _LASTING}, True
        _add_fixed(blocks[-1].rows, number, fixed)
    return blocks


def _add_fixed(rows: list[tuple[int, list[str]]], number: int, fixed: re.Match[str]) -> None:
    """Add one of the two lines of a depth in a .rpp file: depth, A0 and B0 first, then A180 and B180."""
    place = 1 if fixed[2] else 2
    row = rows.pop()[1] if rows and place == 2 and not rows[-1][1][place] else [fixed[1] or "", "", "", "", ""]
    row[place], row[place + 2] = fixed[3], fixed[4] or ""
    rows.append((number, row))


def _is_row(block: SurveyBlock, cells: Sequence[str]) -> bool:
    """Return whether cells are a row of a block.

    A row of a survey may have an invalid depth. In a table all lines after the first one with a time are rows.
    """
    if block.depth_at is None:
        has_time = any(re.match(r"\d", cells[i]) for i in block.times if i < len(cells))
        return has_time or (bool(block.rows) and begin_block(cells, {}) is None)
    numeric = [_NUMBER.fullmatch(cells[i]) for i in (block.depth_at, *block.values) if i < len(cells)]
    return any(numeric[:1]) or (len(numeric) > 2 and all(numeric[1:]))


def _add_units(block: SurveyBlock, cells: Sequence[str]) -> bool:
    """Set the units of a block from the line below the names; return whether the line contains units."""
    plain = {i: cell.strip("[]() ") for i, cell in enumerate(cells)}
    units = [read_unit(plain.get(i, "")) for i in block.values]
    if not all(unit.name in UNITS or unit.name == DIGIT for unit in units):
        return False
    block.values = {i: column._replace(unit=plain[i]) for i, column in block.values.items()}
    if block.depth_at is not None:
        block.head = block.head | {"depth unit": plain[block.depth_at] or "m"}
    return True


def _find_key(text: str) -> str:
    plain = " ".join(text.split()).strip("#* :=")
    return next((key for key, pattern in _KEYS if pattern.fullmatch(plain)), "")


def _add_head(head: dict[str, str], cells: Sequence[str], line: str) -> bool:
    """Add a line to a head; return whether it is a known entry."""
    if names := head.pop("headings", ""):
        for name, cell in zip(names.split("\n"), cells[1:], strict=False):
            _set(head, name, [cell])
        return True
    if cells and cells[0].lower() == "headings":
        head["headings"] = "\n".join(cells[1:])
        return True
    if _find_key(cells[0] if cells else ""):
        return _set(head, cells[0], cells[1:])
    name, _, value = (line.replace("=", ":", 1) if ":" not in line.partition("=")[0] else line).partition(":")
    return _set(head, name, [value.strip()])


def _set(head: dict[str, str], name: str, values: Sequence[str]) -> bool:
    key, given = _find_key(name), [value for value in values if value and not value.startswith("h:m")]
    if not key or not given:
        return False
    head[key] = " ".join(given if key == "date" and not name.lower().startswith("survey v") else given[:1])
    if key == "date":
        head["order"] = name.lower()
    return True


def read_unit(text: str) -> ReadingUnit:
    """Return the unit that a text in a head or an option names.

    >>> read_unit("25000*sin(a)"), read_unit("Meters").name, read_unit("digits").name
    (ReadingUnit(name='digit', constant=25000.0), 'm', 'digit')
    """
    plain = text.strip()
    sine = _SINE.search(plain)
    if sine is not None:
        return ReadingUnit(DIGIT, float(sine[1] or sine[2]))
    return ReadingUnit(
        DIGIT if is_raw(plain) or plain.lower().endswith((" digit", " digits")) else _WORDS.get(plain.lower(), plain)
    )


def find_order(dates: Iterable[str], stated: str = "") -> str:
    """Return whether `day` or `month` is first in dates that end with the year.

    Raises:
        ConfigError: Both orders are possible.
    """
    matches = [match for match in map(_YEAR_LAST.search, dates) if match is not None]
    if not matches or matches[0][2] == "." or "d/m" in stated or any(int(match[1]) > 12 for match in matches):
        return "day"
    if "m/d" in stated or any(int(match[3]) > 12 for match in matches):
        return "month"
    raise ConfigError(f"day or month may be first in {matches[0][0]}: write the year first, such as 2026-03-31")


@lru_cache(maxsize=4096)
def write_iso(text: str, order: str) -> str:
    """Return a date of a head, with its time if it has one, as ISO 8601; empty if it is no date.

    >>> write_iso("10/13/2025 1:44 PM", "month"), write_iso("20250828_103102", "day"), write_iso("9:05 1 Mar 2026", "")
    ('2025-10-13T13:44:00', '2025-08-28T10:31:02', '2026-03-01T09:05:00')
    """
    text = translate_months(text)
    if (match := _YEAR_FIRST.search(text.replace("_", " _"))) is not None:
        year, month, day = match[1], match[3], match[4]
    elif (match := _YEAR_LAST.search(text)) is not None:
        year = match[4] if len(match[4]) == 4 else f"20{match[4]}"
        day, month = (match[1], match[3]) if order == "day" else (match[3], match[1])
    elif (match := _BY_NAME.search(text)) is not None:
        year, month, day = match[3], str(1 + _MONTHS.index(match[2])), match[1]
    else:
        return ""
    clock = _CLOCK.search(text.replace(match[0], " ")) or _PACKED.search(text)
    hour, minute, second, half, ahead = ("0", "0", "0", "", "") if clock is None else clock.groups(default="")
    late = 12 * (half.lower() == "pm") - 12 * (bool(half) and int(hour) == 12)
    return f"{year}-{month:0>2}-{day:0>2}T{int(hour) + late:02}:{minute:0>2}:{second or '0':0>2}{ahead}"
