"""How the instruments of a site do, by what they hang on, and what people say of anomalies with one tap."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from monitor.domain.instants import parse
from monitor.domain.instruments.board import CAUSES, RANKS
from monitor.domain.instruments.parents import Parent
from monitor.errors import RefusedError
from monitor.language.sayings import say_all
from monitor.reports.pictures import draw_line
from monitor.store.instrument_board import load_board
from monitor.store.models.anomalies import load_held
from monitor.store.models.anomaly_budget import describe_rate, load_newest, read_rate, set_factor
from monitor.store.models.anomaly_labels import add_label, find_run, load_runs
from monitor.store.models.point_forecasts import load_newest_issues
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
FEW: Final = 40  # instruments that are all shown unasked; of more, those that need something
CARDS_AT_MOST: Final = 120
UNWELL, EVERY = "unwell", "all"  # what may be asked for beside a state
LOOKS: Final = 4  # at satellite points
WIDTH, HEIGHT = 120.0, 28.0  # of a small picture


@router.get("/sites/{site}/instruments", response_class=HTMLResponse, include_in_schema=False)
def show_instruments(
    request: Request,
    site: str,
    find: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=16)] = "",
) -> HTMLResponse:
    """The board: instruments with state, reason, battery, and what is to be done; the gravest first."""
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
        ahead = load_newest_issues(c, site)
        budgets = [
            (row, describe_rate(read_rate(row), row.labelled)) for _, row in sorted(load_newest(c, site).items())
        ]
    states = {str(r["state"]) for r in rows} | {str(f["state"]) for r in rows for f in r["findings"]}
    unwell = sum(map(_is_unwell, rows))
    if find.strip() and state in {"", UNWELL}:
        state = EVERY  # who asks for a name wants it, well or not
    state = state or (UNWELL if len(rows) > FEW and unwell else EVERY)
    asked = pick_rows(rows, find, state)
    runs, gaps = runs[::-1], gaps[::-1]
    if find.strip():
        named = {str(r["instrument"]) for r in pick_rows(rows, find, EVERY)}
        runs = [one for one in runs if one.station in named]
        gaps = [one for one in gaps if one.station in named]
        held = [one for one in held if one.station in named]
    return render(
        request, "instruments.html", card=card, groups=list_groups(asked[:CARDS_AT_MOST], rows, now),
        left_out=max(0, len(asked) - CARDS_AT_MOST), asked=len(asked), find=find, state=state,
        states=sorted(states - {"ok", "unknown"}, key=lambda s: RANKS.get(s, len(RANKS))),
        runs=runs[:LISTED_AT_MOST], held=held[:LISTED_AT_MOST], gaps=gaps[:LISTED_AT_MOST],
        left_runs=len(runs) - LISTED_AT_MOST, left_held=len(held) - LISTED_AT_MOST,
        left_gaps=len(gaps) - LISTED_AT_MOST,
        looks=looks, ahead=ahead, listed=LISTED_AT_MOST, causes=CAUSES, budgets=budgets, unwell=unwell, total=len(rows),
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
    seen: Annotated[int | None, Form()] = None,
    find: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Say what an anomaly was, or withdraw what was said; `seen` is the number of the newest word on the form."""
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
        add_label(c, site, run, verdict, cause, actor, "", now, seen=seen)
    asked = f"?{urlencode({'find': find})}" if find else ""
    return go_back(request, f"/sites/{site}/instruments{asked}#anomalies", "stored")


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


def pick_rows(rows: Sequence[Mapping[str, Any]], find: str, state: str) -> list[Mapping[str, Any]]:
    """Instruments of a name or with a parent of that name, in a state; the gravest first."""
    wanted = find.strip().casefold()
    found = [
        r for r in rows
        if any(wanted in str(r[key] or "").casefold() for key in ("instrument", "logger", "base", "gateway", "power"))
        and (
            state == EVERY
            or (state == UNWELL and _is_unwell(r))
            or state in {r["state"], *(f["state"] for f in r["findings"])}
        )
    ]  # fmt: skip
    return sorted(found, key=_rank)


def list_groups(
    shown: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:  # fmt: skip
    """What is shown by parent, that of the gravest first; how many of each parent are well, and the page for all."""
    every: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        every.setdefault(str(row["parent"]), []).append(row)
    mine: dict[str, list[Mapping[str, Any]]] = {}
    for row in shown:
        mine.setdefault(str(row["parent"]), []).append(row)
    return [
        {
            "parent": parent, "ok": sum(r["state"] == "ok" for r in every[parent]), "total": len(every[parent]),
            "rows": [describe_row(r, now) for r in those], "above": _name_above(every[parent], parent),
            "pages": sorted({r["parent_alert_id"] for r in every[parent] if r["parent_alert_id"] is not None}),
        }
        for parent, those in mine.items()
    ]  # fmt: skip


def _is_unwell(row: Mapping[str, Any]) -> bool:
    return row["state"] not in {"ok", "unknown"}


def _rank(row: Mapping[str, Any]) -> tuple[bool, int]:
    return not _is_unwell(row), RANKS.get(str(row["state"]), len(RANKS))


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
    is_told = any(row["battery_method"] and row["battery_method"] in f["reason"] for f in row["findings"])
    return {
        **row, "path": draw_line(spark, WIDTH, HEIGHT), "days_left": left, "others": others,
        "battery_method": "" if is_told else row["battery_method"],
    }  # fmt: skip
