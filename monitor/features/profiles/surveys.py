"""The text of files of readings by depth: heads, surveys, names of columns, dates and units as instruments write them.

Forms that are published: GEOKON .gkn (csv_to_gkn.py in github.com/joelefrain/geo_sentry), RST and Soil Instruments
(funciones_importar.py in github.com/cuervocampa/Inclidata; the INC parser in github.com/averriK/dbAudit), Slope
Indicator .rpp (AdrDataHarvestCompleted in github.com/SadraMoh/IncliForms), Encardio-rite .di1 (manual of EAN-26, 6.3).
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
_LASTING: Final = ("hole", "unit", "depth unit", "constant")  # what one head says for the surveys after it as well
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
    """What readings are in, and what they count at 90 deg where that is stated (else 0)."""

    name: str
    constant: float = 0.0


class ValueColumn(NamedTuple):
    """A column of values: its face ("" where the name has none), its depth where the name says it, and units."""

    face: str
    unit: str
    depth: float | None = None
    depth_unit: str = ""


@dataclass
class SurveyBlock:
    """Rows below names of columns, with what a head says; `rows`: number of the line, and its cells."""

    head: dict[str, str]
    values: dict[int, ValueColumn]  # by place of the column
    names: Sequence[str]
    depth_at: int | None = None  # place of the column of depths; None where the names of the others have them
    times: tuple[int, ...] = ()  # places of the columns that say when a row was read
    hole_at: int | None = None  # and whose it is
    is_digit: bool = False  # its form has no other readings
    rows: list[tuple[int, list[str]]] = field(default_factory=list)

    @property
    def depth_unit(self) -> str:
        """The unit of depths that names do not say."""
        return self.head.get("depth unit", "m")

    def find_hole(self, cells: Sequence[str]) -> str:
        """Whose a row is, as the file says it."""
        named = "" if self.hole_at is None or len(cells) <= self.hole_at else cells[self.hole_at]
        return named or self.head.get("hole", "")

    def describe_units(self) -> tuple[frozenset[str], str]:
        """The units of readings as names of columns have them, else the head; and what they count at 90 deg."""
        texts = {one.unit for one in self.values.values()} - {""} or {self.head.get("unit", "")} - {""}
        return frozenset(texts or ({DIGIT} if self.is_digit else ())), self.head.get("constant", "")

    def list_places(self, read_depth: Callable[[str], float]) -> Iterator[tuple[str, float, str]]:
        """Face, depth and unit of the depth of all that it has, those of one face where depths stand in rows."""
        for one in self.values.values():
            if one.depth is not None:
                yield one.face, one.depth, one.depth_unit or self.depth_unit
        for _, cells in self.rows:
            with suppress(ValueError, IndexError, TypeError, PayloadError):  # no depth, or no column of such
                yield next(iter(self.values.values())).face, read_depth(cells[self.depth_at]), self.depth_unit  # type: ignore[index]


def split_cells(line: str, mark: str) -> list[str]:
    """The cells of a line; one with a quote that nobody closes is one cell."""
    with suppress(csv.Error):
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])]
    return [line]


def _name_face(text: str) -> str:
    """A face as series have it: a0 of "Face A+", b180 of "b_negative"."""
    plain = re.sub(r"^face|[\s_°]", "", text.lower())
    return re.sub(r"(?:negative|-)$", "180", re.sub(r"(?:positive|\+)$", "0", plain))


def begin_block(cells: Sequence[str], head: dict[str, str]) -> SurveyBlock | None:
    """The block whose columns a line names: a depth and faces, or times and depths in the names; None without.

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
    """What stands between the cells of a file, and its first block."""
    for line in lines[:HEAD_LINES]:
        for mark in filter(line.__contains__, ";\t, "):
            begun = begin_block(split_cells(line, mark), {})
            if begun is not None and (mark != " " or len(_PAIRED & {one.face for one in begun.values.values()}) > 1):
                return mark, begun
    return "", None


def is_survey(text: str) -> bool:
    """Whether a text that begins so has surveys, or is a table of depths by face; other tables have depths as well."""
    lines = text.splitlines()[:HEAD_LINES]
    _, begun = _find_names(lines)
    if begun is None:
        return any(_RPP.fullmatch(line) for line in lines)
    faces = {one.face for one in begun.values.values()}
    if begun.depth_at is not None:  # depth and temperature beside a time are also those of water
        return faces <= _OF_AXES and bool(not begun.times or _PAIRED & faces)
    each = [one for one in begun.values.values() if one.face in _OF_AXES]
    return sum(bool(one.depth_unit or (one.depth or 0.0) % 1.0) for one in each) > 1


def list_blocks(lines: Sequence[str]) -> tuple[str, list[SurveyBlock]]:
    """What stands between the cells of a file ("": columns of fixed places), and its blocks in their order."""
    mark, first = _find_names(lines)
    if first is None:
        return "", _list_fixed(lines)
    found: list[SurveyBlock] = []
    head: dict[str, str] = {}
    is_open = False  # whether rows of the last block may follow
    for number, line in enumerate(lines, 1):
        cells = split_cells(line, mark)
        last = found[-1] if found else first
        if not any(cells) or (found and cells == last.names and last.depth_at is None):
            continue
        is_row = bool(found) and _is_row(last, cells)
        if is_open and is_row:
            last.rows.append((number, cells))
        elif is_open and not last.rows and _add_units(last, cells):
            continue
        elif (begun := begin_block(cells, head)) is not None:
            if found and begun.depth_at is None:
                raise ConfigError(f"line {number} begins another part, with other columns: cut the file there")
            found.append(begun)
            head, is_open = {key: value for key, value in head.items() if key in _LASTING}, True
        elif is_row:
            raise ConfigError(f"line {number}: readings below a line that is not understood: name their columns again")
        elif _add_head(head, cells, line):
            is_open = False
    return mark, found


def _list_fixed(lines: Sequence[str]) -> list[SurveyBlock]:
    """The blocks of .rpp, of which each row is two lines."""
    found: list[SurveyBlock] = []
    head: dict[str, str] = {}
    is_open = False
    for number, line in enumerate(lines, 1):
        if (fixed := _RPP.fullmatch(line)) is None:
            is_open = not _add_head(head, split_cells(line, ","), line) and is_open
            continue
        if not is_open:
            values = {i: ValueColumn(face, "") for i, face in enumerate(("a0", "a180", "b0", "b180"), 1)}
            found.append(SurveyBlock(head, values, [""] * 5, 0, is_digit=True))
            head, is_open = {key: value for key, value in head.items() if key in _LASTING}, True
        _add_fixed(found[-1].rows, number, fixed)
    return found


def _add_fixed(rows: list[tuple[int, list[str]]], number: int, fixed: re.Match[str]) -> None:
    """One of the two lines that a depth has in .rpp: A0 and B0 behind the depth, A180 and B180 below."""
    place = 1 if fixed[2] else 2
    row = rows.pop()[1] if rows and place == 2 and not rows[-1][1][place] else [fixed[1] or "", "", "", "", ""]
    row[place], row[place + 2] = fixed[3], fixed[4] or ""
    rows.append((number, row))


def _is_row(block: SurveyBlock, cells: Sequence[str]) -> bool:
    """Whether cells are a row, be its depth no number; in a table all are from the first that begins with a time."""
    if block.depth_at is None:
        has_time = any(re.match(r"\d", cells[i]) for i in block.times if i < len(cells))
        return has_time or (bool(block.rows) and begin_block(cells, {}) is None)
    numeric = [_NUMBER.fullmatch(cells[i]) for i in (block.depth_at, *block.values) if i < len(cells)]
    return any(numeric[:1]) or (len(numeric) > 2 and all(numeric[1:]))


def _add_units(block: SurveyBlock, cells: Sequence[str]) -> bool:
    """Units in a line of their own below the names; whether they are such."""
    plain = {i: cell.strip("[]() ") for i, cell in enumerate(cells)}
    units = [read_unit(plain.get(i, "")) for i in block.values]
    if not all(unit.name in UNITS or unit.name == DIGIT for unit in units):
        return False
    block.values = {i: one._replace(unit=plain[i]) for i, one in block.values.items()}
    if block.depth_at is not None:
        block.head = block.head | {"depth unit": plain[block.depth_at] or "m"}
    return True


def _find_key(text: str) -> str:
    plain = " ".join(text.split()).strip("#* :=")
    return next((key for key, pattern in _KEYS if pattern.fullmatch(plain)), "")


def _add_head(head: dict[str, str], cells: Sequence[str], line: str) -> bool:
    """What a line of a head says; whether it says anything that is known."""
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
    """A unit as heads and people write it.

    >>> read_unit("25000*sin(a)"), read_unit("Meters").name, read_unit("digits").name
    (ReadingUnit(name='digit', constant=25000.0), 'm', 'digit')
    """
    plain = text.strip()
    if (found := _SINE.search(plain)) is not None:
        return ReadingUnit(DIGIT, float(found[1] or found[2]))
    return ReadingUnit(
        DIGIT if is_raw(plain) or plain.lower().endswith((" digit", " digits")) else _WORDS.get(plain.lower(), plain)
    )


def find_order(dates: Iterable[str], stated: str = "") -> str:
    """Whether the day or the month stands first in dates with the year behind.

    Raises:
        ConfigError: nothing says it.
    """
    found = [one for date in dates if (one := _YEAR_LAST.search(date)) is not None]
    if not found or found[0][2] == "." or "d/m" in stated or any(int(one[1]) > 12 for one in found):
        return "day"
    if "m/d" in stated or any(int(one[3]) > 12 for one in found):
        return "month"
    raise ConfigError(f"does the day or the month stand first in {found[0][0]}? write the year first, as 2026-03-31")


@lru_cache(maxsize=4096)
def write_iso(text: str, order: str) -> str:
    """A date of a head, with its clock where it has one, as ISO 8601; "" where it is none.

    >>> write_iso("10/13/2025 1:44 PM", "month"), write_iso("20250828_103102", "day"), write_iso("9:05 1 Mar 2026", "")
    ('2025-10-13T13:44:00', '2025-08-28T10:31:02', '2026-03-01T09:05:00')
    """
    text = translate_months(text)
    if (found := _YEAR_FIRST.search(text.replace("_", " _"))) is not None:
        year, month, day = found[1], found[3], found[4]
    elif (found := _YEAR_LAST.search(text)) is not None:
        year = found[4] if len(found[4]) == 4 else f"20{found[4]}"
        day, month = (found[1], found[3]) if order == "day" else (found[3], found[1])
    elif (found := _BY_NAME.search(text)) is not None:
        year, month, day = found[3], str(1 + _MONTHS.index(found[2])), found[1]
    else:
        return ""
    clock = _CLOCK.search(text.replace(found[0], " ")) or _PACKED.search(text)
    hour, minute, second, half, ahead = ("0", "0", "0", "", "") if clock is None else clock.groups(default="")
    late = 12 * (half.lower() == "pm") - 12 * (bool(half) and int(hour) == 12)
    return f"{year}-{month:0>2}-{day:0>2}T{int(hour) + late:02}:{minute:0>2}:{second or '0':0>2}{ahead}"
