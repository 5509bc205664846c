"""The chart of a site as JSON: one curve with everything on its time axis, or one quantity of all stations."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.evaluations import load_rates
from monitor.alerts.queries.maintenance import load_maintenance_between
from monitor.alerts.queries.movement import load_velocities
from monitor.errors import NotFoundError
from monitor.plugins import hooks
from monitor.readings.queries.observations import SeriesRow, load_series
from monitor.readings.records import Reading
from monitor.sites.declarations import find_declaration
from monitor.sites.quantities import LANDSLIDE_PREFIX
from monitor.sites.records import Site
from monitor.text.instants import parse_time
from monitor.text.message import Template
from monitor.text.rendering import translate_all
from monitor.web.context import Context, MonthRange, RequestedRange, context_of
from monitor.web.parts.collect import UNKNOWN_SITE, find_card
from monitor.web.parts.columns import (
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
from monitor.web.routes.site.rain_sums import load_rain_sums
from monitor.web.routes.site.rates import find_bounds, find_rates, rank_rate

router = APIRouter(prefix="/api/v1", tags=["series"])
_NOT_MEASURED: Final = Template("series.nobody_measures", "no station of '{site}' measures '{quantity}'")
RAIN: Final = "rain"
# Points of a curve in another pane than the main curve.
PANE_POINTS: Final = 400
# Most stations of a comparison.
MAX_STATIONS: Final = 200
# Velocities for each window of a criterion.
VELOCITY_POINTS: Final = 60
# Of a range with more readings, the velocities that determine the stage are shown; none are fitted.
MAX_FITTED_READINGS: Final = 3_000
# How long after the present a range may end.
LONGEST_FUTURE: Final = timedelta(days=366)


# ---- one curve -----------------------------------------------------------------------------------------------
@router.get("/sites/{site}/panes/{station}/{quantity}")
def get_panes(
    request: Request, site: str, station: str, quantity: str, requested: MonthRange, max_points: charts.MaxPoints = 1600
) -> dict[str, Any]:
    """Return a curve with its bounds, and everything else that the chart shows of the same time range.

    This is the velocity of the station, rain, water and other readings, the level of the site, reports and other
    marks, and maintenance. Plugins add more, such as the forecast.
    """
    context = context_of(request)
    with context.db.read() as c:
        levels, declared = _load_levels_and_declaration(c, site)
        level_names = charts.name_levels(levels)
        series = load_series(c, site)
        parts = charts.find_parts(c, site, series, station, quantity)
        series_of_curve = [row for row, _ in parts]
        now = context.clock()
        from_at, to_at = _find_range(c, series_of_curve, now, requested)
        points, total, readings = load_points(c, parts, from_at, to_at, now, max_points)
        if total > len(readings):
            # Only the newest readings of a long range were loaded.
            readings = _load_window_starts(c, parts, declared, station, readings, now) + readings
        step_s: int | None = None
        if declared is not None and _is_rain_counter(declared, station, quantity):
            sums = load_rain_sums(c, declared, series_of_curve[0], from_at, to_at, now)
            points = {"at": sums["at"], "value": sums["value"], "flags": {}}
            step_s = sums["step_s"]
        velocity = _load_velocity(
            c, declared, site, station, (from_at, to_at), level_names, now, is_long=total > MAX_FITTED_READINGS
        )
        additions = hooks().curve_values(connection=c, series=series_of_curve, from_at=from_at, to_at=to_at)
        until = max([to_at, *(addition.until for addition in additions if addition.until is not None)])
        panes = plan_panes(series, station, quantity)
        return {
            # First, so that a plugin cannot replace a value of the page.
            **{key: value for addition in additions for key, value in addition.values.items()},
            "site": site,
            "station": station,
            "quantity": quantity,
            "unit": series_of_curve[0].unit,
            "computed": len(parts) > 1,
            "from": from_at.timestamp(),
            "to": to_at.timestamp(),
            "until": until.timestamp(),
            "total": total,
            "points": points,
            "step_s": step_s,
            "noise_floor": charts.find_noise_floor(declared, station, quantity),
            "thresholds": translate_all(charts.find_thresholds(declared, station, quantity, level_names, readings)),
            "velocity": velocity,
            "leads": _choose_leading_pane(c, declared, site, station, quantity, velocity),
            "more": [_load_pane(c, declared, row, from_at, to_at, now) for row in panes],
            **_load_foot(context, c, site, station, from_at, to_at, until, levels),
        }


def _is_rain_counter(site: Site, station: str, quantity: str) -> bool:
    """Return whether a series is a rain gauge that counts up, so that its curve shows differences."""
    spec = site.series(station, quantity)
    return quantity == RAIN and spec is not None and spec.stamp == "counter"


def _load_window_starts(
    c: Connection, parts: Parts, site: Site | None, station: str, newest: Sequence[Reading], now: datetime
) -> list[Reading]:
    """Return the first reading of each window whose bound is drawn as a ray, if it is before the newest readings."""
    if site is None or not newest:
        return []
    windows_s = {
        threshold.window_s
        for criterion in site.criteria
        if "ray" in criterion.kind.drawn and station in criterion.stations
        for threshold in criterion.thresholds
        if threshold.window_s
    }
    starts: list[Reading] = []
    for window_s in sorted(windows_s, reverse=True):
        window_from = newest[-1].observed_at - timedelta(seconds=window_s)
        readings = load_exact(c, parts, window_from - TICK, window_from + timedelta(seconds=window_s / 20), now)
        earlier = [row for row in readings if row.observed_at < newest[0].observed_at and not row.flags]
        starts += earlier[:1]
    return starts


def _load_velocity(
    c: Connection,
    site: Site | None,
    site_id: str,
    station: str,
    time_range: tuple[datetime, datetime],
    level_names: Mapping[int, str],
    now: datetime,
    *,
    is_long: bool,
) -> Mapping[str, Any]:
    """Return the velocity of a station and the bounds of the criteria on velocity.

    The velocity is fitted over the window of each bound. If there are no bounds, or the range is long, it is the
    velocity that determines the stage of the movement.
    """
    bounds = [
        {
            "level": bound["level"],
            "value": bound["value"],
            "window_s": bound["window_s"],
            "name": level_names.get(bound["level"], str(bound["level"])),
        }
        for bound in find_bounds(site, station)
        if bound["kind"] == "velocity"
    ]
    fitted = [] if is_long else find_rates(c, site, station, *time_range, now, VELOCITY_POINTS)
    rates: list[Mapping[str, Any]] = [
        {
            "window_s": columns["window_s"],
            "at": encode_instants(columns["at"]),
            "rate": [shorten(velocity) for velocity in columns["rate"]],
        }
        for columns in fitted
        if columns["at"]
    ]
    if not rates:
        rates = _load_assessed_velocity(c, site_id, station, time_range)
    return {"bounds": bounds, "rates": rates}


def _load_assessed_velocity(
    c: Connection, site: str, station: str, time_range: tuple[datetime, datetime]
) -> list[Mapping[str, Any]]:
    velocities = load_velocities(c, site, station, *time_range)
    if not velocities:
        return []
    chosen = choose_plot_points([velocity for _, velocity in velocities], PANE_POINTS)
    return [
        {
            "window_s": None,
            "at": encode_instants(velocities[position][0] for position in chosen),
            "rate": [shorten(velocities[position][1]) for position in chosen],
        }
    ]


def _choose_leading_pane(
    c: Connection, site: Site | None, site_id: str, station: str, quantity: str, velocity: Mapping[str, Any]
) -> Literal["velocity", "quantity"]:
    """Return which pane is drawn first: the velocity of the station, or the quantity itself.

    The criterion with the highest vote decides. Of equal votes, it is the one whose rate is the largest share of its
    bound. Without any rate, a velocity that has bounds is drawn first.
    """
    if site is None or not quantity.startswith("displacement") or not velocity["bounds"] or not velocity["rates"]:
        return "quantity"
    kinds = {criterion.id: criterion.kind for criterion in site.criteria}
    rates = [rate for rate in load_rates(c, site_id) if rate.station == station and rate.criterion in kinds]
    leading = max(rates, key=rank_rate, default=None)
    return "velocity" if leading is None or kinds[leading.criterion].velocity else "quantity"


def _load_pane(
    c: Connection, site: Site | None, series: SeriesRow, from_at: datetime, to_at: datetime, now: datetime
) -> dict[str, Any]:
    """Return the curve of another series, without flagged readings. Rain is summed over steps."""
    labels: dict[str, Any] = {"station": series.station, "quantity": series.quantity, "unit": series.unit}
    if series.quantity == RAIN:
        return labels | load_rain_sums(c, site, series, from_at, to_at, now)
    points, *_ = load_points(c, [(series, 1.0)], from_at, to_at, now, PANE_POINTS)
    unflagged = [position for position in range(len(points["at"])) if str(position) not in points["flags"]]
    times_s = unfold(points["at"])
    return labels | {
        "at": encode_instants(times_s[position] for position in unflagged),
        "value": [points["value"][position] for position in unflagged],
    }


# ---- one quantity of all stations ----------------------------------------------------------------------------
@router.get("/sites/{site}/compare/{quantity}")
def get_comparison(request: Request, site: str, quantity: str, requested: MonthRange) -> dict[str, Any]:
    """Return one quantity of all stations that measure it, a curve each. Displacement counts from the first reading.

    Stations whose series has another unit than that of the first station are left out.
    """
    context = context_of(request)
    with context.db.read() as c:
        levels, _ = _load_levels_and_declaration(c, site)
        parts_by_station = _find_parts_of_stations(c, site, load_series(c, site), quantity)
        if not parts_by_station:
            raise NotFoundError(_NOT_MEASURED(site=site, quantity=quantity))
        unit = next(iter(parts_by_station.values()))[0][0].unit
        drawn = {
            station: parts
            for station, parts in list(parts_by_station.items())[:MAX_STATIONS]
            if parts[0][0].unit == unit
        }
        now = context.clock()
        drawn_series = [row for parts in drawn.values() for row, _ in parts]
        from_at, to_at = _find_range(c, drawn_series, now, requested)
        curves, is_thinned = load_curves(c, drawn, from_at, to_at, now)
        is_motion = quantity.startswith(MOTION)
        if is_motion:
            curves = {
                station: [(at_s, value - points[0][1]) for at_s, value in points]
                for station, points in curves.items()
                if points
            }
        # Stations share most of their epochs.
        encode_once = cache(encode_instants)
        return {
            "site": site,
            "quantity": quantity,
            "unit": unit,
            "from": from_at.timestamp(),
            "to": to_at.timestamp(),
            "thinned": is_thinned,
            "left_out": len(parts_by_station) - len(drawn),
            "from_zero": is_motion,
            "series": [
                {
                    "station": station,
                    "at": encode_once(tuple(at_s for at_s, _ in points)),
                    "value": [shorten(value) for _, value in points],
                }
                for station, points in curves.items()
                if points
            ],
            **_load_foot(context, c, site, None, from_at, to_at, to_at, levels),
        }


def _find_parts_of_stations(c: Connection, site: str, series: Sequence[SeriesRow], quantity: str) -> dict[str, Parts]:
    """Return the series of a quantity by station, without landslides that are followed from scene to scene."""
    parts_by_station: dict[str, Parts] = {}
    for station in dict.fromkeys(row.station for row in series if not row.station.startswith(LANDSLIDE_PREFIX)):
        try:
            parts_by_station[station] = charts.find_parts(c, site, series, station, quantity)
        except NotFoundError:
            continue
    return parts_by_station


# ---- both ----------------------------------------------------------------------------------------------------
def _load_levels_and_declaration(c: Connection, site: str) -> tuple[list[pages.StoredLevel], Site | None]:
    """Return the levels of a site, and the site that its file declares; None if the file cannot be read.

    Raises:
        NotFoundError: There is no such site.
    """
    row = pages.find_ladder(c, site)
    if row is None:
        raise NotFoundError(UNKNOWN_SITE(site=site))
    levels, config_sha256 = row
    return levels, find_declaration(c, config_sha256)


def _find_range(
    c: Connection, series: Iterable[SeriesRow], now: datetime, requested: RequestedRange
) -> tuple[datetime, datetime]:
    """Return the requested range. It starts at the first reading at the earliest, and ends within a year from now."""
    series_ids = [row.id for row in series]
    from_at, to_at = charts.read_range(pages.find_newest(c, series_ids) or now, requested)
    to_at = min(to_at, now + LONGEST_FUTURE)
    oldest_at = pages.find_oldest(c, series_ids)
    if oldest_at is not None:
        # The start of a range is excluded.
        from_at = min(max(from_at, oldest_at - TICK), to_at - TICK)
    return from_at, to_at


def _load_foot(
    context: Context,
    c: Connection,
    site: str,
    station: str | None,
    from_at: datetime,
    to_at: datetime,
    until: datetime,
    levels: list[pages.StoredLevel],
) -> dict[str, Any]:
    """Return what is drawn below the curves: the level of the site, marks and maintenance.

    Args:
        context: State of the application.
        c: An open connection.
        site: Site id.
        station: Marks and maintenance of other stations are left out. None for all stations.
        from_at: Start of the chart.
        to_at: End of the readings.
        until: End of the chart, which may contain a forecast.
        levels: Levels of the site.
    """
    marks = [
        {**mark, "at": parse_time(mark["at"]).timestamp()}
        for mark in pages.load_marks(c, site, from_at, until)
        if station is None or mark["station"] in {None, station}
    ]
    maintenance = [
        {
            "station": row.station,
            "reason": row.reason,
            "from": row.from_at.timestamp(),
            "to": row.over_at.timestamp(),
        }
        for row in load_maintenance_between(c, site, from_at, until)
        if station in {None, row.station}
    ]
    now = context.clock()
    # The level is also known after the newest reading.
    ribbon_to = max(to_at, min(until, now))
    start = find_card(c, site, now=now).start
    changes = context.ribbons.load(c, site, from_at, ribbon_to, now, None if start is None else start.since)
    return {
        "levels": [{"number": level["number"], "name": level["name"]} for level in levels],
        "ribbon": {
            "from": encode_instants(change.at for change in changes),
            "to": ribbon_to.timestamp(),
            "level": [change.level for change in changes],
            "seen": [change.observability for change in changes],
        },
        "marks": translate_all(marks),
        "maintenance": maintenance,
    }
