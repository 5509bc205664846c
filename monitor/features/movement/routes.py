"""The page on the movement and the rain of a site, and the HTTP API with the data of its charts."""

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
from monitor.api.queries.alerts import load_newest_movement, overview, timeline
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
from monitor.features.movement import queries
from monitor.features.movement.simulated_record import load_simulated_record

router = APIRouter()
# Prefixes of the quantities that this page describes.
MOVEMENT_PREFIXES: Final = (*GROUND_MOTION_PREFIXES, "velocity")
# Newest readings of a gauge from which the largest rain sums are computed.
MAX_READINGS: Final = 50_000
# Durations of a chart, evenly spaced on its logarithmic axis.
RAIN_POINTS: Final = 24


@router.get("/sites/{site}/movement", response_class=HTMLResponse, include_in_schema=False)
def show_movement(request: Request, site: str) -> HTMLResponse:
    """Show stage, velocity, failure window and rain of a slope, and the present vote of each witness."""
    with read_site(request, site) as snapshot:
        c = snapshot.c
        declared = snapshot.declared
        moving_stations = [
            station.id
            for station in overview.load_stations(c, site)
            if station.on_slope and any(str(row["quantity"]).startswith(MOVEMENT_PREFIXES) for row in station.latest)
        ]
        assessed_stations = queries.list_assessed_stations(c, site)
        outcomes = count_outcomes(queries.load_window_runs(c, site, snapshot.now), epoch_s(snapshot.now))
        has_daily_season = _has_daily_season(c, site)
        # The highest level is first; within a level, the series that exceeds its bound most.
        rates = sorted(
            load_view(c, "movement_now", site=site),
            key=lambda row: (-(row["level"] or 0), -(row["bound_ratio"] or 0)),
        )
    # Stations are listed in the order of their first row of the table of rates.
    station_order: dict[str, int] = {}
    for position, row in enumerate(rates):
        station_order.setdefault(row["station"], position)
    present_decision = evaluate_now(snapshot.context, declared)
    has_rain_curve = False
    corrected_stations: set[str] = set()
    actions: list[tuple[str, str]] = []
    if declared is not None:
        has_rain_curve = any("curve" in criterion.kind.drawn for criterion in declared.criteria)
        # The movement of these stations is that of their reference-corrected series.
        corrected_stations = {
            spec.station for station in declared.stations for spec in station.series if spec.corrected_as
        }
        actions = [(plan.stage, plan.action) for plan in declared.movement.stages if plan.action]
    return render(
        request,
        "movement.html",
        card=snapshot.card,
        stations=sorted(
            (station for station in moving_stations if station in assessed_stations),
            key=lambda station: station_order.get(station, len(rates)),
        ),
        rates=rates,
        stations_without_assessment=[
            station
            for station in moving_stations
            if station not in assessed_stations and station not in corrected_stations
        ],
        present_decision=present_decision,
        actions=actions,
        has_rain_curve=has_rain_curve,
        outcomes=outcomes,
        simulated=load_simulated_record(),
        has_daily_season=has_daily_season,
    )


def _has_daily_season(c: Connection, site: str) -> bool:
    """Return whether a series of the site has a daily season."""
    rows = load_optional_view(c, "series_seasons", site=site)
    return any(row["day_range"] is not None for row in rows)


@router.get("/api/v1/sites/{site}/ribbon", tags=["sites"])
def get_ribbon(request: Request, site: str, requested: SeasonRange) -> dict[str, Any]:
    """Return level and observability over a range of at most 400 days, and the stage of each station."""
    with read_site(request, site) as snapshot:
        low, high = read_range(snapshot.now, requested)
        start = snapshot.card.start
        starting_since = None if start is None else start.since
        ribbon = timeline.load_ribbon(snapshot.c, site, low, high, snapshot.now, starting_since)
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": snapshot.card.levels,
            "ribbon": [format_instants(asdict(segment)) for segment in ribbon],
            "stages": queries.load_stage_ribbon(snapshot.c, site, low, high),
        }


@router.get("/api/v1/sites/{site}/movement/{station}", tags=["sites"])
def get_movement(request: Request, site: str, station: str, requested: SeasonRange) -> dict[str, Any]:
    """Return velocity, acceleration, tangential angle, stage and failure windows of a station, update by update."""
    with read_site(request, site) as snapshot:
        c, declared = snapshot.c, snapshot.declared
        require_station(c, site, station)
        low, high = read_range(snapshot.now, requested)
        return translate_all(
            {
                "site": site,
                "station": station,
                "from": format_iso(low),
                "to": format_iso(high),
                "levels": snapshot.card.levels,
                "newest": [row for row in load_newest_movement(c, site, high) if row["station"] == station],
                "movement": queries.load_movement(c, site, station, low, high),
                "windows": queries.load_windows(c, site, station, low, high),
                "bounds": find_bounds(declared, station),
                "rates": find_rates(c, declared, station, low, high, snapshot.now),
            }
        )


@router.get("/api/v1/sites/{site}/rain", tags=["sites"])
def get_rain(request: Request, site: str, requested: MonthRange) -> dict[str, Any]:
    """Return each intensity-duration curve with the rain at its gauge: now, and at most within the range."""
    with read_site(request, site) as snapshot:
        low, high = read_range(snapshot.now, requested)
        declared = snapshot.declared
        curves: list[dict[str, Any]] = []
        if declared is not None:
            for criterion in declared.criteria:
                if "curve" in criterion.kind.drawn:
                    for station in criterion.stations:
                        curve = _describe_rain(snapshot.c, declared, criterion, station, (low, high), snapshot.now)
                        if curve is not None:
                            curves.append(curve)
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": snapshot.card.levels,
            "curves": curves,
        }


def _describe_rain(
    c: Connection, site: Site, criterion: Criterion, station: str, span: tuple[datetime, datetime], now: datetime
) -> dict[str, Any] | None:
    """Return a curve with the rain at one of its gauges; None if the site file declares no rain there."""
    spec = site.series(station, criterion.quantity)
    if spec is None:
        return None
    params = dict(criterion.params)
    longest_duration = timedelta(seconds=params["duration_to_s"])
    try:
        series = find_series(c, site.id, station, criterion.quantity)
        readings = overview.load_range(c, series.id, span[0] - longest_duration, span[1], now)
    except NotFoundError:
        # A gauge without readings must not hide the others.
        readings = []
    inputs = DecisionInputs({f"{station}.{criterion.quantity}": tuple(readings)})
    gauge = read_gauge(inputs, spec, station, criterion.quantity, epoch_s(span[1]))
    recent: Gauge | None = None
    sums: list[DurationSum] = []
    if gauge is not None:
        recent = replace(gauge, times_s=gauge.times_s[-MAX_READINGS:], amounts_mm=gauge.amounts_mm[-MAX_READINGS:])
        sums = cast("list[DurationSum]", list(measure_curve(criterion, gauge)))
    durations_s = choose_durations(params["duration_from_s"], params["duration_to_s"], spec.interval_s)
    return {
        "criterion": criterion.id,
        "station": station,
        "level": criterion.thresholds[0].level,
        "author": criterion.author,
        "reason": criterion.reason,
        "curve": [
            {
                "duration_h": duration_s / 3600.0,
                "intensity_mm_per_h": params["c"] + params["a"] * (duration_s / 3600.0) ** -params["b"],
            }
            for duration_s in durations_s
        ],
        "now": [_make_point(row["duration_s"], row["sum_mm"]) for row in select_sums(sums)],
        "newest_at": None if gauge is None else format_iso(readings[-1].observed_at),
        "most": []
        if recent is None
        else [_make_point(duration_s, find_largest_sum(recent, duration_s)) for duration_s in durations_s],
        "most_from": None if recent is None else format_iso(from_epoch_s(recent.times_s[0])),
        "worst": _describe_worst(sums),
        "ratio": max((row["ratio"] for row in sums), default=None),
        "coverage": min((row["coverage"] for row in sums), default=None),
    }


class DurationSum(TypedDict):
    """Rain within a duration up to now, compared with the curve."""

    duration_s: float
    sum_mm: float
    bound_mm: float  # of the curve
    ratio: float  # of `sum_mm` to `bound_mm`
    coverage: float  # share of the duration with readings


def _describe_worst(sums: Sequence[DurationSum]) -> dict[str, float] | None:
    """Return the figures of the sum with the largest ratio to the curve; None without sums."""
    if not sums:
        return None
    worst = max(sums, key=lambda row: float(row["ratio"]))
    return {
        "sum_mm": worst["sum_mm"],
        "duration_h": worst["duration_s"] / 3600.0,
        "bound_mm": worst["bound_mm"],
        "percent": round(100.0 * worst["ratio"]),
        "known_percent": round(100.0 * worst["coverage"]),
    }


def _make_point(duration_s: float, sum_mm: float) -> dict[str, float]:
    """Return a point of the chart."""
    hours = duration_s / 3600.0
    return {"duration_h": hours, "intensity_mm_per_h": sum_mm / hours, "sum_mm": sum_mm}


def choose_durations(from_s: float, to_s: float, interval_s: float) -> list[float]:
    """Return at most `RAIN_POINTS` durations of whole intervals in seconds, evenly spaced on a logarithmic axis.

    >>> choose_durations(3600.0, 14400.0, 3600.0)
    [3600.0, 7200.0, 10800.0, 14400.0]
    """
    shortest = max(from_s, interval_s)
    durations_s = [shortest * (to_s / shortest) ** (k / (RAIN_POINTS - 1)) for k in range(RAIN_POINTS)]
    whole_intervals = [max(1, round(duration_s / interval_s)) for duration_s in durations_s]
    return [intervals * interval_s for intervals in dict.fromkeys(whole_intervals)]


def select_sums(sums: Sequence[DurationSum]) -> list[DurationSum]:
    """Return about `RAIN_POINTS` of the sums, including the first, the last and the one with the largest ratio."""
    if len(sums) <= RAIN_POINTS:
        return list(sums)
    last = len(sums) - 1
    worst = max(range(len(sums)), key=lambda position: float(sums[position]["ratio"]))
    positions = {round(last ** (k / (RAIN_POINTS - 1))) for k in range(RAIN_POINTS)} | {0, last, worst}
    return [sums[position] for position in sorted(positions)]


def find_largest_sum(gauge: Gauge, duration_s: float) -> float:
    """Return the largest rain sum of any window of a length, in mm.

    The same readings count for a window as in the criterion (`Gauge.total_at`).

    Args:
        gauge: Amounts by end of interval, counter step or tip.
        duration_s: Length of the window in seconds.
    """
    first = 0
    total = 0.0
    largest = (0.0, 0, 0)  # sum, first reading, reading after the last one
    # Each reading enters the window once and leaves it once.
    for last, at_s in enumerate(gauge.times_s):
        total += gauge.amounts_mm[last]
        while gauge.times_s[first] <= at_s - duration_s + gauge.end_tolerance_s:
            total -= gauge.amounts_mm[first]
            first += 1
        largest = max(largest, (total, first, last + 1))
    return fsum(gauge.amounts_mm[largest[1] : largest[2]])
