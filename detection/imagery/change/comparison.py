"""Compare two rasters of the same ground pixel by pixel.

A measure (`Measure`) is the quantity by which two dates are compared: a probability, an index of colours or a height.
It reads both rasters on one grid, has a unit and a limit of detection, and classifies pixels. `Comparison` contains
everything that does not depend on the quantity: it reads the grid in strips, counts the classes, stores them, outlines
the changed ground and writes the raster.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.records import ChangedAreas
from detection.imagery.footprints.polygons import STEPS, OutlineRule, find_footprints
from detection.imagery.footprints.records import Footprint
from detection.imagery.raster import components
from detection.imagery.raster.areas import draw_pixel, map_outline, true_area_m2
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import ByteRaster, write_cog


class PixelClass(IntEnum):
    """Class of a pixel in the raster of a comparison."""

    UNCHANGED = 0
    GAINED = 1  # a landslide is new, ground became redder or higher
    PRESENT = 2  # a landslide on both dates
    LOST = 3  # a landslide vanished, ground became lower
    OUT_OF_REACH = 4  # shown on both dates, but a change beyond the limit of detection was impossible
    NODATA = components.NODATA  # one of the dates has no value


@dataclass(frozen=True, slots=True)
class ClassifiedBlock:
    """Pixels of a window, classified."""

    classes: NDArray[np.uint8]  # values of `PixelClass`, layers x height x width
    # Size of the change in steps of 1/200, height x width: 100 at the limit of detection. None: not graded.
    strength: NDArray[np.uint8] | None = None


class Measure(Protocol):
    """Quantity that two rasters are compared by."""

    @property
    def name(self) -> str:
        """Name of the quantity, such as `probability`."""

    @property
    def unit(self) -> str:
        """Unit of the quantity; `1` for a ratio."""

    @property
    def limit(self) -> float:
        """Limit of detection in `unit`: a smaller change does not count. The median if it differs between pixels."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, each of which is compared with itself only."""

    @property
    def is_graded(self) -> bool:
        """Whether `classify` returns the strength of the change."""

    def classify(self, column: int, row: int, width: int, height: int) -> ClassifiedBlock:
        """Read both rasters in a window of the common grid and classify its pixels.

        Raises:
            ImageryError: a raster cannot be read.
        """


class Comparison:
    """Two rasters on one grid, compared by a measure.

    Args:
        grid: common grid of both rasters.
        measure: reads and classifies them.
        path: file for the classes, which `find_outlines` and `write` read. None: the classes are counted only.
    """

    def __init__(self, grid: Grid, measure: Measure, path: Path | None = None) -> None:
        self.grid = grid
        self.measure = measure
        self._raster = None if path is None else ByteRaster(path, grid, len(measure.layers) + measure.is_graded)
        self._counts = np.zeros((len(measure.layers), 256), np.int64)

    def classify_pixels(self) -> None:
        """Classify every pixel of the grid in one pass from top to bottom.

        Raises:
            ImageryError: a raster cannot be read.
        """
        with ExitStack() as stack:
            write = None if self._raster is None else stack.enter_context(self._raster.writing())
            for box in strips(self.grid):
                block = self.measure.classify(*box)
                for layer, classes in enumerate(block.classes):
                    self._counts[layer] += np.bincount(classes.ravel(), minlength=256)
                if write is not None:
                    bands = block.classes if block.strength is None else [*block.classes, block.strength]
                    write(np.stack(list(bands)), box[0], box[1])

    def compared_share(self, layer: int = 0) -> float:
        """Return the share of all pixels on which a change would have been found, rounded to six digits."""
        compared = int(self._counts[layer, : PixelClass.OUT_OF_REACH].sum())
        return round(compared / (self.grid.width * self.grid.height), 6)

    def measure_areas(self) -> dict[str, ChangedAreas]:
        """Return the changed areas by layer, as pixels of the size that they have in the middle of the grid."""
        pixel_m2 = measure_pixel_m2(self.grid, self.grid.width / 2, self.grid.height / 2)
        areas = {}
        for layer, name in enumerate(self.measure.layers):
            new_m2, known_m2, gone_m2 = (
                round(int(self._counts[layer, pixel_class]) * pixel_m2, 1)
                for pixel_class in (PixelClass.GAINED, PixelClass.PRESENT, PixelClass.LOST)
            )
            areas[name] = ChangedAreas(new_m2, known_m2, gone_m2, self.compared_share(layer))
        return areas

    def find_outlines(self, pixel_class: PixelClass, rule: OutlineRule) -> Iterator[Footprint]:
        """Yield outlines of ground of a class in the first layer, in the order of their first pixel.

        The probability of an outline is the strength of its change where the measure is graded, else 1.
        """
        assert self._raster is not None
        opposite = PixelClass.LOST if pixel_class == PixelClass.GAINED else PixelClass.GAINED
        with self._raster.reading() as read_band:

            def read(column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
                classes = read_band(column, row, width, height)
                if self.measure.is_graded:
                    strength = read_band(column, row, width, height, len(self.measure.layers) + 1)
                    return np.where(classes == opposite, np.uint8(0), strength)
                steps = np.where(classes == pixel_class, np.uint8(STEPS), np.uint8(0))
                return np.where(classes == PixelClass.NODATA, np.uint8(PixelClass.NODATA), steps)

            yield from find_footprints(read, self.grid, rule)

    def write(self, target: Path, tags: dict[str, str]) -> None:
        """Write the classes as a cloud-optimised GeoTIFF, by temporary name and rename.

        Its tags contain the measure, its unit and its limit of detection too.
        """
        assert self._raster is not None
        partial = self._raster.path.with_name(target.name)
        measure = self.measure
        tags = {"MEASURE": measure.name, "UNIT": measure.unit, "LIMIT": f"{measure.limit:g}", **tags}
        write_cog(self._raster.path, partial, overviews="mode", tags=tags, descriptions=measure.layers)
        partial.replace(target)


def measure_pixel_m2(grid: Grid, column: float, row: float) -> float:
    """Return the true area of the pixel around a place of a grid, m²."""
    return true_area_m2(map_outline(draw_pixel(column, row), grid.to_crs), grid)
