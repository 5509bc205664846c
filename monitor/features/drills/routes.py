"""Drills of a site: the form that holds one, and how quickly people answered."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from monitor.api.web import read_site
from monitor.api.web import render_page as render
from monitor.features.drills.queries import RUNNING, load_drills

router = APIRouter(include_in_schema=False)
SHOWN: Final = 20


@router.get("/sites/{site}/drills", response_class=HTMLResponse)
def show_drills(request: Request, site: str) -> HTMLResponse:
    """Drills of a site, the newest first, and the form that holds one."""
    with read_site(request, site) as seen:
        drills = load_drills(seen.c, site)[:SHOWN]
    running = any(one.state == RUNNING for one in drills)
    return render(request, "drills.html", card=seen.card, drills=drills, is_running=running)
