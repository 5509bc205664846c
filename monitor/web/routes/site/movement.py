"""How a slope moves and why its level is what it is: one page, and the figures behind its pictures for programs."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from forecasting.message import Template
from monitor.alerting.decision.evaluate import evaluate_site
from monitor.criteria.cost import ROWS_WARN, count_rows
from monitor.domain.instants import spell
from monitor.domain.quantities import OF_GROUND
from monitor.domain.site import Site
from monitor.errors import NotFoundError
from monitor.language.rendering import translate_all
from monitor.store import pages
from monitor.store.alerting import timeline
from monitor.store.models.seasons import list_with_day, load_season
from monitor.store.readings.observations import load_stations
from monitor.web.context import Context, Season
from monitor.web.parts.collect import read_site
from monitor.web.parts.evidence import read_told
from monitor.web.parts.templating import render
from monitor.web.routes.site.charts import read_range
from monitor.web.routes.site.rates import find_rates

router = APIRouter()
KEPT: Final = timedelta(seconds=5)  # a dry run serves whoever looks meanwhile
_UNREADABLE: Final = Template("movement.unreadable", "The site file of this version cannot be read by this program.")
_TOO_MUCH: Final = Template(
    "movement.too_much", "Too much to compute for a page: run slopeward evaluate --site {site} --dry-run"
)
_NO_STATION: Final = Template("station.none", "there is no station {site}/{station}")
MOVING: Final = (*OF_GROUND, "velocity")


@router.get("/sites/{site}/movement", response_class=HTMLResponse, include_in_schema=False)
def show_movement(request: Request, site: str) -> HTMLResponse:
    """Stage, velocity, failure window and rain of one slope, and what each witness says now."""
    with read_site(request, site) as seen:
        c, declared = seen.c, seen.declared
        on_slope = [s for s in pages.load_stations(c, site) if s["on_slope"]]
        moving = [s["id"] for s in on_slope if any(str(row["quantity"]).startswith(MOVING) for row in s["latest"])]
        judged, with_day = timeline.list_judged(c, site), list_with_day(c, site)
    says = ask_now(seen.context, declared)
    curves = declared is not None and any("curve" in k.kind.drawn for k in declared.criteria)
    actions = [] if declared is None else [(p.stage, p.action) for p in declared.movement.stages if p.action]
    return render(
        request, "movement.html", card=seen.card, stations=[s for s in moving if s in judged],
        others=[s for s in moving if s not in judged], now_says=says, actions=actions, has_curve=curves,
        rain_words=says.get("rain", []), with_day=with_day,
    )  # fmt: skip


def ask_now(context: Context, site: Site | None) -> dict[str, Any]:
    """What a decision at this moment would rest on; nothing is written.

    It is computed once in some seconds, however many look. A site whose evaluation reads very much is not asked: the
    page must not compete with the evaluation itself.
    """
    if site is None:
        return {"note": _UNREADABLE(), "tables": [], "sentence": ""}
    if count_rows(site) > ROWS_WARN:
        return {"note": _TOO_MUCH(site=site.id), "tables": [], "sentence": ""}
    now = context.clock()
    before = context.said.get(site.version)
    if before is not None and timedelta(0) <= now - before[0] < KEPT:
        return before[1]
    decision = evaluate_site(context.db, site, now, "page", dry_run=True).decision
    rainy = {k.id for k in site.criteria if "rain" in k.kind.drawn}
    says = {
        "note": "", "tables": read_told(decision.evidence), "sentence": decision.evidence["sentence"],
        "rain": [w for w in decision.evidence["words"] if w["criterion"] in rainy],
    }  # fmt: skip
    context.said[site.version] = (now, says)
    return says


@router.get("/api/v1/sites/{site}/ribbon", tags=["sites"])
def get_ribbon(request: Request, site: str, asked: Season) -> dict[str, Any]:
    """Level and observability over a range, and the stage of each station; at most 400 days."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, asked)
        return {
            "site": site, "from": spell(low), "to": spell(high), "levels": seen.card.levels,
            "ribbon": timeline.load_ribbon(seen.c, site, low, high, seen.now),
            "stages": timeline.load_stage_ribbon(seen.c, site, low, high),
        }  # fmt: skip


@router.get("/api/v1/sites/{site}/movement/{station}", tags=["sites"])
def get_movement(request: Request, site: str, station: str, asked: Season) -> dict[str, Any]:
    """Velocity, acceleration, tangential angle, stage and failure windows of a station, update by update."""
    with read_site(request, site) as seen:
        c, declared = seen.c, seen.declared
        if station not in load_stations(c).get(site, ()):
            raise NotFoundError(_NO_STATION(site=site, station=station))
        low, high = read_range(seen.now, asked)
        return translate_all({
            "site": site, "station": station, "from": spell(low), "to": spell(high), "levels": seen.card.levels,
            "newest": [r for r in timeline.load_newest_movement(c, site, high) if r["station"] == station],
            "movement": timeline.load_movement(c, site, station, low, high),
            "windows": timeline.load_windows(c, site, station, low, high),
            "bounds": find_bounds(declared, station),
            "rates": find_rates(c, declared, station, low, high, seen.now),
        })  # fmt: skip


@router.get("/api/v1/sites/{site}/season/{station}", tags=["sites"])
def get_season(request: Request, site: str, station: str) -> dict[str, Any]:
    """Trend, season and remainder of each series of a station, as the newest night found them, or why there is none."""
    with read_site(request, site) as seen:
        if station not in load_stations(seen.c).get(site, ()):
            raise NotFoundError(_NO_STATION(site=site, station=station))
        return translate_all({"site": site, "station": station, "series": load_season(seen.c, site, station)})


def find_bounds(site: Site | None, station: str) -> list[dict[str, Any]]:
    """Bounds that can be drawn beside the movement of a station: velocity, acceleration, tangential angle."""
    return [
        {"kind": k.kind.id, "criterion": k.id, "level": t.level, "value": t.over, "window_s": t.window_s}
        for k in (() if site is None else site.criteria)
        if "movement" in k.kind.drawn and station in k.stations
        for t in k.thresholds
        if t.over is not None
    ]
