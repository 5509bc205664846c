"""Store and load scenes, their footprints and the judgements of change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Text, and_, bindparam, select, type_coerce, update

from detection.geojson import Geometry
from monitor.api.database import add_all_absent, insert, load_records, match_given, record_to_dict
from monitor.api.text import Template, message_columns
from monitor.features.scenes.tables import scene, scene_change, scene_footprint

NO_SCENE: Final = Template("scene.unknown", "site '{site}' has no scene '{name}'")


@dataclass(frozen=True, slots=True)
class SceneRow:
    """One scene.

    `state` is done, superseded, failed or waiting. For the last two, `error` is the reason, in one line.
    """

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
class FootprintRow:
    """One polygon in longitude and latitude (GeoJSON) with its true area. `change == "single"` is advice only.

    `kind` is the class of the model, column `class`. `near_stations` are the stations within reach and their distances
    in metres, nearest first. `susceptibility` is the mean of the map whose SHA-256 is `susceptibility_map`; None
    without such a map.
    """

    scene_hash: str
    model_hash: str
    polygon_id: str
    model: str
    change: str
    area_m2: float
    mean_probability: float
    geometry: Geometry
    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float
    nearest_station: str | None
    distance_m: float | None
    parent_id: str | None = None
    grown_m2: float | None = None
    kind: str = "landslide"
    near_stations: tuple[tuple[str, float], ...] = ()
    susceptibility: float | None = None
    susceptibility_map: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeAssessment:
    """The judgement on the change of one footprint."""

    polygon_id: str  # the footprint
    change: str  # new, grown, known, vanished, single, or withdrawn (not called vanished any more)
    parent_id: str | None = None  # footprint of the same landslide on an earlier scene
    grown_m2: float | None = None  # growth since `since_at`
    since_at: datetime | None = None  # when the compared scene was taken
    first_seen_at: datetime | None = None  # when the first scene was taken that shows the landslide
    root_id: str | None = None  # footprint of the same landslide on that first scene
    anchor_scene: str | None = None  # the scene on which the outline was last declared new, grown or single
    caution: str | None = None  # why the change is advice only, in one line


# Columns of footprints of earlier dates that a comparison uses, in addition to the geometry.
_BOX_COLUMNS: Final = ("min_lon", "min_lat", "max_lon", "max_lat")
_COMPARED_COLUMNS: Final = (
    *("polygon_id", "class", "area_m2", "mean_probability", "change"),
    *("parent_id", "root_id", "anchor_scene", "first_seen_at", *_BOX_COLUMNS),
)
# Columns of `scene_change` that contain a judgement.
_CAUTION_COLUMNS: Final = ("caution_id", "caution_values")
_JUDGED_COLUMNS: Final = ("change", "parent_id", "grown_m2", "since_at", "first_seen_at", "caution")


def load_scenes(c: Connection, site: str | None = None) -> list[SceneRow]:
    """Return scenes, the newest arrivals first."""
    s = scene.c
    query = select(scene).where(*match_given(s.site, site)).order_by(s.received_at.desc(), s.scene_hash)
    return load_records(c, SceneRow, query)


def load_waiting(c: Connection) -> list[SceneRow]:
    """Return the waiting scenes of all sites, the longest wait first."""
    query = select(scene).where(scene.c.state == "waiting").order_by(scene.c.received_at, scene.c.scene_hash)
    return load_records(c, SceneRow, query)


def load_footprints(c: Connection, scene_hash: str, model_hash: str) -> list[dict[str, Any]]:
    """Return the footprints of a scene by a model, with their newest judgement. `geometry` is GeoJSON text.

    Footprints are loaded by scene, because two dozen dates have tens of thousands of them.
    """
    g = scene_footprint.c
    rows = c.execute(
        select(*(g[name] for name in _COMPARED_COLUMNS), type_coerce(g.geometry, Text).label("geometry"))
        .where(g.scene_hash == scene_hash, g.model_hash == model_hash)
        .order_by(g.area_m2.desc(), g.polygon_id)
    )
    return [dict(row) for row in rows.mappings()]


def save_scene(c: Connection, row: SceneRow, footprints: Sequence[FootprintRow], now: datetime) -> int:
    """Store a scene with all its footprints in one transaction. Return the number of new footprints.

    If the footprints of the same scene and model are stored already, none is added.
    """
    values = record_to_dict(row)
    values |= message_columns("error", row.error) | {"run": None if row.run is None else dict(row.run)}
    statement = insert(c, scene).values(values)
    changed = {k: v for k, v in values.items() if k not in {"scene_hash", "received_at"}}
    c.execute(statement.on_conflict_do_update(index_elements=["scene_hash"], set_=changed))
    return add_footprints(c, footprints, now)


def add_footprints(c: Connection, footprints: Sequence[FootprintRow], now: datetime) -> int:
    """Add footprints that are not stored yet. Return how many were added."""
    rows = []
    for footprint in footprints:
        row = record_to_dict(footprint) | {"detected_at": now}
        row["class"] = row.pop("kind")
        row["geometry"] = dict(footprint.geometry)
        row["near_stations"] = [list(pair) for pair in footprint.near_stations]
        rows.append(row)
    return add_all_absent(c, scene_footprint, rows)


def save_changes(
    c: Connection, scene_hash: str, model_hash: str, changes: Sequence[ChangeAssessment], now: datetime
) -> int:
    """Store the judgements of the footprints of a scene. Return how many differ from the stored ones.

    Footprints that were judged vanished and are not among `changes` are withdrawn, because a scene that arrived late
    shows them.
    """
    h = scene_change.c
    of_scene = and_(h.scene_hash == scene_hash, h.model_hash == model_hash)
    stored_rows = c.execute(select(scene_change).where(of_scene).order_by(h.judged_at))
    newest_by_polygon: dict[str, Any] = {row.polygon_id: row for row in stored_rows}
    judged_ids = {assessment.polygon_id for assessment in changes}
    withdrawn = [
        ChangeAssessment(polygon_id, "withdrawn")
        for polygon_id, row in newest_by_polygon.items()
        if row.change == "vanished" and polygon_id not in judged_ids
    ]
    assessments = [*changes, *withdrawn]
    key = {"scene_hash": scene_hash, "model_hash": model_hash}
    new_rows = [
        {
            **key,
            "polygon_id": assessment.polygon_id,
            "judged_at": now,
            **{name: getattr(assessment, name) for name in _JUDGED_COLUMNS},
            **message_columns("caution", assessment.caution),
        }
        for assessment in assessments
        if _differs(newest_by_polygon.get(assessment.polygon_id), assessment)
    ]
    if new_rows:
        statement = insert(c, scene_change)
        # Of two judgements at one instant the one that is stored later replaces the other.
        replaced = {name: statement.excluded[name] for name in (*_JUDGED_COLUMNS, *_CAUTION_COLUMNS)}
        statement = statement.on_conflict_do_update(index_elements=[*key, "polygon_id", "judged_at"], set_=replaced)
        c.execute(statement, new_rows)
    if assessments:
        g = scene_footprint.c
        copied_columns = (*_JUDGED_COLUMNS, "root_id", "anchor_scene")
        new_values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*copied_columns, *_CAUTION_COLUMNS)}
        c.execute(
            update(scene_footprint)
            .where(g.scene_hash == scene_hash, g.model_hash == model_hash, g.polygon_id == bindparam("of_polygon"))
            .values(new_values),
            [
                {"of_polygon": assessment.polygon_id}
                | {f"new_{name}": getattr(assessment, name) for name in copied_columns}
                | {f"new_{name}": value for name, value in message_columns("caution", assessment.caution).items()}
                for assessment in assessments
            ],
        )
    return len(new_rows)


def _differs(stored: Any, assessment: ChangeAssessment) -> bool:
    """Return whether a judgement is not that of a stored row, or there is no stored row (None)."""
    return stored is None or any(getattr(stored, name) != getattr(assessment, name) for name in _JUDGED_COLUMNS)


def save_comparison(c: Connection, scene_hash: str, measured: Mapping[str, Any]) -> None:
    """Store the measurements between a scene and earlier dates in its column `run`."""
    is_scene = scene.c.scene_hash == scene_hash
    run = c.execute(select(scene.c.run).where(is_scene)).scalar() or {}
    c.execute(update(scene).where(is_scene).values(run={**run, "change": dict(measured)}))
