"""Positions as geodetic networks publish them: Nevada tenv3, tenv and kenv, PBO .pos and .csv, SIO .neu.

The content decides which of them a file is. East, north and up: metres (PBO .csv: mm) from the reference of the file.
Epochs are in GPS time, at most 18 s ahead of UTC; a daily solution counts from 12:00 of its day, as these formats do.
Sources: README_tenv3.txt of the Nevada Geodetic Laboratory; the field descriptions that PBO files carry themselves.
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
_FROM_TENV: Final = f"{UNNAMED}{PART}from tenv"  # from the first of its days
_OF_FILE: Final = re.compile(r"[A-Z]{2}|(?:IGS|ITRF)\d{2,4}")
_TENV: Final = re.compile(r"\w{4} \d{2}[A-Z]{3}\d{2} ")
CARTESIAN: Final = Template(
    "gnss.cartesian",
    "these are Cartesian positions (X, Y and Z from the centre of the earth), not east, north and up; download "
    "the .tenv3 file of the same station from the Nevada Geodetic Laboratory and import that file",
)
_LEAST_RADIUS_M: Final = 6.3e6  # from the centre of the earth to any station


@dataclass(frozen=True, slots=True)
class Position:
    """Where a station stood: east, north, up and their standard deviations, in `unit`."""

    at: datetime
    station: str
    values: tuple[float, float, float]
    sigmas: tuple[float | None, float | None, float | None]
    unit: str = "m"
    solution: str | None = None
    frame: str = ""  # what they count from, as the file says it


@contextmanager
def open_gnss(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of positions.

    Raises:
        ConfigError: it is none of these forms.
    """
    with _open(path, options.call(path).name) as lines:
        yield (_to_line(line) for line in lines)


def is_positions(path: Path, lines: Iterable[str]) -> bool:
    """Whether a file whose first lines these are has one of these forms."""
    try:
        _recognise(path, iter(lines))
    except ConfigError:
        return False
    return True


def is_cartesian(lines: Iterable[str]) -> bool:
    """Whether the first row of data is a position from the centre of the earth, in the form of Nevada's `.txyz2`."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return _TENV.match(first) is not None and _is_cartesian(first.split())


def find_place(path: Path) -> tuple[float, float, float] | None:
    """Latitude, longitude and height (deg, m) of the station as the file says them; None where it does not."""
    with path.open(encoding="utf-8", errors="replace") as text:
        for line in islice(limit_lines(text, path), HEAD_LINES):
            fields = line.split()
            if (match := _PLACE.search(line)) is not None:
                return _turn(*(float(part) for part in match.groups()))
            if line.startswith("site YYMMMDD") and not line.split()[-1].startswith("__height"):
                return None  # older than 2019: without places
            if _TENV.match(line) and len(fields) == _WITH_PLACE:
                with suppress(ValueError):  # such a line is refused where it is read; the next one says it too
                    return _turn(*(float(part) for part in fields[-3:]))
    return None


def _turn(latitude: float, longitude: float, height_m: float) -> tuple[float, float, float] | None:
    """Longitudes of some networks go westward around the earth."""
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 360.0 and abs(height_m) < 1e5):
        return None
    return latitude, wrap_longitude(longitude), height_m


_Found = Position | tuple[str, PayloadError]
_Parse = Callable[[list[str]], Position | None]


@contextmanager
def _open(path: Path, name: str = "") -> Iterator[Iterator[_Found]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as text:
            lines = limit_lines(text, path)
            yield _recognise(path.with_name(name) if name else path, lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _recognise(path: Path, lines: Iterator[str]) -> Iterator[_Found]:
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
    """Whether three fields in a row are a position measured from the centre of the earth, as in `.txyz2`.

    >>> _is_cartesian("G1AA 24JAN01 2024.0000 4369812.1234 684021.4567 4579904.8765 0.001 0.001 0.001".split())
    True
    """
    numbers = [float(field) for field in fields if re.fullmatch(_FIGURE, field)]
    triples = zip(numbers, numbers[1:], numbers[2:], strict=False)
    return any(_LEAST_RADIUS_M < math.hypot(*triple) < 1.1 * _LEAST_RADIUS_M for triple in triples)


def _is_neu(f: list[str]) -> bool:
    """Nine numbers, the first the same day as the year and the day of the year behind it."""
    if len(f) != 9 or not re.fullmatch(r"\d{4}\.\d+", f[0]) or not (f[1].isdecimal() and f[2].isdecimal()):
        return False
    year, day = divmod(float(f[0]), 1.0)
    return int(year) == int(f[1]) and abs(366 * day + 1 - int(f[2])) < 2


def _walk(
    path: Path, head: Sequence[str], lines: Iterator[str], parse: _Parse, separator: str | None = None
) -> Iterator[_Found]:
    known = {line.strip() for line in head}
    frame = _find_frame(head)
    for number, line in enumerate(lines, len(head) + 1):
        text = line.strip()
        if text in known or not text:
            continue
        if _HEAD.match(text.lstrip("#")) is not None:
            raise refuse_part(str(path), number, text)
        if line.startswith("#"):
            continue
        try:
            found = parse([field.strip() for field in line.split(separator)])
        except (ValueError, IndexError, OverflowError):
            yield line, PayloadError("not_number", f"no line of positions: {line.strip()[:60]!r}")
            continue
        if found is not None:
            yield replace(found, frame=frame) if frame else found


def _find_frame(head: Sequence[str]) -> str:
    """What a head says that positions count from: the name of its frame, and the place.

    >>> _find_frame(["Reference Frame : IGS14", "NEU Reference position :  40.02 236.1 489.0 (IGS14/WGS84)"])
    'IGS14; from place 40.020000000 -123.900000000 489.0000'
    """
    names = (found[1] for line in head if (found := _FRAME.search(line)) is not None)
    places = (found.groups() for line in head if (found := _PLACE.search(line)) is not None)
    name, stated = next(names, UNNAMED), next(places, None)
    name = UNNAMED if name.casefold() in {"unknown", "unkwnon"} else name
    place = None if stated is None else _turn(float(stated[0]), float(stated[1]), float(stated[2]))
    parts = [] if place is None else ["from place {:.9f} {:.9f} {:.4f}".format(*place)]
    return PART.join([name, *parts]) if parts or name != UNNAMED else ""


def _name_frame(file: str) -> str:
    """The frame of a file of Nevada by its name: that of a plate, else of the earth.

    >>> _name_frame("MXTM.NA.tenv3"), _name_frame("MXTM.tenv3"), _name_frame("MXTM.IGS14.tenv3")
    ('NA', 'IGS', 'IGS14')
    """
    return next((part for part in file.split(".")[1:-1] if _OF_FILE.fullmatch(part)), "IGS")


class _Nevada:
    """tenv3 with whole and broken metres, tenv with broken ones alone.

    The whole metres stay as they are while a station moves; they are taken anew where it drifts by more than 10 m.
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
            broken = (float(f[k]) for k in (self.first + 1, self.first + 3, self.first + 5))
            east, north, up = (w - o + b for w, o, b in zip(whole, self.origin, broken, strict=True))
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
    """Kinematic positions, east, north and up from the place of their day; seconds count from 2000-01-01 12:00."""
    station, seconds, *numbers = (f[k] for k in columns)
    east, north, up, se, sn, su = map(float, numbers)
    at = J2000 + timedelta(seconds=float(seconds))
    return Position(at, name_station(station), (east, north, up), (se, sn, su), frame=f"{UNNAMED}{PART}from kenv")


def _read_pos(station: str, f: list[str]) -> Position:
    at = datetime.strptime(f[0] + f[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return _place(at, station, f[15:21], "m", f[-1])


def _read_csv(station: str, f: list[str]) -> Position:
    at = datetime.strptime(f[0], "%Y-%m-%d").replace(tzinfo=UTC) + _NOON
    return _place(at, station, f[1:7], "mm", f[7] if len(f) > 7 else "")


def _read_neu(station: str, f: list[str]) -> Position:
    at = datetime(int(f[1]), 1, 1, 12, tzinfo=UTC) + timedelta(days=int(f[2]) - 1)
    return _place(at, station, f[3:9], "m", "")


def _place(at: datetime, station: str, parts: list[str], unit: str, solution: str) -> Position:
    north, east, up = map(float, parts[:3])
    sn, se, su = map(read_sigma, parts[3:])
    known = solution if solution in SOLUTIONS else None
    return Position(at, station, (east, north, up), (se, sn, su), unit, known)


def _to_line(found: _Found) -> ReadingLine:
    if not isinstance(found, Position):
        return ReadingLine((({"line": found[0].strip()[:500]}, found[1]),))
    rows: list[CheckedRow] = []
    for part, value, sigma in zip(PARTS, found.values, found.sigmas, strict=True):
        row = {
            "time": found.at,
            "station": found.station,
            "quantity": f"displacement_{part}",
            "unit": found.unit,
            "value": value,
            "sigma": sigma,
        }
        extra = {"solution": found.solution, FRAME: found.frame or None}
        rows.append((row | {key: text for key, text in extra.items() if text is not None}, None))
    return ReadingLine(tuple(rows))
