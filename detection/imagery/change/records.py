"""Records of a comparison: stored dates with their outlines, and what changed between them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, cast

from detection.geojson import Geometry
from detection.imagery.footprints.records import Box, FootprintJson, Window
from detection.reasons import Explanation, join_explanations, split_explanation

LANDSLIDE = "landslide"


@dataclass(frozen=True, slots=True)
class PlacedOutline:
    """A footprint with its position on the ground. For footprints without a position, change is not assessed."""

    polygon_id: str
    kind: str  # class of the model
    geometry: Geometry  # GeoJSON, longitude and latitude
    bbox: Box
    area_m2: float
    mean_probability: float


@dataclass(frozen=True, slots=True)
class KnownOutline(PlacedOutline):
    """A footprint with the result of an earlier comparison; fields are None if it was not compared yet.

    The line of a footprint consists of the footprint and all earlier footprints that it continues.
    """

    change: str | None = None  # new, grown, known, single, vanished or withdrawn
    parent_id: str | None = None  # footprint of an earlier date that it continues
    root_id: str | None = None  # first footprint of its line
    anchor_scene: str | None = None  # hash of the scene on which the line was last new, grown or single
    first_seen_at: datetime | None = None  # instant of the first image of its line

    @property
    def is_gone(self) -> bool:
        """Whether its date does not show it: it vanished since an earlier date, or was withdrawn."""
        return self.change in {"vanished", "withdrawn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDate:
    """A scene that was mapped: the facts that a comparison needs."""

    scene_hash: str
    acquired_at: datetime
    prob: str  # path of its stored probabilities, a band for each class
    scene_path: str  # its raster or folder: for the image and the elevation model
    threshold: float  # of its footprints
    minimum_area_m2: float  # of its footprints
    # Classes in the order of the bands. Footprints are compared within their class.
    classes: tuple[str, ...] = (LANDSLIDE,)
    doubtful: tuple[Window, ...] = ()  # windows that may contain a border: change there is advice only
    # Windows beside clouds: footprints there are advice only, and the windows count as nodata for other dates.
    cloudy: tuple[Window, ...] = ()
    doubts: tuple[Explanation, ...] = ()  # why the scene is unlike the training of the network
    dem: str | None = None  # elevation model that replaces that of the scene
    polygons: tuple[KnownOutline, ...] | None = None  # its footprints; None: not given

    @property
    def outlines(self) -> tuple[KnownOutline, ...]:
        """Its footprints; empty if they were not given."""
        return self.polygons or ()

    @property
    def day(self) -> str:
        """The date on which the scene was taken, in ISO format, for texts."""
        return self.acquired_at.date().isoformat()


@dataclass(frozen=True, slots=True)
class FootprintChange:
    """How a footprint changed since an earlier date."""

    change: str  # new, grown, known, single or vanished
    parent_id: str | None  # footprint of an earlier date that it continues
    grown_m2: float | None  # None: it has not grown
    since_at: datetime | None  # instant of the date that it was compared with
    root_id: str  # first footprint of its line
    first_seen_at: datetime | None  # instant of the first image of its line
    anchor_scene: str  # hash of the scene on which its line was last new, grown or single
    caution: Explanation | None  # why the change is advice only

    def with_cautions(self, *cautions: Explanation) -> "FootprintChange":
        """Return the change with more cautions, without repetitions."""
        return replace(self, caution=join_cautions(self.caution, *cautions))


@dataclass(frozen=True, slots=True)
class VanishedFootprint:
    """A footprint of an earlier date that vanished. It has a new id, and the mean probability of the newer date."""

    outline: PlacedOutline
    change: FootprintChange


@dataclass(frozen=True, slots=True)
class DateComparison:
    """Measurements between the newer date and an earlier one."""

    scene_hash: str  # of the earlier date
    acquired_at: datetime  # of the earlier date
    shift_px: Mapping[str, float] | None  # between the images; None: not measured
    median_ratios: tuple[float, ...] | None  # of the bands, newer over older; None: not measured
    cautions: tuple[Explanation, ...]  # why change against the date is advice only
    claimed: bool  # whether change against the date is claimed at all
    registered_px: Mapping[str, float] | None = None  # shift that was corrected; `shift_px` remains after it


@dataclass(frozen=True, slots=True)
class ChangedAreas:
    """Areas of changed pixels, true m²."""

    new_m2: float
    known_m2: float
    gone_m2: float
    joint_share: float  # share of the pixels that both dates show


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """What changed on one date since earlier ones."""

    changes: dict[str, FootprintChange]  # by polygon_id of each footprint of the date
    vanished: tuple[VanishedFootprint, ...]  # footprints of earlier dates that vanished
    compared: tuple[DateComparison, ...] = ()  # measurements with each earlier date
    areas: Mapping[str, ChangedAreas] = field(default_factory=dict)  # by class, the first class first
    warnings: tuple[Explanation, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)  # name to path of each file that was written
    # Limit of detection of the index beyond the change of the whole scene; None: not compared by the index.
    limit: float | None = None

    @property
    def joint_share(self) -> float:
        """Share of the pixels that both dates show, of the first class."""
        return next(iter(self.areas.values())).joint_share

    def to_json(self) -> dict[str, Any]:
        """Return everything but the outlines as plain data; reasons stay as they are."""
        first, *others = self.areas.values()
        pixels = record_to_json(first)
        if others:
            pixels["classes"] = {kind: record_to_json(areas) for kind, areas in self.areas.items()}
        document: dict[str, Any] = {
            "compared": [record_to_json(comparison) for comparison in self.compared],
            "pixels": pixels,
            "warnings": list(self.warnings),
            "outputs": dict(self.outputs),
        }
        if self.limit is not None:
            document["limit"] = self.limit
        return document


def comparison_to_json(result: ComparisonResult) -> dict[str, Any]:
    """Return a result with its outlines as plain data; reasons stay as they are."""
    return {
        "changes": {polygon_id: record_to_json(change) for polygon_id, change in result.changes.items()},
        "vanished": [vanished_to_json(footprint) for footprint in result.vanished],
        **result.to_json(),
    }


def record_to_json(record: Any) -> dict[str, Any]:
    """Return a record as plain data, one level deep: instants in ISO, tuples as lists; reasons stay as they are."""
    document = {}
    for attribute in fields(record):
        value = getattr(record, attribute.name)
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, tuple):
            value = list(value)
        document[attribute.name] = value
    return document


def outline_to_json(outline: PlacedOutline) -> FootprintJson:
    """Return an outline as plain data."""
    return {
        "polygon_id": outline.polygon_id,
        "geometry": outline.geometry,
        "bbox": list(outline.bbox),
        "area_m2": outline.area_m2,
        "mean_probability": outline.mean_probability,
        "class": outline.kind,
    }


def vanished_to_json(footprint: VanishedFootprint) -> dict[str, Any]:
    """Return a footprint that vanished as plain data."""
    return {**record_to_json(footprint.change), **outline_to_json(footprint.outline)}


def apply_changes(date: StoredDate, changes: Mapping[str, FootprintChange]) -> StoredDate:
    """Return the date with the changes of its footprints, so that later dates can be compared with it.

    Args:
        changes: by polygon_id, for each footprint of the date.
    """

    def apply(outline: KnownOutline) -> KnownOutline:
        change = changes[outline.polygon_id]
        return replace(
            outline,
            change=change.change,
            parent_id=change.parent_id,
            root_id=change.root_id,
            anchor_scene=change.anchor_scene,
            first_seen_at=change.first_seen_at,
        )

    return replace(date, polygons=tuple(apply(outline) for outline in date.outlines))


def read_outlines(footprints: Sequence[FootprintJson]) -> tuple[KnownOutline, ...]:
    """Return the footprints of a detection (JSON) as outlines that were not compared yet."""
    return tuple(
        KnownOutline(
            polygon_id=footprint["polygon_id"],
            kind=footprint["class"],
            geometry=footprint["geometry"],
            bbox=(footprint["bbox"][0], footprint["bbox"][1], footprint["bbox"][2], footprint["bbox"][3]),
            # None without a position on the ground. Change of such footprints is not assessed.
            area_m2=cast("float", footprint["area_m2"]),
            mean_probability=footprint["mean_probability"],
        )
        for footprint in footprints
    )


def parse_geometry(outline: KnownOutline) -> KnownOutline:
    """Return the outline with its geometry as an object; the database stores it as text."""
    geometry: Any = outline.geometry
    return replace(outline, geometry=json.loads(geometry)) if isinstance(geometry, str) else outline


def join_cautions(*cautions: Explanation | None) -> Explanation | None:
    """Combine cautions without repetitions; None if there is none."""
    parts = dict.fromkeys(part for caution in cautions if caution for part in split_explanation(caution))
    return join_explanations(parts) if parts else None
