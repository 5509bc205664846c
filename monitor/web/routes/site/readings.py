"""Routes of readings that a person types. A value that looks like a typing error must be confirmed."""

from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from monitor.errors import RefusedError
from monitor.ingest.by_hand import ManualReading, find_doubt, find_unit, list_typed_series, store_typed
from monitor.ingest.pipeline import Pipeline
from monitor.sites.records import Site
from monitor.text.local_time import open_zone
from monitor.text.message import Message, Template
from monitor.text.numerals import has_ambiguous_comma
from monitor.text.zones import TWICE, read_local
from monitor.web.access.acting import FormAct
from monitor.web.context import WITHOUT_NUL
from monitor.web.parts.collect import SiteSnapshot, read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
# By the field `turn`: whether the later of two equal local times is meant, after the clock was set back.
IS_LATER_BY_TURN: Final = {"first": False, "second": True}
_COMMA: Final = Template("reading.comma", "a comma is read as a decimal point, this is {value} {unit}; is it right?")
_STORED: Final = Template("reading.stored", "{value} {unit} is stored for {station}")
_NO_NUMBER: Final = Template("reading.no_number", "value: expected a number, got '{value}'")
Text = Annotated[str, Form(max_length=130, pattern=WITHOUT_NUL)]


@router.get("/sites/{site}/readings", response_class=HTMLResponse)
def show_form(request: Request, site: str, series: str = "") -> HTMLResponse:
    """Show the form, with a series chosen if the address contains one."""
    with read_site(request, site) as snapshot:
        return _render_form(request, snapshot, {"series": series[:130]})


@router.post("/sites/{site}/readings", response_class=HTMLResponse)
def add_reading(
    act: FormAct,
    site: str,
    series: Text = "",
    value: Text = "",
    at: Text = "",
    sure: Text = "",
    turn: Annotated[Literal["", "first", "second"], Form()] = "",
) -> Response:
    """Store a reading. A value that looks like a typing error is stored only if it is sent again unchanged."""
    entered = {"series": series, "value": value, "at": at, "turn": turn}
    with read_site(act.request, site) as snapshot:
        declared = snapshot.require_declared()
        try:
            typed = _read_form(declared, entered)
            unit = find_unit(declared, typed)
            doubts = [find_doubt(snapshot.c, declared, typed, act.now)]
            if has_ambiguous_comma(value):
                doubts.insert(0, _COMMA(value=repr(typed.value), unit=unit))
        except RefusedError as error:
            return _render_form(act.request, snapshot, entered, trouble=error.message)
        questions = [doubt for doubt in doubts if doubt is not None]
        if questions and sure != f"{series} {value} {at}":
            return _render_form(act.request, snapshot, entered, doubts=questions)
    pipeline = Pipeline(act.db, {site: declared}, act.context.clock, act.context.config.limits, is_sure=True)
    store_typed(pipeline, declared, typed, act.actor, act.now)
    text = _STORED(value=value.strip(), unit=unit, station=typed.station)
    return act.back(f"/sites/{site}/readings?series={quote(series)}", text)


def _read_form(site: Site, entered: dict[str, str]) -> ManualReading:
    station, _, quantity = entered["series"].partition(".")
    value = float("nan")
    with suppress(ValueError):
        value = float(entered["value"].strip().replace(",", "."))
    if not isfinite(value):
        raise RefusedError(_NO_NUMBER(value=entered["value"][:40]))
    try:
        at = read_local(entered["at"], site.timezone, IS_LATER_BY_TURN.get(entered["turn"]))
    except ValueError as error:
        raise RefusedError(error.args[0]) from None
    return ManualReading(station, quantity, value, at)


def _render_form(
    request: Request,
    snapshot: SiteSnapshot,
    entered: dict[str, str],
    *,
    trouble: str = "",
    doubts: Sequence[Message] = (),
) -> HTMLResponse:
    """Return the page with the form.

    Args:
        request: The request.
        snapshot: The site.
        entered: Values of the fields.
        trouble: Why the values are refused.
        doubts: Questions to the person, if the value looks like a typing error. Sending the form again confirms it.
    """
    declared = snapshot.require_declared()
    local_now = snapshot.now.astimezone(open_zone(declared.timezone))
    values: dict[str, Any] = {"value": "", "at": f"{local_now:%Y-%m-%dT%H:%M}", "turn": "", **entered}
    response = render(
        request,
        "readings.html",
        card=snapshot.card,
        choices=list_typed_series(declared),
        entered=values,
        trouble=trouble,
        doubts=doubts,
        needs_turn=getattr(trouble, "id", "") == TWICE.id or bool(values["turn"]),
        sure=f"{values['series']} {values['value']} {values['at']}",
    )
    response.status_code = 422 if trouble else 409 if doubts else 200
    return response
