"""Routes that serve tables, maps, SensorThings and the calendar of a site to other programs."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from monitor.api.errors import NotFoundError, RefusedError, StoreBusyError
from monitor.api.queries.alerts import load_maintenance
from monitor.api.text import Message, Template
from monitor.api.web import GEOJSON, From, To, context_of, find_card, read_site
from monitor.api.worker import compute
from monitor.features.exports import maps, sensorthings
from monitor.features.exports.calendar import write_maintenance
from monitor.features.exports.tables import list_formats, list_tables, read_rows, write_table

router = APIRouter(prefix="/api/v1", tags=["export"])
MAX_ROWS: Final = 500_000  # of one file; `slopeward export` has no such limit
MAX_FOOTPRINTS: Final = 20_000  # of one map, because outlines are large
MAX_CONCURRENT: Final = 2  # files that are written or sent at the same time
MAX_SENDING_S: Final = 900.0  # for which a slow client may occupy a slot
CHUNK_BYTES: Final = 1 << 18
_MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/jsonl",
    "geojson": GEOJSON,
    "gpkg": "application/geopackage+sqlite3",
}
_BUSY: Final = Template("export.busy", "{count} files are being written or sent; try again in a minute")
_NOTHING: Final = Template("export.nothing", "site '{site}' has no {table} in that range")
_MANY_ROWS: Final = Template(
    "export.many_rows", "more than {most} rows: request a shorter range, or use `slopeward export`"
)
_SLOTS: Final = threading.BoundedSemaphore(MAX_CONCURRENT)


class FileStream:
    """The content of a deleted temporary file, sent in chunks. Closing it releases its slot."""

    def __init__(self, path: Path) -> None:
        self._file: int | None = os.open(path, os.O_RDONLY)
        self._ends_at = time.monotonic() + MAX_SENDING_S

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._file is not None and time.monotonic() < self._ends_at:
                chunk = os.read(self._file, CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the slot. Further calls do nothing."""
        file = self._file
        self._file = None
        if file is not None:
            os.close(file)
            _SLOTS.release()


def _write(path: Path, write: Callable[[Path], int], nothing: Message) -> tuple[FileStream, int]:
    """Write a temporary file and open it. Return the stream and the number of bytes.

    Raises:
        StoreBusyError: `MAX_CONCURRENT` files are being written or sent.
        NotFoundError: There was nothing to write.
    """
    if not _SLOTS.acquire(blocking=False):
        raise StoreBusyError(_BUSY(count=MAX_CONCURRENT))
    try:
        if not write(path):
            raise NotFoundError(nothing)
        return FileStream(path), path.stat().st_size
    except BaseException:
        _SLOTS.release()
        raise


def _make_address(request: Request, site: str, path: str) -> str:
    """Return the public address of a part of the API of a site."""
    page = context_of(request).config.web.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{page}/api/v1/sites/{site}/{path}"


@router.get("/sites/{site}/export/{table}.{form}", response_class=StreamingResponse)
def send_file(
    request: Request, site: str, table: str, form: str, from_: From = None, to: To = None, station: str | None = None
) -> StreamingResponse:
    """Return a table as CSV or Parquet, or a map layer as GeoPackage or GeoJSON."""
    context = context_of(request)
    span = {"from_at": from_, "to_at": to}
    # A web process that was killed may have left temporary files.
    compute.remove_abandoned_folders()
    name = f"{site}-{table}.{form}"

    def write(path: Path) -> int:
        with context.db.read() as c:
            find_card(c, site)
            if form in list_formats(table):
                return write_table(_limit_rows(read_rows(c, table, site, station=station, **span)), path, form)
            max_features = MAX_FOOTPRINTS if table in maps.OWN_LAYERS else MAX_ROWS
            return maps.write_map(c, table, site, path, form, context.clock(), max_features=max_features, **span)

    with compute.temporary_folder() as folder:
        stream, size = _write(folder / "file", write, _NOTHING(site=site, table=table))
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(stream, media_type=_MEDIA_TYPES[form], headers=headers)


def _limit_rows(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise RefusedError(_MANY_ROWS(most=str(MAX_ROWS)))
        yield row


@router.get("/sites/{site}/export", response_model=dict[str, Any])
def list_exports(request: Request, site: str) -> dict[str, dict[str, list[str]]]:
    """Return the addresses of all exports of a site."""
    address = _make_address(request, site, "export")
    with read_site(request, site):
        return {
            "tables": {name: [f"{address}/{name}.{kind}" for kind in list_formats(name)] for name in list_tables()},
            "maps": {name: [f"{address}/{name}.{kind}" for kind in maps.FORMATS] for name in maps.list_layers()},
        }


@router.get("/sites/{site}/maintenance.ics", response_class=Response)
def send_calendar(request: Request, site: str) -> Response:
    """Return all maintenance windows of a site as a calendar, including past ones."""
    with read_site(request, site) as seen:
        windows = load_maintenance(seen.c, site, seen.now, everything=True)
    return Response(
        write_maintenance(windows, site, seen.card.name, seen.now), media_type="text/calendar; charset=utf-8"
    )


@router.get("/sites/{site}/sensorthings/v1.1", response_model=dict[str, Any])
def get_sensorthings(request: Request, site: str) -> sensorthings.ServiceRoot:
    """Return the root of the SensorThings service of a site."""
    with read_site(request, site):
        return sensorthings.describe_root(_make_address(request, site, "sensorthings/v1.1"))


@router.get("/sites/{site}/sensorthings/v1.1/{path:path}")
def read_sensorthings(request: Request, site: str, path: str) -> Mapping[str, object]:
    """Return Things, Locations, Datastreams, Sensors, ObservedProperties or Observations."""
    query = sensorthings.read_query(request.query_params)
    with read_site(request, site) as seen:
        return sensorthings.answer(seen.c, site, path, query, _make_address(request, site, "sensorthings/v1.1"))
