"""What the columns of a foreign table mean, written down in TOML."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from forecasting.message import TEXT_OF, NameList, Template
from monitor.domain.terms import read_text, read_toml
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_time
from monitor.ingest.files.tables import WHITESPACE, Layout
from monitor.ingest.message import is_station
from monitor.ingest.months import begin_day, drop_weekday, spell_months, spell_offset

_DASHES: Final = frozenset("\u2212\u2013")  # a minus as word processors and spreadsheets write it
_NUMERIC: Final = frozenset({"s", "ms", "us", "ns"})
EXCEL: Final = "excel"  # 45352.25: days since 1899-12-30, as spreadsheets count
MJD: Final = "mjd"  # 60709.25: the modified Julian day
DATENUM: Final = "datenum"  # 739651.25: the day number of MATLAB
DAY_NUMBERS: Final = {  # what day zero is, and the numbers of the years 1900 to 9999
    EXCEL: (datetime(1899, 12, 30), 1.0, 2_958_466.0),  # noqa: DTZ001 - day numbers know no zone
    MJD: (datetime(1858, 11, 17), 15_020.0, 2_973_484.0),  # noqa: DTZ001
    DATENUM: (datetime(1, 1, 1), 693_962.0, 3_652_425.0),  # noqa: DTZ001
}
_DATENUM_FIRST: Final = 367  # of 0001-01-01, for it counts from the year 0
WEEKDAY: Final = "%a "  # a pattern that begins so reads "Mo, 3.2.2025"
_MIDNIGHT: Final = re.compile(r"[T ]00:00(?::00(?:\.0+)?)?$")
YEAR_DAY_HHMM: Final = "year_day_hhmm"  # 2014, 203, 41: three columns of array-ID loggers, 41 is 00:41
YEAR: Final = "year"  # 2011.4548: the year and the share of it that has passed, in UTC
_YEARS: Final = (1800.0, 2300.0)
MISSING: Final = ("", "NaN", "nan", "NAN", "NA", "null", "None")


_NUMBER: Final = re.compile(r"[+-]?[\d.,'\u2019  ]*\d(?:[eE][+-]?\d+)?")
_NO_TIME: Final = Template("cell.time.empty", "column '{column}' is empty")
_LIKE_YEAR: Final = Template(
    "cell.time.year_like",
    '{column}: {value} looks like a decimal year, not {form} since 1970; give time.format = "{year}"',
)
_OTHER_FORM: Final = Template("cell.time.form", "{column}: '{value}' is not of the form {form}")
_NO_YEAR: Final = Template("cell.time.year", "{column}: '{value}' is no decimal year such as 2011.4548")
_NO_DAY: Final = Template("cell.time.day", "{column}: '{value}' is no year, day and hhmm")
_NO_ZONE: Final = Template("cell.time.zone", "{column}: {at} has no zone; give time.zone in the mapping")
_AMBIGUOUS: Final = Template("cell.time.twice", "{column}: {at} comes twice or never in {zone}")
_NO_NUMBER: Final = Template("cell.number", "'{value}' is no number with '{sign}' as decimal mark")
_NO_STATION: Final = Template("cell.station", "column '{column}' names no station")
_OTHER_UNIT: Final = Template("cell.unit", "column '{column}' says '{unit}', not '{expected}'")
_ABSENT: Final = Template("mapping.column", "column '{column}' of the mapping is not there; there are: {names}")


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Where the time stands and how it is written; text without an offset needs `zone`."""

    columns: tuple[str, ...]  # one, or date and time apart: their texts are joined by a blank
    format: str = "iso"  # iso, a strptime pattern, s, ms, us, ns since 1970, excel (days), or year (decimal)
    zone: ZoneInfo | None = None

    @property
    def column(self) -> str:
        """How the place of the time is called in sentences."""
        return " + ".join(self.columns)

    def read_row(self, row: Mapping[str, Any]) -> datetime:
        """The instant of a row; raises what `read` raises."""
        if len(self.columns) == 1:
            return self.read(row.get(self.columns[0]))
        parts = [row.get(name) for name in self.columns]
        if self.format == YEAR_DAY_HHMM and None not in parts and "" not in parts:
            return self._place(self.read_parts([str(part).strip() for part in parts]))
        return self.read("" if None in parts or "" in parts else join_parts(parts))

    def read(self, value: object) -> datetime:
        """The instant of a cell.

        Raises:
            PayloadError: no_time, bad_time, no_zone, ambiguous_time (an hour that the zone has twice or never).
        """
        return self._place(self.read_naive(value))

    def read_naive(self, value: object) -> datetime:
        """What a cell says, without a zone where it names none; raises no_time and bad_time."""
        if value is None or value == "":
            raise PayloadError("no_time", _NO_TIME(column=self.column))
        if isinstance(value, datetime):
            return value
        if self.format == YEAR or self.format in DAY_NUMBERS:
            number = _number(value.replace(",", ".") if isinstance(value, str) else value)
            return self._read_year(number) if self.format == YEAR else self._read_days(number)
        if self.format in _NUMERIC:
            number = _number(value)
            if isinstance(number, float) and _YEARS[0] <= number <= _YEARS[1]:
                said = _LIKE_YEAR(column=self.column, value=str(value), form=self.format, year=YEAR)
                raise PayloadError("bad_time", said)
            return read_time(number, self.format, self.column, live=False)
        text = str(value).strip()
        try:
            return self._read_text(text)
        except (ValueError, re.error):  # a pattern that names one part twice
            with suppress(ValueError, OverflowError, re.error):
                begin = f"{text[:-2]}00" if self.format.endswith(" %H") and text.endswith(" 24") else begin_day(text)
                if begin is not None:
                    return self._read_text(begin) + timedelta(days=1)
            raise PayloadError("bad_time", _OTHER_FORM(column=self.column, value=text[:60], form=self.format)) from None

    def _read_text(self, text: str) -> datetime:
        if self.format == "iso":
            return datetime.fromisoformat(text)
        form = self.format.removeprefix(WEEKDAY)
        text = drop_weekday(text) if form != self.format else text
        text = spell_months(text) if "%b" in form else text
        return datetime.strptime(spell_offset(text) if "%z" in form else text, form)  # noqa: DTZ007

    def _read_year(self, value: object) -> datetime:
        """A decimal year, to the second: 365 or 366 days of one length each (as geodesists count)."""
        if not isinstance(value, int | float) or not _YEARS[0] <= value <= _YEARS[1]:
            raise PayloadError("bad_time", _NO_YEAR(column=self.column, value=str(value)[:60]))
        year = int(value)
        begin, end = (datetime(y, 1, 1, tzinfo=UTC) for y in (year, year + 1))
        return begin + timedelta(seconds=round((end - begin).total_seconds() * (value - year)))

    def read_parts(self, parts: list[str]) -> datetime:
        """Year, day of the year, and hours and minutes without leading zeros; 2400 is the end of the day.

        Raises:
            PayloadError: bad_time.
        """
        try:
            year, day, clock = (int(part) for part in parts)
            if not (1 <= day <= 366 and 0 <= clock <= 2400 and clock % 100 < 60):
                raise ValueError
            return datetime(year, 1, 1) + timedelta(days=day - 1, hours=clock // 100, minutes=clock % 100)  # noqa: DTZ001
        except (ValueError, OverflowError):
            raise PayloadError("bad_time", _NO_DAY(column=self.column, value=" ".join(parts)[:60])) from None

    def _read_days(self, value: object) -> datetime:
        """A day number, to the second, or a cell that a spreadsheet keeps as a date; without a zone, as there."""
        if isinstance(value, str) and self.format == EXCEL and len(value) >= len("2024-03-01"):
            with suppress(ValueError):
                return datetime.fromisoformat(value)
        zero, least, most = DAY_NUMBERS[self.format]
        if not isinstance(value, int | float) or not least <= value <= most:
            said = {EXCEL: "day number of a spreadsheet", MJD: "modified Julian day", DATENUM: "day number of MATLAB"}
            raise PayloadError("bad_time", f"{self.column}: {str(value)[:60]!r} is no {said[self.format]}")
        days = value - _DATENUM_FIRST if self.format == DATENUM else value
        return zero + timedelta(seconds=round(days * 86400))

    def _place(self, at: datetime) -> datetime:
        if at.tzinfo is not None:
            return at
        if self.zone is None:
            raise PayloadError("no_zone", _NO_ZONE(column=self.column, at=at.isoformat()))
        first, second = at.replace(tzinfo=self.zone), at.replace(tzinfo=self.zone, fold=1)
        if first.utcoffset() != second.utcoffset():
            said = _AMBIGUOUS(column=self.column, at=at.isoformat(), zone=self.zone.key)
            raise PayloadError("ambiguous_time", said)
        return first


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """One column of values."""

    name: str
    station: str | None  # None: the table's own column of stations says
    quantity: str
    unit: str
    sigma: str | None = None  # the column that holds the standard deviation, same unit
    tail: str = ""  # what stands behind each number in the cell, such as %
    only: tuple[str, str] | None = None  # a column, and what it says in the rows that count: several kinds in one
    written: tuple[str, str] | None = None  # a column that names the unit of each row, and how; another is refused
    downward: bool = False  # it counts downward, as a depth to water does: the sign is turned

    def turn(self, value: object) -> object:
        """A number as the quantity counts it; a text that is no number stays for the gate to refuse."""
        if not self.downward:
            return value
        if isinstance(value, str):
            text = value.strip().removeprefix("+")
            if text.startswith("-"):
                return text[1:]
            return f"-{text}" if text[:1].isdigit() or text[:1] == "." else value
        return -value if isinstance(value, int | float) and value else value

    def reads(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this rule's kind."""
        return self.only is None or _cell(row, self.only[0]) == self.only[1]

    def cut(self, value: object) -> object:
        """A cell without what stands behind its number."""
        if not self.tail or not isinstance(value, str):
            return value
        return value.strip().removesuffix(self.tail).rstrip()


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


_TABLE_KEYS: Final = {
    "delimiter", "skip_rows", "encoding", "missing", "header", "skip_after_header", "decimal", "thousands", "station",
    "starts", "sheets",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A whole mapping of a wide table."""

    time: TimeRule
    columns: tuple[ColumnRule, ...]
    layout: Layout = Layout()  # noqa: RUF009 - frozen
    missing: tuple[str, ...] = MISSING
    decimal: str = "."
    thousands: str = ""
    station: str | None = None  # the column that names the station of each row

    def clean(self, value: object) -> object:
        """A number as this table spells it, as Python does; other text as it is.

        Raises:
            PayloadError: not_number, where a text is a number in another convention only.
        """
        if isinstance(value, str) and value.lstrip()[:1] in _DASHES:
            value = f"-{value.lstrip()[1:]}"
        if not isinstance(value, str) or (self.decimal == "." and not self.thousands):
            return value
        text, mark = value.strip(), re.escape(self.decimal)
        whole = rf"\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+" if self.thousands else r"\d+"
        if re.fullmatch(rf"[+-]?(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?", text):
            return text.replace(self.thousands, "").replace(self.decimal, ".")
        if _NUMBER.fullmatch(text):
            raise PayloadError("not_number", _NO_NUMBER(value=text[:60], sign=self.decimal))
        return text


def load_mapping(path: Path) -> TableMapping:
    """Read a mapping file.

    Raises:
        ConfigError: one line with the file, the key and what was expected.
    """
    document = read_toml(read_text(path), str(path))
    _keys(document, {"table", "time", "column"}, f"{path}")
    table = document.get("table", {})
    _keys(table, _TABLE_KEYS, f"{path}: table")
    if not isinstance(table.get("header", True), bool):
        raise ConfigError(f"{path}: table.header: expected true or false, got {table['header']!r}")
    encoding = _text(table, "encoding", f"{path}: table", "utf-8-sig")
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise ConfigError(f"{path}: table.encoding: {encoding!r} is unknown; expected utf-8, latin-1, ...") from None
    delimiter = _text(table, "delimiter", f"{path}: table", ",")
    if len(delimiter) != 1 and delimiter != WHITESPACE:
        raise ConfigError(f'{path}: table.delimiter: expected one character or "{WHITESPACE}", got {delimiter!r}')
    decimal, thousands = (str(table.get(key, usual)) for key, usual in (("decimal", "."), ("thousands", "")))
    if decimal not in {".", ","}:
        raise ConfigError(f'{path}: table.decimal: expected "." or ",", got {decimal!r}')
    if len(thousands) > 1 or thousands == decimal:
        raise ConfigError(f"{path}: table.thousands: expected one character that is not the decimal mark")
    station = table.get("station")
    if station is not None and (not isinstance(station, str) or not station):
        raise ConfigError(f"{path}: table.station: expected the name of a column, got {station!r}")
    columns = document.get("column")
    if not isinstance(columns, list) or not columns:
        raise ConfigError(f"{path}: column: expected at least one [[column]]")
    rules = tuple(_read_column(c, f"{path}: column[{i}]", station) for i, c in enumerate(columns))
    layout = Layout(
        delimiter, _count(table, "skip_rows", f"{path}: table"), encoding, table.get("header", True),
        _count(table, "skip_after_header", f"{path}: table"), _read_starts(table.get("starts", []), f"{path}: table"),
        _read_sheets(table.get("sheets", []), f"{path}: table"),
    )  # fmt: skip
    rule = _read_time_rule(document.get("time"), f"{path}: time")
    return TableMapping(
        rule, rules, layout, _read_missing(table.get("missing", MISSING), f"{path}: table"), decimal, thousands,
        None if station is None else _spell(station),
    )  # fmt: skip


def _count(table: Mapping[str, Any], key: str, name: str) -> int:
    value = table.get(key, 0)
    if type(value) is not int or value < 0:
        raise ConfigError(f"{name}.{key}: expected a whole number >= 0, got {value!r}")
    return value


def _read_starts(given: Any, name: str) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(type(k) is int and k >= 0 for k in given)
    if not whole or sorted(set(given)) != given:
        raise ConfigError(f"{name}.starts: expected rising whole numbers such as [0, 12, 20], got {given!r}")
    return tuple(given)


def _read_sheets(given: Any, name: str) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
        raise ConfigError(f"{name}.sheets: expected names of worksheets, got {given!r}")
    return tuple(given)


def _read_missing(given: Any, name: str) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        raise ConfigError(f'{name}.missing: expected texts such as ["", "NaN"], got {given!r}')
    return tuple(given)


def _read_time_rule(section: Any, name: str) -> TimeRule:
    _keys(section, {"column", "format", "zone"}, name)
    zone = section.get("zone")
    try:
        found = None if zone is None else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError, ValueError, TypeError):
        raise ConfigError(f"{name}.zone: expected a zone such as Europe/Zurich or UTC, got {zone!r}") from None
    columns = section.get("column")
    if isinstance(columns, list):
        if not columns or not all(isinstance(c, str) and c for c in columns):
            raise ConfigError(f"{name}.column: expected names of columns, got {columns!r}")
        names = tuple(columns)
    else:
        names = (_text(section, "column", name),)
    if section.get("format") == YEAR_DAY_HHMM and len(names) != 3:
        raise ConfigError(f"{name}.column: three columns go with format {YEAR_DAY_HHMM!r}")
    return TimeRule(tuple(_spell(n) for n in names), _text(section, "format", name, "iso"), found)


def _read_column(section: Any, name: str, stations: str | None) -> ColumnRule:
    _keys(section, {"name", "station", "quantity", "unit", "sigma", "tail", "only", "written", "downward"}, name)
    if not isinstance(section.get("downward", False), bool):
        raise ConfigError(f"{name}.downward: expected true or false, got {section['downward']!r}")
    words = [_text(section, key, name) for key in ("name", "quantity", "unit")]
    station = None if stations is not None and "station" not in section else _text(section, "station", name)
    if station is not None and not is_station(station):
        raise ConfigError(f"{name}.station: expected letters, digits, _ and -, got {station!r}")
    sigma = section.get("sigma")
    return ColumnRule(
        _spell(words[0]), station, words[1], words[2], None if sigma is None else _spell(str(sigma)),
        _text(section, "tail", name) if "tail" in section else "",
        _read_pair(section, "only", name), _read_pair(section, "written", name), section.get("downward", False),
    )  # fmt: skip


def _read_pair(section: Mapping[str, Any], key: str, name: str) -> tuple[str, str] | None:
    pair = section.get(key)
    if pair is None:
        return None
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, str) and p for p in pair):
        raise ConfigError(f'{name}.{key}: expected a column and what it says, such as ["Parameter", "crack"]')
    return _spell(pair[0]), pair[1].strip()


def _spell(name: str) -> str:
    """The name of a column as `open_rows` gives it: one blank between words."""
    return " ".join(name.split())


def _keys(section: Any, allowed: set[str], name: str) -> None:
    if not isinstance(section, dict):
        raise ConfigError(f"{name}: expected a table")
    if unknown := sorted(set(section) - allowed):
        raise ConfigError(f"{name}: key {unknown[0]!r} is unknown; expected one of {', '.join(sorted(allowed))}")


def _text(section: Mapping[str, Any], key: str, name: str, default: str | None = None) -> str:
    value = section.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name}.{key}: expected a text, got {value!r}")
    return value


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            return int(value) if value.strip().lstrip("-").isdigit() else float(value)
        except ValueError:
            return value
    return value


def is_missing(value: object, words: tuple[str, ...] = MISSING) -> bool:
    """Whether a cell says "no measurement": nothing, NaN, or one of the words."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return True
    if isinstance(value, str):
        return value.strip() in words
    return len(words) > len(MISSING) and str(value) in words  # a number that stands for nothing, in a typed table


def widen(row: Mapping[str, Any], mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Turn a row of a wide table into neutral rows, each with the error that is known already."""
    error: PayloadError | None = None
    at: object = " ".join(str(row.get(name) or "") for name in mapping.time.columns).strip()
    named = "" if mapping.station is None else name_station(str(row.get(mapping.station) or ""))
    try:
        at = mapping.time.read_row(row)
        if mapping.station is not None and not named:
            raise PayloadError("no_station", _NO_STATION(column=mapping.station))
    except PayloadError as failure:
        error = failure
    found: list[tuple[dict[str, Any], PayloadError | None]] = []
    for rule in mapping.columns:
        value = rule.cut(row.get(rule.name))
        if is_missing(value, mapping.missing) or not rule.reads(row):
            continue
        neutral = {"time": at, "station": rule.station or named, "quantity": rule.quantity, "unit": rule.unit,
                   "value": value}  # fmt: skip
        bad = error
        try:
            neutral["value"] = rule.turn(mapping.clean(value))
            if rule.sigma is not None and not is_missing(row.get(rule.sigma), mapping.missing):
                neutral["sigma"] = mapping.clean(row[rule.sigma])
            if rule.written is not None and (unit := _cell(row, rule.written[0])) != rule.written[1]:
                said = _OTHER_UNIT(column=rule.written[0], unit=unit, expected=rule.written[1])
                raise PayloadError("unit_mismatch", said)
        except PayloadError as failure:
            bad = bad or failure
        found.append((neutral, bad))
    return found


def join_parts(parts: Iterable[object]) -> str:
    """Date and clock of two columns as one text; a date that a spreadsheet keeps with midnight is the date alone.

    >>> join_parts(["2025-02-03T00:00:00.000000", "06:30:00"]), join_parts(["3.2.2025 00:00", "06:30"])
    ('2025-02-03 06:30:00', '3.2.2025 06:30')
    """
    date, *rest = (str(part).strip() for part in parts)
    return " ".join((_MIDNIGHT.sub("", date), *rest))


def name_station(text: str) -> str:
    """A station id made of a name as people write it; "" where nothing of it can be one.

    >>> name_station("Punkt 3 (oben)"), name_station("Fessurimetro n° 4"), name_station("裂缝")
    ('Punkt-3-oben', 'Fessurimetro-n-4', '')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:64]


def check_columns(names: list[str], mapping: TableMapping, file: str) -> None:
    """Refuse a table that lacks what the mapping names; raises ConfigError."""
    wanted = [
        *mapping.time.columns,
        *([mapping.station] if mapping.station else []),
        *(c.name for c in mapping.columns),
        *(c.sigma for c in mapping.columns if c.sigma),
        *(pair[0] for c in mapping.columns for pair in (c.only, c.written) if pair),
    ]
    if absent := [w for w in wanted if w not in names]:
        said = _ABSENT(column=absent[0], names=NameList(tuple(names)))
        raise ConfigError(TEXT_OF(name=str(file), text=said))
