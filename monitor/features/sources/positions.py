"""Positions in a table of readings: how they are stored and compared, and where a poll begins.

A position is the value of a column that increases with each row: a number, or the time.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from monitor.api.errors import PayloadError, RefusedError
from monitor.api.ingest import SECONDS_PER_UNIT, TimeRule
from monitor.api.text import FUTURE_TOLERANCE
from monitor.features.sources.row_query import Position, RowQuery, RowServer

MAX_TEXT_LENGTH: Final = 80
# Steps of the search for the position at which a day begins. Each halves the range, and positions have 64 bits.
MAX_SEARCH_STEPS: Final = 70
_ISO_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def format_position(position: Position) -> str:
    """Return a position as text that `parse_position` reads.

    >>> format_position(17), format_position(datetime(2026, 3, 1, 12))
    ('{"number": 17}', '{"time": "2026-03-01T12:00:00"}')
    """
    if isinstance(position, datetime):
        return json.dumps({"time": position.isoformat()})
    return json.dumps({"text" if isinstance(position, str) else "number": position})


def parse_position(text: str) -> Position:
    """Return a stored position.

    Raises:
        ValueError: The text was not written by `format_position`.
    """
    ((kind, value),) = json.loads(text).items()
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "number" and type(value) in {int, float} and math.isfinite(value):
        return value  # type: ignore[no-any-return]
    if kind == "text" and isinstance(value, str):
        return value
    raise ValueError(text[:MAX_TEXT_LENGTH])


def to_position(value: Any, column: str) -> Position:
    """Return the position of a row.

    Raises:
        RefusedError: The value is neither a number nor a time.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001  a date of a table has no zone
    if isinstance(value, Decimal) and value.is_finite():
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if isinstance(value, str) and _ISO_DAY.match(value):
        return value
    raise RefusedError(
        f"position: column {column!r} contains {str(value)[:MAX_TEXT_LENGTH]!r}; expected a number that increases with "
        "each row, or times such as 2026-03-01 06:00:00"
    )


@dataclass(frozen=True, slots=True)
class Positions:
    """Arithmetic of the positions of one table."""

    query: RowQuery

    def find_instant(self, position: Position) -> datetime | None:
        """Return the instant of a position that is a time; None for a number of a row."""
        if isinstance(position, int | float):
            if self.query.counts_rows:
                return None
            return datetime.fromtimestamp(position * SECONDS_PER_UNIT[self.query.time_format], UTC)
        at = _parse_time(position) if isinstance(position, str) else position
        return at.replace(tzinfo=self.query.zone or UTC) if at.tzinfo is None else at

    def is_future(self, position: Position) -> bool:
        """Return whether a position is a time that has not come yet. A clock of an instrument may be wrong."""
        at = self.find_instant(position)
        return at is not None and at > self.query.now + FUTURE_TOLERANCE

    def of_instant(self, instant: datetime, sample: Position) -> Position:
        """Return an instant in the form of the positions of the table.

        Args:
            sample: Any position of the table. It must be a time.
        """
        if isinstance(sample, int | float):
            return int(instant.timestamp() / SECONDS_PER_UNIT[self.query.time_format])
        form = _parse_time(sample) if isinstance(sample, str) else sample
        at = instant.astimezone(form.tzinfo or self.query.zone or UTC)
        if isinstance(sample, str):
            separator = sample[10:11]
            return f"{at:%Y-%m-%d}{separator}{at:%H:%M:%S}" if separator else f"{at:%Y-%m-%d}"
        return at if form.tzinfo is not None else at.replace(tzinfo=None)

    def subtract_overlap(self, position: Position) -> Position:
        """Return the position at which the next poll begins, so that late and corrected rows are read."""
        at = self.find_instant(position)
        if at is None:
            assert isinstance(position, int | float)
            return position - self.query.overlap_rows
        return self.of_instant(at - timedelta(seconds=self.query.overlap_s), position)


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise RefusedError(
            f"position: expected times such as 2026-03-01 06:00:00, got {text[:MAX_TEXT_LENGTH]!r}"
        ) from None


def _have_same_form(first: Position, second: Position) -> bool:
    """Return whether two positions can be compared."""
    if isinstance(first, int | float):
        return isinstance(second, int | float)
    if isinstance(first, datetime) and isinstance(second, datetime):
        return (first.tzinfo is None) == (second.tzinfo is None)
    return isinstance(first, str) and isinstance(second, str)


def find_start(server: RowServer, query: RowQuery, since: str) -> Position | None:
    """Return the position at which to begin; None if the table is empty.

    Args:
        since: Day at which the first poll begins, in ISO format. If it is empty, the first poll begins with the overlap
            before the newest row.

    Raises:
        RefusedError: The positions of the table have another form than the stored one.
    """
    newest = server.find_newest()
    if newest is None:
        return None
    positions = Positions(query)
    if query.stored:
        stored = parse_position(query.stored)
        if not _have_same_form(stored, newest):
            raise RefusedError(
                f"position: column {query.position!r} contains {newest!s}, and contained {stored!s} before: was the "
                "table changed? If it is right, give the source another name, so that it begins again"
            )
        # The newest position is smaller if rows were deleted or the table was created again.
        reached = min(stored, newest)
        return reached if query.is_resumed else positions.subtract_overlap(reached)
    if not since:
        if positions.is_future(newest):
            newest = positions.of_instant(query.now, newest)
        return positions.subtract_overlap(newest)
    begin = find_begin(since, query)
    if positions.find_instant(newest) is not None:
        return positions.of_instant(begin, newest)
    assert isinstance(newest, int | float)
    return _search_position(server, query, begin, newest)


def find_begin(since: str, query: RowQuery) -> datetime:
    """Return the beginning of a day in the zone of the table."""
    return datetime.fromisoformat(since).replace(tzinfo=query.zone or UTC)


def _search_position(server: RowServer, query: RowQuery, begin: datetime, newest: float) -> Position:
    """Return a number before which the rows are older than an instant.

    The search reads one row at each step. It assumes that later rows mostly have later times, and begins by the overlap
    before the number that it finds.
    """
    rule = make_time_rule(query)
    first_rows = server.read_page(None, 1)
    oldest = to_position(first_rows[0][query.position], query.position) if first_rows else newest
    assert isinstance(oldest, int | float)
    low = oldest
    high = newest
    for _ in range(MAX_SEARCH_STEPS):
        if high - low <= 1:
            break
        middle = low + (high - low) // 2
        rows = server.read_page(middle, 1)
        try:
            is_before = bool(rows) and rule.read(rows[0][query.columns.time]) < begin
        except PayloadError:
            is_before = False
        if is_before:
            low = middle
        else:
            high = middle
    return low - query.overlap_rows


def make_time_rule(query: RowQuery) -> TimeRule:
    """Return how the times of the table are written."""
    return TimeRule((query.columns.time,), query.time_format, query.zone)
