"""Readings that a person types: a form, a question if the value looks like a typing error, and the stored value."""

import re
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
from monitor.text.message import Template
from monitor.text.zones import TWICE, read_local
from monitor.web.access.acting import FormAct
from monitor.web.context import WITHOUT_NUL
from monitor.web.parts.collect import SiteSnapshot, read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
LATER: Final = {"first": False, "second": True}
_COMMA: Final = Template("reading.comma", "a comma is read as a decimal point, this is {value} {unit}; is it right?")
_STORED: Final = Template("reading.stored", "{value} {unit} is stored for {station}")
_NO_NUMBER: Final = Template("reading.no_number", "value: expected a number, got '{value}'")
THOUSANDS: Final = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
Text = Annotated[str, Form(max_length=130, pattern=WITHOUT_NUL)]


@router.get("/sites/{site}/readings", response_class=HTMLResponse)
def show_instants(request: Request, site: str, series: str = "") -> HTMLResponse:
    """Show the form."""
    with read_site(request, site) as seen:
        return _form(request, seen, {"series": series[:130]})


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
    written = {"series": series, "value": value, "at": at, "turn": turn}
    with read_site(act.request, site) as seen:
        place = seen.require_declared()
        try:
            typed = _read(place, written)
            unit = find_unit(place, typed)
            doubt = find_doubt(seen.c, place, typed, act.now)
            if THOUSANDS.fullmatch(value.strip()):
                doubt = _COMMA(value=repr(typed.value), unit=unit)
        except RefusedError as error:
            return _form(act.request, seen, written, trouble=error.message)
        if doubt and sure != f"{series} {value} {at}":
            return _form(act.request, seen, written, doubt=doubt)
    pipeline = Pipeline(act.db, {site: place}, act.context.clock, act.context.config.limits, is_sure=True)
    store_typed(pipeline, place, typed, act.actor, act.now)
    text = _STORED(value=value.strip(), unit=unit, station=typed.station)
    return act.back(f"/sites/{site}/readings?series={quote(series)}", text)


def _read(site: Site, written: dict[str, str]) -> ManualReading:
    station, _, quantity = written["series"].partition(".")
    value = float("nan")
    with suppress(ValueError):
        value = float(written["value"].strip().replace(",", "."))
    if not isfinite(value):
        raise RefusedError(_NO_NUMBER(value=written["value"][:40]))
    try:
        at = read_local(written["at"], site.timezone, LATER.get(written["turn"]))
    except ValueError as error:
        raise RefusedError(error.args[0]) from None
    return ManualReading(station, quantity, value, at)


def _form(
    request: Request, seen: SiteSnapshot, written: dict[str, str], *, trouble: str = "", doubt: str = ""
) -> HTMLResponse:
    place = seen.require_declared()
    clock = seen.now.astimezone(open_zone(place.timezone))
    shown: dict[str, Any] = {"value": "", "at": f"{clock:%Y-%m-%dT%H:%M}", "turn": "", **written}
    answer = render(
        request,
        "readings.html",
        card=seen.card,
        choices=list_typed_series(place),
        written=shown,
        trouble=trouble,
        doubt=doubt,
        asks_turn=getattr(trouble, "id", "") == TWICE.id or bool(shown["turn"]),
        sure=f"{shown['series']} {shown['value']} {shown['at']}",
    )
    answer.status_code = 422 if trouble else 409 if doubt else 200
    return answer
