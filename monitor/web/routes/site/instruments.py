"""How the instruments of a site do, by what they hang on, and what people say of anomalies with one tap."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from monitor.domain.instants import parse
from monitor.domain.instruments.board import CAUSES
from monitor.domain.instruments.parents import Parent
from monitor.errors import RefusedError
from monitor.language.sayings import say_all
from monitor.reports.pictures import draw_line
from monitor.store.instrument_board import load_board
from monitor.store.models.anomalies import load_held
from monitor.store.models.anomaly_budget import describe_rate, load_newest, read_rate, set_factor
from monitor.store.models.anomaly_labels import add_label, find_run, load_runs
from monitor.store.models.point_looks import load_looks
from monitor.store.readings.gaps import load_gaps
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.context import NO_NUL, context_of
from monitor.web.parts.collect import find_card
from monitor.web.parts.templating import render

router = APIRouter()
LISTED: Final = timedelta(days=14)  # anomalies that a person is asked about
LISTED_AT_MOST: Final = 60
LOOKS: Final = 4  # at satellite points
WIDTH, HEIGHT = 120.0, 28.0  # of a small picture


@router.get("/sites/{site}/instruments", response_class=HTMLResponse, include_in_schema=False)
def show_instruments(request: Request, site: str) -> HTMLResponse:
    """The board: every instrument with state, reason, battery, and what is to be done."""
    context = context_of(request)
    now = context.clock()
    with context.db.read() as c:
        card = find_card(c, site)
        rows = load_board(c, site)
        declared = context.declared(c, card)
        runs = [] if declared is None else load_runs(c, declared, now - LISTED, now)
        gaps = load_gaps(c, site, now - LISTED, now)
        held = load_held(c, site, now - LISTED, now)
        looks = load_looks(c, site, LOOKS)
        budgets = [
            (row, describe_rate(read_rate(row), row.labelled)) for _, row in sorted(load_newest(c, site).items())
        ]
    groups = [(parent, list(mine)) for parent, mine in groupby(rows, key=lambda r: str(r["parent"]))]
    return render(
        request, "instruments.html", card=card, groups=[describe_group(p, mine, now) for p, mine in groups],
        runs=runs[::-1][:LISTED_AT_MOST], held=held[:LISTED_AT_MOST], looks=looks, listed=LISTED_AT_MOST, causes=CAUSES,
        gaps=gaps[::-1][:LISTED_AT_MOST], budgets=budgets,
        unwell=sum(r["state"] not in {"ok", "unknown"} for r in rows), total=len(rows),
    )  # fmt: skip


@router.get("/api/v1/sites/{site}/instruments", tags=["sites"])
def list_instruments(request: Request, site: str) -> list[dict[str, Any]]:
    """Every instrument with state, reason, parents, battery, calibration, findings and the share of each month."""
    with context_of(request).db.read() as c:
        find_card(c, site)
        found: list[dict[str, Any]] = say_all(load_board(c, site))
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
) -> Response:
    """Say what an anomaly was."""
    actor, context = actor_of(request, csrf), context_of(request)
    now = context.clock()
    try:
        instant = parse(at)
    except ValueError as error:
        raise RefusedError(f"at: {error}") from error
    with context.db.write() as c:
        declared = context.declared(c, find_card(c, site))
        if declared is None:
            raise RefusedError(f"the file of site {site} cannot be read by this program")
        run = find_run(load_runs(c, declared, now - LISTED, now), station, instant, quantity)
        add_label(c, site, run, verdict, cause, actor, "", now)
    return go_back(request, f"/sites/{site}/instruments#anomalies", "stored")


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
            raise RefusedError(f"the file of site {site} cannot be read by this program")
        set_factor(c, declared, detector, 1.0, actor, reason, context.clock())
    return go_back(request, f"/sites/{site}/instruments#anomalies", "stored")


def describe_group(parent: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Instruments under one parent: how many are well, the page that speaks for all of them, and each one's figures."""
    pages = sorted({r["parent_alert_id"] for r in rows if r["parent_alert_id"] is not None})
    return {
        "parent": parent, "ok": sum(r["state"] == "ok" for r in rows), "rows": [describe_row(r, now) for r in rows],
        "pages": pages, "above": _name_above(rows, parent),
    }  # fmt: skip


def _name_above(rows: Sequence[Mapping[str, Any]], parent: str) -> list[str]:
    kinds = ("base", "gateway", "power")
    found = dict.fromkeys(str(Parent(k, str(r[k]))) for k in kinds for r in rows if r[k])
    return [name for name in found if name != parent]


def describe_row(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A row with its small picture and the days that its battery lasts."""
    spark = json.loads(row["spark"]) if row["spark"] else []
    empty = None if row["battery_empty_at"] is None else parse(row["battery_empty_at"])
    left = None if empty is None else max(0, round((empty - now) / timedelta(days=1)))
    others = [f for f in row["findings"] if f["state"] != row["state"]]
    return {**row, "path": draw_line(spark, WIDTH, HEIGHT), "days_left": left, "others": others}
