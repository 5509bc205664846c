"""Refreshes: the changing parts of a page as JSON."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from monitor.text.instants import format_iso
from monitor.web.access.callers import person_of
from monitor.web.access.redaction import redactor_of, trouble_for
from monitor.web.access.rules import find_readable_sites
from monitor.web.context import AlertId, context_of
from monitor.web.parts.collect import collect_alert, collect_overview, collect_site_parts
from monitor.web.parts.templating import render_part, service_banner, share

router = APIRouter(prefix="/live", include_in_schema=False)


def render_parts_as_json(request: Request, names: tuple[str, ...], values: Mapping[str, object]) -> JSONResponse:
    """Parts of a page, `parts/NAME.html`, with the banner."""
    context, trouble = context_of(request), trouble_for(request)
    now = context.clock()
    shared = share(request, person_of(request), service_banner(context, now, trouble), trouble)
    parts = {name: render_part(f"parts/{name}.html", now, {**shared, **values}) for name in ("banner", *names)}
    return JSONResponse({"now": format_iso(now), "parts": parts})


@router.get("/overview")
def refresh_overview(request: Request) -> JSONResponse:
    """Parts of the overview."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(
            collect_overview(c, find_readable_sites(request, None), context.clock())
        )
    return render_parts_as_json(request, ("cards", "ledgers"), values)


@router.get("/sites/{site}")
def refresh_site(request: Request, site: str) -> JSONResponse:
    """Parts of a site page."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(collect_site_parts(c, site, context.clock()))
    return render_parts_as_json(request, ("status", "movement", "ledgers", "stations"), values)


@router.get("/alerts/{alert_id}")
def refresh_alert(request: Request, alert_id: AlertId) -> JSONResponse:
    """Parts of an alert page."""
    with context_of(request).db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context_of(request).clock())
    return render_parts_as_json(request, ("alert_head", "alert_notified", "alert_chain"), values)
