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

# Ids are this many hexadecimal digits of a hash, because whole numbers below 2^53 are exact in every language.
_ID_DIGITS: Final = 13


@dataclass(slots=True)
class CocoInstances:
    """Instances of several images. Ids depend on the content and name of the image and the weights only."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # category ids count from 1

    def add(self, name: str, detection: SceneDetection, grid: Grid) -> None:
        """Add the footprints of a scene, and set `box_px` of each. A scene that was added before is skipped."""
        image_id = _make_id(detection["scene_hash"], name)
        if any(item["id"] == image_id for item in self.images):
            return
        size = {"width": grid.width, "height": grid.height}
        self.images.append({"id": image_id, "file_name": name, **size, "date_captured": detection["acquired_at"]})
        self.classes += [kind for kind in detection["classes"] if kind not in self.classes]
        outlines = shapes_of([item["geometry"] for item in detection["polygons"]])
        placed = to_pixels(outlines, grid) if grid.placed else outlines
        for footprint, outline in zip(detection["polygons"], placed, strict=True):
            if (window := window_around(outline, grid, 0)) is not None:
                self._annotate(footprint, image_id, burn(outline, window), window[:2], grid)

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
                "id": _make_id(str(image), footprint["polygon_id"]),
                "image_id": image,
                "category_id": 1 + self.classes.index(footprint["class"]),
                "segmentation": runs or outlines,
                "bbox": [float(item) for item in footprint["box_px"]],
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


def read_own_grid(scene: Path, detection: SceneDetection) -> Grid:
    """Return the grid of a detection whose rasters are stored.

    Raises SceneError: this is not the grid of the image, so COCO cannot refer to its pixels.
    """
    size = width, height = detection["width"], detection["height"]
    if scene.is_file():
        with open_raster(scene) as source:
            size = source.width, source.height
    if size != (width, height) or detection["resample_to_m"]:
        raise SceneError(f"{scene}: found on other pixels than those of the image, so COCO cannot have it")
    if detection["crs"] == "pixels":
        return Grid(Affine.identity(), "", width, height)
    return read_grid(Path(detection["outputs"]["prob"]))


def _make_id(*words: str) -> int:
    return int(hashlib.sha256(":".join(words).encode()).hexdigest()[:_ID_DIGITS], 16)


def _list_runs(pixels: NDArray[np.bool_], origin: tuple[int, int], grid: Grid) -> list[int]:
    """Return run lengths, column by column: how many pixels are outside, then inside, then outside and so on."""
    columns, rows = np.nonzero(pixels.T)
    positions = (columns + origin[0]) * grid.height + rows + origin[1]
    ends = np.flatnonzero(np.diff(positions) > 1)
    firsts, lasts = positions[np.r_[0, ends + 1]], positions[np.r_[ends, positions.size - 1]] + 1
    edges = np.r_[0, np.stack([firsts, lasts], axis=1).ravel(), grid.width * grid.height]
    return [int(item) for item in np.diff(edges)]
