"""Everything out again: tables, maps, SensorThings and a calendar, each below the address of its site."""

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
from monitor.features.exports.tables import list_forms, list_tables, read_rows, write_table

router = APIRouter(prefix="/api/v1", tags=["export"])
MOST_ROWS: Final = 500_000  # of one file; the verb knows no bound
MOST_FOOTPRINTS: Final = 20_000  # of one map: outlines are large
AT_ONCE: Final = 2  # files that are written or sent at the same time
LONGEST_S: Final = 900.0  # for which a reader may take
PIECE: Final = 1 << 18
_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/jsonl",
    "geojson": GEOJSON,
    "gpkg": "application/geopackage+sqlite3",
}
_BUSY: Final = Template("export.busy", "{count} files are being written or sent; try again in a minute")
_NOTHING: Final = Template("export.nothing", "site '{site}' has no {table} in that range")
_MANY_ROWS: Final = Template(
    "export.many_rows", "more than {most} rows: ask for a shorter range, or use `slopeward export`"
)
_TURNS: Final = threading.BoundedSemaphore(AT_ONCE)


class FileStream:
    """A file on its way to a reader: it has no name any more, and its turn ends with it."""

    def __init__(self, path: Path) -> None:
        self._file: int | None = os.open(path, os.O_RDONLY)
        self._ends_at = time.monotonic() + LONGEST_S

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._file is not None and time.monotonic() < self._ends_at:
                piece = os.read(self._file, PIECE)
                if not piece:
                    return
                yield piece
        finally:
            self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End it; once."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
            _TURNS.release()


def _write(path: Path, write: Callable[[Path], int], nothing: Message) -> tuple[FileStream, int]:
    """Write a file in a folder of its own and open it; nothing of it is left under a name.

    Raises:
        StoreBusyError: as many are written or sent already as may be.
        NotFoundError: there was nothing to write.
    """
    if not _TURNS.acquire(blocking=False):
        raise StoreBusyError(_BUSY(count=AT_ONCE))
    try:
        if not write(path):
            raise NotFoundError(nothing)
        return FileStream(path), path.stat().st_size
    except BaseException:
        _TURNS.release()
        raise


def _root(request: Request, site: str, what: str) -> str:
    """How people reach a part of the API of a site."""
    page = context_of(request).config.web.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{page}/api/v1/sites/{site}/{what}"


@router.get("/sites/{site}/export/{table}.{form}", response_class=StreamingResponse)
def send_file(
    request: Request, site: str, table: str, form: str, from_: From = None, to: To = None, station: str | None = None
) -> StreamingResponse:
    """A table as CSV or Parquet; stations, footprints, outlines and satellite points as GeoPackage or GeoJSON."""
    context, span = context_of(request), {"from_at": from_, "to_at": to}
    compute.sweep_folders()  # of a page that was killed
    name = f"{site}-{table}.{form}"

    def write(path: Path) -> int:
        with context.db.read() as c:
            find_card(c, site)
            if form in list_forms(table):
                return write_table(_bound(read_rows(c, table, site, station=station, **span)), path, form)
            most = MOST_FOOTPRINTS if table in maps.OWN_LAYERS else MOST_ROWS
            return maps.write_map(c, table, site, path, form, context.clock(), most=most, **span)

    with compute.own_folder() as folder:
        sending, size = _write(folder / "file", write, _NOTHING(site=site, table=table))
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(sending, media_type=_TYPES[form], headers=headers)


def _bound(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        if number >= MOST_ROWS:
            raise RefusedError(_MANY_ROWS(most=str(MOST_ROWS)))
        yield row


@router.get("/sites/{site}/export", response_model=dict[str, Any])
def list_exports(request: Request, site: str) -> dict[str, dict[str, list[str]]]:
    """What can be taken out of a site, and how."""
    own = _root(request, site, "export")
    with read_site(request, site):
        return {
            "tables": {name: [f"{own}/{name}.{kind}" for kind in list_forms(name)] for name in list_tables()},
            "maps": {name: [f"{own}/{name}.{kind}" for kind in maps.FORMATS] for name in maps.list_layers()},
        }


@router.get("/sites/{site}/maintenance.ics", response_class=Response)
def send_calendar(request: Request, site: str) -> Response:
    """Maintenance as a calendar, also what is over."""
    with read_site(request, site) as seen:
        windows = load_maintenance(seen.c, site, seen.now, everything=True)
    return Response(
        write_maintenance(windows, site, seen.card.name, seen.now), media_type="text/calendar; charset=utf-8"
    )


@router.get("/sites/{site}/sensorthings/v1.1", response_model=dict[str, Any])
def get_sensorthings(request: Request, site: str) -> sensorthings.ServiceRoot:
    """The first page of the SensorThings service of a site."""
    with read_site(request, site):
        return sensorthings.describe_root(_root(request, site, "sensorthings/v1.1"))


@router.get("/sites/{site}/sensorthings/v1.1/{path:path}")
def read_sensorthings(request: Request, site: str, path: str) -> Mapping[str, object]:
    """Things, Locations, Datastreams, Sensors, ObservedProperties and Observations."""
    query = sensorthings.read_query(request.query_params)
    with read_site(request, site) as seen:
        return sensorthings.answer(seen.c, site, path, query, _root(request, site, "sensorthings/v1.1"))
