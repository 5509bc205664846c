"""The pages of forecasts, and forecasts and seasons in the HTTP API."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from monitor.api.database import load_view
from monitor.api.queries.models import list_awaited, load_explanations
from monitor.api.queries.readings import load_series
from monitor.api.text import translate_all
from monitor.api.web import Limit, context_of, find_series, read_site, require_station
from monitor.api.web import render_page as render
from monitor.features.forecasts.queries.seasons import load_season
from monitor.features.forecasts.queries.shown import load_rolled
from monitor.features.forecasts.series_text import describe_not_forecast, name_series
from monitor.features.forecasts.views import IssuedForecastRow, WhyNotShownRow

STRAIGHT_LINE: Final = "line"  # model of the straight line through the newest readings

pages = APIRouter(include_in_schema=False)
api = APIRouter(prefix="/api/v1")


class NetworkShare(NamedTuple):
    """What a network contributes to a forecast that is shown."""

    model: str
    weight: float  # 0 to 1


class ForecastWorth(NamedTuple):
    """How good the forecasts of a model were, compared with a straight line: mean absolute errors."""

    n: int  # scored forecasts
    since: str  # month of the first one, `YYYY-MM`
    error: float  # in the unit of the series
    line_error: float  # of the straight line


def list_shown(
    rows: Iterable[IssuedForecastRow], skill: Iterable[Any], controls: Collection[str]
) -> list[Mapping[str, Any]]:
    """Return the shown forecasts by series and horizon, control stations last.

    Args:
        rows: rows of the view `latest_forecast`.
        skill: rows of the view `forecast_skill`.
        controls: stations on stable ground.
    """
    scored: dict[tuple[str, ...], list[Any]] = {}
    for row in skill:
        scored.setdefault((row["station"], row["quantity"], str(row["horizon_s"]), row["model"]), []).append(row)
    shown: list[IssuedForecastRow] = []
    shares: dict[tuple[str, str, str, str], list[NetworkShare]] = {}
    for row in rows:
        if row["shown"] and row["q10"] is not None and row["q90"] is not None:
            shown.append(row)
        if row["weight"] is not None:
            shares.setdefault(_find_target(row), []).append(NetworkShare(row["model"], row["weight"]))
    found: list[Mapping[str, Any]] = [
        {
            "station": row["station"],
            "quantity": row["quantity"],
            "unit": row["unit"],
            "horizon_s": row["horizon_s"],
            "target_at": row["target_at"],
            "model": row["model"],
            "networks": shares.get(_find_target(row), []),
            "moved": (row["q50"] or 0.0) - row["data_value"],
            "low": (row["q10"] or 0.0) - row["data_value"],
            "high": (row["q90"] or 0.0) - row["data_value"],
            "worth": _compare(
                scored.get((row["station"], row["quantity"], str(row["horizon_s"]), row["model"])),
                scored.get((row["station"], row["quantity"], str(row["horizon_s"]), STRAIGHT_LINE)),
            ),
        }
        for row in shown
    ]
    return sorted(found, key=lambda r: (r["station"] in controls, r["station"], r["quantity"], r["horizon_s"]))


def _find_target(row: IssuedForecastRow) -> tuple[str, str, str, str]:
    """Return what the rows of one issue for one target have in common."""
    return row["station"], row["quantity"], row["issued_at"], row["target_at"]


def _compare(model_rows: Sequence[Any] | None, line_rows: Sequence[Any] | None) -> ForecastWorth | None:
    if not model_rows or not line_rows:
        return None
    count = sum(row["n"] for row in model_rows)
    since = min(row["month"] for row in model_rows)
    return ForecastWorth(count, since, _average(model_rows), _average(line_rows))


def _average(rows: Sequence[Any]) -> float:
    return float(sum(row["n"] * row["mae"] for row in rows) / sum(row["n"] for row in rows))


def gather_lacks(rows: Iterable[WhyNotShownRow]) -> list[Mapping[str, Any]]:
    """Group the rows of the view `why_not_shown` that lack the same thing until the same instant."""

    def key(row: WhyNotShownRow) -> tuple[str, str, float]:
        return (row["earliest_at"] or "", row["lacking"] or row["reason"], row["horizon_s"] or 0.0)

    return [
        {
            "models": list(dict.fromkeys(row["model"] for row in group)),
            "series": list(dict.fromkeys(name_series(row["station"], row["quantity"]) for row in group)),
            "horizon_s": group[0]["horizon_s"],
            "lacking": group[0]["lacking"],
            "reason": group[0]["reason"],
            "earliest_at": group[0]["earliest_at"],
        }
        for group in (list(members) for _, members in groupby(sorted(rows, key=key), key))
    ]


# Tables of scores: the view of each, and the columns by which its rows are sorted last.
SCORES: Final = {
    "skill": ("forecast_skill",),
    "fans": ("forecast_scores", "situation"),
    "coverage": ("forecast_coverage", "nominal"),
}


@pages.get("/sites/{site}/forecasts", response_class=HTMLResponse)
def show_forecasts(request: Request, site: str) -> HTMLResponse:
    """Show the forecasts of a site, and how good they were."""
    with read_site(request, site) as seen:
        c, card = seen.c, seen.card
        declared = seen.declared
        awaited = list_awaited(c, filter(None, [declared]), seen.now)
        units = {(s.station, s.quantity): s.unit for s in load_series(c, site)}
        newest = load_view(c, "latest_forecast", IssuedForecastRow, site=site, order_by=("model",))
        compared = frozenset({STRAIGHT_LINE, *(row["model"] for row in newest if row["shown"])})
        worth = load_view(c, "forecast_skill", site=site, model=compared)
        lacks = load_view(
            c, "why_not_shown", WhyNotShownRow, order_by=("station", "quantity", "model"), limit=1000, site=site
        )
        rolled, explained = load_rolled(c, site), load_explanations(c, site)
    values: dict[str, Any] = {"units": units, "explained": explained}
    named = {row["model"] for row in lacks}  # networks that an issue looked for are listed there
    values |= {"rolled": rolled, "lacks": gather_lacks(lacks)}
    controls = () if declared is None else {s.id for s in declared.stations if not s.on_slope}
    values["not_forecast"] = None if declared is None else describe_not_forecast(declared)
    values["shown"] = list_shown(newest, worth, controls)
    values["awaited"] = [(one.what, one.describe()) for _, one in awaited if one.what not in named]
    return render(request, "forecasts.html", card=card, **values)


@pages.get("/sites/{site}/forecasts/scores", response_class=HTMLResponse)
def show_scores(request: Request, site: str, of: Annotated[str, Query()] = "") -> HTMLResponse:
    """Show tables of scores by month.

    They are large after some years, so that the page of forecasts loads each table when it is opened.
    """
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


@api.get("/sites/{site}/forecasts", tags=["forecasts"], response_model=list[dict[str, Any]])
def list_forecasts(
    request: Request, site: str, station: str | None = None, shown: bool | None = None, limit: Limit = 200
) -> list[IssuedForecastRow]:
    """Return the newest issue of every model. `shown` marks the combined forecast, `weight` is the share in it."""
    which: dict[str, Any] = {"site": site} | ({"station": station} if station else {})
    order = ["station", "quantity", "model", "horizon_s"]
    with read_site(request, site) as seen:
        rows = load_view(seen.c, "latest_forecast", IssuedForecastRow, order_by=order, **which)
    return [row for row in rows if shown is None or row["shown"] == shown][:limit]


@api.get("/sites/{site}/forecasts/why-not-shown", tags=["forecasts"], response_model=list[dict[str, Any]])
def list_why_not_shown(request: Request, site: str) -> list[WhyNotShownRow]:
    """Return the series and models without a forecast: why, what is missing, and the earliest time of a forecast."""
    with read_site(request, site) as seen:
        return load_view(
            seen.c, "why_not_shown", WhyNotShownRow, order_by=("station", "quantity", "model"), limit=1000, site=site
        )


@api.get("/sites/{site}/forecasts/{station}/{quantity}/history", tags=["forecasts"])
def list_forecast_history(
    request: Request, site: str, station: str, quantity: str, limit: Limit = 200
) -> list[dict[str, Any]]:
    """Return all issued forecasts of a series, newest first, with the observed value of each target if there is one."""
    with context_of(request).db.read() as c:
        find_series(c, site, station, quantity)
        which = {"site": site, "station": station, "quantity": quantity}
        order = ["-issued_at", "model", "horizon_s"]
        rows = load_view(c, "forecast_history", order_by=order, limit=limit, **which)
        scored = load_view(c, "forecast_vs_observed", order_by=order, limit=limit, **which)
    scores = {(row["issued_at"], row["model"], row["horizon_s"]): row for row in scored}
    names = ("observed", "error", "baseline_error", "inside_80")
    history = []
    for row in rows:
        score = scores.get((row["issued_at"], row["model"], row["horizon_s"]), {})
        history.append({**row, **{name: score.get(name) for name in names}})
    return history


@api.get("/sites/{site}/season/{station}", tags=["sites"])
def get_season(request: Request, site: str, station: str) -> dict[str, Any]:
    """Return trend, season and remainder of each series of a station, as computed last night, or why there are none."""
    with read_site(request, site) as seen:
        require_station(seen.c, site, station)
        return translate_all({"site": site, "station": station, "series": load_season(seen.c, site, station)})
