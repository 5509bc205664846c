"""Rain of a gauge beside the curves of its site: what fell in each duration now, and the most of it in a range."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import fsum
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from monitor.criteria.kinds.rain_intensity_duration import measure_curve
from monitor.criteria.rain_gauge import Gauge, read_gauge
from monitor.domain.decision import View, instant, seconds
from monitor.domain.instants import spell
from monitor.domain.site import Criterion, Site
from monitor.errors import NotFoundError
from monitor.store import pages
from monitor.web.context import Range
from monitor.web.parts.collect import find_series, read_site
from monitor.web.routes.site.charts import read_range

router = APIRouter()
MOST_READINGS: Final = 50_000  # of one gauge, newest: more is no work for a page
POINTS: Final = 24  # durations of one picture, evenly spaced on its logarithmic axis


@router.get("/api/v1/sites/{site}/rain", tags=["sites"])
def get_rain(request: Request, site: str, asked: Range) -> dict[str, Any]:
    """Each intensity-duration curve of the site with what fell at its gauge: now, and at most within the range."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, asked)
        declared = seen.declared
        curves = [] if declared is None else [k for k in declared.criteria if "curve" in k.kind.drawn]
        found = [
            row for k in curves for station in k.stations
            if declared is not None and (row := _describe(seen.c, declared, k, station, (low, high), seen.now))
        ]  # fmt: skip
        return {"site": site, "from": spell(low), "to": spell(high), "levels": seen.card.levels, "curves": found}


def _describe(
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
    except NotFoundError:  # a gauge that never reported hides no other one
        readings = []
    view = View({f"{station}.{criterion.quantity}": tuple(readings)})
    gauge = read_gauge(view, spec, station, criterion.quantity, seconds(span[1]))
    recent = None if gauge is None else replace(
        gauge, times_s=gauge.times_s[-MOST_READINGS:], amounts_mm=gauge.amounts_mm[-MOST_READINGS:]
    )  # fmt: skip
    facts = [] if gauge is None else list(measure_curve(criterion, gauge))
    durations = spread(params["duration_from_s"], params["duration_to_s"], spec.interval_s)
    return {
        "criterion": criterion.id, "station": station, "level": criterion.thresholds[0].level,
        "author": criterion.author, "reason": criterion.reason,
        "curve": [
            {"duration_h": s / 3600.0, "intensity_mm_per_h": params["c"] + params["a"] * (s / 3600.0) ** -params["b"]}
            for s in durations
        ],
        "now": [_point(f["duration_s"], f["sum_mm"]) for f in thin(facts)],
        "newest_at": None if gauge is None else spell(readings[-1].observed_at),
        "most": [] if recent is None else [_point(s, most_rain(recent, s)) for s in durations],
        "most_from": None if recent is None else spell(instant(recent.times_s[0])),
        "ratio": max((f["ratio"] for f in facts), default=None),
        "coverage": min((f["coverage"] for f in facts), default=None),
    }  # fmt: skip


def _point(duration_s: float, sum_mm: float) -> dict[str, float]:
    hours = duration_s / 3600.0
    return {"duration_h": hours, "intensity_mm_per_h": sum_mm / hours, "sum_mm": sum_mm}


def spread(from_s: float, to_s: float, interval_s: float) -> list[float]:
    """Durations of whole intervals, evenly spaced on a logarithmic axis.

    >>> spread(3600.0, 14400.0, 3600.0)
    [3600.0, 7200.0, 10800.0, 14400.0]
    """
    shortest = max(from_s, interval_s)
    steps = [shortest * (to_s / shortest) ** (k / (POINTS - 1)) for k in range(POINTS)]
    return list(dict.fromkeys(max(1, round(s / interval_s)) * interval_s for s in steps))


def thin(facts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most about `POINTS` of the durations, the one nearest to the curve among them."""
    if len(facts) <= POINTS:
        return list(facts)
    wanted = {round((len(facts) - 1) ** (k / (POINTS - 1))) for k in range(POINTS)} | {0, len(facts) - 1}
    worst = max(range(len(facts)), key=lambda k: float(facts[k]["ratio"]))
    return [facts[k] for k in sorted(wanted | {worst})]


def most_rain(gauge: Gauge, duration_s: float) -> float:
    """The largest sum of any window of that length, mm; its edge is where the criterion puts it (`Gauge.total_at`).

    Args:
        gauge: amounts by interval end, counter step or tip.
        duration_s: length of the window.
    """
    late_s = 0.5 * gauge.interval_s if gauge.stamp == "interval_end" else 0.0
    first, total, found = 0, 0.0, (0.0, 0, 0)
    for last, at_s in enumerate(gauge.times_s):  # two hands: each reading comes in once and goes out once
        total += gauge.amounts_mm[last]
        while gauge.times_s[first] <= at_s - duration_s + late_s:
            total -= gauge.amounts_mm[first]
            first += 1
        found = max(found, (total, first, last + 1))
    return fsum(gauge.amounts_mm[found[1] : found[2]])
