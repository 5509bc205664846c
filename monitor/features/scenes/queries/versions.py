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


ROWS_MOST: Final = 20_000  # outlines of all dates that are looked through, the newest first
LINES_MOST: Final = 1000
CHUNK: Final = 400
_OF_CAUTION: Final = ("caution_id", "caution_values")
_SHOWN: Final = (
    "scene_hash model_hash polygon_id model grown_m2 mean_probability geometry nearest_station distance_m caution"
)
Bounds = tuple[float, float, float, float]
"""West, south, east, north, deg."""


class LandslideLine(MarkedFootprint):
    """A landslide that images show, as its newest one does; its `class` is there as well."""

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
class _SeenOutline:
    """An outline from image to image, the newest first."""

    is_here: bool
    vanished_at: datetime | None = None
    newest: RowMapping | None = None  # that shows it
    first_seen_at: datetime | None = None
    area_m2: float = 0.0
    parts: list[str] = field(default_factory=list)
    on: set[str] = field(default_factory=set)  # images

    def add(self, row: RowMapping) -> None:
        """One more image, or none where it says that the outline vanished."""
        if row["change"] == "vanished":
            self.vanished_at = self.vanished_at if self.newest is not None else row["acquired_at"]
            return
        self.newest = self.newest or row
        if row["scene_hash"] == self.newest["scene_hash"]:
            self.area_m2 += row["area_m2"]
            self.parts.append(row["polygon_id"])
        self.on.add(row["scene_hash"])
        seen = (self.first_seen_at or self.newest["first_seen_at"] or row["acquired_at"], row["acquired_at"])
        self.first_seen_at = min(seen)


def load_lines(
    c: Connection, site: str, scene_hash: str, until: datetime, model_hash: str | None, bounds: Bounds | None
) -> tuple[list[LandslideLine], int]:
    """Landslides on images until an instant, those confirmed last and the largest first; and how many there are in all.

    At most `LINES_MOST` come. One that the newest image shows in parts has the area of all of them, and the
    probability of the largest.

    Args:
        scene_hash: the image that is looked at; of several of one instant it comes first.
        until: when it was taken; later ones are not known to it.
        model_hash: of the weights whose outlines are followed; None: of all.
        bounds: where it lies; landslides elsewhere are left out. None: not known.
    """
    g = scene_footprint.c
    which = [scene.c.site == site, scene.c.state == "done", scene.c.acquired_at <= until, g.change != "withdrawn"]
    which += [] if model_hash is None else [g.model_hash == model_hash]
    rows = c.execute(
        select(*(k for k in g if k.name not in {"geometry", "near_stations"}), scene.c.acquired_at)
        .join(scene, scene.c.scene_hash == g.scene_hash)
        .where(*which)
        .order_by(scene.c.acquired_at.desc(), g.scene_hash != scene_hash, g.scene_hash, g.area_m2.desc(), g.polygon_id)
        .limit(ROWS_MOST)
    )
    found: dict[tuple[str, str, str], _SeenOutline] = {}
    west, south, east, north = bounds or (0.0, 0.0, 0.0, 0.0)
    for row in rows.mappings():
        key = (row["model_hash"], row["class"], row["root_id"] or row["polygon_id"])
        line = found.setdefault(key, _SeenOutline(bounds is None))
        is_apart = (
            row["max_lon"] <= west or row["min_lon"] >= east or row["max_lat"] <= south or row["min_lat"] >= north
        )
        line.is_here = line.is_here or not is_apart
        line.add(row)
    seen = [(one, one.newest) for one in found.values() if one.newest is not None and one.is_here]
    seen.sort(key=lambda pair: (pair[1]["acquired_at"], pair[0].area_m2, pair[1]["polygon_id"]), reverse=True)
    return _add_outlines(c, seen[:LINES_MOST]), len(seen)


def _add_outlines(c: Connection, lines: Sequence[tuple[_SeenOutline, RowMapping]]) -> list[LandslideLine]:
    g = scene_footprint.c
    rows: dict[tuple[str, str, str], RowMapping] = {}
    ids = sorted({part for line, _ in lines for part in line.parts})
    for begin in range(0, len(ids), CHUNK):
        query = select(*(g[name] for name in (*_SHOWN.split(), *_OF_CAUTION))).where(
            g.polygon_id.in_(ids[begin : begin + CHUNK])
        )
        for row in c.execute(query).mappings():
            rows[row["scene_hash"], row["model_hash"], row["polygon_id"]] = row
    found = []
    for line, newest in lines:
        first, *more = (rows[newest["scene_hash"], newest["model_hash"], part] for part in line.parts)
        facts: Any = {"class": newest["class"], "vanished_at": line.vanished_at}
        facts |= {name: newest[name] for name in ("scene_hash", "model_hash", "polygon_id", "change")}
        facts |= {"first_seen_at": line.first_seen_at, "last_confirmed_at": newest["acquired_at"]}
        facts |= {"area_m2": line.area_m2, "dates": len(line.on)}
        facts |= {name: first[name] for name in _SHOWN.split() if name != "model"}
        if first["caution"] is not None:
            facts["caution"] = read_message(first["caution"], first["caution_id"], first["caution_values"])
        if more:
            facts["geometry"] = _join([part["geometry"] for part in (first, *more)])
        found.append(facts | {"method": name_method(first["model"])})
    return found


def _join(parts: Sequence[Geometry]) -> Geometry:
    rings = [[p["coordinates"]] if p["type"] == "Polygon" else p["coordinates"] for p in parts]
    return {"type": "MultiPolygon", "coordinates": [ring for some in rings for ring in some]}
