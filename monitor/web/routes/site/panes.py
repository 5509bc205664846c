"""The linked chart of a site: one curve with all that stands beside it on one time axis, or one of each station."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from math import ceil
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.evaluations import load_rates
from monitor.alerts.queries.maintenance import load_maintenance_between
from monitor.alerts.queries.movement import load_velocities
from monitor.decision.criteria.rain_gauge import make_gauge, read_gauge
from monitor.decision.records import DecisionInputs
from monitor.errors import NotFoundError
from monitor.plugins import hooks
from monitor.readings.queries.extremes import count_revisions, load_first_usable, load_spans, load_usable
from monitor.readings.queries.observations import SeriesRow, load_readings, load_series
from monitor.readings.records import Reading
from monitor.sites.declarations import find_declaration
from monitor.sites.quantities import LANDSLIDE_PREFIX
from monitor.sites.records import SeriesSpec, Site
from monitor.text.instants import parse_time
from monitor.text.message import Template
from monitor.text.rendering import translate_all
from monitor.web.context import Context, MonthRange, RequestedRange, context_of
from monitor.web.parts.collect import UNKNOWN_SITE
from monitor.web.parts.columns import (
    EXACT,
    MOTION,
    TICK,
    Parts,
    choose_plot_points,
    encode_instants,
    load_curves,
    load_exact,
    load_points,
    plan_panes,
    shorten,
    unfold,
)
from monitor.web.routes.site import charts
from monitor.web.routes.site.rates import find_bounds, find_rates, rank_rate

router = APIRouter(prefix="/api/v1", tags=["series"])
_NOBODY_MEASURES: Final = Template("series.nobody_measures", "no station of '{site}' measures '{quantity}'")
PANE_POINTS: Final = 400  # of a curve beside the main one
MOST_STATIONS: Final = 200
RAIN: Final = "rain"
COUNTED: Final = 20_000  # readings of a counter that are read one by one
RATES: Final = 60  # velocities of each window
RATED: Final = 3_000  # readings of a range up to which they are fitted
SUMS_S: Final = (600, 3600, 10_800, 21_600, 43_200, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)


@router.get("/sites/{site}/panes/{station}/{quantity}")
def get_panes(
    request: Request, site: str, station: str, quantity: str, requested: MonthRange, max_points: charts.Points = 1600
) -> dict[str, Any]:
    """A curve with its forecast and bounds, velocity, rain, water, level, marks and maintenance over one range."""
    context = context_of(request)
    with context.db.read() as c:
        levels, declared = _open(c, site)
        series = load_series(c, site)
        parts = charts.find_parts(c, site, series, station, quantity)
        now, names = context.clock(), charts.name_levels(levels)
        low, high = _find_range(c, [s.id for s, _ in parts], now, requested)
        points, total, readings = load_points(c, parts, low, high, now, max_points)
        if total > len(readings):
            readings = _find_starts(c, parts, declared, station, readings, now) + readings
        single = parts[0][0] if len(parts) == 1 else None
        sums = None
        gauge = None if declared is None or quantity != RAIN else declared.series(station, quantity)
        if single is not None and gauge is not None and gauge.stamp == "counter":
            sums = _load_pane(c, declared, single, low, high, now)
            points = {"at": sums["at"], "value": sums["value"], "flags": {}}
        velocity = _find_velocity(c, declared, site, station, (low, high), names, now, is_long=total > RATED)
        additions = hooks().curve_values(connection=c, series=[s for s, _ in parts], from_at=low, to_at=high)
        ends = max([high, *(addition.until for addition in additions if addition.until is not None)])
        return {
            **{key: value for addition in additions for key, value in addition.values.items()},
            "site": site,
            "station": station,
            "quantity": quantity,
            "unit": parts[0][0].unit,
            "computed": single is None,
            "from": low.timestamp(),
            "to": high.timestamp(),
            "until": ends.timestamp(),
            "total": total,
            "points": points,
            "step_s": sums and sums["step_s"],
            "noise_floor": charts.noise_floor_of(declared, station, quantity),
            "thresholds": translate_all(charts.find_thresholds(declared, station, quantity, names, readings)),
            "velocity": velocity,
            "leads": _choose_leading_pane(c, declared, site, station, quantity, velocity),
            "more": [_load_pane(c, declared, s, low, high, now) for s in plan_panes(series, station, quantity)],
            **_load_foot(context, c, site, station, low, high, ends, levels),
        }


@router.get("/sites/{site}/compare/{quantity}")
def get_comparison(request: Request, site: str, quantity: str, requested: MonthRange) -> dict[str, Any]:
    """One quantity of all stations that measure it, a curve each; what moves counts from the begin of the range."""
    context = context_of(request)
    with context.db.read() as c:
        levels, _ = _open(c, site)
        series = load_series(c, site)
        found: dict[str, Parts] = {}
        for station in dict.fromkeys(s.station for s in series if not s.station.startswith(LANDSLIDE_PREFIX)):
            try:
                found[station] = charts.find_parts(c, site, series, station, quantity)
            except NotFoundError:
                continue
        if not found:
            raise NotFoundError(_NOBODY_MEASURES(site=site, quantity=quantity))
        unit = next(iter(found.values()))[0][0].unit
        drawn = {k: parts for k, parts in list(found.items())[:MOST_STATIONS] if parts[0][0].unit == unit}
        now = context.clock()
        low, high = _find_range(c, [s.id for parts in drawn.values() for s, _ in parts], now, requested)
        curves, thinned = load_curves(c, drawn, low, high, now)
        fold_once = cache(encode_instants)  # stations share most of their epochs
        if quantity.startswith(MOTION):
            curves = {k: [(at, value - rows[0][1]) for at, value in rows] for k, rows in curves.items() if rows}
        return {
            "site": site,
            "quantity": quantity,
            "unit": unit,
            "from": low.timestamp(),
            "to": high.timestamp(),
            "thinned": thinned,
            "left_out": len(found) - len(drawn),
            "from_zero": quantity.startswith(MOTION),
            "series": [
                {
                    "station": k,
                    "at": fold_once(tuple(at for at, _ in rows)),
                    "value": [shorten(value) for _, value in rows],
                }
                for k, rows in curves.items()
                if rows
            ],
            **_load_foot(context, c, site, None, low, high, high, levels),
        }


def _open(c: Connection, site: str) -> tuple[list[pages.StoredLevel], Site | None]:
    found = pages.find_ladder(c, site)
    if found is None:
        raise NotFoundError(UNKNOWN_SITE(site=site))
    return found[0], find_declaration(c, found[1])


def _find_range(
    c: Connection, series_ids: Sequence[int], now: datetime, requested: RequestedRange
) -> tuple[datetime, datetime]:
    """The range asked for; it never begins before the first reading, nor ends more than a year from now."""
    low, high = charts.read_range(pages.find_newest(c, series_ids) or now, requested)
    high = min(high, now + timedelta(days=366))
    oldest = pages.find_oldest(c, series_ids)
    return (low, high) if oldest is None else (min(max(low, oldest - TICK), high - TICK), high)


def _find_starts(
    c: Connection, parts: Parts, site: Site | None, station: str, newest: Sequence[Reading], now: datetime
) -> list[Reading]:
    """What the curve was where the windows of its bounds begin: of a long range the newest readings alone are there."""
    context = {
        t.window_s
        for k in (() if site is None else site.criteria)
        for t in k.thresholds
        if "ray" in k.kind.drawn and station in k.stations and t.window_s
    }
    found: list[Reading] = []
    for window_s in sorted(context, reverse=True) if newest else ():
        start = newest[-1].observed_at - timedelta(seconds=window_s)
        near = load_exact(c, parts, start - TICK, start + timedelta(seconds=window_s / 20), now)
        found += [r for r in near if r.observed_at < newest[0].observed_at and not r.flags][:1]
    return found


def _find_velocity(
    c: Connection,
    site: Site | None,
    site_id: str,
    station: str,
    span: tuple[datetime, datetime],
    names: Mapping[int, str],
    now: datetime,
    *,
    is_long: bool,
) -> Mapping[str, Any]:
    """Velocity over the windows of the bounds; where there are none, or the range is long, that of the stage."""
    bounds = [
        {
            "level": b["level"],
            "value": b["value"],
            "window_s": b["window_s"],
            "name": names.get(b["level"], str(b["level"])),
        }
        for b in find_bounds(site, station)
        if b["kind"] == "velocity"
    ]
    found = [] if is_long else find_rates(c, site, station, *span, now, RATES)
    rates: list[Mapping[str, Any]] = [
        {"window_s": r["window_s"], "at": encode_instants(r["at"]), "rate": [shorten(v) for v in r["rate"]]}
        for r in found
        if r["at"]
    ]
    if not rates:
        rows = load_velocities(c, site_id, station, *span)
        kept = choose_plot_points([value for _, value in rows], PANE_POINTS)
        if rows:
            rates = [
                {
                    "window_s": None,
                    "at": encode_instants(rows[k][0] for k in kept),
                    "rate": [shorten(rows[k][1]) for k in kept],
                }
            ]
    return {"bounds": bounds, "rates": rates}


def _choose_leading_pane(
    c: Connection, site: Site | None, site_id: str, station: str, quantity: str, velocity: Mapping[str, Any]
) -> Literal["velocity", "quantity"]:
    """Return whether the level rests on the velocity of a station or on a quantity itself.

    The criterion with the highest vote decides; of equal votes, the one whose rate is the largest share of its bound.
    Without any rate, a velocity that has bounds leads.
    """
    if site is None or not quantity.startswith("displacement") or not velocity["bounds"] or not velocity["rates"]:
        return "quantity"
    kinds = {criterion.id: criterion.kind for criterion in site.criteria}
    rates = [rate for rate in load_rates(c, site_id) if rate.station == station and rate.criterion in kinds]
    leading = max(rates, key=rank_rate, default=None)
    return "velocity" if leading is None or kinds[leading.criterion].velocity else "quantity"


def _load_pane(
    c: Connection, site: Site | None, s: SeriesRow, low: datetime, high: datetime, now: datetime
) -> dict[str, Any]:
    """A curve beside the main one; of rain the sum of each step."""
    head: dict[str, Any] = {"station": s.station, "quantity": s.quantity, "unit": s.unit}
    if s.quantity != RAIN:
        points, *_ = load_points(c, [(s, 1.0)], low, high, now, PANE_POINTS)
        sound = [k for k in range(len(points["at"])) if str(k) not in points["flags"]]
        at = unfold(points["at"])
        return {**head, "at": encode_instants(at[k] for k in sound), "value": [points["value"][k] for k in sound]}
    # rain is summed over whole hours, days or weeks: a sum has a meaning, a highest value of a bucket has none
    long_s = (high - low).total_seconds()
    step_s = next((k for k in SUMS_S if long_s / k <= PANE_POINTS / 2), SUMS_S[-1])
    first = low.timestamp() // step_s * step_s
    edges = [
        datetime.fromtimestamp(first + k * step_s, UTC) for k in range(ceil((high.timestamp() - first) / step_s) + 1)
    ]
    spec = None if site is None else site.series(s.station, s.quantity)
    if spec is None:
        found = {one.number: one.total for one in load_spans(c, [(s.id, 1.0)], edges, now)}
    else:
        found = _count_rain(c, s, spec, edges, now)
    at = [edges[number + 1].timestamp() for number in found]
    return {**head, "at": encode_instants(at), "value": [shorten(total) for total in found.values()], "step_s": step_s}


def _count_rain(
    c: Connection, s: SeriesRow, spec: SeriesSpec, edges: Sequence[datetime], now: datetime
) -> dict[int, float]:
    """What a gauge measured between neighbouring edges, by their number, as criteria count it.

    Of more than `COUNTED` readings of a counter one stands for each stretch: what fell before a reset in it is not
    seen. More than `EXACT` sums are added up by the database, unless they cover more time than passed.
    """
    begin = edges[0] - timedelta(seconds=2.0 * spec.interval_s)  # a counter counts from the reading before
    most = COUNTED if spec.stamp == "counter" else EXACT
    are_many = count_revisions(c, [s.id], begin, edges[-1], most + 1) > most
    if are_many and spec.stamp != "counter":
        stretches = load_spans(c, [(s.id, 1.0)], edges, now)
        whole = (edges[1] - edges[0]).total_seconds() / spec.interval_s + 0.5
        if spec.stamp == "event" or all(one.count <= whole for one in stretches):
            return {one.number: one.total for one in stretches}
    if are_many:
        read = load_first_usable(c, [s.id], [begin, *edges], now) if spec.stamp == "counter" else None
        rows = (load_usable(c, [s.id], begin, edges[-1], now) if read is None else read).get(s.id, [])
        gauge = make_gauge([(parse_time(at).timestamp(), value) for at, value in rows if value >= 0.0], spec)
    else:
        view = DecisionInputs({f"{s.station}.{s.quantity}": tuple(load_readings(c, s.id, begin, edges[-1], now))})
        gauge = read_gauge(view, spec, s.station, s.quantity, edges[-1].timestamp())
    found: dict[int, float] = {}
    ends = [edge.timestamp() for edge in edges]
    for at_s, amount in zip(gauge.times_s, gauge.amounts_mm, strict=True) if gauge is not None else ():
        number = bisect_left(ends, at_s) - 1
        if 0 <= number < len(ends) - 1:
            found[number] = found.get(number, 0.0) + amount
    return found


def _load_foot(
    context: Context,
    c: Connection,
    site: str,
    station: str | None,
    low: datetime,
    high: datetime,
    ends: datetime,
    levels: list[pages.StoredLevel],
) -> dict[str, Any]:
    marks = [
        {**m, "at": parse_time(m["at"]).timestamp()}
        for m in pages.load_marks(c, site, low, ends)
        if station is None or m["station"] in (None, station)
    ]
    works = [
        {"station": m.station, "reason": m.reason, "from": m.from_at.timestamp(), "to": m.over_at.timestamp()}
        for m in load_maintenance_between(c, site, low, ends)
        if station in (None, m.station)
    ]
    until = max(high, min(ends, context.clock()))  # the level goes on after the newest reading
    ribbon = context.ribbons.load(c, site, low, until, context.clock())
    return {
        "levels": [{"number": v["number"], "name": v["name"]} for v in levels],
        "ribbon": {
            "from": encode_instants(k.at for k in ribbon),
            "to": until.timestamp(),
            "level": [k.level for k in ribbon],
            "seen": [k.seen for k in ribbon],
        },
        "marks": translate_all(marks),
        "maintenance": works,
    }
