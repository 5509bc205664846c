"""The pages themselves, rendered on the server: overview, site, alert, lists."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from monitor.alerts.queries import overview as queries
from monitor.alerts.queries.answers import load_states
from monitor.alerts.records import AlertState
from monitor.delivery.views import DeliveryRow
from monitor.features.forecasts.views import IssuedForecastRow, WhyNotShownRow
from monitor.models.queries.registry import load_explanations
from monitor.models.views import ModelGateRow
from monitor.readings.queries.observations import load_series
from monitor.sites.queries.sites import load_sites_summary
from monitor.storage.views import load_view
from monitor.text.catalogue import gettext
from monitor.web.access.callers import SERVICE_ALERTS
from monitor.web.access.redaction import redactor_of
from monitor.web.access.rules import narrow
from monitor.web.context import AlertId, context_of
from monitor.web.parts.collect import collect_alert, collect_overview, collect_site, read_site
from monitor.web.parts.headline import find_headlines
from monitor.web.parts.templating import render

LINE: Final = "drift"  # a straight line through the newest readings


class ForecastWorth(NamedTuple):
    """Mean absolute errors of the targets that came, beside those of a straight line."""

    n: int
    since: str  # month
    error: float
    line_error: float


def list_shown(
    rows: Iterable[IssuedForecastRow], skill: Iterable[Any], controls: Collection[str]
) -> list[Mapping[str, Any]]:
    """The forecasts that are shown, by series and horizon, control stations last.

    `rows`: of the view `latest_forecast` that are shown; `skill`: of the view `forecast_skill`; `controls`: stations on
    stable ground.
    """
    scored: dict[tuple[str, ...], list[Any]] = {}
    for row in skill:
        scored.setdefault((row["station"], row["quantity"], str(row["horizon_s"]), row["model"]), []).append(row)
    shown = [row for row in rows if row["q10"] is not None and row["q90"] is not None]
    found: list[Mapping[str, Any]] = [
        {
            "station": row["station"],
            "quantity": row["quantity"],
            "unit": row["unit"],
            "horizon_s": row["horizon_s"],
            "target_at": row["target_at"],
            "model": row["model"],
            "moved": (row["q50"] or 0.0) - row["data_value"],
            "low": (row["q10"] or 0.0) - row["data_value"],
            "high": (row["q90"] or 0.0) - row["data_value"],
            "worth": _compare(
                *(scored.get((row["station"], row["quantity"], str(row["horizon_s"]), k)) for k in (row["model"], LINE))
            ),
        }
        for row in shown
    ]
    return sorted(found, key=lambda r: (r["station"] in controls, r["station"], r["quantity"], r["horizon_s"]))


def _compare(mine: Sequence[Any] | None, line: Sequence[Any] | None) -> ForecastWorth | None:
    if not mine or not line:
        return None
    return ForecastWorth(sum(r["n"] for r in mine), min(r["month"] for r in mine), _average(mine), _average(line))


def _average(rows: Sequence[Any]) -> float:
    return float(sum(r["n"] * r["mae"] for r in rows) / sum(r["n"] for r in rows))


def gather_lacks(rows: Iterable[WhyNotShownRow]) -> list[Mapping[str, Any]]:
    """Rows of the view `why_not_shown`, those together that lack the same until the same day."""

    def key(row: WhyNotShownRow) -> tuple[str, str, float]:
        return ((row["earliest_at"] or "")[:10], row["lacking"] or row["reason"], row["horizon_s"] or 0.0)

    return [
        {
            "models": list(dict.fromkeys(row["model"] for row in group)),
            "series": list(dict.fromkeys(row["station"] for row in group)),
            "horizon_s": group[0]["horizon_s"],
            "lacking": group[0]["lacking"],
            "reason": group[0]["reason"],
            "earliest_at": group[0]["earliest_at"],
        }
        for group in (list(members) for _, members in groupby(sorted(rows, key=key), key))
    ]


router = APIRouter(include_in_schema=False)
# tables of what forecasts were worth, by their view and what orders its rows last
SCORES: Final = {
    "skill": ("forecast_skill",),
    "fans": ("forecast_scores", "situation"),
    "coverage": ("forecast_coverage", "nominal"),
}


@router.get("/", response_class=HTMLResponse)
def show_overview(request: Request) -> HTMLResponse:
    """All sites and all open alerts."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(collect_overview(c, narrow(request, None), context.clock()))
    return render(request, "overview.html", **values)


@router.get("/sites/{site}", response_class=HTMLResponse)
def show_site(request: Request, site: str) -> HTMLResponse:
    """One slope."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(collect_site(context, c, site))
    return render(request, "site.html", **values)


@router.get("/sites/{site}/forecasts", response_class=HTMLResponse)
def show_forecasts(request: Request, site: str) -> HTMLResponse:
    """What the forecasts of a site were worth."""
    from monitor.features.forecasts.awaited import list_awaited  # numpy comes with it

    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        declared = seen.declared
        awaited = list_awaited(c, filter(None, [declared]), seen.now)
        units = {(s.station, s.quantity): s.unit for s in load_series(c, site)}
        newest = [row for row in load_view(c, "latest_forecast", IssuedForecastRow, site=site) if row["shown"]]
        compared = frozenset({LINE, *(row["model"] for row in newest)})
        worth = load_view(c, "forecast_skill", site=site, model=compared)
        lacks = load_view(
            c, "why_not_shown", WhyNotShownRow, order_by=("station", "quantity", "model"), limit=1000, site=site
        )
        gates = load_view(c, "model_gates", ModelGateRow, order_by=("horizon_s", "model", "model_hash"), site=site)
        gates = [row for row in gates if row["model_state"] != "retired"]
        rolled, explained = queries.load_rolled(c, site), load_explanations(c, site)
    values = {"units": units, "gates": gates, "explained": explained}
    named = {row["model"] for row in lacks}  # a network that was looked for at an issue stands there
    values |= {"rolled": rolled, "lacks": gather_lacks(lacks)}
    controls = () if declared is None else {s.id for s in declared.stations if not s.on_slope}
    values["shown"] = list_shown(newest, worth, controls)
    values["awaited"] = [(one.what, one.describe()) for _, one in awaited if one.what not in named]
    return render(request, "forecasts.html", card=card, **values)


@router.get("/sites/{site}/forecasts/scores", response_class=HTMLResponse)
def show_scores(request: Request, site: str, of: Annotated[str, Query()] = "") -> HTMLResponse:
    """Tables of scores by month: years of them are large, so the page of forecasts loads each when it is opened."""
    with read_site(request, site) as seen:
        units = {(s.station, s.quantity): s.unit for s in load_series(seen.c, site)}
        names = [of] if of in SCORES else [*SCORES]
        views = {name: SCORES[name] for name in names}
        order = ("-month", "station", "quantity", "horizon_s", "model")
        tables = {
            name: load_view(seen.c, view, order_by=(*order, *last), limit=300, site=site)
            for name, (view, *last) in views.items()
        }
    return render(request, "forecast_scores.html", card=seen.card, units=units, **tables)


@router.get("/alerts", response_class=HTMLResponse)
def show_alerts(request: Request, site: str | None = None, ledger: str | None = None) -> HTMLResponse:
    """Alerts of all times, newest first; before them the hazards that are open."""
    with context_of(request).db.read() as c:
        sites = narrow(request, site or None)
        newest = queries.load_history(c, sites, ledger or None, 300)
        open_hazards = (
            queries.load_history(c, sites, "hazard", 300, open_only=True) if ledger in {None, "", "hazard"} else []
        )
        ids = {a["alert_id"] for a in open_hazards}
        alerts = redactor_of(request, c).cover_service(
            [*open_hazards, *(a for a in newest if a["alert_id"] not in ids)]
        )
        cards = queries.load_cards(c, narrow(request, None))
        over = [a["alert_id"] for a in alerts if a["state"] == AlertState.RETURNED_UNACKNOWLEDGED]
        values = {
            "ended": {number: since for number, (_, since) in load_states(c, over).items()},
            "headlines": find_headlines(c, open_hazards),
        }
    names = {SERVICE_ALERTS: gettext("service")} | {k.id: k.name for k in cards}
    tops = {k.id: k.top_level for k in cards}
    zones = {k.id: k.timezone for k in cards}
    return render(
        request,
        "alerts.html",
        **values,
        alerts=alerts,
        names=names,
        tops=tops,
        zones=zones,
        site=site or "",
        ledger=ledger or "",
    )


@router.get("/alerts/{alert_id}", response_class=HTMLResponse)
def show_alert(request: Request, alert_id: AlertId) -> HTMLResponse:
    """One alert: what, why, on what evidence, who was told, what people did."""
    with context_of(request).db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context_of(request).clock())
    return render(request, "alert.html", **values)


@router.get("/alerts/{alert_id}/evidence", response_class=HTMLResponse)
def show_evidence(request: Request, alert_id: AlertId) -> HTMLResponse:
    """The tables that an alert was decided from: they may be a megabyte, so the page of the alert loads them later."""
    with context_of(request).db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context_of(request).clock())
    return render(request, "evidence.html", **values)


@router.get("/notifications", response_class=HTMLResponse)
def show_notifications(request: Request, state: Annotated[str | None, Query()] = None) -> HTMLResponse:
    """The newest messages and what became of them."""
    with context_of(request).db.read() as c:
        sites = narrow(request, None)
        rows = load_view(
            c, "deliveries", DeliveryRow, order_by=["-notification_id"], limit=300, site=sites, state=state or None
        )
        rows = redactor_of(request, c).cover_messages(rows)
        zones = {k.id: k.timezone for k in load_sites_summary(c, active_only=False)}
    zones = {k: zone for k, zone in zones.items() if k in {row["site"] for row in rows}}
    return render(request, "notifications.html", rows=rows, zones=zones, state=state or "")
