"""Readings typed by a person: a form, a question where the figure looks like a slip, and what was stored."""

import re
from contextlib import suppress
from math import isfinite
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection

from forecasting.message import Template
from monitor.alerting.acts.change_control import UNREADABLE_FILE
from monitor.domain.duty.local_time import TWICE, read_local
from monitor.domain.site import Site
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.by_hand import Typed, find_doubt, find_unit, list_typed_series, store_typed
from monitor.ingest.pipeline import Pipeline
from monitor.language.local_time import open_zone
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.context import NO_NUL, context_of
from monitor.web.parts.collect import find_card
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
LATER: Final = {"first": False, "second": True}
_COMMA: Final = Template("reading.comma", "a comma is read as a decimal point, this is {value} {unit}; is it right?")
_STORED: Final = Template("reading.stored", "{value} {unit} is stored for {station}")
_NO_NUMBER: Final = Template("reading.no_number", "value: expected a number, got '{value}'")
THOUSANDS: Final = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
Text = Annotated[str, Form(max_length=130, pattern=NO_NUL)]


@router.get("/sites/{site}/readings", response_class=HTMLResponse)
def show_readings(request: Request, site: str, series: str = "") -> HTMLResponse:
    """The form."""
    with context_of(request).db.read() as c:
        return _form(request, c, site, {"series": series[:130]})


@router.post("/sites/{site}/readings", response_class=HTMLResponse)
def add_reading(
    request: Request, site: str, csrf: Annotated[str, Form()], series: Text = "", value: Text = "", at: Text = "",
    turn: Annotated[Literal["", "first", "second"], Form()] = "",
    sure: Annotated[str, Form(max_length=130, pattern=NO_NUL)] = "",
) -> Response:  # fmt: skip
    """Store a reading; one that looks like a slip is asked about first, and has to be sent again as it is."""
    actor, context = actor_of(request, csrf), context_of(request)
    written = {"series": series, "value": value, "at": at, "turn": turn}
    now = context.clock()
    with context.db.read() as c:
        place = _in_force(request, c, site)
        try:
            typed = _read(place, written)
            unit = find_unit(place, typed)
            doubt = find_doubt(c, place, typed, now)
            if THOUSANDS.fullmatch(value.strip()):
                doubt = _COMMA(value=repr(typed.value), unit=unit)
        except RefusedError as error:
            return _form(request, c, site, written, trouble=error.message)
        if doubt and sure != f"{series} {value} {at}":
            return _form(request, c, site, written, doubt=doubt)
    pipeline = Pipeline(context.db, {site: place}, context.clock, context.config.limits, is_sure=True)
    store_typed(pipeline, place, typed, actor, now)
    told = _STORED(value=value.strip(), unit=unit, station=typed.station)
    return go_back(request, f"/sites/{site}/readings?series={quote(series)}", told)


def _read(site: Site, written: dict[str, str]) -> Typed:
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
    return Typed(station, quantity, value, at)


def _in_force(request: Request, c: Connection, site: str) -> Site:
    found = context_of(request).declared(c, find_card(c, site))
    if found is None:
        raise NotFoundError(UNREADABLE_FILE(site=site))
    return found


def _form(
    request: Request, c: Connection, site: str, written: dict[str, str], *, trouble: str = "", doubt: str = "",
) -> HTMLResponse:  # fmt: skip
    place, now = _in_force(request, c, site), context_of(request).clock()
    clock = now.astimezone(open_zone(place.timezone))
    shown: dict[str, Any] = {"value": "", "at": f"{clock:%Y-%m-%dT%H:%M}", "turn": "", **written}
    answer = render(
        request, "readings.html", card=find_card(c, site), choices=list_typed_series(place), written=shown,
        trouble=trouble, doubt=doubt, asks_turn=getattr(trouble, "id", "") == TWICE.id or bool(shown["turn"]),
        sure=f"{shown['series']} {shown['value']} {shown['at']}",
    )  # fmt: skip
    answer.status_code = 422 if trouble else 409 if doubt else 200
    return answer
