"""Write footprints as COCO instances: boxes and outlines in pixels of the image, run lengths for those with holes."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from detection.imagery.errors import SceneError
from detection.imagery.footprints.records import FootprintJson, SceneDetection
from detection.imagery.raster.components import outline_pixels
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, shapes_of, to_pixels, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.raster.untrusted import open_raster
from detection.whole_file import write_json

_DIGITS: Final = 13  # of a hash: whole numbers below 2^53 are the same in every language


@dataclass(slots=True)
class CocoInstances:
    """Instances of several images. Ids depend on the content and name of the image and the weights only."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # category ids count from 1

    def add(self, name: str, found: SceneDetection, grid: Grid) -> None:
        """Add the footprints of a scene, and set `box_px` of each. A scene that was added before is skipped."""
        number = _number(found["scene_hash"], name)
        if any(one["id"] == number for one in self.images):
            return
        size = {"width": grid.width, "height": grid.height}
        self.images.append({"id": number, "file_name": name, **size, "date_captured": found["acquired_at"]})
        self.classes += [kind for kind in found["classes"] if kind not in self.classes]
        outlines = shapes_of([one["geometry"] for one in found["polygons"]])
        placed = to_pixels(outlines, grid) if grid.placed else outlines
        for footprint, outline in zip(found["polygons"], placed, strict=True):
            if (window := window_around(outline, grid, 0)) is not None:
                self._annotate(footprint, number, burn(outline, window), window[:2], grid)

    def _annotate(
        self, footprint: FootprintJson, image: int, pixels: NDArray[np.bool_], origin: tuple[int, int], grid: Grid
    ) -> None:
        parts = outline_pixels(pixels, origin)
        if not parts:
            return
        left, top, right, bottom = map(int, shapely.total_bounds(parts))
        footprint["box_px"] = [left, top, right - left, bottom - top]
        has_holes = any(part.interiors for part in parts)
        outlines = [np.ravel(part.exterior.coords[:-1]).tolist() for part in parts]
        runs = {"counts": _list_runs(pixels, origin, grid), "size": [grid.height, grid.width]} if has_holes else None
        self.annotations.append(
            {
                "id": _number(str(image), footprint["polygon_id"]),
                "image_id": image,
                "category_id": 1 + self.classes.index(footprint["class"]),
                "segmentation": runs or outlines,
                "bbox": [float(one) for one in footprint["box_px"]],
                "area": float(np.count_nonzero(pixels)),  # pixels
                "iscrowd": 0,
                "score": footprint["mean_probability"],
                "polygon_id": footprint["polygon_id"],
            }
        )

    def write(self, path: Path) -> None:
        """Write the file atomically.

        Raises OSError: it cannot be written.
        """
        categories = [
            {"id": number, "name": name, "supercategory": "landslide"} for number, name in enumerate(self.classes, 1)
        ]
        about = {"info": {"description": "footprints found by slopeward scenes detect"}, "licenses": []}
        rows = {"images": self.images, "categories": categories, "annotations": self.annotations}
        write_json(path, {**about, **rows})


def read_own_grid(scene: Path, found: SceneDetection) -> Grid:
    """Return the grid of a result whose rasters are stored.

    Raises SceneError: it is not the grid of the image.
    """
    size = width, height = found["width"], found["height"]
    if scene.is_file():
        with open_raster(scene) as source:
            size = source.width, source.height
    if size != (width, height) or found["resample_to_m"]:
        raise SceneError(f"{scene}: found on other pixels than those of the image, so COCO cannot have it")
    if found["crs"] == "pixels":
        return Grid(Affine.identity(), "", width, height)
    return read_grid(Path(found["outputs"]["prob"]))


def _number(*words: str) -> int:
    return int(hashlib.sha256(":".join(words).encode()).hexdigest()[:_DIGITS], 16)


def _list_runs(pixels: NDArray[np.bool_], origin: tuple[int, int], grid: Grid) -> list[int]:
    """Return the numbers of pixels outside and inside in turn, column by column."""
    columns, rows = np.nonzero(pixels.T)
    places = (columns + origin[0]) * grid.height + rows + origin[1]
    ends = np.flatnonzero(np.diff(places) > 1)
    firsts, lasts = places[np.r_[0, ends + 1]], places[np.r_[ends, places.size - 1]] + 1
    edges = np.r_[0, np.stack([firsts, lasts], axis=1).ravel(), grid.width * grid.height]
    return [int(one) for one in np.diff(edges)]
