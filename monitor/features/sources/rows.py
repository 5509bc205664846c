"""Read rows of a table of a database page by page, in the order of a position, and convert them to readings.

Each page is requested by `position >= START ORDER BY position LIMIT n`, so that a server with an index never reads the
whole table. The comparison includes the last row of the page before, because several rows may have the same position.

The functions of this module run in the worker that reads from the server. `sql` and `influxdb` are the servers.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from monitor.api.errors import PayloadError, RefusedError
from monitor.api.files import ReadingLine
from monitor.api.queries.ingest import SeriesTarget, write_lines
from monitor.api.text import FUTURE_TOLERANCE
from monitor.features.sources.fetching import NEW, SAME, FetchedFile
from monitor.features.sources.positions import (
    Positions,
    find_begin,
    find_start,
    format_position,
    make_time_rule,
    to_position,
)
from monitor.features.sources.row_query import Position, Row, RowQuery, RowServer

# Rows of one request, and of one file that the worker writes.
PAGE_ROWS: Final = 5000
# A poll requests no further page after this share of its time limit. The other half is for the last request.
READING_SHARE: Final = 0.5
# Names of series in one note about rows that are not read.
NAMES_SHOWN: Final = 12
MAX_NAME_LENGTH: Final = 80
# Name of the only entry of a source of rows among its files.
ROWS: Final = "rows"
# Value of `FetchedFile.etag` if the table contains rows after the last one that was read.
MORE: Final = "more"


# ---- pages -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """What was read so far.

    Attributes:
        reached: Position after which the next poll continues; None if no row has one in the past.
        rows: Rows that were read.
        pieces: Position after each file, and the file.
        has_more: Whether rows remain.
    """

    reached: Position | None = None
    rows: int = 0
    pieces: list[tuple[str, str]] = field(default_factory=list)
    has_more: bool = False


def read_rows(server: RowServer, query: RowQuery, since: str, folder: Path) -> FetchedFile:
    """Read pages into files of converted readings, until the table or a limit of the query ends.

    If a page fails, the pages before it are returned with the reason.

    Args:
        since: See `find_start`.
        folder: Folder of the files.

    Raises:
        RefusedError, OSError: The first page failed.
    """
    ends_at_s = time.monotonic() + READING_SHARE * query.limit_s
    start = find_start(server, query, since)
    if start is None:
        return FetchedFile(ROWS, SAME)
    progress = _Progress()
    columns = [] if query.columns.value else server.list_columns()
    converter = RowConverter(query, columns, find_begin(since, query) if since else None)
    reason = ""
    try:
        for page in _list_pages(server, query, start, progress, ends_at_s):
            name = f"{len(progress.pieces):05d}.jsonl"
            with (folder / name).open("w", encoding="utf-8") as file:
                write_lines((converter.convert(row) for row in page), file.write)
            reached = "" if progress.reached is None else format_position(progress.reached)
            progress.pieces.append((reached, name))
    except (RefusedError, OSError) as error:
        if not progress.pieces:
            raise
        reason = str(error)
        progress.has_more = True
    return FetchedFile(
        ROWS,
        NEW if progress.pieces else SAME,
        reason=reason,
        etag=MORE if progress.has_more else "",
        acquired_at=converter.newest_at,
        files=tuple(progress.pieces),
        notes=converter.describe_unread(),
    )


def _list_pages(
    server: RowServer, query: RowQuery, start: Position, progress: _Progress, ends_at_s: float
) -> Iterator[list[Row]]:
    """Yield pages, and update `progress` before each of them.

    A position in the future is not stored, because the next poll would skip all rows before it.
    """
    positions = Positions(query)
    page_rows = min(PAGE_ROWS, query.max_rows)
    known_rows: list[Row] = []
    while True:
        page = server.read_page(start, page_rows)
        if not page:
            return
        progress.rows += len(page)
        newest = to_position(page[-1][query.position], query.position)
        reached = _find_last_past(page, positions)
        if reached is not None:
            progress.reached = reached
        is_full = len(page) == page_rows
        progress.has_more = False
        yield [row for row in page if row not in known_rows]
        if not is_full:
            return
        if to_position(page[0][query.position], query.position) == newest:
            raise RefusedError(
                f"position: more than {len(page) - 1} rows have the value {newest!s} in column {query.position!r}: "
                "name a column that increases with each row"
            )
        if progress.rows >= query.max_rows or time.monotonic() > ends_at_s:
            progress.has_more = True
            return
        start = newest
        # The next page begins with these rows again.
        known_rows = [row for row in page if to_position(row[query.position], query.position) == newest]


def _find_last_past(page: Sequence[Row], positions: Positions) -> Position | None:
    """Return the largest position of a page that is not in the future."""
    for row in reversed(page):
        position = to_position(row[positions.query.position], positions.query.position)
        if not positions.is_future(position):
            return position
    return None


# ---- readings --------------------------------------------------------------------------------------------------------


class RowConverter:
    """Converts rows of a table to rows of the neutral long form.

    Args:
        columns: Columns of values, if the table has a column for each quantity.
        begin_at: Readings before this instant are left out; None for all readings.
    """

    def __init__(self, query: RowQuery, columns: Sequence[str], begin_at: datetime | None) -> None:
        self._query = query
        self._begin_at = begin_at
        self._columns = columns
        self._series = dict(query.series)
        self._rule = make_time_rule(query)
        self._unread: Counter[str] = Counter()
        self._newest: datetime | None = None

    @property
    def newest_at(self) -> str:
        """Return the newest time of a reading in ISO format; empty if none."""
        return "" if self._newest is None else self._newest.isoformat()

    def convert(self, row: Row) -> ReadingLine:
        """Return the readings of a row. A row that cannot be read contains the reason.

        Raises:
            RefusedError: The time has no offset, and the source has no zone.
        """
        error = None
        at: Any = row.get(self._query.columns.time)
        try:
            instant = self._rule.read(at)
            if self._begin_at is not None and instant < self._begin_at:
                return ReadingLine(())
            at = instant.isoformat()
            if instant <= self._query.now + FUTURE_TOLERANCE and (self._newest is None or instant > self._newest):
                self._newest = instant
        except PayloadError as failure:
            if failure.code == "no_zone":
                raise RefusedError(
                    f"zone: the times of column {self._query.columns.time!r} have no offset, such as {at!s}: give the "
                    'time zone of the table, such as zone = "Europe/Rome" or "UTC"'
                ) from None
            at = _to_text(at)
            error = failure
        readings = self._list_readings(row)
        present = [reading for reading in readings if not _is_missing(reading["value"])]
        rows = tuple(({"time": at, **reading}, error) for reading in present)
        return ReadingLine(rows, len(readings) - len(present))

    def describe_unread(self) -> str:
        """Return a note on the rows whose names `series` does not contain; empty if there are none."""
        if not self._unread:
            return ""
        names = [f"{name} ({count})" for name, count in self._unread.most_common(NAMES_SHOWN)]
        more = f" and {len(self._unread) - NAMES_SHOWN} more" if len(self._unread) > NAMES_SHOWN else ""
        return f"rows not read, because series does not name them: {', '.join(names)}{more}"

    def _list_readings(self, row: Row) -> list[dict[str, Any]]:
        station = _to_text(row.get(self._query.columns.station)) if self._query.columns.station else ""
        if not self._query.columns.value:
            cells: list[tuple[str, Any, Any]] = [(column, row.get(column), None) for column in self._columns]
        else:
            quantity = _to_text(row.get(self._query.columns.quantity)) if self._query.columns.quantity else ""
            sigma = row.get(self._query.columns.sigma) if self._query.columns.sigma else None
            cells = [(quantity, row.get(self._query.columns.value), sigma)]
        readings = []
        for name, value, sigma in cells:
            target = self._find_target(station, name)
            if target is None:
                continue
            reading: dict[str, Any] = {
                "station": target.station or station or self._query.station,
                "quantity": target.name,
                "value": _to_cell(value),
            }
            if target.unit is not None:
                reading["unit"] = target.unit
            if sigma is not None:
                reading["sigma"] = _to_cell(sigma)
            readings.append(reading)
        return readings

    def _find_target(self, station: str, name: str) -> SeriesTarget | None:
        """Return station and quantity of a name; None if the source does not read it."""
        full_name = "/".join(filter(None, (station, name)))
        if not self._series:
            return SeriesTarget("", name or self._query.quantity)
        target = self._series.get(full_name) or self._series.get(name)
        # In a table with a column for each quantity, not every station has every column.
        if target is None and self._query.columns.value:
            self._unread[full_name[:MAX_NAME_LENGTH]] += 1
        return target


def _to_text(value: Any) -> str:
    """Return a name of a table as text. A database returns CHAR columns with blanks at their end."""
    return "" if value is None else str(value).strip()


def _to_cell(value: Any) -> str | int | float | None:
    """Return a value of a table as a number or text. The decimals of a Decimal are kept, because they show its step."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float | None):
        return value
    return str(value)[:MAX_NAME_LENGTH]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
