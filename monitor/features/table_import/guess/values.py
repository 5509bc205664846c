"""The values of a file of any form, as the preview shows them before anything is stored."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from monitor.api.errors import PayloadError
from monitor.api.files import ImportOptions
from monitor.api.ingest import read_time
from monitor.api.queries.ingest import open_readings
from monitor.api.sites import split_suffix


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


def list_values(path: Path, form: str, options: ImportOptions) -> Iterator[CheckedValue]:
    """Yield the values of a file of a form in `list_readers()`; raises ConfigError if the file has another form."""
    with open_readings(form)(path, options) as lines:
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
