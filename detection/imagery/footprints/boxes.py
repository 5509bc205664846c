"""Footprints as boxes: rectangles in longitude and latitude, and the COCO file that detectors are trained with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.raster.grid import Grid, apply_affine, from_lonlat

DIGITS_PX = 2
HALF_TURN_DEG = 180.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A scene with its footprints.

    Attributes:
        name: as its file or folder is called.
        grid: of its pixels.
        facts: further keys of the image, such as `date_captured`.
        footprints: geometry (GeoJSON), class and further keys of the annotation, such as `score`.
    """

    name: str
    grid: Grid
    facts: Mapping[str, Any]
    footprints: Sequence[tuple[Mapping[str, Any], str, Mapping[str, Any]]]


def frame(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rectangle around a geometry as GeoJSON, counter-clockwise; two where it is cut at 180 degrees.

    >>> frame({"type": "Polygon", "coordinates": [[[0, 0], [2, 1], [1, 3], [0, 0]]]})["coordinates"]
    [[[0, 0], [2, 0], [2, 3], [0, 3], [0, 0]]]
    """
    places = [place for ring in _rings(geometry) for place in ring]
    west, east = min(x for x, _ in places), max(x for x, _ in places)
    sides = [places]
    if east - west > HALF_TURN_DEG:  # no landslide goes around the earth: its parts lie on both sides of 180 degrees
        sides = [[place for place in places if place[0] >= 0], [place for place in places if place[0] < 0]]
    rings = [_rectangle(side) for side in sides]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": [rings[0]]}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def to_coco(pictures: Iterable[Picture]) -> dict[str, Any]:
    """Return the content of a COCO file: images, categories, and a box and outline in pixels for each footprint.

    Boxes are [left, top, width, height] of the image's pixels, cut at its edge. Outlines are without their holes, as
    the format has none; `area` is without the holes.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for picture in pictures:
        size = {"width": picture.grid.width, "height": picture.grid.height}
        images.append({"id": len(images) + 1, "file_name": picture.name, **size, **picture.facts})
        for geometry, kind, facts in picture.footprints:
            outline = _to_pixels(geometry, picture.grid)
            left, top, right, bottom = (float(value) for value in outline.bounds)
            left, right = max(left, 0.0), min(right, float(picture.grid.width))
            top, bottom = max(top, 0.0), min(bottom, float(picture.grid.height))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": len(images),
                    "category_id": numbers.setdefault(kind, len(numbers) + 1),
                    "bbox": [round(value, DIGITS_PX) for value in (left, top, right - left, bottom - top)],
                    "area": round(float(outline.area), DIGITS_PX), "iscrowd": 0,
                    "segmentation": [_flatten(part) for part in shapely.get_parts(outline)], **facts,
                }
            )  # fmt: skip
    categories = [{"id": number, "name": kind, "supercategory": "ground"} for kind, number in numbers.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


def _to_pixels(geometry: Mapping[str, Any], grid: Grid) -> Any:
    """The outline in columns and rows of a grid; a geometry of a grid without a place is in pixels already."""
    outline = shapely.geometry.shape(dict(geometry))
    if not grid.placed:
        return outline
    middle, _ = grid.to_lonlat(*grid.to_crs(np.array([grid.width / 2]), np.array([grid.height / 2])))

    def place(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        lon = lonlat[:, 0] + 360 * np.round((middle[0] - lonlat[:, 0]) / 360)
        x, y = from_lonlat(grid, lon, lonlat[:, 1])
        return np.column_stack(apply_affine(~grid.transform, np.asarray(x), np.asarray(y)))

    return shapely.union_all(shapely.get_parts(shapely.transform(outline, place)))


def _flatten(part: Any) -> list[float]:
    return [round(float(value), DIGITS_PX) for place in part.exterior.coords for value in place[:2]]


def _rings(geometry: Mapping[str, Any]) -> Iterator[Sequence[tuple[float, float]]]:
    """The outer rings."""
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    for part in parts:
        yield [(place[0], place[1]) for place in part[0]]


def _rectangle(places: Sequence[tuple[float, float]]) -> list[list[float]]:
    west, east = min(x for x, _ in places), max(x for x, _ in places)
    south, north = min(y for _, y in places), max(y for _, y in places)
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
