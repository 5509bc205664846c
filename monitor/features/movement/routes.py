"""Page on the movement of a site and its rain, and the HTTP API with the data of its charts."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from math import fsum
from typing import Any, Final, TypedDict, cast

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from forecasting.kinematics.failure_record import count_outcomes
from monitor.api.database import load_optional_view, load_view
from monitor.api.decision import DecisionInputs, Gauge, measure_curve, read_gauge
from monitor.api.errors import NotFoundError
from monitor.api.queries.alerts import load_newest_movement, timeline
from monitor.api.queries.alerts import overview as pages
from monitor.api.sites import GROUND_MOTION_PREFIXES, Criterion, Site
from monitor.api.text import epoch_s, format_instants, format_iso, from_epoch_s, translate_all
from monitor.api.web import (
    MonthRange,
    SeasonRange,
    evaluate_now,
    find_bounds,
    find_rates,
    find_series,
    read_range,
    read_site,
    require_station,
)
from monitor.api.web import render_page as render
from monitor.features.movement import queries as movement
from monitor.features.movement.simulated_record import load_simulated_record

router = APIRouter()
MOVING: Final = (*GROUND_MOTION_PREFIXES, "velocity")


@router.get("/sites/{site}/movement", response_class=HTMLResponse, include_in_schema=False)
def show_movement(request: Request, site: str) -> HTMLResponse:
    """Show stage, velocity, failure window and rain of a slope, and the present vote of each witness."""
    with read_site(request, site) as seen:
        c, declared = seen.c, seen.declared
        on_slope = [s for s in pages.load_stations(c, site) if s.on_slope]
        moving = [
            station.id for station in on_slope if any(str(row["quantity"]).startswith(MOVING) for row in station.latest)
        ]
        assessed = movement.list_assessed(c, site)
        outcomes = count_outcomes(movement.load_window_runs(c, site, seen.now), epoch_s(seen.now))
        with_day = _list_with_daily_season(c, site)
        rates = sorted(
            load_view(c, "movement_now", site=site),
            key=lambda row: (-(row["level"] or 0), -(row["bound_ratio"] or 0)),
        )
    # Place of the first row of each station.
    order = {row["station"]: place for place, row in reversed([*enumerate(rates)])}
    now_says = evaluate_now(seen.context, declared)
    has_curve = False
    corrected: set[str] = set()
    actions: list[tuple[str, str]] = []
    if declared is not None:
        has_curve = any("curve" in criterion.kind.drawn for criterion in declared.criteria)
        # The movement of these stations is that of their reference-corrected series.
        corrected = {spec.station for station in declared.stations for spec in station.series if spec.corrected_as}
        actions = [(plan.stage, plan.action) for plan in declared.movement.stages if plan.action]
    return render(
        request,
        "movement.html",
        card=seen.card,
        stations=sorted(
            (station for station in moving if station in assessed), key=lambda station: order.get(station, len(rates))
        ),
        rates=rates,
        others=[station for station in moving if station not in assessed and station not in corrected],
        now_says=now_says,
        actions=actions,
        has_curve=has_curve,
        rain_words=now_says.rain,
        outcomes=outcomes,
        simulated=load_simulated_record(),
        with_day=with_day,
    )


def _list_with_daily_season(c: Connection, site: str) -> frozenset[str]:
    """Return the stations with a series that has a daily season."""
    rows = load_optional_view(c, "series_seasons", site=site)
    return frozenset(row["station"] for row in rows if row["day_range"] is not None)


@router.get("/api/v1/sites/{site}/ribbon", tags=["sites"])
def get_ribbon(request: Request, site: str, requested: SeasonRange) -> dict[str, Any]:
    """Return level and observability over a range of at most 400 days, and the stage of each station."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, requested)
        start = seen.card.start
        starting_since = None if start is None else start.since
        ribbon = timeline.load_ribbon(seen.c, site, low, high, seen.now, starting_since)
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": seen.card.levels,
            "ribbon": [format_instants(asdict(segment)) for segment in ribbon],
            "stages": movement.load_stage_ribbon(seen.c, site, low, high),
        }


@router.get("/api/v1/sites/{site}/movement/{station}", tags=["sites"])
def get_movement(request: Request, site: str, station: str, requested: SeasonRange) -> dict[str, Any]:
    """Return velocity, acceleration, tangential angle, stage and failure windows of a station, update by update."""
    with read_site(request, site) as seen:
        c, declared = seen.c, seen.declared
        require_station(c, site, station)
        low, high = read_range(seen.now, requested)
        return translate_all(
            {
                "site": site,
                "station": station,
                "from": format_iso(low),
                "to": format_iso(high),
                "levels": seen.card.levels,
                "newest": [r for r in load_newest_movement(c, site, high) if r["station"] == station],
                "movement": movement.load_movement(c, site, station, low, high),
                "windows": movement.load_windows(c, site, station, low, high),
                "bounds": find_bounds(declared, station),
                "rates": find_rates(c, declared, station, low, high, seen.now),
            }
        )


# Newest readings of a gauge that a page computes with.
MAX_READINGS: Final = 50_000
# Durations of a chart, evenly spaced on its logarithmic axis.
RAIN_POINTS: Final = 24


@router.get("/api/v1/sites/{site}/rain", tags=["sites"])
def get_rain(request: Request, site: str, requested: MonthRange) -> dict[str, Any]:
    """Return each intensity-duration curve with the rain at its gauge: now, and at most within the range."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, requested)
        declared = seen.declared
        curves = [] if declared is None else [k for k in declared.criteria if "curve" in k.kind.drawn]
        found = [
            row
            for k in curves
            for station in k.stations
            if declared is not None and (row := _describe_rain(seen.c, declared, k, station, (low, high), seen.now))
        ]
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": seen.card.levels,
            "curves": found,
        }


def _describe_rain(
    c: Connection, site: Site, criterion: Criterion, station: str, span: tuple[datetime, datetime], now: datetime
) -> dict[str, Any] | None:
    spec = site.series(station, criterion.quantity)
    if spec is None:
        return None
    params = dict(criterion.params)
    longest = timedelta(seconds=params["duration_to_s"])
    try:
        series = find_series(c, site.id, station, criterion.quantity)
        readings = pages.load_range(c, series.id, span[0] - longest, span[1], now)
    except NotFoundError:  # a gauge without readings must not hide the others
        readings = []
    view = DecisionInputs({f"{station}.{criterion.quantity}": tuple(readings)})
    gauge = read_gauge(view, spec, station, criterion.quantity, epoch_s(span[1]))
    recent = (
        None
        if gauge is None
        else replace(gauge, times_s=gauge.times_s[-MAX_READINGS:], amounts_mm=gauge.amounts_mm[-MAX_READINGS:])
    )
    facts = [] if gauge is None else cast("list[DurationSum]", list(measure_curve(criterion, gauge)))
    durations = spread(params["duration_from_s"], params["duration_to_s"], spec.interval_s)
    return {
        "criterion": criterion.id,
        "station": station,
        "level": criterion.thresholds[0].level,
        "author": criterion.author,
        "reason": criterion.reason,
        "curve": [
            {"duration_h": s / 3600.0, "intensity_mm_per_h": params["c"] + params["a"] * (s / 3600.0) ** -params["b"]}
            for s in durations
        ],
        "now": [_point(f["duration_s"], f["sum_mm"]) for f in thin(facts)],
        "newest_at": None if gauge is None else format_iso(readings[-1].observed_at),
        "most": [] if recent is None else [_point(s, most_rain(recent, s)) for s in durations],
        "most_from": None if recent is None else format_iso(from_epoch_s(recent.times_s[0])),
        "worst": _worst(facts),
        "ratio": max((f["ratio"] for f in facts), default=None),
        "coverage": min((f["coverage"] for f in facts), default=None),
    }


class DurationSum(TypedDict):
    """Rain within a duration, compared with the curve."""

    duration_s: float
    sum_mm: float
    bound_mm: float
    ratio: float
    coverage: float


def _worst(facts: Sequence[DurationSum]) -> dict[str, float] | None:
    """Return the sum that is nearest to the curve or farthest above it, with the figures of its sentence."""
    if not facts:
        return None
    worst = max(facts, key=lambda f: float(f["ratio"]))
    return {
        "sum_mm": worst["sum_mm"],
        "duration_h": worst["duration_s"] / 3600.0,
        "bound_mm": worst["bound_mm"],
        "percent": round(100.0 * worst["ratio"]),
        "known_percent": round(100.0 * worst["coverage"]),
    }


def _point(duration_s: float, sum_mm: float) -> dict[str, float]:
    hours = duration_s / 3600.0
    return {"duration_h": hours, "intensity_mm_per_h": sum_mm / hours, "sum_mm": sum_mm}


def spread(from_s: float, to_s: float, interval_s: float) -> list[float]:
    """Return durations of whole intervals, evenly spaced on a logarithmic axis.

    >>> spread(3600.0, 14400.0, 3600.0)
    [3600.0, 7200.0, 10800.0, 14400.0]
    """
    shortest = max(from_s, interval_s)
    steps = [shortest * (to_s / shortest) ** (k / (RAIN_POINTS - 1)) for k in range(RAIN_POINTS)]
    return list(dict.fromkeys(max(1, round(s / interval_s)) * interval_s for s in steps))


def thin(facts: Sequence[DurationSum]) -> list[DurationSum]:
    """Return about `RAIN_POINTS` of the durations, including the one that is nearest to the curve."""
    if len(facts) <= RAIN_POINTS:
        return list(facts)
    wanted = {round((len(facts) - 1) ** (k / (RAIN_POINTS - 1))) for k in range(RAIN_POINTS)} | {0, len(facts) - 1}
    worst = max(range(len(facts)), key=lambda k: float(facts[k]["ratio"]))
    return [facts[k] for k in sorted(wanted | {worst})]


def most_rain(gauge: Gauge, duration_s: float) -> float:
    """Return the largest sum of any window of a length in mm. The window is that of the criterion (`Gauge.total_at`).

    Args:
        gauge: Amounts by end of interval, counter step or tip.
        duration_s: Length of the window in seconds.
    """
    late_s = 0.5 * gauge.interval_s if gauge.stamp == "interval_end" else 0.0
    first, total = 0, 0.0
    largest = (0.0, 0, 0)  # sum, first reading, reading after the last one
    # Each reading enters the window once and leaves it once.
    for last, at_s in enumerate(gauge.times_s):
        total += gauge.amounts_mm[last]
        while gauge.times_s[first] <= at_s - duration_s + late_s:
            total -= gauge.amounts_mm[first]
            first += 1
        largest = max(largest, (total, first, last + 1))
    return fsum(gauge.amounts_mm[largest[1] : largest[2]])
