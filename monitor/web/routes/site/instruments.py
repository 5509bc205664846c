"""How the instruments of a site do, by what they hang on, and what people say of anomalies with one tap."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from forecasting.message import Template
from monitor.alerting.acts.change_control import UNREADABLE_FILE
from monitor.domain.instants import parse
from monitor.errors import RefusedError
from monitor.language.rendering import translate_all
from monitor.store.instrument_board import load_board
from monitor.store.models.anomaly_budget import set_factor
from monitor.store.models.anomaly_labels import add_label, find_run, load_runs
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.context import NO_NUL, Find, InState, context_of
from monitor.web.parts.collect import STORED, find_card
from monitor.web.parts.instruments import LISTED, collect_instruments
from monitor.web.parts.templating import render

router = APIRouter()
_ODD_INSTANT: Final = Template("anomaly.odd_instant", "at: {problem}")


@router.get("/sites/{site}/instruments", response_class=HTMLResponse, include_in_schema=False)
def show_instruments(
    request: Request,
    site: str,
    find: Find = "",
    state: InState = "",
) -> HTMLResponse:
    """The board: instruments with state, reason, battery, and what is to be done; the gravest first."""
    context = context_of(request)
    with context.db.read() as c:
        values = collect_instruments(c, context, site, find, state)
    return render(request, "instruments.html", **values)


@router.get("/api/v1/sites/{site}/instruments", tags=["sites"])
def list_instruments(request: Request, site: str) -> list[dict[str, Any]]:
    """Every instrument with state, reason, parents, battery, calibration, findings and the share of each month."""
    with context_of(request).db.read() as c:
        find_card(c, site)
        found: list[dict[str, Any]] = translate_all(load_board(c, site))
        return found


@router.post("/sites/{site}/anomalies/label", include_in_schema=False)
def label_anomaly(
    request: Request,
    site: str,
    station: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    quantity: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    at: Annotated[str, Form(max_length=40, pattern=NO_NUL)],
    verdict: Annotated[str, Form(max_length=16)],
    csrf: Annotated[str, Form()] = "",
    cause: Annotated[str, Form(max_length=32)] = "unknown",
    seen: Annotated[int | None, Form()] = None,
    find: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Say what an anomaly was, or withdraw what was said; `seen` is the number of the newest word on the form."""
    actor, context = actor_of(request, csrf), context_of(request)
    now = context.clock()
    try:
        instant = parse(at)
    except ValueError as error:
        raise RefusedError(_ODD_INSTANT(problem=str(error))) from error
    with context.db.write() as c:
        declared = context.declared(c, find_card(c, site))
        if declared is None:
            raise RefusedError(UNREADABLE_FILE(site=site))
        run = find_run(load_runs(c, declared, now - LISTED, now), station, instant, quantity)
        add_label(c, site, run, verdict, cause, actor, "", now, seen=seen)
    asked = f"?{urlencode({'find': find})}" if find else ""
    return go_back(request, f"/sites/{site}/instruments{asked}#anomalies", STORED())


@router.post("/sites/{site}/anomalies/factor", include_in_schema=False)
def put_back_factor(
    request: Request,
    site: str,
    detector: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    reason: Annotated[str, Form(max_length=2000, pattern=NO_NUL)],
    csrf: Annotated[str, Form()] = "",
) -> Response:
    """Put a threshold that people's words raised back to the counted one."""
    actor, context = actor_of(request, csrf), context_of(request)
    with context.db.write() as c:
        declared = context.declared(c, find_card(c, site))
        if declared is None:
            raise RefusedError(UNREADABLE_FILE(site=site))
        set_factor(c, declared, detector, 1.0, actor, reason, context.clock())
    return go_back(request, f"/sites/{site}/instruments#anomalies", STORED())
