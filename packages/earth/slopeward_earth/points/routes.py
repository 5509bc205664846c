"""Satellite points of a site: on its map, one with its series, what was seen at them, and where they will be."""

import threading
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, get_args

from fastapi import APIRouter, Query, Request

from detection.geojson import Feature
from monitor.api.database import load_view as load_rows
from monitor.api.errors import NotFoundError, RefusedError, acquire_or_refuse
from monitor.api.text import Template, format_iso, translate_all
from monitor.api.web import EarlyInstant, GeoJsonResponse, Limit, SiteSnapshot, read_site
from slopeward_earth.points.store.looks import load_looks, load_newest_issues
from slopeward_earth.points.store.maps import MapView, Square, find_sides, list_sets, load_point, load_view
from slopeward_earth.points.store.rates import Box, PointRate, load_rates
from slopeward_earth.points.views import PointForecastRow, PointIssueRow

router = APIRouter(prefix="/api/v1")
AT_ONCE: Final = 2  # rates of points take the database a while
_drawing: Final = threading.Semaphore(AT_ONCE)
_MANY_DRAW: Final = Template("map.many_draw", "the maps of others are being drawn; try again in a moment")
_NO_SET: Final = Template("map.no_set", "site '{site}' has no point set '{name}'")
_ODD_BOX: Final = Template("map.odd_box", "bbox: expected west,south,east,north in degrees")
_ODD_DEGREES: Final = Template("map.odd_degrees", "bbox: expected degrees, west below east and south below north")
Days = Annotated[float, Query(ge=1, le=3660, description="length of the window, days; default all")]
Within = Annotated[str | None, Query(max_length=200, description="west,south,east,north in degrees")]
SetName = Annotated[str | None, Query(alias="set", max_length=128, description="point set; default the first by name")]
EVERYWHERE: Final = (-180.0, -90.0, 180.0, 90.0)


At = Annotated[EarlyInstant, Query(description="end of the window, RFC 3339 with offset; default now")]
_Ahead = Literal["horizon", "target_at", "q10", "q50", "q90", "reason"]
_AHEAD: Final[tuple[_Ahead, ...]] = get_args(_Ahead)
LOOKS: Final = 4  # that the page of instruments shows
LISTED_MOST: Final = 60  # findings of a point set that the page lists


def collect_points(seen: SiteSnapshot) -> dict[str, Any]:
    """What the page of instruments shows of satellite points."""
    site = seen.card.id
    return {"looks": load_looks(seen.c, site, LOOKS), "ahead": load_newest_issues(seen.c, site), "listed": LISTED_MOST}


@router.get("/sites/{site}/points.geojson", response_class=GeoJsonResponse, tags=["maps"])
def map_points(
    request: Request, site: str, bbox: Within = None, at: At = None, days: Days | None = None, set_: SetName = None
) -> GeoJsonResponse:
    """Satellite points of a view by their mean velocity over the whole record, or squares of many.

    Of an earlier time, or of a window, and while the map of a set is not made yet: an even share of the points.
    """
    box = _read_box(bbox)
    with acquire_or_refuse(_drawing, _MANY_DRAW()), read_site(request, site) as seen:
        sets = list_sets(seen.c, site)
        one = sets.get(set_) if set_ is not None else next(iter(sets.values()), None)
        found, mapped = MapView((), (), 0), None
        if one is not None and at is None and days is None and one.delivery_id is not None:
            found, mapped = load_view(seen.c, one, box), one
        elif one is not None:
            span = None if days is None else timedelta(days=days)
            share, inside = load_rates(seen.c, one.id, one.unit, box, at or seen.now, span)
            found = MapView(share, (), inside)
    features = [_draw_point(p) for p in found.points]
    if one is not None and one.squash is not None:
        features += [_draw_square(square, one.squash) for square in found.squares]
    about = {
        "set": set_ if one is None else one.name,
        "sets": {name: s.direction for name, s in sets.items()},
        "inside": found.inside,
        "days": days,
        "shown": "squares" if found.squares else "points",
        "from_at": None if mapped is None else _format_at(mapped.from_at),
        "newest_at": None if mapped is None else _format_at(mapped.newest_at),
    }
    return GeoJsonResponse({"type": "FeatureCollection", **about, "features": features})


def _draw_point(one: PointRate) -> Feature:
    line = one.line
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [round(one.longitude, 6), round(one.latitude, 6)]},
        "properties": {
            "point": one.pid,
            "rate_mm_per_year": _round(line.rate_mm_per_year),
            "error_mm_per_year": _round(line.error_mm_per_year),
            "epochs": line.epochs,
            "newest_at": _format_at(line.newest_at),
        },
    }


def _draw_square(one: Square, squash: float) -> Feature:
    wide, high = find_sides(one.level, squash)
    west, south, east, north = (
        round(x, 6) for x in (one.x * wide, one.y * high, (one.x + 1) * wide, (one.y + 1) * high)
    )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "points": one.points,
            "rated": one.rated,
            "rate_mm_per_year": _round(one.median_mm_per_year),
            "least_mm_per_year": _round(one.least_mm_per_year),
            "most_mm_per_year": _round(one.most_mm_per_year),
        },
    }


def _format_at(at: datetime | None) -> str | None:
    return None if at is None else format_iso(at)


def _round(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)


@router.get("/sites/{site}/points/series", tags=["maps"])
def read_point(
    request: Request,
    site: str,
    pid: Annotated[str, Query(max_length=64, description="its name in the set")],
    set_: Annotated[str, Query(alias="set", max_length=128, description="point set")],
) -> dict[str, Any]:
    """One satellite point: mean velocity, its newest 2,000 acquisitions in mm, and its newest forecast."""
    with read_site(request, site) as seen:
        one = list_sets(seen.c, site).get(set_)
        if one is None:
            raise NotFoundError(_NO_SET(site=site, name=set_))
        found = load_point(seen.c, one, pid, seen.now)
        ahead = load_rows(
            seen.c, "point_forecasts", PointForecastRow, order_by=["horizon"], site=site, point_set=set_, pid=pid
        )
    head = {"site": site, "set": set_, "pid": pid, "direction": one.direction, "unit": "mm"}
    return translate_all({**head, **found, "forecast": [{name: row[name] for name in _AHEAD} for row in ahead]})


@router.get("/sites/{site}/anomalies/points", tags=["anomalies"])
def list_point_looks(request: Request, site: str, limit: Limit = 20) -> list[dict[str, Any]]:
    """Newest looks at satellite points, each with what happened: one entry per cause."""
    with read_site(request, site) as seen:
        looks = load_rows(seen.c, "point_looks", order_by=["-look_id"], limit=limit, site=site)
        ids = frozenset(r["look_id"] for r in looks)
        order = ["look_id", "number"]
        happened = load_rows(seen.c, "point_happenings", order_by=order, look_id=ids) if ids else []
    return [{**r, "happenings": [h for h in happened if h["look_id"] == r["look_id"]]} for r in looks]


@router.get("/sites/{site}/forecasts/points", tags=["forecasts"], response_model=list[dict[str, Any]])
def list_point_forecasts(
    request: Request, site: str, pid: Annotated[str | None, Query(max_length=64)] = None, limit: Limit = 20
) -> list[PointIssueRow] | list[PointForecastRow]:
    """Newest issues of satellite points, an entry per horizon; with `pid` the forecasts of that point."""
    with read_site(request, site) as seen:
        if pid is None:
            return load_rows(
                seen.c,
                "point_forecast_issues",
                PointIssueRow,
                order_by=["-issue_id", "horizon"],
                limit=limit,
                site=site,
            )
        order = ["point_set", "horizon"]
        return load_rows(seen.c, "point_forecasts", PointForecastRow, order_by=order, limit=limit, site=site, pid=pid)


def _read_box(text: str | None) -> Box:
    if text is None:
        return EVERYWHERE
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise RefusedError(_ODD_BOX()) from None
    if not (-540.0 <= west < east <= 540.0 and -90.0 <= south < north <= 90.0):  # NaN is never so
        raise RefusedError(_ODD_DEGREES())
    return (west, south, east, north)
