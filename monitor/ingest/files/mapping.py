"""What the columns of a foreign table mean, written down in TOML."""

import codecs
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_time
from monitor.ingest.message import is_station

_NUMERIC: Final = frozenset({"s", "ms", "us", "ns"})
YEAR: Final = "year"  # 2011.4548: the year and the share of it that has passed, in UTC
_YEARS: Final = (1800.0, 2300.0)
_MISSING: Final = ("", "NaN", "nan", "NA", "null", "None")


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Where the time stands and how it is written; text without an offset needs `zone`."""

    column: str
    format: str = "iso"  # iso, a strptime pattern, s, ms, us, ns since 1970, or year (decimal)
    zone: ZoneInfo | None = None

    def read(self, value: object) -> datetime:
        """The instant of a cell.

        Raises:
            PayloadError: no_time, bad_time, no_zone, ambiguous_time (an hour that the zone has twice or never).
        """
        if value is None or value == "":
            raise PayloadError("no_time", f"column {self.column!r} is empty")
        if isinstance(value, datetime):
            return self._place(value)
        if self.format == YEAR:
            return self._read_year(_number(value))
        if self.format in _NUMERIC:
            number = _number(value)
            if isinstance(number, float) and _YEARS[0] <= number <= _YEARS[1]:
                raise PayloadError(
                    "bad_time", f"{self.column}: {value} looks like a decimal year, not {self.format} since 1970; "
                    f'give time.format = "{YEAR}"'
                )  # fmt: skip
            return read_time(_number(value), self.format, self.column, live=False)
        text = str(value).strip()
        try:
            at = datetime.fromisoformat(text) if self.format == "iso" else datetime.strptime(text, self.format)  # noqa: DTZ007
        except ValueError:
            raise PayloadError("bad_time", f"{self.column}: {text[:60]!r} is not of the form {self.format}") from None
        return self._place(at)

    def _read_year(self, value: object) -> datetime:
        """A decimal year, to the second: 365 or 366 days of one length each (as geodesists count)."""
        if not isinstance(value, int | float) or not _YEARS[0] <= value <= _YEARS[1]:
            raise PayloadError("bad_time", f"{self.column}: {str(value)[:60]!r} is no decimal year such as 2011.4548")
        year = int(value)
        begin, end = (datetime(y, 1, 1, tzinfo=UTC) for y in (year, year + 1))
        return begin + timedelta(seconds=round((end - begin).total_seconds() * (value - year)))

    def _place(self, at: datetime) -> datetime:
        if at.tzinfo is not None:
            return at
        if self.zone is None:
            raise PayloadError("no_zone", f"{self.column}: {at.isoformat()} has no zone; give time.zone in the mapping")
        first, second = at.replace(tzinfo=self.zone), at.replace(tzinfo=self.zone, fold=1)
        if first.utcoffset() != second.utcoffset():
            raise PayloadError(
                "ambiguous_time", f"{self.column}: {at.isoformat()} comes twice or never in {self.zone.key}"
            )
        return first


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """One column of values."""

    name: str
    station: str
    quantity: str
    unit: str
    sigma: str | None = None  # the column that holds the standard deviation, same unit


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A whole mapping of a wide table."""

    time: TimeRule
    columns: tuple[ColumnRule, ...]
    delimiter: str = ","
    skip_rows: int = 0  # lines before the header
    encoding: str = "utf-8-sig"
    missing: tuple[str, ...] = _MISSING
    header: bool = True  # False: the columns are called "1", "2", ... in their order


def load_mapping(path: Path) -> TableMapping:
    """Read a mapping file.

    Raises:
        ConfigError: one line with the file, the key and what was expected.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    _keys(document, {"table", "time", "column"}, f"{path}")
    table = document.get("table", {})
    _keys(table, {"delimiter", "skip_rows", "encoding", "missing", "header"}, f"{path}: table")
    if not isinstance(table.get("header", True), bool):
        raise ConfigError(f"{path}: table.header: expected true or false, got {table['header']!r}")
    encoding = _text(table, "encoding", f"{path}: table", "utf-8-sig")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise ConfigError(f"{path}: table.encoding: {encoding!r} is unknown; expected utf-8, latin-1, ...") from None
    skip_rows, delimiter = table.get("skip_rows", 0), _text(table, "delimiter", f"{path}: table", ",")
    if type(skip_rows) is not int or skip_rows < 0:
        raise ConfigError(f"{path}: table.skip_rows: expected a whole number >= 0, got {skip_rows!r}")
    if len(delimiter) != 1:
        raise ConfigError(f"{path}: table.delimiter: expected one character, got {delimiter!r}")
    columns = document.get("column")
    if not isinstance(columns, list) or not columns:
        raise ConfigError(f"{path}: column: expected at least one [[column]]")
    rules = tuple(_read_column(c, f"{path}: column[{i}]") for i, c in enumerate(columns))
    return TableMapping(
        _read_time_rule(document.get("time"), f"{path}: time"), rules, delimiter, skip_rows, encoding,
        tuple(table.get("missing", _MISSING)), table.get("header", True),
    )  # fmt: skip


def _read_time_rule(section: Any, name: str) -> TimeRule:
    _keys(section, {"column", "format", "zone"}, name)
    zone = section.get("zone")
    try:
        found = None if zone is None else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise ConfigError(f"{name}.zone: expected a zone such as Europe/Zurich or UTC, got {zone!r}") from None
    return TimeRule(_text(section, "column", name), _text(section, "format", name, "iso"), found)


def _read_column(section: Any, name: str) -> ColumnRule:
    _keys(section, {"name", "station", "quantity", "unit", "sigma"}, name)
    words = [_text(section, key, name) for key in ("name", "station", "quantity", "unit")]
    if not is_station(words[1]):
        raise ConfigError(f"{name}.station: expected letters, digits, _ and -, got {words[1]!r}")
    return ColumnRule(words[0], words[1], words[2], words[3], section.get("sigma"))


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


def is_missing(value: object, words: tuple[str, ...] = _MISSING) -> bool:
    """Whether a cell says "no measurement": nothing, NaN, or one of the words."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return True
    return isinstance(value, str) and value.strip() in words


def widen(row: Mapping[str, Any], mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Turn a row of a wide table into neutral rows, each with the error that is known already."""
    raw = row.get(mapping.time.column)
    error: PayloadError | None = None
    at: object = raw
    try:
        at = mapping.time.read(raw)
    except PayloadError as failure:
        error = failure
    found: list[tuple[dict[str, Any], PayloadError | None]] = []
    for rule in mapping.columns:
        value = row.get(rule.name)
        if is_missing(value, mapping.missing):
            continue
        neutral = {"time": at, "station": rule.station, "quantity": rule.quantity, "unit": rule.unit, "value": value}
        if rule.sigma is not None and not is_missing(row.get(rule.sigma), mapping.missing):
            neutral["sigma"] = row[rule.sigma]
        found.append((neutral, error))
    return found


def check_columns(names: list[str], mapping: TableMapping, file: str) -> None:
    """Refuse a table that lacks what the mapping names; raises ConfigError."""
    wanted = [mapping.time.column, *(c.name for c in mapping.columns), *(c.sigma for c in mapping.columns if c.sigma)]
    if absent := [w for w in wanted if w not in names]:
        raise ConfigError(f"{file}: column {absent[0]!r} of the mapping is not there; there are: {', '.join(names)}")
