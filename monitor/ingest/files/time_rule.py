"""How the time of a row of a table is written, and how it is read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from monitor.errors import PayloadError
from monitor.ingest.decoders.strict_json import read_number, read_time
from monitor.ingest.positions import gps_to_utc
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
from monitor.text.instants import EPOCH, read_iso
from monitor.text.message import Template, Term

ISO: Final = "iso"
EXCEL: Final = "excel"  # 45352.25: days since 1899-12-30, as spreadsheets count
MJD: Final = "mjd"  # 60709.25: the modified Julian day
JD: Final = "jd"  # 2460709.75: the Julian day, which begins at noon
DATENUM: Final = "datenum"  # 739651.25: the day number of MATLAB
YEAR: Final = "year"  # 2011.4548: the year and the share of it that has passed, in UTC
YEAR_DAY_HHMM: Final = "year_day_hhmm"  # 2014, 203, 41: three columns of array-ID loggers, 41 is 00:41
WEEKDAY: Final = "%a "  # a pattern that begins so reads "Mo, 3.2.2025"
_YEARS: Final = (1800.0, 2300.0)
_LENGTH_MOST: Final = 60  # characters of a cell in a message

_NO_TIME: Final = Template("cell.time.empty", "column '{column}' is empty")
_LIKE_YEAR: Final = Template(
    "cell.time.year_like",
    '{column}: {value} looks like a decimal year, not {form} since 1970; give time.format = "{year}"',
)
_OTHER_FORM: Final = Template("cell.time.form", "{column}: '{value}' is not of the form {form}")
_NO_COUNT: Final = Template("cell.time.count", "{column}: {value} counts beyond the calendar")
_NO_YEAR: Final = Template("cell.time.year", "{column}: '{value}' is no decimal year such as 2011.4548")
_NO_DAY: Final = Template("cell.time.day", "{column}: '{value}' is no year, day and hhmm")
_NO_DAY_NUMBER: Final = Template("cell.time.day_number", "{column}: '{value}' cannot be read as {numbers}")
_NO_ERA: Final = Template("cell.time.era", "{column}: {at} is not a day of the common calendar")
_NO_ZONE: Final = Template("cell.time.zone", "{column}: {at} has no zone; give time.zone in the mapping")
_AMBIGUOUS: Final = Template("cell.time.twice", "{column}: {at} is ambiguous or skipped at a clock change in {zone}")


class TimeFormat(Protocol):
    """One form of times: reads a cell that is not empty."""

    def read(self, value: Any, column: str) -> datetime:
        """Return the time of a cell, without a zone if the cell contains none.

        Args:
            value: The cell.
            column: The name of its column, for error messages.

        Raises:
            PayloadError: bad_time.
        """


# ---- texts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IsoText:
    """Dates and times of ISO 8601."""

    era: str = ""

    def read(self, value: Any, column: str) -> datetime:
        """Return the time of a cell; a date without a time is its midnight."""
        text = str(value).strip()
        for spelling in _list_spellings(text):
            with suppress(ValueError, OverflowError):
                return self._parse(spelling)
            begin = begin_day(spelling)
            with suppress(ValueError, OverflowError):
                if begin is not None:
                    return self._parse(begin) + timedelta(days=1)
        raise PayloadError("bad_time", _OTHER_FORM(column=column, value=text[:_LENGTH_MOST], form=ISO))

    def _parse(self, text: str) -> datetime:
        return read_iso(write_common(text, self.era))


_CLOCK_BEHIND: Final = re.compile(r"[T ]%[HI]:%M(?::%S)?(?:\.%f)?(?: %p)?$")


@dataclass(frozen=True, slots=True)
class PatternText:
    """Times that follow a pattern of `strptime`, with months, weekdays and zones in the words of people."""

    pattern: str
    era: str = ""

    def read(self, value: Any, column: str) -> datetime:
        """Return the time of a cell; 24:00 is the end of its day, and a date without its clock is a midnight."""
        text = str(value).strip()
        # A pattern may contain a comma of its own, so the text is tried as it is first. A pattern that contains one
        # part twice raises re.error.
        for spelling in _list_spellings(text):
            with suppress(ValueError, OverflowError, re.error):
                return self._parse(spelling, self.pattern)
            with suppress(ValueError, OverflowError, re.error):
                begin = begin_digits(spelling, self.pattern) or begin_day(spelling)
                if begin is not None:
                    return self._parse(begin, self.pattern) + timedelta(days=1)
        day = _CLOCK_BEHIND.sub("", self.pattern)
        with suppress(ValueError, OverflowError):  # some programs omit the clock of a midnight
            if day not in {self.pattern, ""}:
                return self._parse(text, day)
        raise PayloadError("bad_time", _OTHER_FORM(column=column, value=text[:_LENGTH_MOST], form=self.pattern))

    def _parse(self, text: str, pattern: str) -> datetime:
        text = write_common(text, self.era)
        form = pattern.removeprefix(WEEKDAY)
        if form != pattern:
            text = drop_weekday(text)
        if "%b" in form:
            text = translate_months(text)
        text = fill_digits(text, form)
        return datetime.strptime(write_offset(text) if "%z" in form else text, form)  # noqa: DTZ007


def _list_spellings(text: str) -> Iterator[str]:
    """Yield the text as it is, and normalised if that is a different text.

    The text is normalised only if a caller asks for it: most cells can be read as they are.
    """
    yield text
    normalised = normalise_time(text)
    if normalised != text:
        yield normalised


# ---- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """Numbers that count seconds or another unit from an instant.

    Attributes:
        unit: A key of `SECONDS_PER_UNIT`.
        since: The instant of zero; None: 1970.
        clock: `gps` if the numbers count GPS time.
    """

    unit: str
    since: datetime | None = None
    clock: str = ""

    def read(self, value: Any, column: str) -> datetime:
        """Return the instant of a number; GPS time has no zone."""
        number = _to_number(value)
        if isinstance(number, float) and _YEARS[0] <= number <= _YEARS[1] and self.since is None:
            text = _LIKE_YEAR(column=column, value=str(number), form=self.unit, year=YEAR)
            raise PayloadError("bad_time", text)
        if self.since is None and SECONDS_PER_UNIT[self.unit] <= 1.0 and not self.clock:
            return read_time(number, self.unit, column, live=False)
        try:
            seconds = read_number(number, column) * SECONDS_PER_UNIT[self.unit]
            at = (self.since or EPOCH) + timedelta(seconds=seconds)
        except OverflowError:
            raise PayloadError("bad_time", _NO_COUNT(column=column, value=str(number)[:_LENGTH_MOST])) from None
        return at.replace(tzinfo=None) if self.clock == GPS else at


@dataclass(frozen=True, slots=True)
class DecimalYear:
    """Years with a fraction: 365 or 366 days of one length each, as geodesists count."""

    def read(self, value: Any, column: str) -> datetime:
        """Return the instant of a number, in UTC, to the second."""
        number = _to_number(value.replace(",", ".") if isinstance(value, str) else value)
        if not isinstance(number, int | float) or not _YEARS[0] <= number <= _YEARS[1]:
            raise PayloadError("bad_time", _NO_YEAR(column=column, value=str(number)[:_LENGTH_MOST]))
        begin = datetime(int(number), 1, 1, tzinfo=UTC)
        end = datetime(int(number) + 1, 1, 1, tzinfo=UTC)
        return begin + timedelta(seconds=round((end - begin).total_seconds() * (number - int(number))))


@dataclass(frozen=True, slots=True)
class DayNumber:
    """Days since a day zero. A spreadsheet may keep its dates as text instead.

    Attributes:
        zero: Day zero.
        least: The smallest number; a smaller one is not a day number.
        most: The largest number.
        name: The plural by which messages name such numbers.
        has_dates: Whether a cell may contain an ISO date instead.
        number_of_zero: The number of day zero.
    """

    zero: datetime
    least: float
    most: float
    name: str
    has_dates: bool = False
    number_of_zero: float = 0.0

    def count_from(self, since: datetime) -> "DayNumber":
        """Return the same days, counted from another day zero."""
        begin = since.replace(tzinfo=None)
        shift = (self.zero - begin).days
        return replace(self, zero=begin, least=self.least + shift)

    def read(self, value: Any, column: str) -> datetime:
        """Return the time of a number, to the second, without a zone."""
        number = _to_number(value.replace(",", ".") if isinstance(value, str) else value)
        if isinstance(number, str) and self.has_dates and len(number) >= len("2024-03-01"):
            with suppress(ValueError):
                return datetime.fromisoformat(number)
        if not isinstance(number, int | float) or not self.least <= number <= self.most:
            text = _NO_DAY_NUMBER(column=column, value=str(number)[:_LENGTH_MOST], numbers=Term(self.name))
            raise PayloadError("bad_time", text)
        return self.zero + timedelta(seconds=round((number - self.number_of_zero) * 86400))


def _to_number(value: object) -> object:
    """Return the number of a text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return int(value) if value.strip().lstrip("-").isdigit() else float(value)
    except ValueError:
        return value


# The numbers of the years 1900 to 9999. MATLAB counts from the year 0, which `datetime` lacks.
_DAY_NUMBERS: Final = {
    EXCEL: DayNumber(
        datetime(1899, 12, 30),  # noqa: DTZ001 - day numbers have no zone
        1.0,
        2_958_466.0,
        "day numbers of a spreadsheet",
        has_dates=True,
    ),
    JD: DayNumber(
        datetime(1858, 11, 17),  # noqa: DTZ001
        2_415_020.0,
        5_373_484.5,
        "Julian days",
        number_of_zero=2_400_000.5,
    ),
    MJD: DayNumber(datetime(1858, 11, 17), 15_020.0, 2_973_484.0, "modified Julian days"),  # noqa: DTZ001
    DATENUM: DayNumber(datetime(1, 1, 1), 693_962.0, 3_652_425.0, "day numbers of MATLAB", number_of_zero=367),  # noqa: DTZ001
}


def _choose_format(name: str, since: datetime | None, clock: str, era: str) -> TimeFormat:
    """Return the format that a name in a mapping file stands for."""
    if name == ISO:
        return IsoText(era)
    if name in SECONDS_PER_UNIT:
        return Count(name, since, clock)
    if name == YEAR:
        return DecimalYear()
    if name in _DAY_NUMBERS:
        days = _DAY_NUMBERS[name]
        return days if since is None else days.count_from(since)
    return PatternText(name, era)


# ---- the rule of a table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Which columns contain the time, and how it is written.

    Attributes:
        columns: One column, or date and clock apart, whose texts are joined by a blank; three numeric columns for
            `year_day_hhmm`.
        format: `iso`, a pattern of `strptime`, a key of `SECONDS_PER_UNIT` (numbers that count), `excel`, `mjd`,
            `jd`, `datenum`, `year` or `year_day_hhmm`.
        zone: The zone of times that contain none.
        since: The instant from which numbers count, in UTC; None: 1970, or the day zero of the format.
        clock: `gps` if the times are GPS time, which is up to 18 s ahead of UTC.
        era: `buddhist` if the years of dates are those of the Buddhist era.
        date_counts_at: The time of the day at which a date without a time, or with 0:00, counts; 24 h for the end of
            the day.
    """

    columns: tuple[str, ...]
    format: str = ISO
    zone: ZoneInfo | None = None
    since: datetime | None = None
    clock: str = ""
    era: str = ""
    date_counts_at: timedelta = timedelta(0)
    _format: TimeFormat = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Choose the format once, not for each cell."""
        object.__setattr__(self, "_format", _choose_format(self.format, self.since, self.clock, self.era))

    @property
    def column(self) -> str:
        """The name of the time in messages."""
        return " + ".join(self.columns)

    def read_row(self, row: Mapping[str, Any]) -> datetime:
        """Return the instant of a row.

        Raises:
            PayloadError: As for `read`.
        """
        return self._to_instant(self._read_cells(row))

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
        """Return the instant of a cell.

        Raises:
            PayloadError: no_time, bad_time, no_zone, ambiguous_time (the zone has the hour twice or never).
        """
        return self._to_instant(self.read_naive(value))

    def read_naive(self, value: object) -> datetime:
        """Return the time of a cell, without a zone if the cell contains none.

        Raises:
            PayloadError: no_time, bad_time.
        """
        if value is None or value == "":
            raise PayloadError("no_time", _NO_TIME(column=self.column))
        if isinstance(value, datetime):
            return self._leave_era(value) if self.era else value
        return self._format.read(value, self.column)

    def read_parts(self, parts: list[str]) -> datetime:
        """Return the time of year, day of the year, and hours and minutes without leading zeros.

        2400 is the end of the day.

        Raises:
            PayloadError: bad_time.
        """
        try:
            year, day, clock = (int(part) for part in parts)
            if not (1 <= day <= 366 and 0 <= clock <= 2400 and clock % 100 < 60):
                raise ValueError
            return datetime(year, 1, 1) + timedelta(days=day - 1, hours=clock // 100, minutes=clock % 100)  # noqa: DTZ001
        except (ValueError, OverflowError):
            text = _NO_DAY(column=self.column, value=" ".join(parts)[:_LENGTH_MOST])
            raise PayloadError("bad_time", text) from None

    def _leave_era(self, at: datetime) -> datetime:
        """Convert the year of a typed cell to the common calendar."""
        try:
            return datetime.fromisoformat(write_common(at.isoformat(), self.era))
        except ValueError:
            raise PayloadError("bad_time", _NO_ERA(column=self.column, at=at.isoformat())) from None

    def _count_date(self, at: datetime) -> datetime:
        """Move a date without a time to the time of the day at which it counts."""
        return at + self.date_counts_at if self.date_counts_at and at.time() == time() else at

    def _to_instant(self, at: datetime) -> datetime:
        """Return the instant of a time in the zone of the table."""
        at = self._count_date(at)
        if at.tzinfo is not None:
            return at
        if self.clock == GPS:
            return gps_to_utc(at.replace(tzinfo=UTC))
        if self.zone is None:
            raise PayloadError("no_zone", _NO_ZONE(column=self.column, at=at.isoformat()))
        first = at.replace(tzinfo=self.zone)
        second = at.replace(tzinfo=self.zone, fold=1)
        if first.utcoffset() != second.utcoffset():
            text = _AMBIGUOUS(column=self.column, at=at.isoformat(), zone=self.zone.key)
            raise PayloadError("ambiguous_time", text)
        return first


_MIDNIGHT: Final = re.compile(r"[T ]00:00(?::00(?:\.0+)?)?$")


def join_parts(parts: Iterable[object]) -> str:
    """Join date and clock of two columns; remove the midnight that a spreadsheet adds to a date.

    >>> join_parts(["2025-02-03T00:00:00.000000", "06:30:00"]), join_parts(["3.2.2025 00:00", "06:30"])
    ('2025-02-03 06:30:00', '3.2.2025 06:30')
    """
    date, *others = (str(part).strip() for part in parts)
    return " ".join((_MIDNIGHT.sub("", date) if others[0][:1].isdigit() else date, *others))


def read_time_of_day(text: str) -> timedelta:
    """Read a time of the day from 0:00 to 24:00.

    >>> read_time_of_day("07:30"), read_time_of_day("24:00")
    (datetime.timedelta(seconds=27000), datetime.timedelta(days=1))

    Raises:
        ValueError: The text is not a time of the day.
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
