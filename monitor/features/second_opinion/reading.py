"""Read a table of the alarms of another system: CSV with one alarm in each row."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from monitor.api.errors import ConfigError, RefusedError
from monitor.api.queries.alerts import OUTCOMES
from monitor.api.text import is_line, read_typed_time

COLUMNS: Final = ("time", "until", "station", "level", "text", "outcome")
# An office raises far fewer alarms. A larger file is probably a table of readings.
MAX_BYTES: Final = 20_000_000
MAX_ROWS: Final = 100_000
MAX_TEXT: Final = 1000
# At most this many faults are listed.
MAX_FAULTS: Final = 5
# A drill of the other system is no alarm.
ACCEPTED_OUTCOMES: Final = tuple(outcome for outcome in OUTCOMES if outcome != "drill")


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One alarm of the table. `to_at` equals `at` if the table has no end; `outcome` is None if it is not recorded."""

    at: datetime
    to_at: datetime
    station: str = ""
    level: str = ""
    text: str = ""
    outcome: str | None = None


def read_columns_option(pairs: Iterable[str]) -> dict[str, str]:
    """Return the name of the column of the table for each of `COLUMNS`, from options such as `time=Zeitpunkt`.

    Raises:
        RefusedError: An option has another form, or names another column.
    """
    names = {}
    for pair in pairs:
        column, equals, name = pair.partition("=")
        if not equals or column not in COLUMNS or not name:
            raise RefusedError(f"--column: expected COLUMN=NAME with a column of {', '.join(COLUMNS)}, got {pair!r}")
        names[column] = name
    return names


def read_alarms(
    path: Path,
    *,
    names: Mapping[str, str] | None = None,
    zone: str | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> list[AlarmRow]:
    """Read a table of alarms. The columns are `time` and, if the table has them, the others of `COLUMNS`.

    Args:
        path: The file.
        names: Names of columns that differ from those of `COLUMNS`.
        zone: Time zone of times without an offset. Without it, such times are refused.
        delimiter: The sign between two cells.
        encoding: Encoding of the file.

    Raises:
        ConfigError: The file cannot be read, or a row is wrong. All faults are named, and no row is returned.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"{path}: expected at most {MAX_BYTES // 1_000_000} MB, got {size / 1e6:.0f} MB; give the table of "
                "alarms, not of readings"
            )
        text = path.read_text(encoding=encoding)
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path}: the text is not {encoding}; name its encoding, for example --encoding cp1252"
        ) from None
    except LookupError:
        raise ConfigError(f"{path}: the encoding {encoding!r} is unknown; use for example utf-8 or cp1252") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    columns = {column: (names or {}).get(column, column) for column in COLUMNS}
    header = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = header
    for column in ("time", *(names or {})):
        if columns[column] not in header:
            raise ConfigError(
                f"{path}: there is no column {columns[column]!r}; the columns are: {', '.join(header) or 'none'}. "
                f"Name the column with --column {column}=NAME, or the sign between columns with --delimiter"
            )
    alarms: list[AlarmRow] = []
    faults: list[str] = []
    try:
        for row in rows:
            if len(alarms) >= MAX_ROWS:
                raise ConfigError(f"{path}: expected at most {MAX_ROWS} alarms; import the table in parts")
            cells = {column: (row.get(name) or "").strip() for column, name in columns.items()}
            try:
                if None in row:
                    raise ValueError(f"more cells than columns; put a text that contains {delimiter!r} in quotes")
                alarms.append(_read_row(cells, zone))
            except ValueError as error:
                faults.append(f"{path}: line {rows.line_num}: {error}")
    except csv.Error as error:
        raise ConfigError(f"{path}: line {rows.line_num}: {error}") from None
    if faults:
        more = len(faults) - MAX_FAULTS
        lines = faults[:MAX_FAULTS] + ([f"{path}: {more} more lines are wrong"] if more > 0 else [])
        raise ConfigError("; ".join(lines))
    return alarms


def _read_row(cells: Mapping[str, str], zone: str | None) -> AlarmRow:
    at = _read_time(cells["time"], zone)
    to_at = _read_time(cells["until"], zone) if cells["until"] else at
    if to_at < at:
        raise ValueError("the alarm ends before it starts; correct the columns time and until")
    for column in ("station", "level", "text"):
        if len(cells[column]) > MAX_TEXT:
            raise ValueError(f"{column}: expected at most {MAX_TEXT} characters, got {len(cells[column])}")
        if not is_line(cells[column]):
            raise ValueError(f"{column}: expected one line without control characters")
    outcome = cells["outcome"] or None
    if outcome is not None and outcome not in ACCEPTED_OUTCOMES:
        raise ValueError(f"outcome {outcome!r}: expected one of {', '.join(ACCEPTED_OUTCOMES)}, or an empty cell")
    return AlarmRow(at, to_at, cells["station"], cells["level"], cells["text"], outcome)


def _read_time(text: str, zone: str | None) -> datetime:
    try:
        return read_typed_time(text, zone)
    except ValueError as error:
        if zone is not None:
            raise
        raise ValueError(f"{error}; if times have no offset, name their time zone: --zone Europe/Zurich") from None
