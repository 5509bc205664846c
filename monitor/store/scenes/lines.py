"""Landslides over the images of a site: each with its newest outline, when it was seen first and when last."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from monitor.store.schema.tables import scene, scene_footprint

ROWS_MOST: Final = 20_000  # outlines of all dates that are looked through, the newest first
LINES_MOST: Final = 1000
CHUNK: Final = 400
_SHOWN: Final = (
    "scene_hash", "model_hash", "polygon_id", "area_m2", "grown_m2", "mean_probability", "geometry", "nearest_station",
    "distance_m", "caution",
)  # fmt: skip


def load_lines(c: Connection, site: str, until: datetime, model_hash: str | None) -> tuple[list[dict[str, Any]], int]:
    """Landslides on images until an instant, those confirmed last and the largest first; and how many there are in all.

    At most `LINES_MOST` come.

    Args:
        c: the connection.
        site: its id.
        until: when the image was taken that is looked at; later ones are not known to it.
        model_hash: of the weights whose outlines are followed; None: of all.
    """
    g = scene_footprint.c
    which = [scene.c.site == site, scene.c.state == "done", scene.c.acquired_at <= until, g.change != "withdrawn"]
    which += [] if model_hash is None else [g.model_hash == model_hash]
    rows = c.execute(
        select(
            g.scene_hash, g.model_hash, g.polygon_id, g["class"], g.change, g.root_id, g.first_seen_at, g.area_m2,
            scene.c.acquired_at,
        )
        .join(scene, scene.c.scene_hash == g.scene_hash)
        .where(*which)
        .order_by(scene.c.acquired_at.desc(), g.polygon_id)
        .limit(ROWS_MOST)
    )  # fmt: skip
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows.mappings():
        line = found.setdefault((row["model_hash"], row["class"], row["root_id"] or row["polygon_id"]), {
            "class": row["class"], "vanished_at": None, "dates": 0,
        })  # fmt: skip
        if row["change"] == "vanished":
            if not line["dates"]:
                line["vanished_at"] = row["acquired_at"]
            continue
        if not line["dates"]:  # the newest that shows it
            line |= {name: row[name] for name in ("scene_hash", "model_hash", "polygon_id", "change", "area_m2")}
            line |= {"first_seen_at": row["first_seen_at"], "last_confirmed_at": row["acquired_at"]}
        line["dates"] += 1
        line["first_seen_at"] = min(line["first_seen_at"] or row["acquired_at"], row["acquired_at"])
    seen = [line for line in found.values() if line["dates"]]
    seen.sort(key=lambda line: (line["last_confirmed_at"], line["area_m2"], line["polygon_id"]), reverse=True)
    return _add_outlines(c, seen[:LINES_MOST]), len(seen)


def _add_outlines(c: Connection, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with what their newest rows say; `geometry` is GeoJSON."""
    g = scene_footprint.c
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    ids = sorted({line["polygon_id"] for line in lines})
    for begin in range(0, len(ids), CHUNK):
        query = select(*(g[name] for name in _SHOWN)).where(g.polygon_id.in_(ids[begin : begin + CHUNK]))
        for row in c.execute(query).mappings():
            rows[row["scene_hash"], row["model_hash"], row["polygon_id"]] = dict(row)
    return [line | rows[line["scene_hash"], line["model_hash"], line["polygon_id"]] for line in lines]
