"""Photos of the field: taken by the telephone, on an alert or on a report, and shown to whoever reads the site."""

import asyncio
import logging
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from monitor.api.database import MEGABYTE, Database, find_database_folder
from monitor.api.errors import JobError, RefusedError, acquire_or_refuse
from monitor.api.settings import ServiceConfig
from monitor.api.text import EMPTY_FILE, Template, tidy_text
from monitor.api.web import WITHOUT_NUL, AlertId, actor_of, context_of, run_in_pool
from monitor.api.worker import WorkerTask, run_in_worker
from monitor.features.photos.develop import NO_PICTURE, DevelopedPhoto, ReceivedPhoto, name_format
from monitor.features.photos.queries import PhotoMetadata, add_photo, find_picture, find_subject, require_few

router = APIRouter(include_in_schema=False)
MOST_COMING: Final = 8  # bodies at once
BODY_S: Final = 180.0
_THREADS: Final = 1  # photos are processed one after the other
_MANY_COME: Final = Template("photo.many_come", "other pictures are coming in; try again in a minute")
_TOO_SLOW: Final = Template("photo.too_slow", "the picture took too long to come")
_coming: Final = threading.Semaphore(MOST_COMING)
Number = Annotated[int, Path(ge=1, lt=1 << 63)]
Note = Annotated[str, Query(max_length=500, pattern=WITHOUT_NUL)]


@router.post("/alerts/{alert_id}/photos")
async def take_of_alert(request: Request, alert_id: AlertId, note: Note = "") -> Response:
    """One photo as the body, with the form token in a header; it becomes part of the story of the alert."""
    return await _receive(request, lambda content: _take(request, content, note, alert_id=alert_id))


@router.post("/sites/{site}/reports/{report_id}/photos")
async def take_of_report(request: Request, site: str, report_id: Number, note: Note = "") -> Response:
    """The same of what somebody reported."""
    return await _receive(request, lambda content: _take(request, content, note, site=site, report_id=report_id))


async def _receive(request: Request, take: Callable[[bytes], Response]) -> Response:
    """Hold few bodies at once, and none for ever: a body may be 16 MiB."""
    with acquire_or_refuse(_coming, _MANY_COME()):
        try:
            async with asyncio.timeout(BODY_S):
                content = await request.body()
        except TimeoutError:
            raise RefusedError(_TOO_SLOW()) from None
        return await run_in_pool(request, "photos", _THREADS, lambda: take(content))


def _take(
    request: Request,
    content: bytes,
    note: str,
    *,
    site: str = "",
    alert_id: int | None = None,
    report_id: int | None = None,
) -> Response:
    actor, context = actor_of(request, request.headers.get("x-csrf-token", "")), context_of(request)
    with context.db.read() as c:
        site = find_subject(c, site, alert_id, report_id)
        require_few(c, actor, context.clock(), alert_id, report_id)
    require_room(context.db, context.config)
    made = develop_photo(context.config, content)
    taken = PhotoMetadata(
        made.developed.width,
        made.developed.height,
        made.developed.taken,
        made.developed.latitude,
        made.developed.longitude,
        made.developed.camera,
    )
    with context.db.write() as c:
        number = add_photo(
            c,
            site,
            actor,
            tidy_text(note),
            made.photo,
            made.small,
            taken,
            context.clock(),
            alert_id=alert_id,
            report_id=report_id,
        )
    return JSONResponse({"photo": number}, status_code=201)


@router.get("/sites/{site}/photos/{photo_id}/{size}")
def show_photo(request: Request, site: str, photo_id: Number, size: Literal["photo.jpg", "small.jpg"]) -> Response:
    """A photo, or its small picture; neither ever changes."""
    with context_of(request).db.read() as c:
        content = find_picture(c, site, photo_id, small=size == "small.jpg")
    headers = {
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Disposition": f'inline; filename="{site}-{photo_id}.jpg"',
    }
    return Response(content, media_type="image/jpeg", headers=headers)


_LOG = logging.getLogger(__name__)
DEVELOP: Final = WorkerTask("monitor.features.photos.develop:develop", ReceivedPhoto, DevelopedPhoto)
LIMIT_S: Final = 30.0
MOST_BYTES: Final = 4 << 20  # of a picture that was written anew
_NO_ROOM: Final = Template("photo.room", "the disk has no room for photos; what is left is for decisions and alarms")
_UNREADABLE: Final = Template("photo.unreadable", "the picture cannot be read; send it as JPEG")


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo that may be shown, in two sizes, with what its camera said."""

    photo: bytes
    small: bytes
    developed: DevelopedPhoto


def require_room(db: Database, config: ServiceConfig) -> None:
    """Leave the room that is kept for decisions; raises RefusedError."""
    folder = find_database_folder(db, config.limits.disk)
    if folder is not None and shutil.disk_usage(folder).free < config.limits.reserve_mb * MEGABYTE + 2 * MOST_BYTES:
        raise RefusedError(_NO_ROOM())


def develop_photo(config: ServiceConfig, content: bytes) -> Picture:
    """What becomes of a file that somebody sent.

    Raises RefusedError: it is no picture, damaged, or too large; in one line.
    """
    if not content:
        raise RefusedError(EMPTY_FILE())
    if not name_format(content[:16]):
        raise RefusedError(NO_PICTURE())
    with tempfile.TemporaryDirectory(prefix="slopeward-photo-") as folder:
        came, out = pathlib.Path(folder) / "came", pathlib.Path(folder) / "out"
        came.write_bytes(content)
        out.mkdir()
        limit_s = min(LIMIT_S, config.compute.job_limit_s)
        plan = config.compute.model_copy(update={"dask": "", "job_limit_s": limit_s})
        try:
            developed = run_in_worker(plan, DEVELOP, ReceivedPhoto(str(came), str(out)), reads=[came], writes=[out])
        except JobError as error:
            _LOG.warning("a picture was not taken: %s", error)
            raise RefusedError(_UNREADABLE()) from None
        if developed.trouble:
            raise RefusedError(developed.trouble)
        # what a worker wrote is not trusted either: plain files of a sane size that begin as a JPEG does
        found = [_read(out / name) for name in ("photo.jpg", "small.jpg")]
    return Picture(found[0], found[1], developed)


def _read(path: pathlib.Path) -> bytes:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise RefusedError(_UNREADABLE())
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8\xff"):
        raise RefusedError(_UNREADABLE())
    return content
