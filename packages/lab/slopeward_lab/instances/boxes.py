"""Bounding boxes of the footprints of a scene, and their score against outlines of a reference.

A footprint is a connected component of the landslide map (`detection.imagery.footprints.polygons`), so each footprint
is an instance. Its score is the mean probability of its pixels. Its box has the axes of the pixels of the scene, as the
boxes of object detectors have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from detection.geojson import Feature, Geometry
from detection.imagery.data.metrics import average_precision
from detection.imagery.errors import SceneError, VectorError
from detection.imagery.footprints.outputs import RECORD_FILE, SHARED_KEYS, read_stored_result
from detection.imagery.footprints.polygons import cut_to_geojson
from detection.imagery.footprints.records import INDEX, SceneDetection
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, shapes_of, to_pixels, window_around
from detection.imagery.raster.raster import ByteRaster, read_grid
from detection.imagery.raster.reading.shapes import extract_outlines
from detection.imagery.raster.vectors import read_vectors
from detection.whole_file import write_json

LEAST_IOU: Final = 0.5
"""Intersection over union from which an instance matches a landslide of the reference, as in Everingham et al. 2010."""
BOXES_FILE: Final = "boxes.geojson"

Shapes = NDArray[Any]
"""One-dimensional array of shapely geometries in (column, row) of the scene."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A landslide that was found."""

    polygon_id: str
    kind: str  # class of the model
    score: float  # mean probability, 0 to 1
    area_m2: float | None  # None without a place on the ground
    box_px: tuple[float, float, float, float]  # left, top, width, height in pixels of the scene
    geometry: Geometry  # the box; longitude and latitude, or pixels for a scene without a place on the ground


@dataclass(frozen=True, slots=True)
class SceneInstances:
    """The instances of a scene."""

    detection: SceneDetection
    grid: Grid
    instances: tuple[Instance, ...]  # in the order of falling scores
    outlines: Shapes  # of the instances, in the same order


class MatchScore(TypedDict):
    """How well instances agree with a reference. A value is None if it divides by zero."""

    matched: int
    precision: float | None  # matched instances / instances
    recall: float | None  # matched instances / landslides of the reference
    average_precision: float | None  # area under the precision over the recall, see `average_precision`


class ReferenceScore(TypedDict):
    """Score of the instances of a scene."""

    least_iou: float
    instances: int
    references: int
    left_out: int  # landslides of the reference that the scene does not show
    boxes: MatchScore  # intersection over union of the bounding boxes
    outlines: MatchScore  # intersection over union of the outlines


def read_instances(folder: Path) -> SceneInstances:
    """Read the instances of a scene.

    Args:
        folder: result of `slopeward scenes detect --out`.

    Raises:
        SceneError: the folder contains no complete result, or no network read the scene.
    """
    detection = read_stored_result(folder, {})
    if detection is None:
        raise SceneError(f"{folder}: no complete {RECORD_FILE}; run slopeward scenes detect SCENE --out {folder}")
    if detection["model"] == INDEX:
        raise SceneError(
            f"{folder}: no network read this scene, so its outlines have no score; name weights by --model"
        )
    grid = _read_grid(detection)
    footprints = sorted(detection["polygons"], key=lambda item: (-item["mean_probability"], item["polygon_id"]))
    outlines = shapes_of([footprint["geometry"] for footprint in footprints])
    if grid.placed and outlines.size:
        outlines = to_pixels(outlines, grid)
    boxes = _find_boxes(outlines, grid)
    geometries = _place_boxes(boxes, grid)
    instances = tuple(
        Instance(
            polygon_id=footprint["polygon_id"],
            kind=footprint["class"],
            score=footprint["mean_probability"],
            area_m2=footprint["area_m2"],
            box_px=_describe_box(box),
            geometry=geometry,
        )
        for footprint, box, geometry in zip(footprints, boxes, geometries, strict=True)
    )
    return SceneInstances(detection, grid, instances, outlines)


def write_boxes(scene: SceneInstances, path: Path) -> None:
    """Write the boxes as a GeoJSON file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    shared: dict[str, Any] = {key: scene.detection[key] for key in SHARED_KEYS}
    features: list[Feature] = [
        {
            "type": "Feature",
            "id": instance.polygon_id,
            "geometry": instance.geometry,
            "properties": {
                "polygon_id": instance.polygon_id,
                "class": instance.kind,
                "score": instance.score,
                "area_m2": instance.area_m2,
                "box_px": list(instance.box_px),
                **shared,
            },
        }
        for instance in scene.instances
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def score_instances(scene: SceneInstances, reference: Path) -> tuple[ReferenceScore, tuple[str, ...]]:
    """Compare the instances of a scene with the outlines of landslides in a vector file.

    Each feature of the file is a landslide. Landslides outside of the scene, or without a valid pixel of it, are left
    out, because the scene does not show them.

    Args:
        scene: the instances.
        reference: GeoJSON, GeoPackage, shapefile, FlatGeobuf or KML.

    Returns:
        The score, and a sentence for each kind of data that was left out of the file.

    Raises:
        SceneError: the scene has no place on the ground.
        VectorError: the file cannot be read, or contains no outline.
    """
    if not scene.grid.placed:
        raise SceneError(f"{reference}: the scene has no place on the ground, so it cannot be compared with outlines")
    vectors = read_vectors(reference)
    outlines, notes = extract_outlines(shapely.force_2d(vectors.shapes))
    outlines = outlines[~shapely.is_missing(outlines)]
    if not outlines.size:
        raise VectorError(f"{reference}: no outline in it; points and lines do not show the extent of a landslide")
    shown = _select_shown(replace(vectors, shapes=outlines).to_pixels(scene.grid), scene)
    scores = [instance.score for instance in scene.instances]
    boxes_iou = compute_iou(_find_boxes(scene.outlines, scene.grid), _find_boxes(shown, scene.grid))
    outlines_iou = compute_iou(scene.outlines, shown)
    score: ReferenceScore = {
        "least_iou": LEAST_IOU,
        "instances": len(scores),
        "references": len(shown),
        "left_out": len(outlines) - len(shown),
        "boxes": summarise_matches(match_instances(scores, boxes_iou), len(shown)),
        "outlines": summarise_matches(match_instances(scores, outlines_iou), len(shown)),
    }
    return score, (*vectors.notes, *(f"{reference.name}: {note}" for note in notes))


def match_instances(
    scores: Sequence[float], iou: NDArray[np.float64], least_iou: float = LEAST_IOU
) -> list[tuple[float, bool]]:
    """Return the score of each instance, and whether it matches a landslide, in the order of falling scores.

    Each instance in this order is matched with the landslide of the greatest intersection over union that is not
    matched yet (Everingham et al. 2010, section 4.2).

    Args:
        scores: score of each instance.
        iou: intersection over union, instances x landslides.
        least_iou: smallest intersection over union of a match.

    >>> match_instances([0.8, 0.9], np.array([[0.6], [0.7]]))
    [(0.9, True), (0.8, False)]
    """
    is_free = np.ones(iou.shape[1], bool)
    ranked: list[tuple[float, bool]] = []
    for number in np.argsort(-np.asarray(scores, float), kind="stable"):
        candidates = np.where(is_free, iou[number], 0.0)
        is_match = bool(candidates.size and candidates.max() >= least_iou)
        if is_match:
            is_free[candidates.argmax()] = False
        ranked.append((scores[number], is_match))
    return ranked


def summarise_matches(ranked: Sequence[tuple[float, bool]], landslides: int) -> MatchScore:
    """Return precision, recall and average precision.

    Args:
        ranked: result of `match_instances`, of one scene or of several.
        landslides: number of landslides of the reference.
    """
    matched = sum(is_match for _, is_match in ranked)
    return {
        "matched": matched,
        "precision": matched / len(ranked) if ranked else None,
        "recall": matched / landslides if landslides else None,
        "average_precision": average_precision(list(ranked), landslides),
    }


def compute_iou(first: Shapes, second: Shapes) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs of shapes, len(first) x len(second)."""
    iou = np.zeros((len(first), len(second)))
    # Only pairs that the index finds overlap; all others keep 0.
    pairs = shapely.STRtree(second).query(first, predicate="intersects")
    for row, column in pairs.T:
        common = shapely.intersection(first[row], second[column]).area
        union = first[row].area + second[column].area - common
        iou[row, column] = common / union if union > 0 else 0.0
    return iou


def _read_grid(detection: SceneDetection) -> Grid:
    if detection["crs"] == "pixels":
        return Grid(Affine.identity(), "", detection["width"], detection["height"])
    return read_grid(Path(detection["outputs"]["prob"]))


def _find_boxes(outlines: Shapes, grid: Grid) -> Shapes:
    """Return the bounding boxes of outlines, cut at the edge of the scene."""
    if not outlines.size:
        return outlines
    left, top, right, bottom = shapely.bounds(outlines).T
    columns = np.clip(np.stack([left, right]), 0, grid.width)
    rows = np.clip(np.stack([top, bottom]), 0, grid.height)
    return np.asarray(shapely.box(columns[0], rows[0], columns[1], rows[1]))


def _describe_box(box: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(float(value), 2) for value in box.bounds)
    return left, top, round(right - left, 2), round(bottom - top, 2)


def _place_boxes(boxes: Shapes, grid: Grid) -> list[Geometry]:
    """Return boxes as GeoJSON: longitude and latitude, or pixels for a scene without a place on the ground."""
    if not boxes.size:
        return []
    on_ground = map_outline(boxes, grid.to_crs)
    outlines = (shapely.geometry.mapping(box) for box in cut_to_geojson(on_ground, grid))
    return [{"type": outline["type"], "coordinates": outline["coordinates"]} for outline in outlines]


def _select_shown(outlines: Shapes, scene: SceneInstances) -> Shapes:
    """Return the outlines of a reference in which the scene has a valid pixel."""
    shown = np.zeros(len(outlines), bool)
    steps = ByteRaster(Path(scene.detection["outputs"]["prob"]), scene.grid)
    with steps.reading() as read:
        for number, outline in enumerate(outlines):
            window = window_around(outline, scene.grid, 0)
            if window is not None:
                shown[number] = bool((burn(outline, window) & (read(*window) != NODATA)).any())
    return np.asarray(outlines[shown])
