"""Photos of the field: taken by the telephone, on an alert or on a report, and shown to whoever reads the site."""

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from forecasting.message import Template
from monitor.domain.names import tidy_text
from monitor.errors import RefusedError
from monitor.store.readings.photos import Taken, add_photo, find_picture, find_subject, require_few
from monitor.web.access.callers import actor_of
from monitor.web.context import NO_NUL, AlertId, context_of
from monitor.web.threads import run_apart, take_turn
from monitor.web.uploads.photos import develop_photo, require_room

router = APIRouter(include_in_schema=False)
MOST_COMING: Final = 8  # bodies at once
BODY_S: Final = 180.0
_MANY_COME: Final = Template("photo.many_come", "other pictures are coming in; try again in a minute")
_TOO_SLOW: Final = Template("photo.too_slow", "the picture took too long to come")
_coming: Final = threading.Semaphore(MOST_COMING)
Number = Annotated[int, Path(ge=1, lt=1 << 63)]
Note = Annotated[str, Query(max_length=500, pattern=NO_NUL)]


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
    with take_turn(_coming, _MANY_COME()):
        try:
            async with asyncio.timeout(BODY_S):
                content = await request.body()
        except TimeoutError:
            raise RefusedError(_TOO_SLOW()) from None
        return await run_apart(request, "photos", lambda: take(content))


def _take(
    request: Request, content: bytes, note: str, *, site: str = "", alert_id: int | None = None,
    report_id: int | None = None,
) -> Response:  # fmt: skip
    actor, context = actor_of(request, request.headers.get("x-csrf-token", "")), context_of(request)
    with context.db.read() as c:
        site = find_subject(c, site, alert_id, report_id)
        require_few(c, actor, context.clock(), alert_id, report_id)
    require_room(context.db, context.config)
    made = develop_photo(context.config, content)
    said = Taken(
        made.said.width, made.said.height, made.said.taken, made.said.latitude, made.said.longitude, made.said.camera
    )
    with context.db.write() as c:
        number = add_photo(
            c, site, actor, tidy_text(note), made.photo, made.small, said, context.clock(), alert_id=alert_id,
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
