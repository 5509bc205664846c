"""The page of drills of a site: a form to hold a drill, and the outcomes of earlier drills."""

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
    """Show the form to hold a drill, and the drills of a site, newest first."""
    with read_site(request, site) as snapshot:
        drills = load_drills(snapshot.c, site)[:SHOWN]
    is_running = any(drill.state == RUNNING for drill in drills)
    return render(request, "drills.html", card=snapshot.card, drills=drills, is_running=is_running)
