"""Photos of the field: taken by the telephone, on an alert or on a report, and shown to whoever reads the site."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from monitor.store.readings.photos import Taken, add_photo, find_picture, find_subject
from monitor.web.access.callers import actor_of
from monitor.web.context import NO_NUL, AlertId, context_of
from monitor.web.uploads.photos import develop_photo

router = APIRouter(include_in_schema=False)
Number = Annotated[int, Path(ge=1, lt=1 << 63)]
Note = Annotated[str, Query(max_length=500, pattern=NO_NUL)]


@router.post("/alerts/{alert_id}/photos")
async def take_of_alert(request: Request, alert_id: AlertId, note: Note = "") -> Response:
    """One photo as the body, with the form token in a header; it becomes part of the story of the alert."""
    content = await request.body()
    return await run_in_threadpool(_take, request, content, note, alert_id=alert_id)


@router.post("/sites/{site}/reports/{report_id}/photos")
async def take_of_report(request: Request, site: str, report_id: Number, note: Note = "") -> Response:
    """The same of what somebody reported."""
    content = await request.body()
    return await run_in_threadpool(_take, request, content, note, site=site, report_id=report_id)


def _take(
    request: Request, content: bytes, note: str, *, site: str = "", alert_id: int | None = None,
    report_id: int | None = None,
) -> Response:  # fmt: skip
    actor, context = actor_of(request, request.headers.get("x-csrf-token", "")), context_of(request)
    with context.db.read() as c:
        site = find_subject(c, site, alert_id, report_id)
    made = develop_photo(context.config, content)
    said = Taken(
        made.said.width, made.said.height, made.said.taken, made.said.latitude, made.said.longitude, made.said.camera
    )
    with context.db.write() as c:
        number = add_photo(
            c, site, actor, " ".join(note.split()), made.photo, made.small, said, context.clock(), alert_id=alert_id,
            report_id=report_id,
        )  # fmt: skip
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
