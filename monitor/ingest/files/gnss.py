"""Positions in the formats of geodetic networks: Nevada tenv3, tenv and kenv, PBO .pos and .csv, SIO .neu.

The content determines the format. East, north and up are metres (PBO .csv: mm) from the reference of the file. Epochs
are in GPS time, which is at most 18 s ahead of UTC. A daily solution has the time 12:00, as these formats define.
Sources: README_tenv3.txt of the Nevada Geodetic Laboratory; the field descriptions in the headers of PBO files.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.native import SOLUTIONS
from monitor.ingest.decoders.rows import FRAME
from monitor.ingest.decoders.strict_json import read_sigma
from monitor.ingest.files.mapping import name_station
from monitor.ingest.files.reader import CheckedRow, ImportOptions, ReadingLine
from monitor.ingest.files.tables import limit_lines
from monitor.ingest.references import PART, UNNAMED
from monitor.ingest.text.counts import J2000
from monitor.ingest.text.heads import refuse_part
from monitor.sites.ground import wrap_longitude
from monitor.text.message import LABELLED_TEXT, Template

FORMS: Final = "Nevada tenv3, tenv or kenv, PBO .pos or .csv, SIO .neu"
HEAD_LINES: Final = 200
PARTS: Final = ("east", "north", "up")
_NOON: Final = timedelta(hours=12)
_STATION: Final = re.compile(r"4-character ID\s*[:,]\s*(\w+)")
_WITH_WHOLE: Final = 20  # fields of a line of tenv3; tenv has 16
_WITH_PLACE: Final = 23  # fields of a line of tenv3 with the place of the day
_FIGURE: Final = r"([+-]?\d+(?:\.\d+)?)"
_PLACE: Final = re.compile(
    rf"(?:NEU Reference position\s*:\s*|Reference position,\s*){_FIGURE}[^\d+-]+{_FIGURE}[^\d+-]+{_FIGURE}"
)
_HEAD: Final = re.compile(
    r"PBO Station Position|site (?:YYMMMDD|sec-J2000)|\*YYYYMMDD|Date, North \(mm\)|4-character ID\s*[:,]|"
    r"NEU Reference pos"
)
_FRAME: Final = re.compile(r"Reference frame\s*[:,]\s*([\w-]+)", re.IGNORECASE)
_FROM_TENV: Final = f"{UNNAMED}{PART}from tenv"  # displacement counts from the first day
_OF_FILE: Final = re.compile(r"[A-Z]{2}|(?:IGS|ITRF)\d{2,4}")
_TENV: Final = re.compile(r"\w{4} \d{2}[A-Z]{3}\d{2} ")
CARTESIAN: Final = Template(
    "gnss.cartesian",
    "these are Cartesian positions (X, Y and Z from the centre of the earth), not east, north and up; download "
    "the .tenv3 file of the same station from the Nevada Geodetic Laboratory and import that file",
)
_LEAST_RADIUS_M: Final = 6.3e6  # smallest distance of a station from the centre of the earth


@dataclass(frozen=True, slots=True)
class Position:
    """Position of a station: east, north, up and their standard deviations, in `unit`.

    Attributes:
        frame: Reference of the position, as the file states it.
    """

    at: datetime
    station: str
    values: tuple[float, float, float]
    sigmas: tuple[float | None, float | None, float | None]
    unit: str = "m"
    solution: str | None = None
    frame: str = ""


@contextmanager
def open_gnss(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of positions.

    Raises:
        ConfigError: the file has none of these formats.
    """
    with _open(path, options.restore_name(path).name) as lines:
        yield (_to_line(line) for line in lines)


def is_positions(path: Path, lines: Iterable[str]) -> bool:
    """Return whether a file with these first lines has one of these formats."""
    try:
        _recognise(path, iter(lines))
    except ConfigError:
        return False
    return True


def is_cartesian(lines: Iterable[str]) -> bool:
    """Return whether the first row is a position from the centre of the earth, as in Nevada's `.txyz2`."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return _TENV.match(first) is not None and _is_cartesian(first.split())


def find_place(path: Path) -> tuple[float, float, float] | None:
    """Return latitude (deg), longitude (deg) and height (m) of the station; None if the file does not state them."""
    with path.open(encoding="utf-8", errors="replace") as text:
        for line in islice(limit_lines(text, path), HEAD_LINES):
            fields = line.split()
            if (match := _PLACE.search(line)) is not None:
                return _check_place(*(float(part) for part in match.groups()))
            if line.startswith("site YYMMMDD") and not line.split()[-1].startswith("__height"):
                return None  # files before 2019 have no places
            if _TENV.match(line) and len(fields) == _WITH_PLACE:
                with suppress(ValueError):  # a damaged line is refused when it is read; the next line has the place too
                    return _check_place(*(float(part) for part in fields[-3:]))
    return None


def _check_place(latitude: float, longitude: float, height_m: float) -> tuple[float, float, float] | None:
    """Return a place with its longitude from -180 to 180; None if it is invalid.

    Longitudes of some networks count from 0 to -360.
    """
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 360.0 and abs(height_m) < 1e5):
        return None
    return latitude, wrap_longitude(longitude), height_m


_ParsedLine = Position | tuple[str, PayloadError]
"""A position, or a line that could not be parsed and the error."""
_Parse = Callable[[list[str]], Position | None]


@contextmanager
def _open(path: Path, name: str = "") -> Iterator[Iterator[_ParsedLine]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as text:
            lines = limit_lines(text, path)
            yield _recognise(path.with_name(name) if name else path, lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _recognise(path: Path, lines: Iterator[str]) -> Iterator[_ParsedLine]:
    head: list[str] = []
    station = ""
    for line in lines:
        head.append(line)
        if match := _STATION.search(line):
            station = name_station(match[1])
        text = line.lstrip("#")
        if line.startswith("site sec-J2000"):
            return _walk(path, head, lines, partial(_read_kenv, _find_columns(path, line)))
        if (named := line.startswith("site YYMMMDD")) or _TENV.match(line):
            fields = line.split()
            if not named and _is_cartesian(fields):
                raise ConfigError(LABELLED_TEXT(name=str(path), text=CARTESIAN()))
            whole = named or len(fields) >= _WITH_WHOLE
            nevada = _Nevada(7, 14, whole=True, frame=_name_frame(path.name)) if whole else _Nevada(6, 10, whole=False)
            return _walk(path, head if named else head[:-1], lines if named else chain([line], lines), nevada.read)
        if line.startswith("*YYYYMMDD") and station:
            return _walk(path, head, lines, partial(_read_pos, station))
        if line.startswith("Date, North (mm), East (mm)") and station:
            return _walk(path, head, lines, partial(_read_csv, station), ",")
        if text == line and _is_neu(line.split()):
            name = station or name_station(path.name.split(".")[0])
            return _walk(path, head[:-1], chain([line], lines), partial(_read_neu, name))
        if len(head) > HEAD_LINES:
            break
    raise ConfigError(f"{path}: no columns of positions; expected {FORMS}")


def _is_cartesian(fields: Sequence[str]) -> bool:
    """Return whether three successive fields are a position measured from the centre of the earth, as in `.txyz2`.

    >>> _is_cartesian("G1AA 24JAN01 2024.0000 4369812.1234 684021.4567 4579904.8765 0.001 0.001 0.001".split())
    True
    """
    numbers = [float(field) for field in fields if re.fullmatch(_FIGURE, field)]
    triples = zip(numbers, numbers[1:], numbers[2:], strict=False)
    return any(_LEAST_RADIUS_M < math.hypot(*triple) < 1.1 * _LEAST_RADIUS_M for triple in triples)


def _is_neu(fields: list[str]) -> bool:
    """Return whether a line has nine numbers, of which the first is the day given by year and day of the year."""
    if len(fields) != 9 or not re.fullmatch(r"\d{4}\.\d+", fields[0]):
        return False
    if not (fields[1].isdecimal() and fields[2].isdecimal()):
        return False
    year, share_of_year = divmod(float(fields[0]), 1.0)
    return int(year) == int(fields[1]) and abs(366 * share_of_year + 1 - int(fields[2])) < 2


def _walk(
    path: Path, head: Sequence[str], lines: Iterator[str], parse: _Parse, separator: str | None = None
) -> Iterator[_ParsedLine]:
    header_lines = {line.strip() for line in head}
    frame = _find_frame(head)
    for number, line in enumerate(lines, len(head) + 1):
        text = line.strip()
        if text in header_lines or not text:
            continue
        if _HEAD.match(text.lstrip("#")) is not None:
            raise refuse_part(str(path), number, text)
        if line.startswith("#"):
            continue
        try:
            position = parse([field.strip() for field in line.split(separator)])
        except (ValueError, IndexError, OverflowError):
            yield line, PayloadError("not_number", f"no line of positions: {line.strip()[:60]!r}")
            continue
        if position is not None:
            yield replace(position, frame=frame) if frame else position


def _find_frame(head: Sequence[str]) -> str:
    """Return the reference of positions in a header: the name of the frame, and the place.

    >>> _find_frame(["Reference Frame : IGS14", "NEU Reference position :  40.02 236.1 489.0 (IGS14/WGS84)"])
    'IGS14; from place 40.020000000 -123.900000000 489.0000'
    """
    names = (match[1] for line in head if (match := _FRAME.search(line)) is not None)
    places = (match.groups() for line in head if (match := _PLACE.search(line)) is not None)
    name = next(names, UNNAMED)
    stated = next(places, None)
    name = UNNAMED if name.casefold() in {"unknown", "unkwnon"} else name
    place = None if stated is None else _check_place(float(stated[0]), float(stated[1]), float(stated[2]))
    parts = [] if place is None else ["from place {:.9f} {:.9f} {:.4f}".format(*place)]
    return PART.join([name, *parts]) if parts or name != UNNAMED else ""


def _name_frame(file: str) -> str:
    """Return the frame of a file of the Nevada laboratory by its name: a plate, or the earth without one.

    >>> _name_frame("MXTM.NA.tenv3"), _name_frame("MXTM.tenv3"), _name_frame("MXTM.IGS14.tenv3")
    ('NA', 'IGS', 'IGS14')
    """
    return next((part for part in file.split(".")[1:-1] if _OF_FILE.fullmatch(part)), "IGS")


class _Nevada:
    """Parser of tenv3, which splits a coordinate into whole metres and a fraction, and of tenv, which has the fraction.

    The whole metres are constant while a station moves. They change after it has drifted by more than 10 m.
    """

    def __init__(self, first: int, sigma: int, *, whole: bool, frame: str = _FROM_TENV) -> None:
        self.first, self.sigma, self.has_whole, self.frame = first, sigma, whole, frame
        self.origin: tuple[float, ...] | None = None

    def read(self, f: list[str]) -> Position:
        if self.has_whole:
            whole = tuple(float(f[k]) for k in (self.first, self.first + 2, self.first + 4))
            if self.origin is None:
                self.origin = whole
                self.frame = f"{self.frame}{PART}from metres {float(f[6]):g} {' '.join(f'{w:.0f}' for w in whole)}"
            fractions = (float(f[k]) for k in (self.first + 1, self.first + 3, self.first + 5))
            east, north, up = (w - o + b for w, o, b in zip(whole, self.origin, fractions, strict=True))
        else:
            east, north, up = (float(v) for v in f[self.first : self.first + 3])
        at = datetime.strptime(f[1], "%y%b%d").replace(tzinfo=UTC) + _NOON
        se, sn, su = map(read_sigma, f[self.sigma : self.sigma + 3])
        return Position(at, name_station(f[0]), (east, north, up), (se, sn, su), frame=self.frame)


def _find_columns(path: Path, head: str) -> list[int]:
    names = [name.strip("_").partition("(")[0] for name in head.split()]
    wanted = ("site", "sec-J2000", "e-ref", "n-ref", "v-ref", "sig_e", "sig_n", "sig_v")
    if absent := [name for name in wanted if name not in names]:
        raise ConfigError(f"{path}: no columns of positions: {absent[0]} is missing; expected {FORMS}")
    return [names.index(name) for name in wanted]


def _read_kenv(columns: list[int], f: list[str]) -> Position:
    """Return a kinematic position: east, north and up from the place of the day; seconds since 2000-01-01 12:00."""
    station, seconds, *numbers = (f[k] for k in columns)
    east, north, up, se, sn, su = map(float, numbers)
    at = J2000 + timedelta(seconds=float(seconds))
    return Position(at, name_station(station), (east, north, up), (se, sn, su), frame=f"{UNNAMED}{PART}from kenv")


def _read_pos(station: str, f: list[str]) -> Position:
    at = datetime.strptime(f[0] + f[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return _make_position(at, station, f[15:21], "m", f[-1])


def _read_csv(station: str, f: list[str]) -> Position:
    at = datetime.strptime(f[0], "%Y-%m-%d").replace(tzinfo=UTC) + _NOON
    return _make_position(at, station, f[1:7], "mm", f[7] if len(f) > 7 else "")


def _read_neu(station: str, f: list[str]) -> Position:
    at = datetime(int(f[1]), 1, 1, 12, tzinfo=UTC) + timedelta(days=int(f[2]) - 1)
    return _make_position(at, station, f[3:9], "m", "")


def _make_position(at: datetime, station: str, parts: list[str], unit: str, solution: str) -> Position:
    north, east, up = map(float, parts[:3])
    sn, se, su = map(read_sigma, parts[3:])
    stated_solution = solution if solution in SOLUTIONS else None
    return Position(at, station, (east, north, up), (se, sn, su), unit, stated_solution)


def _to_line(parsed: _ParsedLine) -> ReadingLine:
    if not isinstance(parsed, Position):
        return ReadingLine((({"line": parsed[0].strip()[:500]}, parsed[1]),))
    rows: list[CheckedRow] = []
    for part, value, sigma in zip(PARTS, parsed.values, parsed.sigmas, strict=True):
        row = {
            "time": parsed.at,
            "station": parsed.station,
            "quantity": f"displacement_{part}",
            "unit": parsed.unit,
            "value": value,
            "sigma": sigma,
        }
        extra = {"solution": parsed.solution, FRAME: parsed.frame or None}
        rows.append((row | {key: text for key, text in extra.items() if text is not None}, None))
    return ReadingLine(tuple(rows))
