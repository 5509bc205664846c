"""What maps are drawn of besides stations and footprints: zones, radar points, relief, tiles, susceptibility."""

import os
import re
import stat
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypedDict, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import AfterValidator

from detection.geojson import Feature
from detection.susceptibility.records import read_shown
from forecasting.message import Template
from monitor.config.tile_files import NAME, list_files
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.domain.instants import format_iso
from monitor.domain.language.rendering import translate_all
from monitor.notify.declarations import find_declaration
from monitor.store.alerting.sites import find_version
from monitor.store.models.point_maps import MapView, Square, find_sides, list_sets, load_point, load_view
from monitor.store.readings.point_rates import Box, PointRate, load_rates
from monitor.store.schema.views import load_view as load_rows
from monitor.web.context import Context, Instant, context_of, take_turn
from monitor.web.parts.collect import read_site
from monitor.web.parts.zones import GeoJsonResponse, draw_zones, make_collection, read_velocity_zones

router = APIRouter(prefix="/api/v1", tags=["maps"])
AT_ONCE: Final = 2  # rates of points take the database a while
_drawing: Final = threading.Semaphore(AT_ONCE)
FIRST_YEAR: Final = 1900
_MANY_DRAW: Final = Template("map.many_draw", "the maps of others are being drawn; try again in a moment")
_NO_SET: Final = Template("map.no_set", "site '{site}' has no point set '{name}'")
_NO_SUSCEPTIBILITY: Final = Template("map.no_susceptibility", "this site has no susceptibility map")
_EARLY_YEAR: Final = Template("map.early_year", "at: nothing is kept of the year {year}")
_ODD_BOX: Final = Template("map.odd_box", "bbox: expected west,south,east,north in degrees")
_ODD_DEGREES: Final = Template("map.odd_degrees", "bbox: expected degrees, west below east and south below north")
# what the key of a susceptibility map says
SHOWN: Final = ("sha256", "bounds", "classes", "made_on", "inventory", "from", "to", "auc", "landslides")
Days = Annotated[float, Query(ge=1, le=3660, description="length of the window, days; default all")]
Within = Annotated[str | None, Query(max_length=200, description="west,south,east,north in degrees")]
SetName = Annotated[str | None, Query(alias="set", max_length=128, description="point set; default the first by name")]
EVERYWHERE: Final = (-180.0, -90.0, 180.0, 90.0)


def _refuse_early(at: datetime | None) -> datetime | None:
    if at is not None and at.year < FIRST_YEAR:
        raise RefusedError(_EARLY_YEAR(year=str(at.year)))
    return at


Early = Annotated[Instant, AfterValidator(_refuse_early)]
At = Annotated[Early, Query(description="end of the window, RFC 3339 with offset; default now")]


@router.get("/sites/{site}/zones.geojson", response_class=GeoJsonResponse)
def map_zones(request: Request, site: str) -> GeoJsonResponse:
    """Areas of the site file as hulls of their stations, and circles within which radar points count."""
    with read_site(request, site) as seen:
        features = [] if seen.declared is None else draw_zones(seen.declared)
    features += read_velocity_zones(seen.context.config.paths.velocity_of(site))
    return GeoJsonResponse(make_collection(features))


@router.get("/sites/{site}/points.geojson", response_class=GeoJsonResponse)
def map_points(
    request: Request, site: str, bbox: Within = None, at: At = None, days: Days | None = None, set_: SetName = None
) -> GeoJsonResponse:
    """Satellite points of a view by their mean velocity over the whole record, or squares of many.

    Of an earlier time, or of a window, and while the map of a set is not made yet: an even share of the points.
    """
    box = _read_box(bbox)
    with take_turn(_drawing, _MANY_DRAW()), read_site(request, site) as seen:
        sets = list_sets(seen.c, site)
        one = sets.get(set_) if set_ is not None else next(iter(sets.values()), None)
        found, mapped = MapView((), (), 0), None
        if one is not None and at is None and days is None and one.delivery_id is not None:
            found, mapped = load_view(seen.c, one, box), one
        elif one is not None:
            span = None if days is None else timedelta(days=days)
            share = load_rates(seen.c, one.id, one.unit, box, at or seen.now, span)
            found = MapView(share.points, (), share.inside)
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


@router.get("/sites/{site}/points/series")
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
        ahead = load_rows(seen.c, "point_forecasts", order_by=["horizon"], site=site, point_set=set_, pid=pid)
    head = {"site": site, "set": set_, "pid": pid, "direction": one.direction, "unit": "mm"}
    return translate_all({**head, **found, "forecast": [{name: row[name] for name in _AHEAD} for row in ahead]})


@router.get("/sites/{site}/relief.pmtiles", response_class=Response)
def send_relief(request: Request, site: str) -> Response:
    """Shaded relief of a site, range by range."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.relief_of(site)
    return send_range(path, request.headers)


@router.get("/sites/{site}/map")
def describe_map(request: Request, site: str) -> dict[str, Any]:
    """Which grounds a map of the site can have: its relief, and the tiles of this service."""
    with read_site(request, site) as seen:
        # not as it was evaluated last: the picture is made as soon as a file is in force
        context, declared = seen.context, find_declaration(seen.c, find_version(seen.c, site) or "")
    prior = declared.scenes.prior if declared is not None else ""
    relief = context.config.paths.relief_of(site).is_file()
    return {
        "relief": f"/api/v1/sites/{site}/relief.pmtiles" if relief else None,
        "tiles": _list_tiles(context),
        "susceptibility": _describe_susceptibility(context, site, prior) if prior else None,
    }


def _describe_susceptibility(context: Context, site: str, prior: str) -> dict[str, Any] | None:
    """The picture of the map that the site file names now, with what its key says; another map has another address."""
    known = read_shown(context.config.paths.susceptibility_of(site))
    if known is None or known["path"] != str(Path(prior).absolute()):
        return None
    url = f"/api/v1/sites/{site}/susceptibility.png?of={str(known['sha256'])[:12]}"
    return {"url": url, **{name: known.get(name) for name in SHOWN}}


@router.get("/sites/{site}/susceptibility.png", response_class=FileResponse)
def send_susceptibility(request: Request, site: str) -> FileResponse:
    """The picture of the site's susceptibility map, on a lon/lat grid."""
    with read_site(request, site) as seen:
        path = seen.context.config.paths.susceptibility_of(site)
    if not path.is_file():
        raise NotFoundError(_NO_SUSCEPTIBILITY())
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


class TileFile(TypedDict):
    """A file of tiles of this service."""

    name: str
    size_bytes: int
    url: str


@router.get("/map/tiles", response_model=list[dict[str, Any]])
def list_tiles(request: Request) -> list[TileFile]:
    """Files of tiles in the folder that `[map] tiles` names."""
    return _list_tiles(context_of(request))


@router.get("/map/tiles/{name}", response_class=Response)
def send_tiles(request: Request, name: str) -> Response:
    """A file of tiles, range by range."""
    folder = context_of(request).config.map.tiles
    if not folder or not NAME.fullmatch(name):
        raise NotFoundError(NO_TILES())
    return send_range(Path(folder) / name, request.headers)


def _list_tiles(context: Context) -> list[TileFile]:
    return [
        {"name": f.name, "size_bytes": f.size, "url": f"/api/v1/map/tiles/{f.name}"}
        for f in list_files(context.config.map.tiles)
    ]


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


_Ahead = Literal["horizon", "target_at", "q10", "q50", "q90", "reason"]
_AHEAD: Final[tuple[_Ahead, ...]] = get_args(_Ahead)
LARGEST: Final = 4 << 20  # of one answer: larger than any tile or directory
RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
TYPE: Final = "application/vnd.pmtiles"
NO_TILES: Final = Template("map.no_tiles", "there are no such tiles")


def send_range(path: Path, headers: Mapping[str, str]) -> Response:
    """The range of a file that a request asks for, cut at `LARGEST`; 416 without one range that the file has.

    Raises:
        NotFoundError: there is no such file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise NotFoundError(NO_TILES()) from None
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise NotFoundError(NO_TILES())
        size = known.st_size
        sent_headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{known.st_mtime_ns:x}-{size:x}"',
            "Content-Encoding": "identity",
        }
        wanted = RANGE.fullmatch(headers.get("range", "").strip())
        first = int(wanted[1]) if wanted else size
        last = min(int(wanted[2]) if wanted and wanted[2] else size - 1, size - 1, first + LARGEST - 1)
        if first >= size or last < first:
            return Response(
                status_code=416, headers={**sent_headers, "Content-Range": f"bytes */{size}"}, media_type=TYPE
            )
        body = os.pread(file, last - first + 1, first)
    finally:
        os.close(file)
    sent_headers |= {
        "Content-Range": f"bytes {first}-{first + len(body) - 1}/{size}",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(body, status_code=206, headers=sent_headers, media_type=TYPE)
