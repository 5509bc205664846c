"""Pages for uploaded tables: send them in parts, preview them, answer questions, accept and store them."""

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
from monitor.features.table_import.folder import select_answers
from monitor.features.table_import.guess.preview import PreviewResult
from monitor.features.table_import.guess.site_file import read_bounds
from monitor.features.table_import.processing import NOT_READY, UploadProcessor, list_absent
from monitor.features.table_import.upload_store import Upload, answered

router = APIRouter(include_in_schema=False)
_MAKING: Final = threading.Lock()
UploadId = Annotated[str, Path(max_length=32)]
_NOT_YOURS: Final = Template("file.not_your_site", "you may not store readings at '{site}'")
_TAKES_ADMIN: Final = Template("file.takes_admin", "only an admin of all sites can create a site")
_NO_NAME: Final = Template("file.no_name", "a new site needs a name")
_IS_READ: Final = Template("file.is_read", "this file is being stored; wait until it is done")
_DISCARDED: Final = Template("file.discarded", "{file} is discarded")
ZONES = (
    *("UTC", "Etc/GMT-1", "Europe/Rome", "Europe/Zurich", "Europe/Berlin", "Europe/Vienna", "Europe/Paris"),
    *("Europe/London", "Europe/Madrid", "Asia/Shanghai", "Asia/Tokyo", "Asia/Kathmandu"),
    *("America/Los_Angeles", "America/New_York", "America/Lima", "Pacific/Auckland"),
)


def processor_of(request: Request) -> UploadProcessor:
    """Return the processor of the application."""
    state = request.app.state
    with _MAKING:
        if not hasattr(state, "upload_processor"):
            state.upload_processor = UploadProcessor(state.context)
        found: UploadProcessor = state.upload_processor
    return found


def _find(request: Request, upload_id: str) -> Upload:
    return processor_of(request).store.find(upload_id, require_caller(request).name)


def _may_add_site(caller: Caller) -> bool:
    return caller.role == "admin" and caller.sites is None


def _require_site(request: Request, site: str) -> None:
    """Require that the account may store readings at a site. Only an admin of all sites may create one.

    Raises:
        NotAllowedError: The site exists, and the account may not act on it.
        RefusedError: The site is new, and the account is no admin of all sites.
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
    """Show the form for files, and the files of the account."""
    caller, processor = require_caller(request), processor_of(request)
    with context_of(request).db.read() as c:
        sites = [(one.id, one.name) for one in load_sites_summary(c) if caller.acts_on(one.id)]
    return render(
        request,
        "files.html",
        sites=sites,
        may_add=_may_add_site(caller),
        uploads=processor.store.list_of(caller.name),
        most_bytes=processor.store.most_bytes,
        part_bytes=LARGEST_PART_BYTES,
    )


@router.post("/files")
def begin_file(
    act: FormAct,
    name: Annotated[str, Form(max_length=500, pattern=WITHOUT_NUL)] = "",
    size: Annotated[int, Form()] = 0,
    site: Name = "",
    batch: Annotated[str, Form(pattern=f"{upload_store.ID}|^$")] = "",
) -> Response:
    """Create a place for a file, whose parts follow; `batch` is the id of the first file that was sent with it."""
    _require_site(act.request, site)
    made = processor_of(act.request).store.begin(act.actor.name, name, size, site, batch)
    return JSONResponse({"id": made.id}, status_code=201)


@router.post("/files/{upload}/part")
async def take_part(request: Request, upload: UploadId, at: int = 0) -> Response:
    """Append bytes to a file."""
    content = await request.body()
    return await run_in_threadpool(_take_part, request, upload, at, content)


def _take_part(request: Request, upload: str, at: int, content: bytes) -> Response:
    actor_of(request, request.headers.get("x-csrf-token", ""))
    found = _find(request, upload)
    return JSONResponse({"received": processor_of(request).store.add_part(found, at, content)})


@router.post("/files/{upload}/answers")
def answer_questions(
    act: FormAct,
    upload: UploadId,
    answer: Annotated[list[Annotated[str, Form(max_length=200, pattern=WITHOUT_NUL)]] | None, Form()] = None,
    again: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Preview the files of a batch with the answers, which stand in the order of the questions that were shown.

    Args:
        again: Whether earlier answers are dropped.
    """
    found, processor = _find(act.request, upload), processor_of(act.request)
    questions = processor.list_questions(found)
    if not questions and processor.load_result(found) is None:
        return _preview_first(act, found)
    given = {shared.key: text for shared, text in zip(questions, answer or (), strict=False)}
    trouble = ""
    for one in processor.list_open(found):
        before = processor.load_result(one)
        open_keys = set() if before is None else {question.key for question in before.questions}
        own = {key: text for key, text in select_answers(given, one.name).items() if key in open_keys}
        if own or again:
            _, previewed = processor.preview(one, {} if again else answered(one, own))
            trouble = trouble or previewed.trouble
    return act.back(f"/files/{upload}", trouble)


def _preview_first(act: FormAct, upload: Upload) -> Response:
    """Preview a file that was just sent. One that is no table is removed."""
    processor = processor_of(act.request)
    previewed, found = processor.preview(upload, {})
    if found.trouble:
        processor.store.discard(previewed)
        return act.back("/files", found.trouble)
    return act.back(f"/files/{upload.id}", "")


@router.get("/files/{upload}", response_class=HTMLResponse)
def show_file(request: Request, upload: UploadId) -> HTMLResponse:
    """Show a file of a batch: its preview, the open questions, how it is accepted, and what was stored."""
    found, processor = _find(request, upload), processor_of(request)
    # The share is read before the record. If the file is finished in between, this page still shows it at work, and the
    # next request shows it as finished.
    share = processor.progress.get(found.id)
    preview = processor.load_result(found) or PreviewResult()
    merged = processor.merge_results(found)
    with context_of(request).db.read() as c:
        site = processor.find_site(c, found.site)
    unjudged = processor.find_unjudged(found)
    return render(
        request,
        "file.html",
        upload=found,
        batch=processor.store.list_batch(found),
        understood=preview,
        is_at_work=share is not None,
        was_cut=found.stage == upload_store.STORING and share is None,
        share=share,
        is_answered=merged is not None,
        absent=[] if merged is None else list_absent(site, merged.sensors),
        new_name=processor.suggest_name(found),
        unjudged=unjudged,
        warnings=processor.summarise_warnings(found),
        units={} if unjudged is None else {q: QUANTITIES[q].unit for q in unjudged.quantities},
        asked=[
            (shared, shared.question.choices or (ZONES if shared.question.key == "zone" else ()))
            for shared in processor.list_questions(found)
        ],
    )


@router.get("/files/{upload}/state")
def get_state(request: Request, upload: UploadId) -> Response:
    """Return stage and share that is done, for the page that waits."""
    found, processor = _find(request, upload), processor_of(request)
    share = processor.progress.get(found.id)
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
    """Declare the stations of a batch, and store its files.

    Args:
        units: Whether the person confirms that doubtful units are right.
        bound: The bounds of each quantity that nothing judges, in the order in which they were shown; may be empty.
    """
    found, processor = _find(act.request, upload), processor_of(act.request)
    if found.stage in {upload_store.COMING, upload_store.DONE} or found.id in processor.progress:
        raise RefusedError(NOT_READY())
    name = (found.site if found.site and not found.is_new else site or found.site).strip()
    if not name:
        raise RefusedError(_NO_NAME())
    _require_site(act.request, name)
    unjudged = processor.find_unjudged(found) if bound else None
    why = reason.strip() or f"stations of {found.name}"
    try:
        given = zip(() if unjudged is None else unjudged.quantities, bound or (), strict=False)
        bounds = [
            one for quantity, text in given if text.strip() for one in read_bounds(quantity, text, act.actor.name, why)
        ]
    except ConfigError as error:
        return act.back(f"/files/{upload}", error.message)
    declared, declared_site = processor.declare(found, name, act.actor, why, bounds)
    for one in declared:
        processor.start(one, declared_site, act.actor, accept_units=bool(units))
    return RedirectResponse(f"/files/{upload}", status_code=303)


@router.post("/files/{upload}/discard")
def discard_file(act: FormAct, upload: UploadId) -> Response:
    """Remove an uploaded file; its stored readings stay."""
    found, processor = _find(act.request, upload), processor_of(act.request)
    if found.id in processor.progress:
        raise RefusedError(_IS_READ())
    processor.store.discard(found)
    return act.back("/files", _DISCARDED(file=found.name))
