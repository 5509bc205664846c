"""A table that somebody brings: sent in parts, looked at, questions answered, accepted, and read in."""

import threading
from typing import Annotated, Final

from fastapi import APIRouter, Form, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from monitor.api.errors import ConfigError, NotAllowedError, RefusedError
from monitor.api.queries.sites import load_sites_summary
from monitor.api.sites import QUANTITIES
from monitor.api.text import Template
from monitor.api.web import LARGEST_PART_BYTES, WITHOUT_NUL, Caller, FormAct, Name, actor_of, context_of, require_caller
from monitor.api.web import render_page as render
from monitor.features.table_import import upload_store
from monitor.features.table_import.guess.preview import PreviewResult
from monitor.features.table_import.guess.site_file import read_bounds
from monitor.features.table_import.processing import NOT_READY, UploadProcessor, list_absent
from monitor.features.table_import.upload_store import Upload, answered

router = APIRouter(include_in_schema=False)
_MAKING: Final = threading.Lock()
UploadId = Annotated[str, Path(max_length=32)]
_NOT_YOURS: Final = Template("file.not_your_site", "'{site}' is no site of yours")
_TAKES_ADMIN: Final = Template("file.takes_admin", "a new site takes an admin of all sites")
_NO_NAME: Final = Template("file.no_name", "a new site needs a name")
_IS_READ: Final = Template("file.is_read", "this file is being read in; wait until it is done")
_DISCARDED: Final = Template("file.discarded", "{file} is discarded")
ZONES = (
    *("UTC", "Etc/GMT-1", "Europe/Rome", "Europe/Zurich", "Europe/Berlin", "Europe/Vienna", "Europe/Paris"),
    *("Europe/London", "Europe/Madrid", "Asia/Shanghai", "Asia/Tokyo", "Asia/Kathmandu"),
    *("America/Los_Angeles", "America/New_York", "America/Lima", "Pacific/Auckland"),
)


def workshop_of(request: Request) -> UploadProcessor:
    """The one of the application."""
    state = request.app.state
    with _MAKING:
        if not hasattr(state, "workshop"):
            state.workshop = UploadProcessor(state.context)
        found: UploadProcessor = state.workshop
    return found


def _find(request: Request, upload_id: str) -> Upload:
    return workshop_of(request).shelf.find(upload_id, require_caller(request).name)


def _may_add_site(caller: Caller) -> bool:
    return caller.role == "admin" and caller.sites is None


def _require_site(request: Request, site: str) -> None:
    """Readings go to an own site that exists; a new one takes an admin of all sites.

    Raises:
        NotAllowedError: it is the site of others.
        RefusedError: it would be new, and who asks is no such admin.
    """
    caller = require_caller(request)
    with context_of(request).db.read() as c:
        exists = any(one.id == site for one in load_sites_summary(c, active_only=False))
    if exists and not caller.acts_on(site):
        raise NotAllowedError(_NOT_YOURS(site=site))
    if not exists and not _may_add_site(caller):
        raise RefusedError(_TAKES_ADMIN())


@router.get("/files", response_class=HTMLResponse)
def show_files(request: Request) -> HTMLResponse:
    """Where a file is sent, and the own ones that wait or are done."""
    caller, workshop = require_caller(request), workshop_of(request)
    with context_of(request).db.read() as c:
        sites = [(one.id, one.name) for one in load_sites_summary(c) if caller.acts_on(one.id)]
    return render(
        request,
        "files.html",
        sites=sites,
        may_add=_may_add_site(caller),
        uploads=workshop.shelf.list_of(caller.name),
        most_bytes=workshop.shelf.most_bytes,
        part_bytes=LARGEST_PART_BYTES,
    )


@router.post("/files")
def begin_file(
    act: FormAct,
    name: Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL)] = "",
    size: Annotated[int, Form()] = 0,
    site: Name = "",
) -> Response:
    """A place for a file; its parts follow."""
    _require_site(act.request, site)
    made = workshop_of(act.request).shelf.begin(act.actor.name, name, size, site)
    return JSONResponse({"id": made.id}, status_code=201)


@router.post("/files/{upload}/part")
async def take_part(request: Request, upload: UploadId, at: int = 0) -> Response:
    """The bytes that continue a file."""
    content = await request.body()
    return await run_in_threadpool(_take_part, request, upload, at, content)


def _take_part(request: Request, upload: str, at: int, content: bytes) -> Response:
    actor_of(request, request.headers.get("x-csrf-token", ""))
    found = _find(request, upload)
    return JSONResponse({"received": workshop_of(request).shelf.add_part(found, at, content)})


@router.post("/files/{upload}/answers")
def answer_questions(
    act: FormAct,
    upload: UploadId,
    answer: Annotated[list[Annotated[str, Form(max_length=200, pattern=WITHOUT_NUL)]] | None, Form()] = None,
    again: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Look at a file with what was answered; answers stand in the order of the questions that were shown."""
    found, workshop = _find(act.request, upload), workshop_of(act.request)
    before = workshop.understood(found)
    keys = [question.key for question in before.questions] if before is not None else []
    given = dict(zip(keys, answer or (), strict=False))
    looked, understood = workshop.inspect(found, {} if again else answered(found, given))
    if understood.trouble and before is None:
        workshop.shelf.discard(looked)
        return act.back("/files", understood.trouble)
    return act.back(f"/files/{upload}", understood.trouble)


@router.get("/files/{upload}", response_class=HTMLResponse)
def show_file(request: Request, upload: UploadId) -> HTMLResponse:
    """How far a file came: what was understood, what is open, how it is read in, what it shows."""
    found, workshop = _find(request, upload), workshop_of(request)
    share = workshop.progress.get(found.id)  # before the record: what ends meanwhile is seen as ended at the next look
    understood = workshop.understood(found) or PreviewResult()
    with context_of(request).db.read() as c:
        declared = workshop.find_site(c, found.site)
    unjudged = workshop.find_unjudged(found)
    return render(
        request,
        "file.html",
        upload=found,
        understood=understood,
        is_at_work=share is not None,
        was_cut=found.stage == upload_store.READING and share is None,
        share=share,
        absent=list_absent(declared, understood.sensors),
        new_name=workshop.suggest_name(found),
        unjudged=unjudged,
        warnings=workshop.summarise_warnings(found),
        units={} if unjudged is None else {q: QUANTITIES[q].unit for q in unjudged.quantities},
        asked=[(q, q.choices or (ZONES if q.key == "zone" else ())) for q in understood.questions],
    )


@router.get("/files/{upload}/state")
def get_state(request: Request, upload: UploadId) -> Response:
    """Stage and share, for the page that waits."""
    found, workshop = _find(request, upload), workshop_of(request)
    share = workshop.progress.get(found.id)
    return JSONResponse({"stage": found.stage if share is not None else "ended", "share": share or 0.0})


@router.post("/files/{upload}/accept")
def accept_file(
    act: FormAct,
    upload: UploadId,
    site: Name = "",
    reason: Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL)] = "",
    units: Annotated[str, Form(max_length=5)] = "",
    bound: Annotated[list[Annotated[str, Form(max_length=200, pattern=WITHOUT_NUL)]] | None, Form()] = None,
) -> Response:
    """Declare the stations, and read the file in.

    `units`: the person says that doubtful units are right. `bound`: of each quantity that nothing judges, in the order
    in which they were shown; an empty one leaves it so.
    """
    found, workshop = _find(act.request, upload), workshop_of(act.request)
    if found.stage in {upload_store.COMING, upload_store.DONE} or found.id in workshop.progress:
        raise RefusedError(NOT_READY())
    name = (found.site if found.site and not found.is_new else site or found.site).strip()
    if not name:
        raise RefusedError(_NO_NAME())
    _require_site(act.request, name)
    unjudged = workshop.find_unjudged(found) if bound else None
    why = reason.strip() or f"stations of {found.name}"
    try:
        given = zip(() if unjudged is None else unjudged.quantities, bound or (), strict=False)
        bounds = [
            one for quantity, text in given if text.strip() for one in read_bounds(quantity, text, act.actor.name, why)
        ]
    except ConfigError as error:
        return act.back(f"/files/{upload}", error.message)
    declared, place = workshop.declare(found, name, act.actor, why, bounds)
    workshop.start(declared, place, act.actor, accept_units=bool(units))
    return RedirectResponse(f"/files/{upload}", status_code=303)


@router.post("/files/{upload}/discard")
def discard_file(act: FormAct, upload: UploadId) -> Response:
    """Remove an uploaded file; what was read in of it stays."""
    found, workshop = _find(act.request, upload), workshop_of(act.request)
    if found.id in workshop.progress:
        raise RefusedError(_IS_READ())
    workshop.shelf.discard(found)
    return act.back("/files", _DISCARDED(file=found.name))
