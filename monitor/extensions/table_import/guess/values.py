"""The values of a file of any form one after the other, as people are shown them before anything is stored."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from monitor.domain.errors import PayloadError
from monitor.domain.quantities import split_suffix
from monitor.ingest.decoders.strict_json import read_time
from monitor.ingest.files.reader import Content, ImportOptions
from monitor.ingest.files.readers import READERS, open_points, open_readings


class CheckedValue(NamedTuple):
    """A value of a station or of a point; `error`: why it is refused. `at` is None where no instant can be read."""

    at: datetime | None
    when: str
    station: str
    quantity: str
    value: Any
    unit: str
    error: str = ""  # a message


def list_values(path: Path, form: str, options: ImportOptions) -> Iterator[CheckedValue]:
    """The values of a file of a form in `READERS`; raises ConfigError where it is none of this form."""
    if READERS[form].content is Content.POINTS:
        with open_points(form)(path, options, datetime.now(UTC)) as (declared, pieces):
            for piece in pieces:
                for bad in piece.bad:
                    yield CheckedValue(None, "", "", "", " ".join(map(str, bad.row.values())), "", bad.error.message)
                for v in piece.values:
                    pid = "" if piece.point is None else piece.point.pid
                    yield CheckedValue(v.observed_at, "", pid, declared.direction, v.value, declared.unit)
        return
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
