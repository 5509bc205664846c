"""Scenes that were delivered again, whose outlines and values are withdrawn; landslides over several scenes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, and_, delete, select, update

from detection.geojson import Geometry
from monitor.api.database import add_row, fill_row, insert
from monitor.api.tables import observation, observation_flag, series
from monitor.api.text import Message, Template, canonical_json, format_iso, message_columns, read_message
from monitor.features.scenes.queries.reviews import name_method
from monitor.features.scenes.tables import scene, scene_change, scene_footprint
from monitor.features.scenes.views import MarkedFootprint

_ANOTHER_VERSION: Final = Template("scene.another_version", "another version of the scene was delivered")()
_IMAGE_WITHDRAWN: Final = Template("scene.image_withdrawn", "its image is withdrawn: another version was delivered")()
SUPERSEDED: Final = "superseded"
WAITING: Final = "waiting"
# Flag of a value whose image is withdrawn. `observation.UNFIT` leaves such values out.
WITHDRAWN_VALUE: Final = "bad"
SeriesPoint = tuple[str, str, datetime]  # station, quantity, observed_at
# How many footprints of all dates are searched for landslides, the newest first.
FOOTPRINTS_MOST: Final = 20_000
LANDSLIDES_MOST: Final = 1000  # how many landslides are returned at most
IDS_PER_QUERY: Final = 400
_CAUTION_COLUMNS: Final = ("caution_id", "caution_values")
_SHOWN_COLUMNS: Final = (
    "scene_hash",
    "model_hash",
    "polygon_id",
    "model",
    "grown_m2",
    "mean_probability",
    "geometry",
    "nearest_station",
    "distance_m",
    "caution",
)
Bounds = tuple[float, float, float, float]
"""West, south, east, north, deg."""


@dataclass(frozen=True, slots=True)
class WithdrawnFootprint:
    """An outline that was withdrawn. `claimed`: it was judged new or grown without a caution."""

    polygon_id: str
    claimed: bool
    station: str | None
    distance_m: float | None


def supersede_scene(c: Connection, scene_hash: str, by_hash: str, now: datetime) -> list[WithdrawnFootprint]:
    """Mark a scene as replaced by another version of it and withdraw its outlines; nothing is deleted."""
    run = c.execute(select(scene.c.run).where(scene.c.scene_hash == scene_hash)).scalar() or {}
    facts = {**run, "superseded_by": by_hash, "superseded_at": format_iso(now)}
    c.execute(update(scene).where(scene.c.scene_hash == scene_hash).values(state=SUPERSEDED, run=facts))
    # Outlines that were first declared on it now refer to the version that replaces it.
    anchored = scene_footprint.c.anchor_scene == scene_hash
    c.execute(update(scene_footprint).where(anchored).values(anchor_scene=by_hash))
    return withdraw_footprints(c, scene_hash, now, _ANOTHER_VERSION)


def withdraw_footprints(
    c: Connection, scene_hash: str, now: datetime, reason: Message, *, keep_model: str | None = None
) -> list[WithdrawnFootprint]:
    """Withdraw the outlines of a scene from `now` on, except those of `keep_model`."""
    g = scene_footprint.c
    which = and_(g.scene_hash == scene_hash, g.change != "withdrawn")
    if keep_model is not None:
        which = and_(which, g.model_hash != keep_model)
    rows = c.execute(select(scene_footprint).where(which).order_by(g.model_hash, g.polygon_id)).all()
    found = []
    for row in rows:
        key = {"scene_hash": scene_hash, "model_hash": row.model_hash, "polygon_id": row.polygon_id, "judged_at": now}
        change = {"change": "withdrawn", **message_columns("caution", reason)}
        bare = dict.fromkeys(("parent_id", "grown_m2", "since_at", "first_seen_at"))
        statement = insert(c, scene_change).values(key | bare | change)
        c.execute(statement.on_conflict_do_update(index_elements=list(key), set_=bare | change))
        mine = (g.scene_hash == scene_hash, g.model_hash == row.model_hash, g.polygon_id == row.polygon_id)
        c.execute(update(scene_footprint).where(*mine).values(change))
        claimed = row.change in {"new", "grown"} and not row.caution
        found.append(WithdrawnFootprint(row.polygon_id, claimed, row.nearest_station, row.distance_m))
    return found


def name_origin(scene_hash: str) -> str:
    """Return the text in column `extra` of readings that come from a scene.

    >>> name_origin("ab" * 32)
    '{"scene":"abababababababab"}'
    """
    return canonical_json({"scene": scene_hash[:16]})


def flag_values(c: Connection, site: str, scene_hash: str, kept: Collection[SeriesPoint], now: datetime) -> int:
    """Flag the values of a withdrawn version of a scene that the new version does not replace.

    Returns:
        The number of values that were flagged.
    """
    o, s = observation.c, series.c
    rows = c.execute(
        select(o.series_id, o.observed_at, o.revision, s.station, s.quantity)
        .join(series, s.id == o.series_id)
        .where(s.site == site, s.quantity.in_(("scene_probability", "ndvi", "coherence")))
        .where(o.extra == name_origin(scene_hash))
        .order_by(o.series_id, o.observed_at, o.revision)
    ).all()
    flagged = 0
    for row in rows:
        if (row.station, row.quantity, row.observed_at) in kept:
            continue
        facts = {"flag": WITHDRAWN_VALUE, "known_from": now, "by": "slopeward", "reason": _IMAGE_WITHDRAWN}
        add_row(c, observation_flag, fill_row(observation_flag, row, **facts))
        flagged += 1
    return flagged


def forget_failure(c: Connection, site: str, name: str) -> None:
    """Let a scene that could not be used be tried again when files of its name return. Its row stays."""
    which = and_(scene.c.site == site, scene.c.name == name, scene.c.state == "failed")
    c.execute(update(scene).where(which).values(run={"fingerprint": None}))


def drop_waiting(c: Connection, hashes: Iterable[str]) -> None:
    """Delete the rows of scenes that no longer wait. Such a row contains nothing but the name and the reason."""
    wanted = list(hashes)
    if wanted:
        c.execute(delete(scene).where(scene.c.scene_hash.in_(wanted), scene.c.state == WAITING))


class TrackedLandslide(MarkedFootprint):
    """A landslide on several images, as the newest image that shows it. It also has the key `class`."""

    scene_hash: str
    polygon_id: str
    change: str
    vanished_at: datetime | None
    first_seen_at: datetime
    last_confirmed_at: datetime
    area_m2: float
    dates: int
    grown_m2: float | None
    mean_probability: float
    geometry: Geometry
    nearest_station: str | None
    distance_m: float | None
    caution: str | None


@dataclass(slots=True)
class _Track:
    """The footprints of one landslide from image to image, the newest image first."""

    is_within_bounds: bool
    vanished_at: datetime | None = None
    newest: RowMapping | None = None  # the largest footprint on the newest image that shows the landslide
    first_seen_at: datetime | None = None
    area_m2: float = 0.0  # on the newest image, all parts together
    part_ids: list[str] = field(default_factory=list)  # footprints on the newest image
    scene_hashes: set[str] = field(default_factory=set)  # images that show the landslide

    def add(self, row: RowMapping) -> None:
        """Add a footprint of the same image or of an older one, or the judgement that the landslide vanished."""
        if row["change"] == "vanished":
            # Of the images on which it is missing after `newest`, the oldest one counts.
            self.vanished_at = self.vanished_at if self.newest is not None else row["acquired_at"]
            return
        self.newest = self.newest or row
        if row["scene_hash"] == self.newest["scene_hash"]:
            self.area_m2 += row["area_m2"]
            self.part_ids.append(row["polygon_id"])
        self.scene_hashes.add(row["scene_hash"])
        first_seen_at = self.first_seen_at or self.newest["first_seen_at"] or row["acquired_at"]
        self.first_seen_at = min(first_seen_at, row["acquired_at"])


def load_landslides(
    c: Connection, site: str, scene_hash: str, until: datetime, model_hash: str | None, bounds: Bounds | None
) -> tuple[list[TrackedLandslide], int]:
    """Return landslides on images that were taken until an instant, and how many there are in all.

    At most `LANDSLIDES_MOST` are returned: those on the newest images first, of one image the largest first. If the
    newest image shows a landslide in parts, it has the area of all parts and the probability of the largest part.

    Args:
        c: connection.
        site: the site.
        scene_hash: the image that is shown. It comes first of several images that were taken at one instant.
        until: when this image was taken.
        model_hash: model whose footprints are used; None: all models.
        bounds: bounds of the image. Landslides outside of them are left out. None: no landslide is left out.
    """
    g = scene_footprint.c
    conditions = [scene.c.site == site, scene.c.state == "done", scene.c.acquired_at <= until, g.change != "withdrawn"]
    if model_hash is not None:
        conditions.append(g.model_hash == model_hash)
    rows = c.execute(
        select(*(column for column in g if column.name not in {"geometry", "near_stations"}), scene.c.acquired_at)
        .join(scene, scene.c.scene_hash == g.scene_hash)
        .where(*conditions)
        .order_by(scene.c.acquired_at.desc(), g.scene_hash != scene_hash, g.scene_hash, g.area_m2.desc(), g.polygon_id)
        .limit(FOOTPRINTS_MOST)
    )
    tracks: dict[tuple[str, str, str], _Track] = {}
    for row in rows.mappings():
        key = (row["model_hash"], row["class"], row["root_id"] or row["polygon_id"])
        track = tracks.setdefault(key, _Track(bounds is None))
        if bounds is not None:
            track.is_within_bounds = track.is_within_bounds or _overlaps(row, bounds)
        track.add(row)
    shown = [(track, track.newest) for track in tracks.values() if track.newest is not None and track.is_within_bounds]
    shown.sort(key=lambda pair: (pair[1]["acquired_at"], pair[0].area_m2, pair[1]["polygon_id"]), reverse=True)
    return _add_outlines(c, shown[:LANDSLIDES_MOST]), len(shown)


def _overlaps(row: RowMapping, bounds: Bounds) -> bool:
    west, south, east, north = bounds
    return bool(row["max_lon"] > west and row["min_lon"] < east and row["max_lat"] > south and row["min_lat"] < north)


def _add_outlines(c: Connection, tracks: Sequence[tuple[_Track, RowMapping]]) -> list[TrackedLandslide]:
    """Return landslides with the outlines of their newest images."""
    g = scene_footprint.c
    rows: dict[tuple[str, str, str], RowMapping] = {}
    ids = sorted({part_id for track, _ in tracks for part_id in track.part_ids})
    for begin in range(0, len(ids), IDS_PER_QUERY):
        query = select(*(g[name] for name in (*_SHOWN_COLUMNS, *_CAUTION_COLUMNS))).where(
            g.polygon_id.in_(ids[begin : begin + IDS_PER_QUERY])
        )
        for row in c.execute(query).mappings():
            rows[row["scene_hash"], row["model_hash"], row["polygon_id"]] = row
    landslides = []
    for track, newest in tracks:
        parts = [rows[newest["scene_hash"], newest["model_hash"], part_id] for part_id in track.part_ids]
        largest = parts[0]
        facts: Any = {
            "class": newest["class"],
            "vanished_at": track.vanished_at,
            "scene_hash": newest["scene_hash"],
            "model_hash": newest["model_hash"],
            "polygon_id": newest["polygon_id"],
            "change": newest["change"],
            "first_seen_at": track.first_seen_at,
            "last_confirmed_at": newest["acquired_at"],
            "area_m2": track.area_m2,
            "dates": len(track.scene_hashes),
        }
        facts |= {name: largest[name] for name in _SHOWN_COLUMNS if name != "model"}
        if largest["caution"] is not None:
            facts["caution"] = read_message(largest["caution"], largest["caution_id"], largest["caution_values"])
        if len(parts) > 1:
            facts["geometry"] = _join([part["geometry"] for part in parts])
        landslides.append(facts | {"method": name_method(largest["model"])})
    return landslides


def _join(parts: Sequence[Geometry]) -> Geometry:
    polygons_of_parts = [[p["coordinates"]] if p["type"] == "Polygon" else p["coordinates"] for p in parts]
    return {"type": "MultiPolygon", "coordinates": [polygon for polygons in polygons_of_parts for polygon in polygons]}
