"""The values of a file of any form, as the preview shows them before anything is stored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.api.errors import PayloadError
from monitor.api.files import ImportOptions, ReadingLine
from monitor.api.ingest import read_time
from monitor.api.queries.ingest import LONG, WIDE, open_readings
from monitor.api.sites import split_suffix

# Lines of all files of an import that stay in memory, about 150 MB.
KEPT_LINES: Final = 250_000


class CheckedValue(NamedTuple):
    """A value of a file of readings, with the reason why it would be refused.

    Attributes:
        at: The instant. None if it cannot be read.
        when: The instant as it is written in the file.
        error: Why the value is refused; empty if it is not.
    """

    at: datetime | None
    when: str
    station: str
    quantity: str
    value: Any
    unit: str
    error: str = ""


class LineReader:
    """Reads the lines of files. Lines of tables stay in memory, because an import goes through its files repeatedly."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Path, ImportOptions], list[ReadingLine]] = {}
        self._free = KEPT_LINES

    @contextmanager
    def open(self, path: Path, form: str, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
        """Open a file of a form in `list_readers()`.

        Raises:
            ConfigError: The file has another form.
        """
        # The reader of a table uses no other options.
        key = path, ImportOptions(options.mapping, origins=options.origins, total_stations=options.total_stations)
        if key in self._kept:
            yield iter(self._kept[key])
            return
        with open_readings(form)(path, options) as lines:
            yield self._keep(key, lines) if form in {LONG, WIDE} else lines

    def _keep(self, key: tuple[Path, ImportOptions], lines: Iterator[ReadingLine]) -> Iterator[ReadingLine]:
        """Yield the lines, and keep them once all of them were read if there is room for them."""
        kept: list[ReadingLine] = []
        for line in lines:
            if len(kept) <= self._free:
                kept.append(line)
            yield line
        if len(kept) <= self._free:
            self._kept[key] = kept
            self._free -= len(kept)


def list_values(
    path: Path, form: str, options: ImportOptions, reader: LineReader | None = None
) -> Iterator[CheckedValue]:
    """Yield the values of a file of a form in `list_readers()`; raises ConfigError if the file has another form."""
    with (reader or LineReader()).open(path, form, options) as lines:
        for row, error in (judged for line in lines for judged in line.rows):
            yield _read(row, error)


def _read(row: Mapping[str, Any], error: PayloadError | None) -> CheckedValue:
    quantity, unit = str(row.get("quantity") or ""), str(row.get("unit") or "")
    if not unit and (own := split_suffix(quantity)) is not None:
        quantity, unit = own
    when = row.get("time")
    try:
        at = when if isinstance(when, datetime) and when.tzinfo else read_time(when or None, live=False)
    except (PayloadError, TypeError) as failure:
        at = None
        error = error or (failure if isinstance(failure, PayloadError) else PayloadError("bad_time", str(failure)))
    station, value = str(row.get("station") or ""), row.get("value", row.get("line", ""))
    return CheckedValue(at, str(when or ""), station, quantity, value, unit, "" if error is None else error.message)
