"""Lines that a worker read of a file, as JSON on the way to who stores them; nobody trusts them on arrival."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from forecasting.message import Template, spread
from monitor.domain.errors import ConfigError, PayloadError
from monitor.ingest.decoders.rows import value_to_json
from monitor.ingest.files.reader import Judged, ReadingLine
from monitor.worker.records import read_text

LINE_BYTES: Final = 4 << 20
REASON_MOST: Final = 500  # characters
NOT_OF_THEIR_FORM: Final = Template("file.lines.form", "the rows cannot be read: a line is not of their form")
_UNREADABLE: Final = Template("file.lines", "the rows cannot be read: {problem}")


def write_lines(lines: Iterable[ReadingLine], write: Callable[[str], object]) -> int:
    """Write the lines of a file of readings, as `open_plain` reads them; returns how many."""
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007  the last one is the answer
        rows = [[row, None if error is None else [error.code, spread(error.message)]] for row, error in line.rows]
        write(format_line([rows, line.missing]))
    return count


def format_line(value: Any) -> str:
    """One line of JSON; instants as ISO 8601."""
    return json.dumps(value, default=value_to_json) + "\n"


@contextmanager
def open_plain(path: Path) -> Iterator[Iterator[ReadingLine]]:
    """The lines that `write_lines` wrote: one that is none of the form ends the file.

    Raises:
        ConfigError: the file is none that a worker wrote.
    """
    with open_raw(path) as lines:
        yield (_read_line(raw) for raw in lines)


@contextmanager
def open_raw(path: Path, most: int = LINE_BYTES) -> Iterator[Iterator[bytes]]:
    """Lines of at most so many octets, of a file and of no link to another; raises ConfigError."""
    try:
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(_UNREADABLE(problem=error.strerror or "")) from None
    with os.fdopen(place, "rb") as file:
        yield iter(lambda: file.readline(most), b"")


def _read_line(raw: bytes) -> ReadingLine:
    try:
        rows, missing = json.loads(raw)
        if type(missing) is not int:
            raise TypeError
        return ReadingLine(tuple(_read_judged(*pair) for pair in rows), missing)
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(NOT_OF_THEIR_FORM()) from None


def _read_judged(row: Any, error: Any) -> Judged:
    if not isinstance(row, dict) or not all(isinstance(v, str | int | float | None) for v in row.values()):
        raise TypeError
    return row, None if error is None else read_error(*error)


def read_error(code: Any, reason: Any) -> PayloadError:
    """Why a row is refused, cut to what people read."""
    text = read_text(reason)
    return PayloadError(str(code)[:40], text if len(text) <= REASON_MOST else text[:REASON_MOST])
