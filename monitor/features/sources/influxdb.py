"""Read points of an InfluxDB server in the order of time, by InfluxQL over HTTP.

The address `/query` exists in InfluxDB 1, 2 and 3. In InfluxDB 2 a mapping of databases must name the bucket:
https://docs.influxdata.com/influxdb/v2/api-guide/influxdb-1x/query/ and
https://docs.influxdata.com/influxdb3/core/query-data/execute-queries/influxdb-v1-api/
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from monitor.api.errors import RefusedError
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.fetching import FetchedFile, PollRequest, make_failure
from monitor.features.sources.http import GuardedClient
from monitor.features.sources.positions import to_position
from monitor.features.sources.row_query import Position, Row, RowQuery
from monitor.features.sources.rows import ROWS, read_rows

MAX_DOCUMENT_BYTES: Final = 32 << 20
SERVER: Final = "an InfluxDB server"
# InfluxDB has this name for the time of a point.
TIME: Final = "time"
NAMES_SHOWN: Final = 30
MAX_TEXT_LENGTH: Final = 300


def fetch_points(request: PollRequest) -> Iterator[FetchedFile]:
    """Read new points into files, and yield the outcome."""
    assert request.rows is not None
    try:
        with closing(GuardedClient(request, shows_reasons=True)) as client:
            server = InfluxServer(client, request.wanted[0].url, request.rows)
            yield read_rows(server, request.rows, request.since, Path(request.folder))
    except Exception as error:  # an answer may have any form; an error becomes one line
        yield make_failure(error, ROWS)


class InfluxServer:
    """A measurement of an InfluxDB server. It implements `RowServer`."""

    def __init__(self, client: GuardedClient, url: str, query: RowQuery) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/query"
        self._query = query
        columns = query.columns
        self._fields = [columns.value] if columns.value else list(_list_fields(query))
        names = [*self._fields, *filter(None, (columns.sigma, columns.station, columns.quantity))]
        selected = ", ".join(_quote_name(name) for name in dict.fromkeys(names))
        self._selection = f"SELECT {selected} FROM {_quote_name(query.table)}"  # noqa: S608  names are quoted

    def list_columns(self) -> Sequence[str]:
        """Return the fields of a measurement with a field for each quantity."""
        return self._fields

    def find_newest(self) -> Position | None:
        """Return the newest time, or None if the measurement is empty.

        Raises:
            RefusedError: The measurement or a field does not exist.
        """
        rows = self._select(f"{self._selection} ORDER BY time DESC LIMIT 1")
        if not rows:
            self._require_names()
            return None
        return to_position(rows[0][TIME], TIME)

    def read_page(self, start: Position | None, rows: int) -> list[Row]:
        """Return at most `rows` points from a time on, in the order of time."""
        condition = "" if start is None else f" WHERE time >= '{_format_time(start)}'"
        return self._select(f"{self._selection}{condition} ORDER BY time ASC LIMIT {rows}")

    def _select(self, statement: str) -> list[Row]:
        """Return the rows of a statement.

        Raises:
            RefusedError: The server rejects it, or answers in another form.
            OSError: The connection failed.
        """
        parameters = urlencode({"db": self._query.database, "q": statement})
        document = self._client.read_document(f"{self._url}?{parameters}", MAX_DOCUMENT_BYTES, SERVER)
        results = document.get("results")
        result = results[0] if isinstance(results, list) and results else document
        if not isinstance(result, dict):
            raise RefusedError(f"{self._url}: no answer of {SERVER}")
        if "error" in result:
            reason = " ".join(str(result["error"]).split())[:MAX_TEXT_LENGTH]
            raise RefusedError(f"{hide_query(self._url)}: the server rejects the request: {reason}")
        if results is None:
            raise RefusedError(f"{hide_query(self._url)}: no list results; is it the address of {SERVER}?")
        rows: list[Row] = []
        for series in result.get("series") or []:
            try:
                names = [str(name) for name in series["columns"]]
                rows += [dict(zip(names, values, strict=True)) for values in series["values"]]
            except (TypeError, KeyError, ValueError):
                raise RefusedError(f"{hide_query(self._url)}: the answer has no rows of {SERVER}") from None
        return rows

    def _require_names(self) -> None:
        """Raise RefusedError if the measurement or one of its fields does not exist."""
        measurement = _quote_name(self._query.table)
        present = [str(row.get("fieldKey")) for row in self._select(f"SHOW FIELD KEYS FROM {measurement}")]
        if not present:
            raise RefusedError(
                f"table: database {self._query.database!r} has no measurement {self._query.table!r}, or no field in it"
            )
        absent = [name for name in self._fields if name not in present]
        if absent:
            key = "columns.value" if self._query.columns.value else "series"
            more = f" and {len(present) - NAMES_SHOWN} more" if len(present) > NAMES_SHOWN else ""
            raise RefusedError(
                f"{key}: measurement {self._query.table!r} has no field {absent[0]!r}; it has: "
                f"{', '.join(present[:NAMES_SHOWN])}{more}. Was the field renamed?"
            )


def _list_fields(query: RowQuery) -> dict[str, Any]:
    """Return the fields that `series` names, as FIELD or STATION/FIELD."""
    return dict.fromkeys(key.rpartition("/")[2] if query.columns.station else key for key, _ in query.series)


def _quote_name(name: str) -> str:
    r"""Return a name as InfluxQL writes it.

    >>> print(_quote_name('wall "A"'))
    "wall \"A\""
    """
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _format_time(position: Position) -> str:
    """Return a time in the form that InfluxQL compares with: RFC 3339 in UTC."""
    at = position if isinstance(position, datetime) else datetime.fromisoformat(str(position))
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
