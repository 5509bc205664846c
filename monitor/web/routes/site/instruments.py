"""How the instruments of a site do, by what they hang on, and what people say of anomalies with one tap."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from monitor.domain.language.rendering import translate_all
from monitor.store.instrument_board import BoardRow, load_board
from monitor.web.context import Find, InState
from monitor.web.parts.collect import read_site
from monitor.web.parts.instruments import collect_instruments
from monitor.web.parts.templating import render

router = APIRouter()


@router.get("/sites/{site}/instruments", response_class=HTMLResponse, include_in_schema=False)
def show_instruments(request: Request, site: str, find: Find = "", state: InState = "") -> HTMLResponse:
    """The board: instruments with state, reason, battery, and what is to be done; the gravest first."""
    with read_site(request, site) as seen:
        values = collect_instruments(seen, find, state)
    return render(request, "instruments.html", **values)


@router.get("/api/v1/sites/{site}/instruments", tags=["sites"], response_model=list[dict[str, Any]])
def list_instruments(request: Request, site: str) -> list[BoardRow]:
    """Every instrument with state, reason, parents, battery, calibration, findings and the share of each month."""
    with read_site(request, site) as seen:
        return translate_all(load_board(seen.c, site))
