"""Routes that receive photos of alerts and reports, and show them to everybody who may read the site."""

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
from monitor.features.photos.queries import PhotoMetadata, add_photo, check_limits, find_picture, find_subject

router = APIRouter(include_in_schema=False)
MAX_UPLOADS: Final = 8  # at the same time
MAX_UPLOAD_S: Final = 180.0
_THREADS: Final = 1  # photos are processed one after the other
_TOO_MANY_UPLOADS: Final = Template("photo.many_come", "other photos are being received; try again in a minute")
_TOO_SLOW: Final = Template(
    "photo.too_slow", "the upload of the photo took too long; try again with a better connection"
)
_uploads: Final = threading.Semaphore(MAX_UPLOADS)
Number = Annotated[int, Path(ge=1, lt=1 << 63)]
Note = Annotated[str, Query(max_length=500, pattern=WITHOUT_NUL)]


@router.post("/alerts/{alert_id}/photos")
async def receive_photo_of_alert(request: Request, alert_id: AlertId, note: Note = "") -> Response:
    """Receive a photo of an alert. The body is the file; the form token is in the header `X-CSRF-Token`."""
    return await _receive(request, lambda content: _store_photo(request, content, note, alert_id=alert_id))


@router.post("/sites/{site}/reports/{report_id}/photos")
async def receive_photo_of_report(request: Request, site: str, report_id: Number, note: Note = "") -> Response:
    """Receive a photo of a report of an observer, in the same form."""
    return await _receive(request, lambda content: _store_photo(request, content, note, site=site, report_id=report_id))


async def _receive(request: Request, store: Callable[[bytes], Response]) -> Response:
    """Read the body and store the photo. Few uploads are read at once, because a body may have 16 MiB."""
    with acquire_or_refuse(_uploads, _TOO_MANY_UPLOADS()):
        try:
            async with asyncio.timeout(MAX_UPLOAD_S):
                content = await request.body()
        except TimeoutError:
            raise RefusedError(_TOO_SLOW()) from None
        return await run_in_pool(request, "photos", _THREADS, lambda: store(content))


def _store_photo(
    request: Request,
    content: bytes,
    note: str,
    *,
    site: str = "",
    alert_id: int | None = None,
    report_id: int | None = None,
) -> Response:
    """Check the limits, convert the photo, and store it."""
    actor = actor_of(request, request.headers.get("x-csrf-token", ""))
    context = context_of(request)
    with context.db.read() as c:
        site = find_subject(c, site, alert_id, report_id)
        check_limits(c, actor, context.clock(), alert_id, report_id)
    require_disk_space(context.db, context.config)
    converted = develop_photo(context.config, content)
    developed = converted.developed
    metadata = PhotoMetadata(
        developed.width,
        developed.height,
        developed.taken,
        developed.latitude,
        developed.longitude,
        developed.camera,
    )
    with context.db.write() as c:
        number = add_photo(
            c,
            site,
            actor,
            tidy_text(note),
            converted.photo,
            converted.small,
            metadata,
            context.clock(),
            alert_id=alert_id,
            report_id=report_id,
        )
    return JSONResponse({"photo": number}, status_code=201)


@router.get("/sites/{site}/photos/{photo_id}/{size}")
def show_photo(request: Request, site: str, photo_id: Number, size: Literal["photo.jpg", "small.jpg"]) -> Response:
    """Return a photo, or its small version. Both may be cached, because a photo never changes."""
    with context_of(request).db.read() as c:
        content = find_picture(c, site, photo_id, small=size == "small.jpg")
    headers = {
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Disposition": f'inline; filename="{site}-{photo_id}.jpg"',
    }
    return Response(content, media_type="image/jpeg", headers=headers)


_LOG = logging.getLogger(__name__)
DEVELOP: Final = WorkerTask("monitor.features.photos.develop:develop", ReceivedPhoto, DevelopedPhoto)
MAX_DEVELOP_S: Final = 30.0
MAX_CONVERTED_BYTES: Final = 4 << 20
_NO_ROOM: Final = Template(
    "photo.room",
    "the disk of the service is too full for photos; the rest is reserved for readings and alerts",
)
_UNREADABLE: Final = Template("photo.unreadable", "the photo cannot be read; send it as JPEG")


@dataclass(frozen=True, slots=True)
class ConvertedPhoto:
    """A converted photo in two sizes, and its metadata."""

    photo: bytes
    small: bytes
    developed: DevelopedPhoto


def require_disk_space(db: Database, config: ServiceConfig) -> None:
    """Raise RefusedError if a photo would use the disk space that is reserved for readings and decisions."""
    folder = find_database_folder(db, config.limits.disk)
    if (
        folder is not None
        and shutil.disk_usage(folder).free < config.limits.reserve_mb * MEGABYTE + 2 * MAX_CONVERTED_BYTES
    ):
        raise RefusedError(_NO_ROOM())


def develop_photo(config: ServiceConfig, content: bytes) -> ConvertedPhoto:
    """Convert a file that somebody sent.

    Raises:
        RefusedError: The file is no photo, damaged or too large.
    """
    if not content:
        raise RefusedError(EMPTY_FILE())
    if not name_format(content[:16]):
        raise RefusedError(NO_PICTURE())
    with tempfile.TemporaryDirectory(prefix="slopeward-photo-") as folder:
        received = pathlib.Path(folder) / "received"
        out = pathlib.Path(folder) / "out"
        received.write_bytes(content)
        out.mkdir()
        limit_s = min(MAX_DEVELOP_S, config.compute.job_limit_s)
        compute = config.compute.model_copy(update={"dask": "", "job_limit_s": limit_s})
        try:
            developed = run_in_worker(
                compute, DEVELOP, ReceivedPhoto(str(received), str(out)), reads=[received], writes=[out]
            )
        except JobError as error:
            _LOG.warning("a photo could not be converted: %s", error)
            raise RefusedError(_UNREADABLE()) from None
        if developed.trouble:
            raise RefusedError(developed.trouble)
        return ConvertedPhoto(_read_converted(out / "photo.jpg"), _read_converted(out / "small.jpg"), developed)


def _read_converted(path: pathlib.Path) -> bytes:
    """Return a file of the worker. It is not trusted: it must be a plain JPEG file of a plausible size."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_CONVERTED_BYTES:
        raise RefusedError(_UNREADABLE())
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8\xff"):
        raise RefusedError(_UNREADABLE())
    return content
