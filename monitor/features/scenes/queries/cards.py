"""Load scenes and footprints for pages and the HTTP API."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, select

from monitor.api.database import columns_of, load_records, load_view
from monitor.api.tables import site as site_table
from monitor.api.text import Template
from monitor.features.scenes.queries.versions import Bounds
from monitor.features.scenes.tables import scene, scene_footprint
from monitor.features.scenes.views import ScenePolygonRow

NO_READ_SCENE: Final = Template("scene.none_read", "site '{site}' has no scene '{name}' that was read")


@dataclass(frozen=True, slots=True)
class SceneCard:
    """A scene as pages show it, with the number and the area of its footprints."""

    scene_hash: str
    name: str
    acquired_at: datetime | None
    role: str
    received_at: datetime
    state: str
    error: str | None
    valid_share: float | None
    out_dir: str | None
    run: dict[str, Any] | None  # facts about how it was read
    footprints: int
    area_m2: float

    @property
    def taken_at(self) -> datetime:
        """When the image of a scene that was read was taken."""
        assert self.acquired_at is not None
        return self.acquired_at

    @property
    def folder(self) -> Path:
        """The folder of its results."""
        return Path(self.out_dir or "")

    @property
    def bounds(self) -> Bounds | None:
        """West, south, east, north of its preview in degrees; None without a preview."""
        bounds = (self.run or {}).get("outputs", {}).get("bounds")
        if not isinstance(bounds, list) or len(bounds) != 4:
            return None
        west, south, east, north = map(float, bounds)
        return west, south, east, north

    @property
    def picture_bounds(self) -> Bounds | None:
        """West, south, east, north in degrees; None if there is no picture to show."""
        return None if self.preview is None else self.bounds

    @property
    def preview(self) -> Path | None:
        """Path of its picture. None until it is made, or if it cannot be made."""
        return self.find_picture(((self.run or {}).get("outputs") or {}).get("preview"))

    def find_picture(self, name: Any) -> Path | None:
        """Return the path of a PNG in the folder of the scene. None if there is no such file there.

        Only the last part of `name` counts, because the worker may have stored it with another folder.
        """
        if not name or not self.out_dir:
            return None
        folder = self.folder.resolve()
        path = (folder / Path(str(name)).name).resolve()
        return path if path.parent == folder and path.suffix == ".png" and path.is_file() else None


def load_scenes_of(c: Connection, site: str, limit: int = 20) -> list[SceneCard]:
    """Return scenes of a site with number and area of their footprints: waiting scenes, then the newest arrivals.

    At most `limit` of each are returned, so that many waiting scenes do not displace the others.
    """
    s = scene.c
    newest = (s.received_at.desc(), s.scene_hash)
    waiting = _load_scenes(c, (s.site == site, s.state == "waiting"), newest, limit)
    return waiting + _load_scenes(c, (s.site == site, s.state != "waiting"), newest, limit)


def load_read_scenes(c: Connection, site: str, limit: int, scene_hash: str | None = None) -> list[SceneCard]:
    """Return at most `limit` scenes of a site that were read, the newest arrivals first, or the one with a hash."""
    s = scene.c
    conditions = [s.site == site, s.state == "done", s.acquired_at.is_not(None)]
    if scene_hash is not None:
        conditions.append(s.scene_hash == scene_hash)
    return _load_scenes(c, conditions, (s.received_at.desc(), s.scene_hash), limit)


def find_scene_folder(c: Connection, site: str, scene_hash: str) -> str | None:
    """Return the folder of the results of a scene of an active site. None if no such scene was read."""
    s, t = scene.c, site_table.c
    conditions = (s.scene_hash == scene_hash, s.site == site, s.state == "done", t.id == s.site, t.active)
    return c.execute(select(s.out_dir).where(*conditions)).scalar()


def find_shown_scene(c: Connection, site: str) -> SceneCard | None:
    """Return the scene with the newest image that was read. None if there is none."""
    s = scene.c
    cards = _load_scenes(c, (s.site == site, s.state == "done"), (s.acquired_at.desc(), s.scene_hash.desc()), 1)
    return cards[0] if cards else None


def _load_scenes(
    c: Connection, conditions: Sequence[ColumnElement[bool]], order: Sequence[Any], limit: int
) -> list[SceneCard]:
    s, g = scene.c, scene_footprint.c
    scene_columns = columns_of(SceneCard, scene)
    area = func.coalesce(func.sum(g.area_m2), 0.0).label("area_m2")
    query = (
        select(*scene_columns, func.count(g.polygon_id).label("footprints"), area)
        .join(
            scene_footprint,
            and_(g.scene_hash == s.scene_hash, g.change.not_in(("vanished", "withdrawn"))),
            isouter=True,
        )
        .where(*conditions)
        .group_by(*scene_columns)
        .order_by(*order)
        .limit(limit)
    )
    return load_records(c, SceneCard, query)


def load_footprints(c: Connection, site: str, scene_hash: str) -> list[ScenePolygonRow]:
    """Return the footprints of a scene, the largest first, at most 500."""
    filters = {"site": site, "scene_hash": scene_hash}
    rows = load_view(c, "scene_polygons", ScenePolygonRow, order_by=["-area_m2", "polygon_id"], limit=500, **filters)
    for row in rows:
        row["geometry"] = json.loads(str(row["geometry"]))
    return rows
