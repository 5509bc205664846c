"""Scenes that arrived, what became of them, and the footprints found on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from monitor.store.engine import add_if_absent, insert
from monitor.store.tables import scene, scene_footprint


@dataclass(frozen=True, slots=True)
class SceneRow:
    """One scene; `state` is done, empty (no valid pixel) or failed with `error` as one line."""

    scene_hash: str
    site: str
    name: str
    acquired_at: datetime | None
    role: str
    path: str
    received_at: datetime
    state: str
    error: str | None = None
    valid_share: float | None = None
    crs: str | None = None
    pixel_area_m2: float | None = None
    out_dir: str | None = None
    run: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """One polygon in lon/lat (GeoJSON) with its true area; `change = single` is advice only."""

    scene_hash: str
    model_hash: str
    polygon_id: str
    model: str
    change: str
    area_m2: float
    mean_probability: float
    geometry: Mapping[str, Any]
    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float
    nearest_station: str | None
    distance_m: float | None
    parent_id: str | None = None
    grown_m2: float | None = None


def find_scene_by_name(c: Connection, site: str, name: str) -> SceneRow | None:
    """The newest row of a scene folder or file name, or None."""
    row = c.execute(
        select(scene).where(scene.c.site == site, scene.c.name == name).order_by(scene.c.received_at.desc()),
    ).first()
    return None if row is None else SceneRow(**{f: getattr(row, f) for f in SceneRow.__slots__})


def load_scenes(c: Connection, site: str | None = None) -> list[SceneRow]:
    """Scenes by time of arrival, newest first."""
    query = select(scene).order_by(scene.c.received_at.desc(), scene.c.scene_hash)
    if site is not None:
        query = query.where(scene.c.site == site)
    return [SceneRow(**{f: getattr(row, f) for f in SceneRow.__slots__}) for row in c.execute(query)]


def save_scene(c: Connection, row: SceneRow, footprints: Sequence[Footprint], now: datetime) -> int:
    """Write a scene with all its footprints in one transaction; the same scene and model again adds nothing.

    Returns the number of new footprints.
    """
    values = {f: getattr(row, f) for f in SceneRow.__slots__}
    values["run"] = None if row.run is None else dict(row.run)
    statement = insert(c, scene).values(values)
    changed = {k: v for k, v in values.items() if k not in {"scene_hash", "received_at"}}
    c.execute(statement.on_conflict_do_update(index_elements=["scene_hash"], set_=changed))
    added = 0
    for footprint in footprints:
        one = {f: getattr(footprint, f) for f in Footprint.__slots__} | {"detected_at": now}
        one["geometry"] = dict(footprint.geometry)
        added += add_if_absent(c, scene_footprint, one)
    return added
