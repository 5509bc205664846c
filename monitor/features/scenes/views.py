"""Public views on footprints detected on image scenes, outlines drawn by people, and reviews of footprints."""

from typing import NotRequired, TypedDict

from sqlalchemy import BigInteger, Column, Double, Table, Text

from detection.geojson import Geometry
from monitor.api.store import Dialect, view_metadata


class MarkedFootprint(TypedDict):
    """A footprint with the model that detected it."""

    model_hash: str
    method: str
    # Set by the caller: the model has no passed test for this site.
    unproven: NotRequired[bool]


class ScenePolygonRow(MarkedFootprint):
    """A row of `scene_polygons`. The caller deserialises `geometry`."""

    polygon_id: str
    root_id: str
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


scene_polygons = Table(
    "scene_polygons",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("scene_hash", Text, comment="SHA-256 of the site's id and the scene's files"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("polygon_id", Text, comment="id within scene and model"),
    Column(
        "class", Text, comment="class of the footprint: landslide, or another class of the model card, such as crack"
    ),
    Column("parent_id", Text, comment="polygon of an earlier scene that shows the same landslide, else null"),
    Column("root_id", Text, comment="the first polygon of the same landslide: its own id, or that on an earlier scene"),
    Column(
        "change",
        Text,
        comment=(
            "new, grown, known, vanished (an earlier outline, gone on this scene), single (nothing to compare with)"
        ),
    ),
    Column("area_m2", Double, comment="area on the ground", info={"unit": "m²"}),
    Column("grown_m2", Double, comment="growth since `since_at` if `change` is grown, else null", info={"unit": "m²"}),
    Column("mean_probability", Double, comment="mean over its pixels", info={"unit": "1"}),
    Column("geometry", Text, comment="polygon in lon/lat (WGS 84)", info={"unit": "GeoJSON"}),
    Column("min_lon", Double, comment="bounding box", info={"unit": "deg"}),
    Column("min_lat", Double, comment="bounding box", info={"unit": "deg"}),
    Column("max_lon", Double, comment="bounding box", info={"unit": "deg"}),
    Column("max_lat", Double, comment="bounding box", info={"unit": "deg"}),
    Column("nearest_station", Text, comment="nearest station within the distance that the site file states, else null"),
    Column("distance_m", Double, comment="distance to that station", info={"unit": "m"}),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint, or of the recipe of a baseline"),
    Column("detected_at", Text, comment="when the footprint was found", info={"unit": "time"}),
    Column("since_at", Text, comment="when the scene was taken with which it was compared", info={"unit": "time"}),
    Column(
        "first_seen_at",
        Text,
        comment="when the scene was taken on which this landslide was first seen",
        info={"unit": "time"},
    ),
    Column("caution", Text, comment="why its change is advice only (season, registration, flat ground), else null"),
    Column("caution_id", Text, comment="id of the message in `caution`"),
    Column("caution_values", Text, comment="values of that message, JSON"),
    Column(
        "near_stations",
        Text,
        comment='stations within reach and how far they are, m, nearest first: `[["G1",85.0],["G2",240.5]]`',
        info={"unit": "JSON"},
    ),
    Column("susceptibility", Double, comment="mean of the susceptibility map below it, else null", info={"unit": "1"}),
    Column("susceptibility_map", Text, comment="SHA-256 of that map; `run.prior` of the scene names the map"),
    Column(
        "method",
        Text,
        comment=(
            "`network`; `index`: by a spectral index, its `mean_probability` is a score and no probability; "
            "or `sar`: change of radar backscatter or coherence, advice only; its `class` is `disturbance` "
            "and its `mean_probability` 0, because radar gives no probability"
        ),
    ),
    comment="Footprints found on scenes.",
    info={"question": "Where did the ground change on an image?", "row": ScenePolygonRow},
)

scene_changes = Table(
    "scene_changes",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("polygon_id", Text, comment="id within scene and model"),
    Column("class", Text, comment="class of the footprint"),
    Column("judged_at", Text, comment="time of the judgement", info={"unit": "time"}),
    Column(
        "change",
        Text,
        comment=(
            "as in `scene_polygons`; withdrawn: the outline no longer counts as vanished, or its image was "
            "delivered again (`caution` states which)"
        ),
    ),
    Column("parent_id", Text, comment="polygon of an earlier scene that shows the same landslide, else null"),
    Column("grown_m2", Double, comment="growth since `since_at` if `change` is grown, else null", info={"unit": "m²"}),
    Column("since_at", Text, comment="when the scene was taken with which it was compared", info={"unit": "time"}),
    Column(
        "first_seen_at",
        Text,
        comment="when the scene was taken on which this landslide was first seen",
        info={"unit": "time"},
    ),
    Column("caution", Text, comment="why its change is advice only, else null"),
    Column("caution_id", Text, comment="id of the message in `caution`"),
    Column("caution_values", Text, comment="values of that message, JSON"),
    comment=(
        "Every judgement on the change of a footprint, as it was known at that time. A scene that arrives late is "
        "judged in the order of acquisition and adds rows."
    ),
    info={"question": "Where did the ground change on an image?"},
)


scene_outlines = Table(
    "scene_outlines",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("scene_hash", Text, comment="hash of the scene"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("outline_id", BigInteger, comment="number of the outline"),
    Column(
        "kind",
        Text,
        comment="landslide; not_landslide (similar ground); nothing (a person looked at all of it and saw no landslide)",
    ),
    Column("area_m2", Double, comment="area on the ellipsoid", info={"unit": "m²"}),
    Column("geometry", Text, comment="the outline in lon/lat, one ring", info={"unit": "GeoJSON"}),
    Column("from_polygon", Text, comment="footprint that the outline corrects, or null"),
    Column("note", Text, comment="note of the person"),
    Column("at", Text, comment="when the outline was drawn", info={"unit": "time"}),
    Column("by", Text, comment="person who drew it"),
    Column("withdrawn_at", Text, comment="when the outline was withdrawn, or null", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="person who withdrew it, or null"),
    comment=(
        "Outlines that people drew on the page or added from a file. Rows are never overwritten. An outline "
        "counts if `withdrawn_at` is null."
    ),
    info={"question": "Where did the ground change on an image?"},
)

footprint_reviews = Table(
    "footprint_reviews",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("polygon_id", Text, comment="id within scene and model"),
    Column("at", Text, comment="time of the review", info={"unit": "time"}),
    Column("verdict", Text, comment="accept, reject or redraw"),
    Column("by", Text, comment="person who reviewed the footprint"),
    Column("note", Text, comment="reason, or null"),
    Column("geometry", Text, comment="outline that a redraw states, in lon/lat; else null", info={"unit": "GeoJSON"}),
    Column("mean_probability", Double, comment="mean probability of the footprint", info={"unit": "1"}),
    Column("area_m2", Double, comment="area of the footprint", info={"unit": "m²"}),
    Column("model", Text, comment="name of the model that found the footprint"),
    Column("model_hash", Text, comment="SHA-256 of that model"),
    comment=(
        "Reviews of footprints by people (`slopeward scenes review`). Rows are only added; the newest review of a "
        "footprint counts."
    ),
    info={"question": "Where did the ground change on an image?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "scene_polygons": """SELECT c.site, c.name AS scene, c.scene_hash, c.acquired_at, g.polygon_id, g."class", g.parent_id,
  COALESCE(g.root_id, g.polygon_id) AS root_id, g.change, g.area_m2,
  g.grown_m2, g.mean_probability, g.geometry, g.min_lon, g.min_lat, g.max_lon, g.max_lat, g.nearest_station, g.distance_m, g.model,
  g.model_hash, g.detected_at, g.since_at, g.first_seen_at, g.caution, g.caution_id, g.caution_values, g.near_stations,
  g.susceptibility, g.susceptibility_map, CASE WHEN g.model IN ('sar', 'index') THEN g.model ELSE 'network' END AS method
FROM scene_footprint g JOIN scene c ON c.scene_hash = g.scene_hash
WHERE g.change <> 'withdrawn'""",
        "scene_changes": """SELECT c.site, c.name AS scene, c.acquired_at, h.polygon_id, g."class", h.judged_at, h.change, h.parent_id, h.grown_m2,
  h.since_at, h.first_seen_at, h.caution, h.caution_id, h.caution_values
FROM scene_change h JOIN scene c ON c.scene_hash = h.scene_hash
  JOIN scene_footprint g ON g.scene_hash = h.scene_hash AND g.model_hash = h.model_hash AND g.polygon_id = h.polygon_id""",
        "footprint_reviews": """SELECT c.site, c.name AS scene, c.acquired_at, r.polygon_id, r.at, r.verdict, r."by", r.note, r.geometry,
  g.mean_probability, g.area_m2, g.model, g.model_hash
FROM footprint_review r JOIN scene c ON c.scene_hash = r.scene_hash
  JOIN scene_footprint g ON g.scene_hash = r.scene_hash AND g.model_hash = r.model_hash AND g.polygon_id = r.polygon_id""",
        "scene_outlines": """SELECT o.site, c.name AS scene, o.scene_hash, c.acquired_at, o.id AS outline_id, o.kind, o.area_m2, o.geometry,
  o.from_polygon_id AS from_polygon, o.note, o.at, o."by", o.withdrawn_at, o.withdrawn_by
FROM scene_outline o JOIN scene c ON c.scene_hash = o.scene_hash AND c.site = o.site""",
    }
