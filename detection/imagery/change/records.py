"""Records of a comparison: stored dates with their outlines, and the changes between dates.

A *date* is a scene that was mapped. The values of `change` of a footprint are:

* `new`: an earlier date shows the ground without a landslide.
* `grown`: it continues a footprint of an earlier date, and is larger.
* `known`: it continues a footprint of an earlier date, without growth.
* `single`: no earlier date shows its ground, or too little of it.
* `vanished`: a newer date shows the ground without the landslide.
* `withdrawn`: the scene was delivered again, and the new delivery does not show the landslide.

A *line* of footprints is a footprint and all earlier footprints that it continues, one after the other.
"""

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
    """A footprint with its position on the ground. The change of footprints without a position is not assessed."""

    polygon_id: str
    kind: str  # class of the model
    geometry: Geometry  # GeoJSON, longitude and latitude
    bbox: Box
    area_m2: float
    mean_probability: float


@dataclass(frozen=True, slots=True)
class KnownOutline(PlacedOutline):
    """A footprint with its change against earlier dates. The attributes are None if it was not compared yet."""

    change: str | None = None  # see the module
    parent_id: str | None = None  # footprint of an earlier date that it continues
    root_id: str | None = None  # first footprint of its line
    # Hash of the newest scene on which a footprint of its line was new, grown or single.
    anchor_scene: str | None = None
    first_seen_at: datetime | None = None  # instant of the image of the first footprint of its line

    @property
    def is_gone(self) -> bool:
        """Whether the image of its date does not show it, because it vanished or was withdrawn."""
        return self.change in {"vanished", "withdrawn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDate:
    """A scene that was mapped, with everything that a comparison needs."""

    scene_hash: str
    acquired_at: datetime
    probability_path: str  # raster with its stored probabilities, a band for each class
    scene_path: str  # raster or folder of the scene, with the image and the elevation model
    threshold: float  # probability from which a pixel is part of a footprint
    minimum_area_m2: float  # smallest area of a footprint
    # Classes in the order of the bands. Footprints are compared within their class.
    classes: tuple[str, ...] = (LANDSLIDE,)
    # Windows that may contain the border of the image. Change there is advice only.
    doubtful: tuple[Window, ...] = ()
    # Windows beside clouds. Footprints there are advice only, and other dates treat these windows as nodata.
    cloudy: tuple[Window, ...] = ()
    doubts: tuple[Explanation, ...] = ()  # how the scene differs from the training data of the network
    dem: str | None = None  # path of an elevation model to use instead of that of the scene
    polygons: tuple[KnownOutline, ...] | None = None  # its footprints; None if they were not loaded

    @property
    def outlines(self) -> tuple[KnownOutline, ...]:
        """Its footprints; empty if they were not loaded."""
        return self.polygons or ()

    @property
    def day(self) -> str:
        """The day on which the image was taken, in ISO format, for messages."""
        return self.acquired_at.date().isoformat()


@dataclass(frozen=True, slots=True)
class FootprintChange:
    """How a footprint changed since an earlier date."""

    change: str  # see the module
    parent_id: str | None  # footprint of an earlier date that it continues
    grown_m2: float | None  # area by which it has grown; None if it has not
    since_at: datetime | None  # instant of the earlier image that it was compared with
    root_id: str  # first footprint of its line
    first_seen_at: datetime | None  # instant of the image of the first footprint of its line
    anchor_scene: str  # hash of the newest scene on which a footprint of its line was new, grown or single
    caution: Explanation | None  # why the change is advice only

    def with_cautions(self, *cautions: Explanation) -> "FootprintChange":
        """Return the change with these cautions added. Each caution appears once."""
        return replace(self, caution=join_cautions(self.caution, *cautions))


@dataclass(frozen=True, slots=True)
class VanishedFootprint:
    """A footprint of an earlier date that vanished. It has a new id, and the mean probability of the newer date."""

    outline: PlacedOutline
    change: FootprintChange


@dataclass(frozen=True, slots=True)
class DateComparison:
    """The comparison of the images of the newer date and an earlier one."""

    scene_hash: str  # of the earlier date
    acquired_at: datetime  # of the earlier date
    shift_px: Mapping[str, float] | None  # shift between the images; None if it was not measured
    median_ratios: tuple[float, ...] | None  # by band, newer divided by older image; None if not measured
    cautions: tuple[Explanation, ...]  # why a change since the earlier date is advice only
    claimed: bool  # whether changes since the earlier date are reported at all; not if the images do not match
    registered_px: Mapping[str, float] | None = None  # shift that was corrected; `shift_px` is what remains


@dataclass(frozen=True, slots=True)
class ChangedAreas:
    """Areas of changed pixels in m² on the ground, and the share of pixels that could be compared."""

    new_m2: float  # landslide on the newer date only
    known_m2: float  # landslide on both dates
    gone_m2: float  # landslide on the earlier date only
    joint_share: float  # share of the pixels that both dates show


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The changes on one date since earlier dates."""

    changes: dict[str, FootprintChange]  # by polygon_id of the footprints of the date
    vanished: tuple[VanishedFootprint, ...]  # footprints of earlier dates that vanished
    compared: tuple[DateComparison, ...] = ()  # one for each earlier date
    areas: Mapping[str, ChangedAreas] = field(default_factory=dict)  # by class
    warnings: tuple[Explanation, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)  # paths of the written files, by name
    # Smallest detectable rise of the index of red and green (see `by_index`; without a unit), after the median rise of
    # the scene is subtracted. None without an index.
    limit: float | None = None

    @property
    def joint_share(self) -> float:
        """Share of the pixels that both dates show, for the first class."""
        return next(iter(self.areas.values())).joint_share

    def to_json(self) -> dict[str, Any]:
        """Return everything except the outlines as JSON data. Reasons are not converted."""
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
    """Return a result with its outlines as JSON data. Reasons are not converted."""
    return {
        "changes": {polygon_id: record_to_json(change) for polygon_id, change in result.changes.items()},
        "vanished": [vanished_to_json(footprint) for footprint in result.vanished],
        **result.to_json(),
    }


def record_to_json(record: Any) -> dict[str, Any]:
    """Return a record as JSON data, with instants in ISO format and tuples as lists.

    Nested records and reasons are not converted.
    """
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
    """Return an outline as JSON data."""
    return {
        "polygon_id": outline.polygon_id,
        "geometry": outline.geometry,
        "bbox": list(outline.bbox),
        "area_m2": outline.area_m2,
        "mean_probability": outline.mean_probability,
        "class": outline.kind,
    }


def vanished_to_json(footprint: VanishedFootprint) -> dict[str, Any]:
    """Return a vanished footprint as JSON data."""
    return {**record_to_json(footprint.change), **outline_to_json(footprint.outline)}


def apply_changes(date: StoredDate, changes: Mapping[str, FootprintChange]) -> StoredDate:
    """Return the date with the changes of its footprints, so that later dates can be compared with it.

    Args:
        date: The date.
        changes: Changes by polygon_id, one for each footprint of the date.
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
    """Return the footprints of a detection as outlines that were not compared yet."""
    return tuple(
        KnownOutline(
            polygon_id=footprint["polygon_id"],
            kind=footprint["class"],
            geometry=footprint["geometry"],
            bbox=(footprint["bbox"][0], footprint["bbox"][1], footprint["bbox"][2], footprint["bbox"][3]),
            # The area is None without a position on the ground. The change of such footprints is not assessed.
            area_m2=cast("float", footprint["area_m2"]),
            mean_probability=footprint["mean_probability"],
        )
        for footprint in footprints
    )


def parse_geometry(outline: KnownOutline) -> KnownOutline:
    """Return the outline with its geometry parsed. The database stores it as text."""
    geometry: Any = outline.geometry
    return replace(outline, geometry=json.loads(geometry)) if isinstance(geometry, str) else outline


def join_cautions(*cautions: Explanation | None) -> Explanation | None:
    """Return all cautions as one explanation, each once; None if there are none."""
    parts = dict.fromkeys(part for caution in cautions if caution for part in split_explanation(caution))
    return join_explanations(parts) if parts else None
