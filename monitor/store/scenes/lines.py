"""Landslides over the images of a site: each with its newest outline, when it was seen first and when last."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select

from forecasting.message import read_message
from monitor.store.scenes.reviews import name_method
from monitor.store.schema.tables import scene, scene_footprint

ROWS_MOST: Final = 20_000  # outlines of all dates that are looked through, the newest first
LINES_MOST: Final = 1000
CHUNK: Final = 400
_OF_CAUTION: Final = ("caution_id", "caution_values")
_SHOWN: Final = (
    "scene_hash", "model_hash", "polygon_id", "model", "grown_m2", "mean_probability", "geometry", "nearest_station",
    "distance_m", "caution", *_OF_CAUTION,
)  # fmt: skip
Bounds = tuple[float, float, float, float]
"""West, south, east, north, deg."""


def _read_caution(row: dict[str, Any]) -> dict[str, Any]:
    """Of a footprint its caution alone: its outline may have thousands of corners, which are no messages."""
    stored = [row.pop(name) for name in _OF_CAUTION]
    return row if row["caution"] is None else row | {"caution": read_message(row["caution"], *stored)}


def load_lines(
    c: Connection, site: str, scene_hash: str, until: datetime, model_hash: str | None, bounds: Bounds | None
) -> tuple[list[dict[str, Any]], int]:
    """Landslides on images until an instant, those confirmed last and the largest first; and how many there are in all.

    At most `LINES_MOST` come. One that the newest image shows in parts has the area of all of them, and the
    probability of the largest.

    Args:
        c: the connection.
        site: its id.
        scene_hash: the image that is looked at; of several of one instant it comes first.
        until: when it was taken; later ones are not known to it.
        model_hash: of the weights whose outlines are followed; None: of all.
        bounds: where it lies; landslides elsewhere are left out. None: not known.
    """
    g = scene_footprint.c
    which = [scene.c.site == site, scene.c.state == "done", scene.c.acquired_at <= until, g.change != "withdrawn"]
    which += [] if model_hash is None else [g.model_hash == model_hash]
    rows = c.execute(
        select(
            g.scene_hash, g.model_hash, g.polygon_id, g["class"], g.change, g.root_id, g.first_seen_at, g.area_m2,
            scene.c.acquired_at, g.min_lon, g.min_lat, g.max_lon, g.max_lat,
        )
        .join(scene, scene.c.scene_hash == g.scene_hash)
        .where(*which)
        .order_by(
            scene.c.acquired_at.desc(), g.scene_hash != scene_hash, g.scene_hash, g.area_m2.desc(), g.polygon_id
        )
        .limit(ROWS_MOST)
    )  # fmt: skip
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows.mappings():
        line = found.setdefault((row["model_hash"], row["class"], row["root_id"] or row["polygon_id"]), {
            "class": row["class"], "vanished_at": None, "on": set(), "parts": [], "is_here": bounds is None,
        })  # fmt: skip
        line["is_here"] = line["is_here"] or _meets(row, bounds)
        if row["change"] == "vanished":
            if not line["on"]:
                line["vanished_at"] = row["acquired_at"]
            continue
        if not line["on"]:  # the newest that shows it
            line |= {name: row[name] for name in ("scene_hash", "model_hash", "polygon_id", "change")}
            line |= {"first_seen_at": row["first_seen_at"], "last_confirmed_at": row["acquired_at"]}
            line["area_m2"] = 0.0
        if row["scene_hash"] == line["scene_hash"]:
            line["area_m2"] += row["area_m2"]
            line["parts"].append(row["polygon_id"])
        line["on"].add(row["scene_hash"])
        line["first_seen_at"] = min(line["first_seen_at"] or row["acquired_at"], row["acquired_at"])
    seen = [line | {"dates": len(line["on"])} for line in found.values() if line["on"] and line["is_here"]]
    seen.sort(key=lambda line: (line["last_confirmed_at"], line["area_m2"], line["polygon_id"]), reverse=True)
    return _add_outlines(c, seen[:LINES_MOST]), len(seen)


def _meets(row: RowMapping, bounds: Bounds | None) -> bool:
    west, south, east, north = bounds or (0.0, 0.0, 0.0, 0.0)
    return bool(row["min_lon"] < east and west < row["max_lon"] and row["min_lat"] < north and south < row["max_lat"])


def _add_outlines(c: Connection, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with what their newest rows say; `geometry` is GeoJSON."""
    g = scene_footprint.c
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    ids = sorted({part for line in lines for part in line["parts"]})
    for begin in range(0, len(ids), CHUNK):
        query = select(*(g[name] for name in _SHOWN)).where(g.polygon_id.in_(ids[begin : begin + CHUNK]))
        for row in c.execute(query).mappings():
            rows[row["scene_hash"], row["model_hash"], row["polygon_id"]] = _read_caution(dict(row))
    told = []
    for line in lines:
        first, *more = (rows[line["scene_hash"], line["model_hash"], part] for part in line["parts"])
        facts = {key: value for key, value in line.items() if key not in {"on", "parts", "is_here"}} | first
        if more:
            facts["geometry"] = _join([part["geometry"] for part in (first, *more)])
        told.append(facts | {"method": name_method(facts.pop("model"))})
    return told


def _join(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Polygons as one geometry."""
    rings = [[p["coordinates"]] if p["type"] == "Polygon" else p["coordinates"] for p in parts]
    return {"type": "MultiPolygon", "coordinates": [ring for some in rings for ring in some]}
