"""The map sketch of a site as plain SVG facts: stations, direction of movement, footprints, scale. No tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, log10, radians, sin
from typing import Any, Final

WIDTH: Final = 720.0
HEIGHT: Final = 460.0
MARGIN: Final = 46.0
METRES_PER_DEGREE: Final = 111_320.0
ARROW: Final = 30.0
PLACES: Final = (  # of a label around its marker: right, left, above, below, then the corners
    (12.0, 5.0, "start"), (-12.0, 5.0, "end"), (0.0, -12.0, "middle"), (0.0, 22.0, "middle"), (10.0, -8.0, "start"),
    (-10.0, -8.0, "end"), (10.0, 18.0, "start"), (-10.0, 18.0, "end"),
)  # fmt: skip


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
        y = (self.north - latitude) * METRES_PER_DEGREE * self.scale + self.shift_y
        return round(x, 1), round(y, 1)


def fit_frame(places: Sequence[tuple[float, float]]) -> Frame:
    """The frame that holds all places (longitude, latitude) with a margin; at least 100 m across."""
    lons, lats = [p[0] for p in places], [p[1] for p in places]
    metres_per_lon = METRES_PER_DEGREE * max(cos(radians((min(lats) + max(lats)) / 2)), 0.05)
    width = max((max(lons) - min(lons)) * metres_per_lon, 100.0)
    height = max((max(lats) - min(lats)) * METRES_PER_DEGREE, 100.0)
    scale = min((WIDTH - 2 * MARGIN) / width, (HEIGHT - 2 * MARGIN) / height)
    used_x = (max(lons) - min(lons)) * metres_per_lon * scale
    used_y = (max(lats) - min(lats)) * METRES_PER_DEGREE * scale
    return Frame(min(lons), max(lats), metres_per_lon, scale, (WIDTH - used_x) / 2, (HEIGHT - used_y) / 2)


def draw(
    stations: Sequence[Mapping[str, Any]],
    footprints: Sequence[Mapping[str, Any]],
    bounds: tuple[float, float, float, float] | None,
    asks: Mapping[str, int] | None = None,
) -> dict[str, Any] | None:
    """Everything the template draws, in drawing units; None when no place is known.

    Args:
        stations: rows of `pages.load_stations`.
        footprints: rows of `scene_polygons` with GeoJSON geometry already read.
        bounds: west, south, east, north of the preview image, when there is one.
        asks: station -> the level that it asks for by itself.
    """
    placed = [s for s in stations if s["longitude"] is not None and s["latitude"] is not None]
    places = [(s["longitude"], s["latitude"]) for s in placed]
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
        image = {"x": x0, "y": y0, "width": round(x1 - x0, 1), "height": round(y1 - y0, 1)}
    return {
        "width": WIDTH, "height": HEIGHT, "image": image,
        "stations": _spread([{**_draw_station(frame, s), "asks": (asks or {}).get(s["id"], 0)} for s in placed]),
        "asked": sorted(set((asks or {}).values())),
        "unplaced": [s["id"] for s in stations if s not in placed],
        "footprints": [{"path": _path(frame, f["geometry"]), **_describe(f)} for f in footprints],
        "changes": sorted({f["change"] for f in footprints}), "scale": _scale_bar(frame),
    }  # fmt: skip


def _near(footprints: Sequence[Mapping[str, Any]], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
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


def _draw_station(frame: Frame, station: Mapping[str, Any]) -> dict[str, Any]:
    x, y = frame.place(station["longitude"], station["latitude"])
    health = station["health"] or {}
    arrow = None
    if station["azimuth_deg"] is not None and station["on_slope"]:
        angle = radians(station["azimuth_deg"])
        arrow = (round(x + ARROW * sin(angle), 1), round(y - ARROW * cos(angle), 1))
    state, reason = health.get("state") or "unknown", health.get("reason") or ""
    return {
        "id": station["id"], "x": x, "y": y, "arrow": arrow, "state": state, "reason": reason,
        "on_slope": station["on_slope"], "votes": bool(health.get("votes")),
    }  # fmt: skip


def _spread(stations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put each label where it covers neither a marker nor another label; the first free of eight places wins."""
    markers = [(s["x"] - 8, s["y"] - 8, s["x"] + 8, s["y"] + 8) for s in stations]
    taken: list[tuple[float, float, float, float]] = []
    for k, station in enumerate(stations):
        width = 8.5 * len(station["id"]) + 2
        boxes = [(place, _box(station["x"] + place[0], station["y"] + place[1], place[2], width)) for place in PLACES]
        others = [*taken, *markers[:k], *markers[k + 1 :]]
        place, box = next(((p, b) for p, b in boxes if not any(_overlap(b, o) for o in others)), boxes[0])
        x, y = round(station["x"] + place[0], 1), round(station["y"] + place[1], 1)
        station |= {"label_x": x, "label_y": y, "anchor": place[2]}
        taken.append(box)
    return stations


def _box(x: float, y: float, anchor: str, width: float) -> tuple[float, float, float, float]:
    left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
    return left, y - 12, left + width, y + 3


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _path(frame: Frame, geometry: Mapping[str, Any]) -> str:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = (ring for polygon in polygons for ring in polygon)
    return " ".join(
        "M" + "L".join(f"{x} {y}" for x, y in (frame.place(p[0], p[1]) for p in ring)) + "Z" for ring in rings
    )


def _describe(footprint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: footprint[k]
        for k in ("polygon_id", "change", "area_m2", "mean_probability", "method", "nearest_station", "distance_m")
    }


def _scale_bar(frame: Frame) -> dict[str, Any]:
    """A round length of about a sixth of the width."""
    raw = WIDTH / 6 / frame.scale
    power = 10 ** int(log10(raw))
    metres = max(m * power for m in (1, 2, 5) if m * power <= raw)
    label = f"{metres:g} m" if metres < 1000 else f"{metres / 1000:g} km"
    return {"length": round(metres * frame.scale, 1), "label": label}
