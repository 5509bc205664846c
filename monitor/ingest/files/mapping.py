"""What the columns of a foreign table mean, written down in TOML."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, ValidationError

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_number, read_time
from monitor.ingest.files.tables import WHITESPACE, Layout
from monitor.ingest.positions import gps_to_utc
from monitor.ingest.text.cells import is_nameless, normalise_number
from monitor.ingest.text.clocks import (
    begin_day,
    begin_digits,
    drop_weekday,
    fill_digits,
    normalise_time,
    translate_months,
    write_common,
    write_offset,
)
from monitor.ingest.text.counts import GPS, SECONDS_PER_UNIT
from monitor.readings.no_value import is_no_value
from monitor.sections import Section, Zone, explain, read_text, read_toml
from monitor.sites.quantities import read_trace
from monitor.text.instants import EPOCH, read_iso
from monitor.text.message import LABELLED_TEXT, NameList, Template

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
_CLOCK_BEHIND: Final = re.compile(r"[T ]%[HI]:%M(?::%S)?(?:\.%f)?(?: %p)?$")
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
_NO_COUNT: Final = Template("cell.time.count", "{column}: {value} counts beyond the calendar")
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
    format: str = (
        "iso"  # iso, a strptime pattern, a key of `SECONDS_PER_UNIT` since 1970, excel (days), or year (decimal)
    )
    zone: ZoneInfo | None = None
    since: datetime | None = None  # what numbers count from, in UTC; None: 1970, or what the format says
    clock: str = ""  # gps: times are in GPS time, up to 18 s ahead of UTC
    era: str = ""  # buddhist: how the years of dates count
    date_counts_at: timedelta = timedelta(0)  # from 0:00 of a date without a time: 24 h, where it names a whole day

    @property
    def column(self) -> str:
        """How the place of the time is called in sentences."""
        return " + ".join(self.columns)

    def read_row(self, row: Mapping[str, Any]) -> datetime:
        """Return the instant of a row.

        Raises:
            PayloadError: As for `read`.
        """
        return self._place(self._read_cells(row))

    def read_row_naive(self, row: Mapping[str, Any]) -> datetime:
        """Return the time of a row, without a zone if its cells contain none.

        Raises:
            PayloadError: no_time, bad_time.
        """
        return self._count_date(self._read_cells(row))

    def _read_cells(self, row: Mapping[str, Any]) -> datetime:
        if len(self.columns) == 1:
            return self.read_naive(row.get(self.columns[0]))
        parts = [row.get(name) for name in self.columns]
        if None in parts or "" in parts:
            return self.read_naive("")
        if self.format == YEAR_DAY_HHMM:
            return self.read_parts([str(part).strip() for part in parts])
        return self.read_naive(join_parts(parts))

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
            return self._respell(value) if self.era else value
        if self.format == YEAR or self.format in DAY_NUMBERS:
            number = _number(value.replace(",", ".") if isinstance(value, str) else value)
            return self._read_year(number) if self.format == YEAR else self._read_days(number)
        if self.format in SECONDS_PER_UNIT:
            return self._read_count(_number(value))
        text = str(value).strip()
        for way in dict.fromkeys(
            (text, normalise_time(text))
        ):  # as it stands first: a pattern may have a comma of its own
            with suppress(ValueError, OverflowError, re.error):  # a pattern that names one part twice
                return self._read_text(way)
            with suppress(ValueError, OverflowError, re.error):
                begin = begin_digits(way, self.format) or begin_day(way)
                if begin is not None:
                    return self._read_text(begin) + timedelta(days=1)
        day = _CLOCK_BEHIND.sub("", self.format)
        with suppress(ValueError, OverflowError):  # some programs leave the clock of a midnight out
            if day not in {self.format, ""}:
                return self._read_text(text, day)
        raise PayloadError("bad_time", _OTHER_FORM(column=self.column, value=text[:60], form=self.format))

    def _read_text(self, text: str, form: str = "") -> datetime:
        text, way = write_common(text, self.era) if self.era else text, form or self.format
        if way == "iso":
            return read_iso(text)
        form = way.removeprefix(WEEKDAY)
        text = drop_weekday(text) if form != way else text
        text = translate_months(text) if "%b" in form else text
        text = fill_digits(text, form)
        return datetime.strptime(write_offset(text) if "%z" in form else text, form)  # noqa: DTZ007

    def _respell(self, at: datetime) -> datetime:
        try:
            return datetime.fromisoformat(write_common(at.isoformat(), self.era))
        except ValueError as error:
            raise PayloadError("bad_time", f"{self.column}: {error}") from None

    def _read_count(self, number: object) -> datetime:
        if isinstance(number, float) and _YEARS[0] <= number <= _YEARS[1] and self.since is None:
            text = _LIKE_YEAR(column=self.column, value=str(number), form=self.format, year=YEAR)
            raise PayloadError("bad_time", text)
        if self.since is None and self.format in _NUMERIC and not self.clock:
            return read_time(number, self.format, self.column, live=False)
        try:
            at = (self.since or EPOCH) + timedelta(
                seconds=read_number(number, self.column) * SECONDS_PER_UNIT[self.format]
            )
        except OverflowError:
            raise PayloadError("bad_time", _NO_COUNT(column=self.column, value=str(number)[:60])) from None
        return at.replace(tzinfo=None) if self.clock == GPS else at

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
        if self.since is not None:
            begin = self.since.replace(tzinfo=None)
            least += (zero - begin).days
            zero = begin
        if not isinstance(value, int | float) or not least <= value <= most:
            text = {EXCEL: "day number of a spreadsheet", MJD: "modified Julian day", DATENUM: "day number of MATLAB"}
            raise PayloadError("bad_time", f"{self.column}: {str(value)[:60]!r} is no {text[self.format]}")
        days = value - _DATENUM_FIRST if self.format == DATENUM else value
        return zero + timedelta(seconds=round(days * 86400))

    def _count_date(self, at: datetime) -> datetime:
        """Move a date without a time of the day to the time of the day at which it counts."""
        return at + self.date_counts_at if self.date_counts_at and at.time() == datetime.min.time() else at

    def _place(self, at: datetime) -> datetime:
        at = self._count_date(at)
        if at.tzinfo is not None:
            return at
        if self.clock == GPS:
            return gps_to_utc(at.replace(tzinfo=UTC))
        if self.zone is None:
            raise PayloadError("no_zone", _NO_ZONE(column=self.column, at=at.isoformat()))
        first, second = at.replace(tzinfo=self.zone), at.replace(tzinfo=self.zone, fold=1)
        if first.utcoffset() != second.utcoffset():
            text = _AMBIGUOUS(column=self.column, at=at.isoformat(), zone=self.zone.key)
            raise PayloadError("ambiguous_time", text)
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
        value = normalise_number(value)
        if not isinstance(value, str) or (self.decimal == "." and not self.thousands):
            return value
        text, mark = value.strip(), re.escape(self.decimal)
        whole = rf"\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+" if self.thousands else r"\d+"
        if re.fullmatch(rf"[+-]?(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?", text):
            return text.replace(self.thousands, "").replace(self.decimal, ".")
        if _NUMBER.fullmatch(text):
            raise PayloadError("not_number", _NO_NUMBER(value=text[:60], sign=self.decimal))
        return text


def _normalise_name(name: str) -> str:
    return " ".join(name.split())


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is unknown; expected utf-8, latin-1, ...") from None
    return name


def _check_starts(found: tuple[int, ...]) -> tuple[int, ...]:
    if sorted(set(found)) != list(found):
        raise ValueError(f"expected rising whole numbers such as [0, 12, 20], got {list(found)}")
    return found


_Text = Annotated[str, Field(min_length=1)]
_Column = Annotated[_Text, AfterValidator(_normalise_name)]
_Count = Annotated[StrictInt, Field(ge=0)]
_Pair = tuple[_Column, Annotated[str, AfterValidator(str.strip)]]


class _TableSection(Section):
    delimiter: Annotated[str, Field(pattern=rf"^(?s:.|{WHITESPACE})$")] = ","
    skip_rows: _Count = 0
    encoding: Annotated[str, AfterValidator(_check_encoding)] = "utf-8-sig"
    header: StrictBool = True
    skip_after: _Count = Field(0, alias="skip_after_header")
    starts: Annotated[tuple[_Count, ...], AfterValidator(_check_starts)] = ()
    sheets: tuple[_Text, ...] = ()
    missing: tuple[str, ...] = MISSING
    decimal: Literal[".", ","] = "."
    thousands: Annotated[str, Field(max_length=1)] = ""
    station: _Column | None = None


def read_time_of_day(text: str) -> timedelta:
    """Read a time of the day from 0:00 to 24:00; raises ValueError.

    >>> read_time_of_day("07:30"), read_time_of_day("24:00")
    (datetime.timedelta(seconds=27000), datetime.timedelta(days=1))
    """
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", text.strip())
    at = timedelta(days=2) if match is None else timedelta(hours=int(match[1]), minutes=int(match[2]))
    if match is None or int(match[2]) > 59 or at > timedelta(days=1):
        raise ValueError(f"expected a time from 00:00 to 24:00, got {text!r}")
    return at


def format_time_of_day(at: timedelta) -> str:
    """Write a time of the day as `read_time_of_day` reads it.

    >>> format_time_of_day(timedelta(hours=7, minutes=30)), format_time_of_day(timedelta(days=1))
    ('07:30', '24:00')
    """
    minutes = round(at.total_seconds() / 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


class _TimeSection(Section):
    column: Annotated[tuple[_Column, ...], Field(min_length=1), BeforeValidator(_as_list)]
    format: _Text = "iso"
    zone: Zone | None = None
    since: datetime | None = None
    clock: Literal["", "gps"] = ""
    era: Literal["", "buddhist"] = ""
    date_counts_at: Annotated[timedelta, BeforeValidator(read_time_of_day)] = timedelta(0)


class _ColumnSection(Section):
    name: _Column
    station: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    quantity: _Text
    unit: _Text
    sigma: _Column | None = None
    tail: _Text = ""
    only: _Pair | None = None
    written: _Pair | None = None
    downward: StrictBool = False


class _MappingFile(Section):
    table: _TableSection = _TableSection.model_validate({})
    time: _TimeSection
    column: Annotated[tuple[_ColumnSection, ...], Field(min_length=1)]


def load_mapping(path: Path) -> TableMapping:
    """Read a mapping file.

    Raises:
        ConfigError: one line with the file, the key and what was expected.
    """
    try:
        found = _MappingFile.model_validate(read_toml(read_text(path), str(path)))
    except ValidationError as error:
        raise explain(error, str(path)) from None
    table, time = found.table, found.time
    if table.thousands == table.decimal:
        raise ConfigError(f"{path}: table.thousands: expected one character that is not the decimal mark")
    if time.format == YEAR_DAY_HHMM and len(time.column) != 3:
        raise ConfigError(f"{path}: time.column: three columns go with format {YEAR_DAY_HHMM!r}")
    lost = [k for k, column in enumerate(found.column) if column.station is None]
    if lost and table.station is None:
        raise ConfigError(f"{path}: column[{lost[0]}].station: expected a text, or table.station")
    layout = Layout(**{one.name: getattr(table, one.name) for one in fields(Layout)})
    rules = tuple(ColumnRule(**dict(column)) for column in found.column)
    since = time.since if time.since is None or time.since.tzinfo else time.since.replace(tzinfo=UTC)
    zone = None if time.zone is None else ZoneInfo(time.zone)
    rule = TimeRule(time.column, time.format, zone, since, time.clock, time.era, time.date_counts_at)
    return TableMapping(rule, rules, layout, table.missing, table.decimal, table.thousands, table.station)


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            return int(value) if value.strip().lstrip("-").isdigit() else float(value)
        except ValueError:
            return value
    return value


def is_missing(value: object, words: tuple[str, ...] = MISSING) -> bool:
    """Whether a cell says "no measurement": nothing, NaN, or one of the words."""
    if is_no_value(value):
        return True
    if isinstance(value, str):
        return value.strip() in words
    return len(words) > len(MISSING) and str(value) in words  # a number that stands for nothing, in a typed table


def widen(row: Mapping[str, Any], mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Turn a row of a wide table into neutral rows, each with the error that is known already."""
    error: PayloadError | None = None
    at: object = " ".join(str(row.get(name) or "") for name in mapping.time.columns).strip()
    names = None if mapping.station is None else row.get(mapping.station)
    named = "" if is_nameless(names) else name_station(str(names))
    try:
        at = mapping.time.read_row(row)
        if mapping.station is not None and not named:
            raise PayloadError("no_station", _NO_STATION(column=mapping.station))
    except PayloadError as failure:
        error = failure
    found: list[tuple[dict[str, Any], PayloadError | None]] = []
    for rule in mapping.columns:
        value = rule.cut(row.get(rule.name))
        trace = read_trace(value, rule.quantity)
        if not rule.reads(row) or (trace is None and is_missing(value, mapping.missing)):
            continue
        neutral = {
            "time": at,
            "station": rule.station or named,
            "quantity": rule.quantity,
            "unit": rule.unit,
            "value": value,
        }
        bad = error
        try:
            neutral["value"] = rule.turn(mapping.clean(value)) if trace is None else trace
            if rule.sigma is not None and not is_missing(row.get(rule.sigma), mapping.missing):
                neutral["sigma"] = mapping.clean(row[rule.sigma])
            if rule.written is not None and (unit := _cell(row, rule.written[0])) != rule.written[1]:
                text = _OTHER_UNIT(column=rule.written[0], unit=unit, expected=rule.written[1])
                raise PayloadError("unit_mismatch", text)
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
    return " ".join((_MIDNIGHT.sub("", date) if rest[0][:1].isdigit() else date, *rest))


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
        text = _ABSENT(column=absent[0], names=NameList(tuple(names)))
        raise ConfigError(LABELLED_TEXT(name=str(file), text=text))
