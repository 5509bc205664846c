"""How the instruments of a site do, by what they hang on, and what people say of anomalies with one tap."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BeforeValidator

from monitor.domain.language.rendering import translate_all
from monitor.store.instrument_board import BoardRow, load_board
from monitor.store.models.anomaly_labels import add_label, find_run, load_runs
from monitor.web.access.acting import Acting
from monitor.web.context import Find, InState, Name, read_instant
from monitor.web.parts.collect import STORED, read_site, require_declared
from monitor.web.parts.instruments import LISTED, collect_instruments
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


@router.post("/sites/{site}/anomalies/label", include_in_schema=False)
def label_anomaly(
    act: Acting,
    site: str,
    station: Name,
    quantity: Name,
    at: Annotated[datetime, BeforeValidator(read_instant), Form()],
    verdict: Annotated[str, Form(max_length=16)],
    cause: Annotated[str, Form(max_length=32)] = "unknown",
    seen: Annotated[int | None, Form()] = None,
    find: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Say what an anomaly was, or withdraw what was said; `seen` is the number of the newest word on the form."""
    with act.db.write() as c:
        declared = require_declared(act.context, c, site)
        run = find_run(load_runs(c, declared, act.now - LISTED, act.now), station, at, quantity)
        add_label(c, site, run, verdict, cause, act.actor, "", act.now, seen=seen)
    query = f"?{urlencode({'find': find})}" if find else ""
    return act.back(f"/sites/{site}/instruments{query}#anomalies", STORED())
