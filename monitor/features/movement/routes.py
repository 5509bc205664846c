"""How a slope moves, in what rain, and why its level is what it is: one page, and the figures behind its pictures."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from math import fsum
from typing import Any, Final, TypedDict, cast

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from forecasting.kinematics.velocity import fit_velocity
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries import overview as pages
from monitor.alerts.queries import timeline
from monitor.decision.cost import ROWS_WARN, count_rows
from monitor.decision.criteria.kinds.rain_intensity_duration import measure_curve
from monitor.decision.criteria.rain_gauge import Gauge, read_gauge
from monitor.decision.headline import DecisionEvidence
from monitor.decision.records import DecisionInputs, instant, seconds
from monitor.errors import NotFoundError, RefusedError
from monitor.features.movement.movement_state import inverse_of
from monitor.readings.records import HARMLESS, Reading
from monitor.sites.quantities import OF_GROUND
from monitor.sites.records import Criterion, Site
from monitor.storage.views import load_optional_view, load_view
from monitor.text.instants import format_instants, format_iso
from monitor.text.message import TEXT_OF, Message, Template
from monitor.text.rendering import translate_all
from monitor.web.context import Context, Range, RequestedRange, Season
from monitor.web.parts.collect import find_series, read_site, require_station
from monitor.web.parts.columns import COMPUTED
from monitor.web.parts.headline import EvidenceTable, list_outcome_tables
from monitor.web.parts.templating import render
from monitor.web.routes.site.charts import load_curve, read_range

router = APIRouter()
KEPT: Final = timedelta(seconds=5)  # a dry run serves whoever looks meanwhile
_UNREADABLE: Final = Template("movement.unreadable", "The site file of this version cannot be read by this program.")
_TOO_MUCH: Final = Template(
    "movement.too_much", "Too much to compute for a page: run slopeward evaluate --site {site} --dry-run"
)
MOVING: Final = (*OF_GROUND, "velocity")


@router.get("/sites/{site}/movement", response_class=HTMLResponse, include_in_schema=False)
def show_movement(request: Request, site: str) -> HTMLResponse:
    """Stage, velocity, failure window and rain of one slope, and what each witness says now."""
    with read_site(request, site) as seen:
        c, declared = seen.c, seen.declared
        on_slope = [s for s in pages.load_stations(c, site) if s.on_slope]
        moving = [s.id for s in on_slope if any(str(row["quantity"]).startswith(MOVING) for row in s.latest)]
        judged, with_day = timeline.list_judged(c, site), _list_daily(c, site)
        rates = sorted(
            load_view(c, "movement_now", site=site), key=lambda r: (-(r["level"] or 0), -(r["bound_ratio"] or 0))
        )
    fastest = {r["station"]: k for k, r in reversed([*enumerate(rates)])}
    says = evaluate_now(seen.context, declared)
    curves = declared is not None and any("curve" in k.kind.drawn for k in declared.criteria)
    series = (one for s in (declared.stations if declared is not None else ()) for one in s.series)
    less = {one.station for one in series if one.corrected_as}  # judged where they stand less a reference
    actions = [] if declared is None else [(p.stage, p.action) for p in declared.movement.stages if p.action]
    return render(
        request,
        "movement.html",
        card=seen.card,
        stations=sorted((s for s in moving if s in judged), key=lambda s: fastest.get(s, len(rates))),
        rates=rates,
        others=[s for s in moving if s not in judged and s not in less],
        now_says=says,
        actions=actions,
        has_curve=curves,
        rain_words=says.rain,
        with_day=with_day,
    )


def _list_daily(c: Connection, site: str) -> frozenset[str]:
    """Return the stations with a series that has a season of the day."""
    rows = load_optional_view(c, "series_seasons", site=site)
    return frozenset(row["station"] for row in rows if row["day_range"] is not None)


@dataclass(frozen=True, slots=True)
class PresentDecision:
    """What a decision at this moment would rest on, or why that is not computed."""

    note: str = ""
    tables: Sequence[EvidenceTable] = ()
    sentence: str = ""
    rain: Sequence[Mapping[str, Any]] = ()  # what criteria of rain say
    reasons: Mapping[str, Message] = field(default_factory=dict)  # by criterion, of the station that asks for most


def evaluate_now(context: Context, site: Site | None) -> PresentDecision:
    """What a decision at this moment would rest on; nothing is written.

    It is computed once in some seconds, however many look. A site whose evaluation reads very much is not asked: the
    page must not compete with the evaluation itself.
    """
    if site is None:
        return PresentDecision(note=_UNREADABLE())
    if count_rows(site) > ROWS_WARN:
        return PresentDecision(note=_TOO_MUCH(site=site.id))
    now = context.clock()
    before = context.dry_runs.get(site.version)
    if before is not None and timedelta(0) <= now - before[0] < KEPT:
        known: PresentDecision = before[1]
        return known
    decision = evaluate_site(context.db, site, now, "page", dry_run=True).decision
    rainy = {k.id for k in site.criteria if "rain" in k.kind.drawn}
    words = sorted(decision.evidence["words"], key=lambda w: (w["raise_level"], w["hold_level"], w["newest_s"] or 0.0))
    says = PresentDecision(
        tables=list_outcome_tables(cast("DecisionEvidence", decision.evidence)),
        sentence=decision.evidence["sentence"],
        rain=[w for w in decision.evidence["words"] if w["criterion"] in rainy],
        reasons={w["criterion"]: TEXT_OF(name=w["station"], text=w["reason"]) for w in words},
    )
    context.dry_runs[site.version] = (now, says)
    return says


@router.get("/api/v1/sites/{site}/ribbon", tags=["sites"])
def get_ribbon(request: Request, site: str, requested: Season) -> dict[str, Any]:
    """Level and observability over a range, and the stage of each station; at most 400 days."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, requested)
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": seen.card.levels,
            "ribbon": [format_instants(asdict(s)) for s in timeline.load_ribbon(seen.c, site, low, high, seen.now)],
            "stages": timeline.load_stage_ribbon(seen.c, site, low, high),
        }


@router.get("/api/v1/sites/{site}/movement/{station}", tags=["sites"])
def get_movement(request: Request, site: str, station: str, requested: Season) -> dict[str, Any]:
    """Velocity, acceleration, tangential angle, stage and failure windows of a station, update by update."""
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
                "newest": [r for r in timeline.load_newest_movement(c, site, high) if r["station"] == station],
                "movement": timeline.load_movement(c, site, station, low, high),
                "windows": timeline.load_windows(c, site, station, low, high),
                "bounds": find_bounds(declared, station),
                "rates": find_rates(c, declared, station, low, high, seen.now),
            }
        )


def find_bounds(site: Site | None, station: str) -> list[Mapping[str, Any]]:
    """Bounds that can be drawn beside the movement of a station: velocity, acceleration, tangential angle."""
    return [
        {"kind": k.kind.id, "criterion": k.id, "level": t.level, "value": t.over, "window_s": t.window_s}
        for k in (() if site is None else site.criteria)
        if "movement" in k.kind.drawn and station in k.stations
        for t in k.thresholds
        if t.over is not None
    ]


POINTS: Final = 150  # of one curve
EPOCHS: Final = 300  # of one fit; a window that holds more is thinned
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")


def find_rates(
    c: Connection, site: Site | None, station: str, low: datetime, high: datetime, now: datetime, points: int = POINTS
) -> list[Mapping[str, Any]]:
    """Velocity in mm/day over each window of the velocity criteria of a station; none where nothing can be fitted.

    Each is stamped at its newest epoch, as the bound reads it, over unflagged readings as known now; steps that the
    decision takes out are still in.
    """
    if site is None:
        return []
    windows = {
        t.window_s: k.id
        for k in site.criteria
        if k.kind.velocity and station in k.stations
        for t in k.thresholds
        if t.window_s
    }
    readings = _load(c, site, station, low, high, max(windows, default=0.0), now)
    return [
        measure_rates(readings, criterion, window_s, seconds(low), points)
        for window_s, criterion in sorted(windows.items())
    ]


def _load(
    c: Connection, site: Site, station: str, low: datetime, high: datetime, window_s: float, now: datetime
) -> Sequence[Reading]:
    start = instant(seconds(low) - window_s)
    for quantity in (COMPUTED, *SCALARS):
        try:
            found, _, unit, _, _ = load_curve(c, site.id, station, quantity, RequestedRange(start, high), now)
        except (NotFoundError, RefusedError):
            continue
        if unit == "mm":
            return [r for r in found if all(f in HARMLESS for f in r.flags)]
    return []


def measure_rates(
    readings: Sequence[Reading], criterion: str, window_s: float, from_s: float, points: int = POINTS
) -> Mapping[str, Any]:
    """Velocity over the windows that end at about `points` epochs from an instant on.

    The inverse is None where the velocity cannot be distinguished from zero, as in the rows of movement.

    `readings`: usable ones by rising epoch.
    """
    times = [seconds(r.observed_at) for r in readings]
    ends = range(bisect_right(times, from_s), len(times))
    every = max(1, len(ends) // points)
    columns: Mapping[str, Any] = {
        "criterion": criterion,
        "window_s": window_s,
        "at": [],
        "rate": [],
        "error": [],
        "inverse": [],
    }
    for last in sorted({*ends[::every], *ends[-1:]}):
        first = bisect_right(times, times[last] - window_s)
        thin = max(1, (last + 1 - first) // EPOCHS)
        # counted from the end, so that the newest epoch is among them
        rows = readings[last : first - 1 if first else None : -thin][::-1]
        fit = fit_velocity(
            [seconds(r.observed_at) for r in rows], [r.value for r in rows], [r.sigma or 0.0 for r in rows]
        )
        if fit is not None:
            columns["at"].append(format_iso(readings[last].observed_at))
            columns["rate"].append(fit.rate)
            columns["error"].append(fit.error)
            columns["inverse"].append(inverse_of(fit))
    return columns


MOST_READINGS: Final = 50_000  # of one gauge, newest: more is no work for a page
RAIN_POINTS: Final = 24  # durations of one picture, evenly spaced on its logarithmic axis


@router.get("/api/v1/sites/{site}/rain", tags=["sites"])
def get_rain(request: Request, site: str, requested: Range) -> dict[str, Any]:
    """Each intensity-duration curve of the site with what fell at its gauge: now, and at most within the range."""
    with read_site(request, site) as seen:
        low, high = read_range(seen.now, requested)
        declared = seen.declared
        curves = [] if declared is None else [k for k in declared.criteria if "curve" in k.kind.drawn]
        found = [
            row
            for k in curves
            for station in k.stations
            if declared is not None and (row := _describe(seen.c, declared, k, station, (low, high), seen.now))
        ]
        return {
            "site": site,
            "from": format_iso(low),
            "to": format_iso(high),
            "levels": seen.card.levels,
            "curves": found,
        }


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
    view = DecisionInputs({f"{station}.{criterion.quantity}": tuple(readings)})
    gauge = read_gauge(view, spec, station, criterion.quantity, seconds(span[1]))
    recent = (
        None
        if gauge is None
        else replace(gauge, times_s=gauge.times_s[-MOST_READINGS:], amounts_mm=gauge.amounts_mm[-MOST_READINGS:])
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
        "most_from": None if recent is None else format_iso(instant(recent.times_s[0])),
        "worst": _worst(facts),
        "ratio": max((f["ratio"] for f in facts), default=None),
        "coverage": min((f["coverage"] for f in facts), default=None),
    }


class DurationSum(TypedDict):
    """What fell within a duration, against the curve."""

    duration_s: float
    sum_mm: float
    bound_mm: float
    ratio: float
    coverage: float


def _worst(facts: Sequence[DurationSum]) -> dict[str, float] | None:
    """The sum that comes nearest to the curve, or lies farthest over it, in figures that make a sentence."""
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
    """Durations of whole intervals, evenly spaced on a logarithmic axis.

    >>> spread(3600.0, 14400.0, 3600.0)
    [3600.0, 7200.0, 10800.0, 14400.0]
    """
    shortest = max(from_s, interval_s)
    steps = [shortest * (to_s / shortest) ** (k / (RAIN_POINTS - 1)) for k in range(RAIN_POINTS)]
    return list(dict.fromkeys(max(1, round(s / interval_s)) * interval_s for s in steps))


def thin(facts: Sequence[DurationSum]) -> list[DurationSum]:
    """At most about `POINTS` of the durations, the one nearest to the curve among them."""
    if len(facts) <= RAIN_POINTS:
        return list(facts)
    wanted = {round((len(facts) - 1) ** (k / (RAIN_POINTS - 1))) for k in range(RAIN_POINTS)} | {0, len(facts) - 1}
    worst = max(range(len(facts)), key=lambda k: float(facts[k]["ratio"]))
    return [facts[k] for k in sorted(wanted | {worst})]


def most_rain(gauge: Gauge, duration_s: float) -> float:
    """The largest sum of any window of that length, mm; its edge is where the criterion puts it (`Gauge.total_at`).

    `gauge`: amounts by interval end, counter step or tip.
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
