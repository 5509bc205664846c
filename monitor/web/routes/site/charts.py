"""The readings of one curve as JSON, and what is drawn with a curve: its thresholds and its noise floor."""

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
from monitor.web.parts.collect import SiteSnapshot, read_site
from monitor.web.parts.columns import COMPONENTS, COMPUTED, Parts, component_weights, project_downslope, sample

router = APIRouter(prefix="/api/v1", tags=["series"])
LONGEST_RANGE: Final = timedelta(days=36525)
_BACKWARDS: Final = Template("range.backwards", "range: from must lie before to")
_UNREADABLE_RANGE: Final = Template("range.odd", "range: {problem}")
_NO_AZIMUTH: Final = Template(
    "station.no_azimuth", "station '{station}' has no azimuth: no downslope movement can be computed"
)
MaxPoints = Annotated[int, Query(ge=50, le=20_000, description="approximate largest number of points")]


@router.get("/sites/{site}/series/{station}/{quantity}")
def get_series(
    request: Request, site: str, station: str, quantity: str, requested: MonthRange, max_points: MaxPoints = 5000
) -> dict[str, Any]:
    """Return the readings of a series as known now, with offsets subtracted.

    Of more than `max_points` readings, about so many are returned, the extremes among them.
    """
    with read_site(request, site) as snapshot:
        readings, unit, from_at, to_at = _load_curve(snapshot, station, quantity, requested)
    sampled = sample(readings, max_points)
    return {
        "site": site,
        "station": station,
        "quantity": quantity,
        "unit": unit,
        "from": format_iso(from_at),
        "to": format_iso(to_at),
        "total": len(readings),
        "sampled": len(readings) > max_points,
        "points": {
            "at": [format_iso(reading.observed_at) for reading in sampled],
            "value": [reading.value for reading in sampled],
            "sigma": [reading.sigma for reading in sampled],
            "flags": [",".join(reading.flags) for reading in sampled],
            "revision": [reading.revision for reading in sampled],
        },
    }


def _load_curve(
    snapshot: SiteSnapshot, station: str, quantity: str, requested: RequestedRange
) -> tuple[list[Reading], str, datetime, datetime]:
    """Return the readings of a stored or computed curve, their unit, and start and end of the range."""
    c = snapshot.c
    site = snapshot.card.id
    parts = find_parts(c, site, load_series(c, site), station, quantity)
    newest_at = pages.find_newest(c, [series.id for series, _ in parts])
    from_at, to_at = read_range(newest_at or snapshot.now, requested)
    components = [pages.load_range(c, series.id, from_at, to_at, snapshot.now) for series, _ in parts]
    readings = components[0] if len(parts) == 1 else project_downslope(components, [weight for _, weight in parts])
    return readings, parts[0][0].unit, from_at, to_at


def read_range(newest: datetime, requested: RequestedRange) -> tuple[datetime, datetime]:
    """Return start and end of a requested range.

    Args:
        newest: End of the range if the request contains none.
        requested: Start and end, or a span before the end.

    Raises:
        RefusedError: The span cannot be read, or the start is not before the end.
    """
    end = requested.to or newest
    try:
        start = requested.from_ or end - timedelta(
            seconds=min(parse_duration_s(requested.span), LONGEST_RANGE.total_seconds())
        )
    except (ValueError, OverflowError) as error:
        raise RefusedError(_UNREADABLE_RANGE(problem=str(error))) from error
    if start >= end:
        raise RefusedError(_BACKWARDS())
    return start, end


def find_parts(c: Connection, site: str, series: Sequence[SeriesRow], station: str, quantity: str) -> Parts:
    """Return the stored series of a curve with their weights.

    These are the series itself, or the three components from which a downslope displacement is computed.

    Raises:
        NotFoundError: The station has no such series, or no azimuth to compute it.
    """
    series_by_quantity = {row.quantity: row for row in series if row.station == station}
    if quantity in series_by_quantity:
        return [(series_by_quantity[quantity], 1.0)]
    if quantity != COMPUTED or not set(COMPONENTS) <= set(series_by_quantity):
        raise NotFoundError(NO_SERIES(series=f"{site}/{station}/{quantity}"))
    direction = pages.find_direction(c, site, station)
    if direction is None:
        raise NotFoundError(_NO_AZIMUTH(station=station))
    components = [series_by_quantity[name] for name in COMPONENTS]
    return list(zip(components, component_weights(*direction), strict=True))


def name_levels(levels: Iterable[pages.StoredLevel]) -> dict[int, str]:
    """Return the names of levels by number."""
    return {level["number"]: level["name"] for level in levels}


def find_noise_floor(site: Site | None, station: str, quantity: str) -> float:
    """Return the noise floor of a series, below which a chart does not magnify it; 0 if none is declared."""
    spec = None if site is None else site.series(station, quantity)
    return 0.0 if spec is None else spec.noise_floor


def find_thresholds(
    site: Site | None, station: str, quantity: str, level_names: Mapping[int, str], readings: Sequence[Reading]
) -> list[Mapping[str, Any]]:
    """Return the bounds of criteria that can be drawn on a curve.

    A bound of values is a horizontal line. A bound of a rate or velocity is a ray: it starts at the value that the
    curve had at the start of the window, and rises as fast as the bound. A curve beyond the ray moves faster than the
    bound. On a component (east, north, up) the ray is the component of a movement along azimuth and plunge of the
    station.

    Args:
        site: The declared site; None if its file cannot be read.
        station: Station of the curve.
        quantity: Quantity of the curve.
        level_names: Names of the levels by number.
        readings: Readings of the curve.
    """
    if site is None or not readings:
        return []
    share = _find_share(site, station, quantity)
    is_displacement = quantity.startswith("displacement")
    thresholds: list[Mapping[str, Any]] = []
    for criterion in site.criteria:
        reads_curve = criterion.quantity == quantity or (is_displacement and criterion.quantity == "displacement")
        if station not in criterion.stations or not reads_curve:
            continue
        for threshold in criterion.thresholds:
            bound = threshold.bound
            if bound is None:
                continue
            row = {
                "level": threshold.level,
                "name": level_names.get(threshold.level, str(threshold.level)),
                "kind": criterion.kind.id,
                "value": bound,
                "side": "over" if threshold.over is not None else "under",
                "window_s": threshold.window_s,
                "criterion": criterion.id,
            }
            if "line" in criterion.kind.drawn:
                thresholds.append({**row, "line": bound})
            elif "ray" in criterion.kind.drawn and threshold.window_s and share:
                ray = _find_ray(readings, bound * share, threshold.window_s)
                if ray is not None:
                    thresholds.append({**row, "ray": ray})
    return thresholds


def _find_share(site: Site, station_id: str, quantity: str) -> float:
    """Return the share of a movement along azimuth and plunge that a quantity measures; 0 if it is not known."""
    if quantity not in COMPONENTS:
        return 1.0
    station = site.station(station_id)
    if station is None or station.azimuth_deg is None:
        return 0.0
    return component_weights(station.azimuth_deg, station.plunge_deg or 0.0)[COMPONENTS.index(quantity)]


def _find_ray(readings: Sequence[Reading], rate_per_day: float, window_s: float) -> Mapping[str, Any] | None:
    """Return start and end of the ray of a bound; None without a usable reading at the start of its window."""
    last_at = readings[-1].observed_at
    window_from = last_at - timedelta(seconds=window_s)
    start = next((reading for reading in readings if reading.observed_at >= window_from and not reading.flags), None)
    if start is None or start.observed_at >= last_at:
        return None
    days = (last_at - start.observed_at) / timedelta(days=1)
    return {
        "at": [format_iso(start.observed_at), format_iso(last_at)],
        "value": [start.value, start.value + rate_per_day * days],
    }
