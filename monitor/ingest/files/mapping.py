"""Mapping files: what the columns of a wide table mean, written in TOML."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, ValidationError

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.tables import WHITESPACE, Layout
from monitor.ingest.files.time_rule import YEAR_DAY_HHMM, TimeRule, read_time_of_day
from monitor.ingest.text.cells import is_nameless, normalise_number
from monitor.readings.no_value import is_no_value
from monitor.sections import Section, Zone, explain, read_text, read_toml
from monitor.sites.quantities import read_trace
from monitor.text.message import LABELLED_TEXT, NameList, Template

MISSING: Final = ("", "NaN", "nan", "NAN", "NA", "null", "None")
_LENGTH_MOST: Final = 60  # characters of a cell in a message
_NUMBER: Final = re.compile(r"[+-]?[\d.,'\u2019  ]*\d(?:[eE][+-]?\d+)?")
_NO_NUMBER: Final = Template("cell.number", "'{value}' is no number with '{sign}' as decimal mark")
_NO_STATION: Final = Template("cell.station", "column '{column}' names no station")
_OTHER_UNIT: Final = Template("cell.unit", "column '{column}' contains '{unit}' instead of '{expected}'")
_ABSENT: Final = Template(
    "mapping.column", "the file has no column '{column}', which the mapping names; it has: {names}"
)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """Meaning of one column of values.

    Attributes:
        name: The name of the column.
        station: The station; None: `TableMapping.station` is the column that names it.
        quantity: The quantity that the column contains.
        unit: Its unit.
        sigma: The column of its standard deviation, in the same unit.
        tail: Text behind each number in the cell, such as %.
        only: A column, and its text in the rows that contain this quantity, if one column contains several.
        written: A column that contains the unit of each row, and the text expected there; other rows are rejected.
        downward: Whether larger values are lower, as in a depth to water: the sign is turned.
    """

    name: str
    station: str | None
    quantity: str
    unit: str
    sigma: str | None = None
    tail: str = ""
    only: tuple[str, str] | None = None
    written: tuple[str, str] | None = None
    downward: bool = False

    def turn(self, value: object) -> object:
        """Return a number with the sign that the quantity has; a text that is not a number stays as it is."""
        if not self.downward:
            return value
        if isinstance(value, str):
            text = value.strip().removeprefix("+")
            if text.startswith("-"):
                return text[1:]
            return f"-{text}" if text[:1].isdigit() or text[:1] == "." else value
        return -value if isinstance(value, int | float) and value else value

    def reads(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row contains this quantity."""
        return self.only is None or _read_text(row, self.only[0]) == self.only[1]

    def cut(self, value: object) -> object:
        """Return a cell without the text behind its number."""
        if not self.tail or not isinstance(value, str):
            return value
        return value.strip().removesuffix(self.tail).rstrip()


def _read_text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


@dataclass(frozen=True, slots=True)
class TableMapping:
    """Meaning of a wide table.

    Attributes:
        time: Where the time of a row is, and how it is written.
        columns: The columns of values.
        layout: How the lines are divided into cells.
        missing: Texts of a cell without a measurement.
        decimal: The decimal mark.
        thousands: The mark between thousands; "" for none.
        station: The column that names the station of each row; None if each `ColumnRule` has its station.
    """

    time: TimeRule
    columns: tuple[ColumnRule, ...]
    layout: Layout = Layout()  # noqa: RUF009 - frozen
    missing: tuple[str, ...] = MISSING
    decimal: str = "."
    thousands: str = ""
    station: str | None = None

    def clean(self, value: object) -> object:
        """Convert a number from the spelling of this table to that of Python; other text stays as it is.

        Raises:
            PayloadError: not_number: the text is a number only with another decimal mark.
        """
        value = normalise_number(value)
        if not isinstance(value, str) or (self.decimal == "." and not self.thousands):
            return value
        text = value.strip()
        mark = re.escape(self.decimal)
        whole = rf"\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+" if self.thousands else r"\d+"
        if re.fullmatch(rf"[+-]?(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?", text):
            return text.replace(self.thousands, "").replace(self.decimal, ".")
        if _NUMBER.fullmatch(text):
            raise PayloadError("not_number", _NO_NUMBER(value=text[:_LENGTH_MOST], sign=self.decimal))
        return text


# ---- the file --------------------------------------------------------------------------------------------------------


def _normalise_name(name: str) -> str:
    return " ".join(name.split())


def _to_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is unknown; expected utf-8, latin-1, ...") from None
    return name


def _check_starts(starts: tuple[int, ...]) -> tuple[int, ...]:
    if sorted(set(starts)) != list(starts):
        raise ValueError(f"expected rising whole numbers such as [0, 12, 20], got {list(starts)}")
    return starts


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


class _TimeSection(Section):
    column: Annotated[tuple[_Column, ...], Field(min_length=1), BeforeValidator(_to_list)]
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
    """Load a mapping file.

    Raises:
        ConfigError: One line with the file, the key and what was expected.
    """
    try:
        file = _MappingFile.model_validate(read_toml(read_text(path), str(path)))
    except ValidationError as error:
        raise explain(error, str(path)) from None
    table = file.table
    time = file.time
    if table.thousands == table.decimal:
        raise ConfigError(f"{path}: table.thousands: expected one character that is not the decimal mark")
    if time.format == YEAR_DAY_HHMM and len(time.column) != 3:
        raise ConfigError(f"{path}: time.column: three columns go with format {YEAR_DAY_HHMM!r}")
    nameless = [k for k, column in enumerate(file.column) if column.station is None]
    if nameless and table.station is None:
        raise ConfigError(f"{path}: column[{nameless[0]}].station: expected a text, or table.station")
    layout = Layout(**{entry.name: getattr(table, entry.name) for entry in fields(Layout)})
    columns = tuple(ColumnRule(**dict(column)) for column in file.column)
    since = time.since if time.since is None or time.since.tzinfo else time.since.replace(tzinfo=UTC)
    zone = None if time.zone is None else ZoneInfo(time.zone)
    rule = TimeRule(time.column, time.format, zone, since, time.clock, time.era, time.date_counts_at)
    return TableMapping(rule, columns, layout, table.missing, table.decimal, table.thousands, table.station)


def check_columns(names: list[str], mapping: TableMapping, file: str) -> None:
    """Check that a table has the columns of its mapping.

    Raises:
        ConfigError: A column is missing.
    """
    wanted = [*mapping.time.columns]
    wanted += [mapping.station] if mapping.station else []
    for column in mapping.columns:
        wanted.append(column.name)
        wanted += [column.sigma] if column.sigma else []
        wanted += [pair[0] for pair in (column.only, column.written) if pair]
    absent = [name for name in wanted if name not in names]
    if absent:
        text = _ABSENT(column=absent[0], names=NameList(tuple(names)))
        raise ConfigError(LABELLED_TEXT(name=str(file), text=text))


# ---- rows ------------------------------------------------------------------------------------------------------------


def is_missing(value: object, words: tuple[str, ...] = MISSING) -> bool:
    """Return whether a cell contains no measurement: it is empty, NaN, or one of the words."""
    if is_no_value(value):
        return True
    if isinstance(value, str):
        return value.strip() in words
    return len(words) > len(MISSING) and str(value) in words  # a number for "no value" in a typed table


def split_row(row: Mapping[str, Any], mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Split a row of a wide table into rows of the neutral long form, each with its error or None."""
    error: PayloadError | None = None
    at: object = " ".join(str(row.get(name) or "") for name in mapping.time.columns).strip()
    name = None if mapping.station is None else row.get(mapping.station)
    row_station = "" if is_nameless(name) else name_station(str(name))
    try:
        at = mapping.time.read_row(row)
        if mapping.station is not None and not row_station:
            raise PayloadError("no_station", _NO_STATION(column=mapping.station))
    except PayloadError as failure:
        error = failure
    rows: list[tuple[dict[str, Any], PayloadError | None]] = []
    for rule in mapping.columns:
        value = rule.cut(row.get(rule.name))
        trace = read_trace(value, rule.quantity)
        if not rule.reads(row) or (trace is None and is_missing(value, mapping.missing)):
            continue
        neutral = {
            "time": at,
            "station": rule.station or row_station,
            "quantity": rule.quantity,
            "unit": rule.unit,
            "value": value,
        }
        value_error = error
        try:
            neutral["value"] = rule.turn(mapping.clean(value)) if trace is None else trace
            if rule.sigma is not None and not is_missing(row.get(rule.sigma), mapping.missing):
                neutral["sigma"] = mapping.clean(row[rule.sigma])
            _check_unit(row, rule)
        except PayloadError as failure:
            value_error = value_error or failure
        rows.append((neutral, value_error))
    return rows


def _check_unit(row: Mapping[str, Any], rule: ColumnRule) -> None:
    """Raise PayloadError if the row contains another unit than the mapping."""
    if rule.written is None:
        return
    column, expected = rule.written
    unit = _read_text(row, column)
    if unit != expected:
        raise PayloadError("unit_mismatch", _OTHER_UNIT(column=column, unit=unit, expected=expected))


def name_station(text: str) -> str:
    """Convert a name written by people into a station id; return "" if it contains no letter or digit for one.

    >>> name_station("Punkt 3 (oben)"), name_station("Fessurimetro n° 4"), name_station("裂缝")
    ('Punkt-3-oben', 'Fessurimetro-n-4', '')
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:64]
