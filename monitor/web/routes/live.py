"""Routes that keep an open page current: its changing parts as JSON, and a stream of events that announces changes."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from monitor.text.instants import format_iso
from monitor.text.message import Template
from monitor.text.rendering import translate
from monitor.web.access.callers import SERVICE_ALERTS, caller_of, find_visible_sites, is_caller_unchanged, person_of
from monitor.web.access.connection_limits import network_of
from monitor.web.access.redaction import redactor_of, trouble_for
from monitor.web.access.rules import find_readable_sites
from monitor.web.change_stream import ChangeHub, ChangeStreamResponse, Sites, StreamLimitError
from monitor.web.context import AlertId, context_of
from monitor.web.parts.collect import collect_alert, collect_overview, collect_site_parts, find_card
from monitor.web.parts.templating import render_part, service_banner, share

router = APIRouter(prefix="/live", include_in_schema=False)
_TOO_MANY_OF_CALLER: Final = Template(
    "live.too_many_of_caller", "too many pages with live updates are open for you; this page is refreshed every 10 s"
)
_TOO_MANY: Final = Template(
    "live.too_many", "too many pages with live updates are open; this page is refreshed every 10 s"
)
_RETRY_AFTER_S: Final = 60


def _read_last_event_id(
    header: Annotated[str, Header(alias="Last-Event-ID", max_length=64)] = "",
    query: Annotated[str, Query(alias="last-event-id", max_length=64)] = "",
) -> str:
    """Return the id of the last event that the browser received.

    A browser sends the header when it reconnects by itself. A script that opens a new stream cannot set headers and
    sends the query parameter.
    """
    return header or query


LastEventId = Annotated[str, Depends(_read_last_event_id)]


def render_parts_as_json(request: Request, names: tuple[str, ...], values: Mapping[str, object]) -> JSONResponse:
    """Return the parts `parts/NAME.html` of a page and the banner as JSON, with the time of the server."""
    context = context_of(request)
    trouble = trouble_for(request)
    now = context.clock()
    banner = service_banner(context, now, trouble)
    shared = share(request, person_of(request), banner, trouble)
    parts = {name: render_part(f"parts/{name}.html", now, {**shared, **values}) for name in ("banner", *names)}
    return JSONResponse({"now": format_iso(now), "parts": parts})


@router.get("/overview")
def refresh_overview(request: Request) -> JSONResponse:
    """Return the parts of the overview."""
    context = context_of(request)
    with context.db.read() as connection:
        overview = collect_overview(connection, find_readable_sites(request, None), context.clock())
        values = redactor_of(request, connection).cover_service(overview)
    return render_parts_as_json(request, ("cards", "ledgers"), values)


@router.get("/sites/{site}")
def refresh_site(request: Request, site: str) -> JSONResponse:
    """Return the parts of a site page."""
    context = context_of(request)
    with context.db.read() as connection:
        parts = collect_site_parts(connection, site, context.clock())
        values = redactor_of(request, connection).cover_service(parts)
    return render_parts_as_json(request, ("status", "movement", "ledgers", "stations"), values)


@router.get("/alerts/{alert_id}")
def refresh_alert(request: Request, alert_id: AlertId) -> JSONResponse:
    """Return the parts of an alert page."""
    context = context_of(request)
    with context.db.read() as connection:
        values = collect_alert(connection, alert_id, redactor_of(request, connection), context.clock(), context.config)
    return render_parts_as_json(request, ("alert_head", "alert_notified", "alert_chain"), values)


@router.get("/changes")
async def stream_changes(request: Request, last_event_id: LastEventId) -> Response:
    """Stream the changes of all sites that the caller may read, as server-sent events."""
    sites = await run_in_threadpool(find_visible_sites, request)
    return await _open_stream(request, sites, last_event_id)


@router.get("/sites/{site}/changes")
async def stream_site_changes(request: Request, site: str, last_event_id: LastEventId) -> Response:
    """Stream the changes of one site as server-sent events; `status` means the service itself.

    Raises:
        NotFoundError: There is no such site.
    """
    if site != SERVICE_ALERTS:
        await run_in_threadpool(context_of(request).db.run_read, find_card, site)
    return await _open_stream(request, frozenset({site, SERVICE_ALERTS}), last_event_id)


async def _open_stream(request: Request, sites: Sites, last_event_id: str) -> Response:
    hub: ChangeHub = request.app.state.change_hub
    # The session is read from the database, which may block.
    caller = await run_in_threadpool(caller_of, request)
    address = request.client.host if request.client else ""
    name = f"account {caller.name}" if caller is not None else f"network {network_of(address)}"
    try:
        stream = hub.open(name, sites, last_event_id, partial(is_caller_unchanged, request))
    except StreamLimitError as error:
        status, text = (429, _TOO_MANY_OF_CALLER()) if error.is_of_caller else (503, _TOO_MANY())
        return JSONResponse({"error": translate(text)}, status, headers={"Retry-After": str(_RETRY_AFTER_S)})
    return ChangeStreamResponse(stream)
