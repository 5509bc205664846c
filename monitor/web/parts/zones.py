"""Shapes on a map: what a landslide would reach, areas of stations, reach of radar; and the sketch of a site."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, log10, pi, radians, sin
from pathlib import Path
from typing import Final

from fastapi.responses import JSONResponse

from detection.geojson import Feature, FeatureCollection, Geometry
from monitor.domain.ground import find_hull
from monitor.domain.site import Site
from monitor.store.pages import StationCard
from monitor.store.readings.points import METRES_PER_DEGREE, window_of
from monitor.store.schema.view_rows import ScenePolygonRow

AROUND_M: Final = 15.0  # an area reaches so far beyond its outermost stations
CORNERS: Final = 48  # of a circle
Place = tuple[float, float]  # longitude, latitude


def draw_zones(site: Site) -> list[Feature]:
    """Features of GeoJSON with `kind` (exposed, area, radar), `name` and `radius_m`."""
    placed = {
        s.id: (s.longitude, s.latitude) for s in site.stations if s.longitude is not None and s.latitude is not None
    }
    found = [
        _feature("exposed", one.name, None, _wind([(lon, lat) for lat, lon in one.corners])) for one in site.exposed
    ]
    found += [
        _feature("area", one.id, None, _wind([(lon, lat) for lat, lon in one.outline]))
        for one in site.stations
        if one.outline
    ]
    areas: dict[str, list[Place]] = {}
    for station in site.stations:
        if station.area is not None and station.id in placed:
            areas.setdefault(station.area, []).extend(draw_circle(placed[station.id], AROUND_M, 12))
    for name, corners in sorted(areas.items()):
        found.append(_feature("area", name, None, find_hull(corners)))
    radar = {(s, window_of(k)[1]) for k in site.criteria if k.kind.facts == "points" for s in k.stations if s in placed}
    for name, reach_m in sorted(radar):
        found.append(_feature("radar", name, reach_m, draw_circle(placed[name], reach_m)))
    return found


def read_velocity_zones(path: Path) -> list[Feature]:
    """Zones of the newest map of velocities, as `slopeward scenes velocity` left them; none where there is no map."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [
            one
            | {
                "id": f"velocity/{k}",
                "properties": {
                    **one["properties"],
                    "way": one["properties"]["kind"],
                    "kind": "velocity",
                    "name": content["name"],
                    "until": content["until"],
                    "radius_m": None,
                },
            }
            for k, one in enumerate(content["features"])
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def draw_circle(middle: Place, radius_m: float, corners: int = CORNERS) -> list[Place]:
    """Places around a middle, on the plane that touches the slope."""
    north = radius_m / METRES_PER_DEGREE
    east = north / max(0.01, cos(radians(middle[1])))
    angles = [2.0 * pi * k / corners for k in range(corners)]
    return [(round(middle[0] + east * sin(a), 7), round(middle[1] + north * cos(a), 7)) for a in angles]


def _wind(ring: list[Place]) -> list[Place]:
    """The corners counter-clockwise (RFC 7946)."""
    twice = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))
    return ring if twice > 0 else ring[::-1]


def _feature(kind: str, name: str, radius_m: float | None, ring: Sequence[Place]) -> Feature:
    around = [list(place) for place in (*ring, ring[0])]
    if kind == "radar":
        around.reverse()  # RFC 7946: outer rings run counter-clockwise
    properties = {"kind": kind, "name": name, "radius_m": radius_m}
    return {
        "type": "Feature",
        "id": f"{kind}/{name}",
        "geometry": {"type": "Polygon", "coordinates": [around]},
        "properties": properties,
    }


GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A GeoJSON object."""

    media_type = GEOJSON


def make_collection(features: Iterable[Feature]) -> FeatureCollection:
    """Features as one object."""
    return {"type": "FeatureCollection", "features": [*features]}


WIDTH: Final = 720.0
HEIGHT: Final = 460.0
MARGIN: Final = 46.0
PER_DEGREE_M: Final = 111_320.0
ARROW: Final = 30.0
NEAR: Final = (  # places of a label around its marker: right, left, above, below, then the corners
    (12.0, 5.0, "start"),
    (-12.0, 5.0, "end"),
    (0.0, -12.0, "middle"),
    (0.0, 22.0, "middle"),
    (10.0, -8.0, "start"),
    (-10.0, -8.0, "end"),
    (10.0, 18.0, "start"),
    (-10.0, 18.0, "end"),
)
PLACES: Final = (
    *NEAR,
    *((2.2 * x, 2.2 * y, side) for x, y, side in NEAR),
    *((3.6 * x, 3.6 * y, side) for x, y, side in NEAR),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """Equirectangular projection around a middle, good for the few kilometres of a slope."""

    west: float
    north: float
    metres_per_lon: float
    scale: float  # drawing units per metre
    shift_x: float
    shift_y: float

    def place(self, longitude: float, latitude: float) -> tuple[float, float]:
        """Drawing coordinates of a place."""
        x = (longitude - self.west) * self.metres_per_lon * self.scale + self.shift_x
        y = (self.north - latitude) * PER_DEGREE_M * self.scale + self.shift_y
        return round(x, 1), round(y, 1)


def fit_frame(places: Sequence[tuple[float, float]]) -> Frame:
    """The frame that holds all places (longitude, latitude) with a margin; at least 100 m across."""
    lons, lats = [p[0] for p in places], [p[1] for p in places]
    metres_per_lon = PER_DEGREE_M * max(cos(radians((min(lats) + max(lats)) / 2)), 0.05)
    width = max((max(lons) - min(lons)) * metres_per_lon, 100.0)
    height = max((max(lats) - min(lats)) * PER_DEGREE_M, 100.0)
    scale = min((WIDTH - 2 * MARGIN) / width, (HEIGHT - 2 * MARGIN) / height)
    used_x = (max(lons) - min(lons)) * metres_per_lon * scale
    used_y = (max(lats) - min(lats)) * PER_DEGREE_M * scale
    return Frame(min(lons), max(lats), metres_per_lon, scale, (WIDTH - used_x) / 2, (HEIGHT - used_y) / 2)


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """Where the preview of a scene lies on the sketch."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class StationMark:
    """A station on the sketch; `asks`: the level that it asks for by itself."""

    id: str
    x: float
    y: float
    arrow: tuple[float, float] | None  # its tip; None: no direction of movement
    state: str  # of health
    reason: str
    on_slope: bool
    asks: int
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"  # of its label


@dataclass(frozen=True, slots=True)
class FootprintMark:
    """A footprint on the sketch; but for its path a row of `scene_polygons`."""

    path: str
    polygon_id: str
    change: str
    area_m2: float
    mean_probability: float
    method: str
    nearest_station: str | None
    distance_m: float | None


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A round length."""

    length: float
    label: str


@dataclass(frozen=True, slots=True)
class SiteSketch:
    """Everything that the template draws, in drawing units."""

    image: ImageFrame | None
    stations: Sequence[StationMark]
    requested: Sequence[int]  # levels that stations ask for
    unplaced: Sequence[str]  # stations without a place
    footprints: Sequence[FootprintMark]
    changes: Sequence[str]
    scale: ScaleBar
    width: float = WIDTH
    height: float = HEIGHT


def draw(
    stations: Sequence[StationCard],
    footprints: Sequence[ScenePolygonRow],
    bounds: tuple[float, float, float, float] | None,
    asks: Mapping[str, int] | None = None,
) -> SiteSketch | None:
    """The sketch of a site; None when no place is known.

    Args:
        bounds: west, south, east, north of the preview image, when there is one.
        asks: station -> the level that it asks for by itself.
    """
    placed = [(s, s.place) for s in stations if s.place is not None]
    places = [place for _, place in placed]
    if not places:
        places = [p for f in footprints for p in ((f["min_lon"], f["min_lat"]), (f["max_lon"], f["max_lat"]))]
        if not places and bounds is not None:
            places = [(bounds[0], bounds[1]), (bounds[2], bounds[3])]
    else:
        places += _near(footprints, places)
    if not places:
        return None
    frame = fit_frame(places)
    image = None
    if bounds is not None:
        (x0, y0), (x1, y1) = frame.place(bounds[0], bounds[3]), frame.place(bounds[2], bounds[1])
        image = ImageFrame(x0, y0, round(x1 - x0, 1), round(y1 - y0, 1))
    asks = asks or {}
    return SiteSketch(
        image=image,
        stations=_spread([_draw_station(s, frame.place(*place), asks.get(s.id, 0)) for s, place in placed]),
        requested=sorted(set(asks.values())),
        unplaced=[s.id for s in stations if s.place is None],
        footprints=[_draw_footprint(frame, f) for f in footprints],
        changes=sorted({f["change"] for f in footprints}),
        scale=_scale_bar(frame),
    )


def _near(footprints: Sequence[ScenePolygonRow], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of footprints that lie within one site width: one far away must not shrink the slope to a dot."""
    lons, lats = [p[0] for p in places], [p[1] for p in places]
    reach_lon = max(max(lons) - min(lons), 0.002)
    reach_lat = max(max(lats) - min(lats), 0.002)
    corners = [c for f in footprints for c in ((f["min_lon"], f["min_lat"]), (f["max_lon"], f["max_lat"]))]
    return [
        c
        for c in corners
        if min(lons) - reach_lon <= c[0] <= max(lons) + reach_lon
        and min(lats) - reach_lat <= c[1] <= max(lats) + reach_lat
    ]


def _draw_station(station: StationCard, place: tuple[float, float], asks: int) -> StationMark:
    """The mark of a station at a place in drawing units."""
    x, y = place
    arrow = None
    if station.azimuth_deg is not None and station.on_slope:
        angle = radians(station.azimuth_deg)
        arrow = (round(x + ARROW * sin(angle), 1), round(y - ARROW * cos(angle), 1))
    state, reason = station.state or "unknown", station.reason or ""
    return StationMark(station.id, x, y, arrow, state, reason, station.on_slope, asks)


def _spread(stations: Sequence[StationMark]) -> list[StationMark]:
    """The marks with their labels where `_find_label_places` puts them."""
    labels = _find_label_places(tuple((s.id, s.x, s.y) for s in stations))
    return [replace(s, label_x=x, label_y=y, anchor=anchor) for s, (x, y, anchor) in zip(stations, labels, strict=True)]


@lru_cache(maxsize=256)  # stations stay where they are, and each look at the page draws them
def _find_label_places(stations: tuple[tuple[str, float, float], ...]) -> list[tuple[float, float, str]]:
    """Where each label covers neither a marker nor another label; the nearest free place wins."""
    markers = [(x - 8, y - 8, x + 8, y + 8) for _, x, y in stations]
    taken: list[tuple[float, float, float, float]] = []
    found = []
    for k, (name, at_x, at_y) in enumerate(stations):
        width = 8.5 * len(name) + 2
        boxes = [(place, _box(at_x + place[0], at_y + place[1], place[2], width)) for place in PLACES]
        reach = [box for _, box in boxes]
        whole = (min(b[0] for b in reach), min(b[1] for b in reach), max(b[2] for b in reach), max(b[3] for b in reach))
        others = [o for o in (*taken, *markers[:k], *markers[k + 1 :]) if _overlap(whole, o)]
        place, box = next(((p, b) for p, b in boxes if not any(_overlap(b, o) for o in others)), boxes[0])
        found.append((round(at_x + place[0], 1), round(at_y + place[1], 1), place[2]))
        taken.append(box)
    return found


def _box(x: float, y: float, anchor: str, width: float) -> tuple[float, float, float, float]:
    left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
    return left, y - 12, left + width, y + 3


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _path(frame: Frame, geometry: Geometry) -> str:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = (ring for polygon in polygons for ring in polygon)
    return " ".join(
        "M" + "L".join(f"{x} {y}" for x, y in (frame.place(p[0], p[1]) for p in ring)) + "Z" for ring in rings
    )


def _draw_footprint(frame: Frame, f: ScenePolygonRow) -> FootprintMark:
    return FootprintMark(
        _path(frame, f["geometry"]),
        f["polygon_id"],
        f["change"],
        f["area_m2"],
        f["mean_probability"],
        f["method"],
        f["nearest_station"],
        f["distance_m"],
    )


def _scale_bar(frame: Frame) -> ScaleBar:
    """A round length of about a sixth of the width."""
    raw = WIDTH / 6 / frame.scale
    power = 10 ** int(log10(raw))
    metres = max(m * power for m in (1, 2, 5) if m * power <= raw)
    label = f"{metres:g} m" if metres < 1000 else f"{metres / 1000:g} km"
    return ScaleBar(round(metres * frame.scale, 1), label)
