"""Routes of the page of instruments, which groups them by logger, base, gateway and power supply."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse

from monitor.api.text import translate_all
from monitor.api.web import read_site, render_parts_as_json
from monitor.api.web import render_page as render
from monitor.features.instruments.page import collect_instruments
from monitor.features.instruments.queries.board import BoardRow, load_present_board

router = APIRouter()
Find = Annotated[str, Query(max_length=64)]  # part of the name of an instrument or of its parent
InState = Annotated[str, Query(max_length=16)]


@router.get("/sites/{site}/instruments", response_class=HTMLResponse, include_in_schema=False)
def show_instruments(request: Request, site: str, find: Find = "", state: InState = "") -> HTMLResponse:
    """Return the page of instruments: state, reason, battery and what to do. The most severe state is first."""
    with read_site(request, site) as seen:
        values = collect_instruments(seen, find, state)
    return render(request, "instruments.html", **values)


@router.get("/live/sites/{site}/instruments", include_in_schema=False)
def refresh_instruments(request: Request, site: str, find: Find = "", state: InState = "") -> JSONResponse:
    """Return the parts of the page that change, with the same filter."""
    with read_site(request, site) as seen:
        values = collect_instruments(seen, find, state)
    return render_parts_as_json(request, ("board", "added"), values)


@router.get("/api/v1/sites/{site}/instruments", tags=["sites"], response_model=list[dict[str, Any]])
def list_instruments(request: Request, site: str) -> list[BoardRow]:
    """Return each instrument with state, reason, parents, battery, calibration, findings and monthly availability."""
    with read_site(request, site) as seen:
        return translate_all(load_present_board(seen.c, site, seen.now))
