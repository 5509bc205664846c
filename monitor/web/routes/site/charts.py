"""All that belongs to one curve in one answer: points, thresholds, forecast with its fan, scores, marks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection

from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.offsets import NO_SERIES
from monitor.errors import NotFoundError, RefusedError
from monitor.readings.queries.observations import SeriesRow, load_series
from monitor.readings.records import Reading
from monitor.sites.records import Site
from monitor.text.instants import format_iso, parse_duration_s
from monitor.text.message import Template
from monitor.web.context import MonthRange, RequestedRange
from monitor.web.parts.collect import read_site
from monitor.web.parts.columns import COMPONENTS, COMPUTED, Parts, component_weights, project_downslope, sample

router = APIRouter(prefix="/api/v1", tags=["series"])
LONGEST: Final = timedelta(days=36525)
_BACKWARDS: Final = Template("range.backwards", "range: from must lie before to")
_ODD_RANGE: Final = Template("range.odd", "range: {problem}")
_NO_AZIMUTH: Final = Template(
    "station.no_azimuth", "station '{station}' has no azimuth: no downslope movement can be computed"
)
Points = Annotated[int, Query(ge=50, le=20_000, description="at most about so many points")]


def read_range(newest: datetime, requested: RequestedRange) -> tuple[datetime, datetime]:
    """The range asked for: `from` and `to`, or a span back from the newest datum; RefusedError says what is wrong."""
    end = requested.to or newest
    try:
        start = requested.from_ or end - timedelta(
            seconds=min(parse_duration_s(requested.span), LONGEST.total_seconds())
        )
    except (ValueError, OverflowError) as error:
        raise RefusedError(_ODD_RANGE(problem=str(error))) from error
    if start >= end:
        raise RefusedError(_BACKWARDS())
    return start, end


def load_curve(
    c: Connection, site: str, station: str, quantity: str, requested: RequestedRange, now: datetime
) -> tuple[list[Reading], list[SeriesRow], str, datetime, datetime]:
    """Readings of a stored or computed series, the series they rest on, the unit and the range."""
    parts = find_parts(c, site, load_series(c, site), station, quantity)
    low, high = read_range(pages.find_newest(c, [s.id for s, _ in parts]) or now, requested)
    curves = [pages.load_range(c, s.id, low, high, now) for s, _ in parts]
    readings = curves[0] if len(parts) == 1 else project_downslope(curves, [weight for _, weight in parts])
    return readings, [s for s, _ in parts], parts[0][0].unit, low, high


def find_parts(c: Connection, site: str, series: Sequence[SeriesRow], station: str, quantity: str) -> Parts:
    """The series that a curve rests on, with their weights: itself, or three components of a computed movement."""
    own = {s.quantity: s for s in series if s.station == station}
    if quantity in own:
        return [(own[quantity], 1.0)]
    if quantity != COMPUTED or not set(COMPONENTS) <= set(own):
        raise NotFoundError(NO_SERIES(series=f"{site}/{station}/{quantity}"))
    place = pages.find_direction(c, site, station)
    if place is None:
        raise NotFoundError(_NO_AZIMUTH(station=station))
    return list(zip((own[name] for name in COMPONENTS), component_weights(*place), strict=True))


@router.get("/sites/{site}/series/{station}/{quantity}")
def get_series(
    request: Request, site: str, station: str, quantity: str, requested: MonthRange, max_points: Points = 5000
) -> dict[str, Any]:
    """Readings as known now, offsets subtracted; sampled to about `max_points`, extremes kept."""
    with read_site(request, site) as seen:
        readings, _, unit, low, high = load_curve(seen.c, site, station, quantity, requested, seen.now)
    shown = sample(readings, max_points)
    return {
        "site": site,
        "station": station,
        "quantity": quantity,
        "unit": unit,
        "from": format_iso(low),
        "to": format_iso(high),
        "total": len(readings),
        "sampled": len(readings) > max_points,
        "points": {
            "at": [format_iso(r.observed_at) for r in shown],
            "value": [r.value for r in shown],
            "sigma": [r.sigma for r in shown],
            "flags": [",".join(r.flags) for r in shown],
            "revision": [r.revision for r in shown],
        },
    }


def name_levels(levels: Iterable[pages.StoredLevel]) -> dict[int, str]:
    """Names of levels by their number."""
    return {v["number"]: v["name"] for v in levels}


def noise_floor_of(site: Site | None, station: str, quantity: str) -> float:
    """What the instrument cannot tell from nothing; a picture must not blow it up."""
    spec = None if site is None else site.series(station, quantity)
    return 0.0 if spec is None else spec.noise_floor


def find_thresholds(
    site: Site | None, station: str, quantity: str, names: Mapping[int, str], readings: Sequence[Reading]
) -> list[Mapping[str, Any]]:
    """Bounds that can be drawn on this curve; `names` are those of the levels.

    A `level` bound is a horizontal line. A rate or velocity bound is a ray: it starts where its window starts, at the
    value the curve had then, and climbs as fast as the bound; a curve beyond the ray moves faster than the bound. On a
    component (east, north, up) the ray is the component of a movement along the station's azimuth and plunge.
    """
    if site is None or not readings:
        return []
    share = _share_of(site, station, quantity)
    found: list[Mapping[str, Any]] = []
    moves = quantity.startswith("displacement")
    for criterion in site.criteria:
        is_same = criterion.quantity == quantity or (moves and criterion.quantity == "displacement")
        if station not in criterion.stations or not is_same:
            continue
        for threshold in criterion.thresholds:
            bound = threshold.bound
            if bound is None:
                continue
            row = {
                "level": threshold.level,
                "name": names.get(threshold.level, str(threshold.level)),
                "kind": criterion.kind.id,
                "value": bound,
                "side": "over" if threshold.over is not None else "under",
                "window_s": threshold.window_s,
                "criterion": criterion.id,
            }
            if "line" in criterion.kind.drawn:
                found.append({**row, "line": bound})
            elif "ray" in criterion.kind.drawn and threshold.window_s and share:
                ray = _ray(readings, bound * share, threshold.window_s)
                found += [{**row, "ray": ray}] if ray else []
    return found


def _share_of(site: Site, station_id: str, quantity: str) -> float:
    """How much of a downslope movement a quantity shows; 0 when that is unknown."""
    if quantity not in COMPONENTS:
        return 1.0
    station = site.station(station_id)
    if station is None or station.azimuth_deg is None:
        return 0.0
    return component_weights(station.azimuth_deg, station.plunge_deg or 0.0)[COMPONENTS.index(quantity)]


def _ray(readings: Sequence[Reading], per_day: float, window_s: float) -> Mapping[str, Any] | None:
    last = readings[-1].observed_at
    start_at = last - timedelta(seconds=window_s)
    start = next((r for r in readings if r.observed_at >= start_at and not r.flags), None)
    if start is None or start.observed_at >= last:
        return None
    days = (last - start.observed_at) / timedelta(days=1)
    return {
        "at": [format_iso(start.observed_at), format_iso(last)],
        "value": [start.value, start.value + per_day * days],
    }
