"""Outlines of landslides as people bring them, brought to longitude and latitude, with what was wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from detection.geojson import GeoJsonError
from detection.imagery.raster.areas import GEOD
from detection.imagery.raster.geojson import to_lonlat
from detection.imagery.raster.reading.shapes import extract_outlines
from detection.imagery.raster.vectors import read_vectors
from detection.reasons import explain_file
from slopeward_lab.learning.records import KINDS, LANDSLIDE, NOTHING, GroundLabel, LearningError, SceneWindow

FIELD: Final = "kind"
MOST_VERTICES: Final = 5_000_000
LEAST_SHARE: Final = 0.01


def read_labels(outlines: Path, looked: Path | None = None) -> tuple[list[GroundLabel], list[str]]:
    """Read outlines of a vector file with the property `kind`, and polygons of what was looked at.

    Returns the labels; and what was left out or looks wrong, a line each.

    Raises:
        VectorError: a file that cannot be read, or says not where it lies.
        LearningError: an unknown kind, no polygon, or too many vertices.
    """
    labels, notes = _read(outlines, LANDSLIDE)
    if looked is not None:
        more, lines = _read(looked, NOTHING)
        labels, notes = [*labels, *(GroundLabel(NOTHING, one.shape) for one in more)], [*notes, *lines]
    if not any(one.kind == LANDSLIDE for one in labels):
        raise LearningError(f"{outlines}: no outline of a landslide in it: nothing can be learnt from one class")
    return labels, notes


def find_least_m2(labels: Sequence[GroundLabel], windows: Sequence[SceneWindow]) -> float:
    """The area on the ground below which hardly an outline of a landslide is that any tile shows, m²; 0: none is shown.

    The smallest one, or of many the 1 % point: one in a hundred may be a splinter of another.
    """
    shapes = np.array([one.shape for one in labels if one.kind == LANDSLIDE], object)
    tree = shapely.STRtree(shapely.get_parts(shapes))
    shown = np.unique(tree.query([shapely.box(*one.bounds) for one in windows])[1])
    areas = [abs(float(GEOD.geometry_area_perimeter(outline)[0])) for outline in tree.geometries[shown]]
    return float(np.quantile(areas, LEAST_SHARE, method="lower")) if areas else 0.0


def _read(path: Path, usual: str) -> tuple[list[GroundLabel], list[str]]:
    found = read_vectors(path, FIELD)
    kinds = [given or usual for given in found.values]
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise LearningError(f"{path}: kind {unknown[0]!r} of an outline; expected: {', '.join(KINDS)}")
    flat = shapely.force_2d(found.shapes)
    flat, lines = extract_outlines(flat)
    if (count := int(shapely.get_num_coordinates(flat).sum())) > MOST_VERTICES:
        raise LearningError(f"{path}: {count:,} vertices; at most {MOST_VERTICES:,} are read: simplify the outlines")
    west, south, east, north = shapely.bounds(flat).T
    usable = (east > west) & (north > south)
    try:
        moved = to_lonlat(flat, found.crs)
    except GeoJsonError as error:
        raise LearningError(explain_file(path, error.explanation)) from None
    placed = np.isfinite(shapely.bounds(moved)).all(axis=1)
    notes = [*found.notes, *(f"{path.name}: {line}" for line in lines)]
    if count := int((usable & ~placed).sum()):
        notes.append(f"{path.name}: {count} outlines have no place on the earth and are left out")
    if not (usable & placed).any():
        raise LearningError(f"{path}: no polygon in it; points and lines do not say what ground moved")
    return [GroundLabel(kinds[k], moved[k]) for k in np.flatnonzero(usable & placed)], notes
