"""What to read from a table of readings of a database, and the interface of a server that has such a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from monitor.api.queries.ingest import SeriesTarget

# Format of times of the database, and of texts such as 2026-03-01 06:00:00.
ISO: Final = "iso"

Row: TypeAlias = Mapping[str, Any]
# Value of the column that increases with each row: a time, a number, or a time as text.
Position: TypeAlias = datetime | int | float | str


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Names of the columns of a table of readings.

    Attributes:
        time: Time of the reading.
        station: Station of the row; empty if no column contains it.
        quantity: Quantity of the row; empty if no column contains it.
        value: Value of the row; empty if each quantity has a column of its own.
        sigma: Standard deviation of the value; empty if none.
    """

    time: str
    station: str = ""
    quantity: str = ""
    value: str = ""
    sigma: str = ""


@dataclass(frozen=True, slots=True)
class RowQuery:
    """What to read from a table of readings, and how much of it.

    Attributes:
        address: Address for messages, without login.
        table: Name of the table; empty if `query` is given.
        query: A SELECT whose result is read like a table.
        database: Database or bucket, for servers whose address does not contain it.
        columns: Names of the columns.
        series: Station and quantity of each name in the table. All rows are read if it is empty.
        station: Station of rows if no column contains it.
        quantity: Quantity with its unit if no column contains it.
        position: Column of the position.
        unindexed: Whether the column of the position may lack an index.
        zone: Time zone of times without an offset; None if it is unknown.
        time_format: `iso`, or the unit of numbers that count from 1970: `s`, `ms`, `us` or `ns`.
        overlap_s: How far before the newest position each poll begins, if the position is a time.
        overlap_rows: How far before the newest position each poll begins, if the position is another number.
        max_rows: Most rows to read.
        limit_s: Time limit of the worker.
        now: Present.
        is_resumed: Whether `stored` is a position after which nothing was read. Otherwise reading begins with the
            overlap before it.
        stored: Position that was reached last, as `format_position` writes it; empty at the first poll.
    """

    address: str
    columns: RowColumns
    position: str
    now: datetime
    table: str = ""
    query: str = ""
    database: str = ""
    series: tuple[tuple[str, SeriesTarget], ...] = ()
    station: str = ""
    quantity: str = ""
    unindexed: bool = False
    zone: ZoneInfo | None = None
    time_format: str = ISO
    overlap_s: float = 86400.0
    overlap_rows: int = 10_000
    max_rows: int = 100_000
    limit_s: float = 300.0
    is_resumed: bool = False
    stored: str = ""

    @property
    def counts_rows(self) -> bool:
        """Return whether a number in the column of the position is no time."""
        return self.position != self.columns.time or self.time_format == ISO


class RowServer(Protocol):
    """A database with a table of readings. Each method raises RefusedError or OSError with one line."""

    def list_columns(self) -> Sequence[str]:
        """Return the columns whose values belong to a series, if no column contains the values of all series."""

    def find_newest(self) -> Position | None:
        """Return the largest position, or None if the table is empty."""

    def read_page(self, start: Position | None, rows: int) -> list[Row]:
        """Return at most `rows` rows from a position on, in its order. None is the beginning of the table."""
