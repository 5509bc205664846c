"""What change is judged from and what it answers: outlines with what is known of them, dates, words, areas."""

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
    """A footprint with a place on the ground: without one, change is not judged; `geometry` is GeoJSON."""

    polygon_id: str
    kind: str
    geometry: Geometry
    bbox: Box
    area_m2: float
    mean_probability: float


@dataclass(frozen=True, slots=True)
class KnownOutline(PlacedOutline):
    """A footprint with what is known of its line; None where nothing was judged yet."""

    change: str | None = None  # new, grown, known, single, vanished or withdrawn
    parent_id: str | None = None  # the footprint of an earlier date that it continues
    root_id: str | None = None  # the first footprint of its line
    anchor_scene: str | None = None  # the date on which its outline was last declared new, grown or single
    first_seen_at: datetime | None = None  # when the first image of its line was taken

    @property
    def is_gone(self) -> bool:
        """Whether it was not found on its date, but named as missing there."""
        return self.change in {"vanished", "withdrawn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDate:
    """What is kept of a scene that was read, as another is compared with it."""

    scene_hash: str  # its id
    acquired_at: datetime  # when it was taken
    prob: str  # path of its kept probabilities, a band per class
    scene_path: str  # its raster or folder, for the guards and the slope
    threshold: float  # of its footprints
    minimum_area_m2: float  # of its footprints
    # of its probabilities, in the order of the bands; footprints are judged within their own
    classes: tuple[str, ...] = (LANDSLIDE,)
    doubtful: tuple[Window, ...] = ()  # windows that may hold a border: what is found or compared there is advice
    # windows beside clouds: what is found there is advice, and they prove nothing to other dates
    cloudy: tuple[Window, ...] = ()
    doubts: tuple[Explanation, ...] = ()  # why it lies outside of what the network was trained on
    dem: str | None = None  # heights in place of the scene's own
    polygons: tuple[KnownOutline, ...] | None = None  # its footprints; None: not given

    @property
    def outlines(self) -> tuple[KnownOutline, ...]:
        """Its footprints; none where they were not given."""
        return self.polygons or ()


@dataclass(frozen=True, slots=True)
class FootprintChange:
    """What became of a footprint."""

    change: str  # new, grown, known, single or vanished
    parent_id: str | None  # the footprint of an earlier date that it continues
    grown_m2: float | None  # by how much; None where it has not grown
    since_at: datetime | None  # the date that it is compared with
    root_id: str  # the first footprint of its line
    first_seen_at: datetime | None  # when the first image of its line was taken
    anchor_scene: str  # the date on which its outline was last declared
    caution: Explanation | None  # why it is advice only

    def doubted(self, *cautions: Explanation) -> "FootprintChange":
        """The same with more cautions, each said once."""
        return replace(self, caution=join_cautions(self.caution, *cautions))


@dataclass(frozen=True, slots=True)
class VanishedFootprint:
    """A footprint of before that is gone, under a name of its own; its probability is that of the newer date."""

    outline: PlacedOutline
    change: FootprintChange


@dataclass(frozen=True, slots=True)
class DateComparison:
    """What was measured between the newer date and an earlier one."""

    scene_hash: str  # the earlier one
    acquired_at: datetime  # when it was taken
    shift_px: Mapping[str, float] | None  # between the images; None: not measured
    median_ratios: tuple[float, ...] | None  # of the bands, newer over older; None: not measured
    cautions: tuple[Explanation, ...]  # why change against it is advice only
    claimed: bool  # whether change against it is claimed at all
    registered_px: Mapping[str, float] | None = None  # by how much it was moved before; `shift_px` is what is left


@dataclass(frozen=True, slots=True)
class ChangedAreas:
    """Change pixel by pixel, true m², and the share of the pixels that two dates show."""

    new_m2: float
    known_m2: float
    gone_m2: float
    joint_share: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed on one date against earlier ones."""

    changes: dict[str, FootprintChange]  # polygon_id of each footprint of the date to what became of it
    vanished: tuple[VanishedFootprint, ...]  # footprints of before that are gone
    compared: tuple[DateComparison, ...] = ()  # what was measured with each earlier date
    areas: Mapping[str, ChangedAreas] = field(default_factory=dict)  # by class, the first class first
    warnings: tuple[Explanation, ...] = ()  # one sentence each
    outputs: Mapping[str, str] = field(default_factory=dict)  # name to path of what was written
    # by the index, the change from which on a pixel counts, beyond that of the whole scene; else None
    limit: float | None = None

    @property
    def joint_share(self) -> float:
        """Share of the pixels that two dates show, of the first class."""
        return next(iter(self.areas.values())).joint_share

    def to_json(self) -> dict[str, Any]:
        """Return what was measured as plain data; reasons stay as they are."""
        first, *others = self.areas.values()
        more = {"classes": {kind: record_to_json(areas) for kind, areas in self.areas.items()}} if others else {}
        return {
            "compared": [record_to_json(one) for one in self.compared],
            "pixels": {**record_to_json(first), **more},
            "warnings": list(self.warnings),
            "outputs": dict(self.outputs),
            **({} if self.limit is None else {"limit": self.limit}),
        }


def comparison_to_json(found: Comparison) -> dict[str, Any]:
    """Return all that changed as plain data; reasons stay as they are."""
    return {
        "changes": {name: record_to_json(change) for name, change in found.changes.items()},
        "vanished": [vanished_to_json(one) for one in found.vanished],
        **found.to_json(),
    }


def record_to_json(record: Any) -> dict[str, Any]:
    """Return a record as plain data, one level deep: instants in ISO, tuples as lists; reasons stay as they are."""
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def outline_to_json(one: PlacedOutline) -> FootprintJson:
    """An outline, as JSON has it."""
    return {
        "polygon_id": one.polygon_id,
        "geometry": one.geometry,
        "bbox": list(one.bbox),
        "area_m2": one.area_m2,
        "mean_probability": one.mean_probability,
        "class": one.kind,
    }


def vanished_to_json(one: VanishedFootprint) -> dict[str, Any]:
    """A footprint that is gone, as JSON has it."""
    return {**record_to_json(one.change), **outline_to_json(one.outline)}


def remember(date: StoredDate, changes: Mapping[str, FootprintChange]) -> StoredDate:
    """The date with what became of its footprints, for those that are judged after it."""

    def learn(one: KnownOutline) -> KnownOutline:
        change = changes[one.polygon_id]
        return replace(
            one,
            change=change.change,
            parent_id=change.parent_id,
            root_id=change.root_id,
            anchor_scene=change.anchor_scene,
            first_seen_at=change.first_seen_at,
        )

    return replace(date, polygons=tuple(map(learn, date.outlines)))


def read_outlines(footprints: Sequence[FootprintJson]) -> tuple[KnownOutline, ...]:
    """The footprints of a detection (JSON) as outlines of which nothing is known yet."""
    return tuple(
        KnownOutline(
            one["polygon_id"],
            one["class"],
            one["geometry"],
            (one["bbox"][0], one["bbox"][1], one["bbox"][2], one["bbox"][3]),
            cast("float", one["area_m2"]),  # without a place there is none, and change is not judged
            one["mean_probability"],
        )
        for one in footprints
    )


def open_geometry(outline: KnownOutline) -> KnownOutline:
    """The same with `geometry` as an object, where it is stored as text."""
    given: Any = outline.geometry
    return replace(outline, geometry=json.loads(given)) if isinstance(given, str) else outline


def join_cautions(*cautions: Explanation | None) -> Explanation | None:
    """Combine cautions, each once; None if there is none."""
    parts = dict.fromkeys(part for caution in cautions if caution for part in split_explanation(caution))
    return join_explanations(parts) if parts else None
