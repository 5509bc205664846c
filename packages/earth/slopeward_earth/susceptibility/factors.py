"""Factors of the ground on one grid, read by windows: rasters, terrain of an elevation model, distances to lines."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import CoverageError
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Box, Layer
from detection.imagery.raster.raster import read_grid
from detection.imagery.raster.reading.values import FACTOR
from detection.imagery.raster.terrain import TerrainReader, open_terrain
from detection.imagery.raster.vectors import read_vectors
from slopeward_earth.susceptibility.study import TERRAIN_FIELDS, Factor, FactorError, Study

FLAT: Final = -1.0  # an aspect of flat ground: there is none
FLAT_DEG: Final = 0.05
WINDOW_PX: Final = 1024  # side of the windows, whatever the grid: what bounds the memory
MOST_REACH_PX: Final = 2048  # of a distance, around each window
Values = NDArray[np.float32]
Known = NDArray[np.bool_]
Read = Callable[..., tuple[Values, Known]]


def windows(grid: Grid) -> Iterator[tuple[float, Box]]:
    """Yield the windows of a grid, each with the share of it that is done by then."""
    boxes = [
        (left, top, min(WINDOW_PX, grid.width - left), min(WINDOW_PX, grid.height - top))
        for top in range(0, grid.height, WINDOW_PX)
        for left in range(0, grid.width, WINDOW_PX)
    ]
    for number, box in enumerate(boxes, start=1):
        yield number / len(boxes), box


class Factors(ExitStack):
    """Windows of all factors on the grid of a study; use as a context manager.

    Args:
        study: names them; `notes` says what was left out of them.
        work: folder for temporary files; terrain is computed into it, strip by strip.
    """

    def __init__(self, study: Study, work: Path) -> None:
        self.factors = study.factors
        first = next(factor for factor in study.factors if factor.name == study.grid)
        self.grid, self.notes = read_grid(first.path), list[str]()
        super().__init__()
        try:
            opened: dict[Path, TerrainReader] = {}
            for number, path in enumerate(dict.fromkeys(f.path for f in self.factors if f.kind == "terrain")):
                names = [TERRAIN_FIELDS[f.name] for f in self.factors if f.kind == "terrain" and f.path == path]
                folder = work / f"terrain-{number}"
                folder.mkdir()
                try:
                    opened[path] = self.enter_context(open_terrain(path, self.grid, folder, names))
                except CoverageError as error:
                    raise FactorError(str(error)) from None
                self.notes += opened[path].notes
            terrain = opened
            self._reads = [self._open(factor, terrain) for factor in self.factors]
        except BaseException:
            self.close()
            raise

    def read(self, box: Box) -> tuple[Values, Known]:
        """Read a window: values factors x height x width, and where all of them are known."""
        _, _, width, height = box
        values = np.empty((len(self._reads), height, width), np.float32)
        known = np.ones((height, width), bool)
        for place, read in enumerate(self._reads):
            values[place], valid = read(*box)
            known &= valid
        return values, known

    def _open(self, factor: Factor, terrain: dict[Path, TerrainReader]) -> Read:
        if factor.kind == "terrain":
            return _read_terrain(terrain[factor.path], TERRAIN_FIELDS[factor.name])
        if factor.kind == "distance":
            distances = Distances(factor, self.grid)
            self.notes += distances.notes
            return distances.read
        nearest = factor.kind in {"classes", "direction"}  # 359 and 1 degree have no mean of 180
        layer = self.enter_context(Layer(factor.path, self.grid, factor.band, nearest=nearest, quantity=FACTOR))
        self.notes += layer.notes
        return layer.read


def _read_terrain(reader: TerrainReader, field: str) -> Read:
    def read(*box: int) -> tuple[Values, Known]:
        fields, known = reader.read(*box)
        values = fields[field]
        if field == "aspect":
            values = np.where(fields["slope"] < FLAT_DEG, np.float32(FLAT), values)
        return values, known

    return read


class Distances:
    """Distance to the nearest line, metres, at most `most_m`, window by window.

    Lines are drawn on the pixels and distances taken between centres of pixels, so they are true within a pixel.
    """

    def __init__(self, factor: Factor, grid: Grid) -> None:
        found = read_vectors(factor.path)
        self.notes, shapes = found.notes, found.to_pixels(grid)
        self._lines = shapely.get_parts(shapely.get_parts(shapes))
        self._tree = shapely.STRtree(self._lines)
        self._most_m = np.float32(factor.most_m)
        self._spacing_m = spacing_m(grid, grid.width / 2, grid.height / 2)
        self._reach = tuple(int(np.ceil(factor.most_m / one)) + 1 for one in self._spacing_m)
        if max(self._reach) > MOST_REACH_PX:
            raise FactorError(
                f"{factor.path}: {factor.most_m:g} m are {max(self._reach)} pixels, at most {MOST_REACH_PX} are looked "
                f"at: a smaller most_m, or a coarser grid ({factor.name})"
            )
        whole = shapely.box(-self._reach[0], -self._reach[1], grid.width + self._reach[0], grid.height + self._reach[1])
        if not len(self._tree.query(whole)):
            raise FactorError(f"{factor.path}: no line within {factor.most_m:g} m of the grid ({factor.name})")

    def read(self, column: int, row: int, width: int, height: int) -> tuple[Values, Known]:
        """Read a window; it is known everywhere."""
        across, down = self._reach
        left, top = column - across, row - down
        shape = height + 2 * down, width + 2 * across
        near = self._tree.query(shapely.box(left, top, left + shape[1], top + shape[0]))
        far = np.full((height, width), self._most_m, np.float32)
        known = np.ones((height, width), bool)
        if not len(near):
            return far, known
        moved = shapely.transform(self._lines[near], lambda points: points - np.array([left, top]))
        drawn = rasterio.features.rasterize(list(moved), out_shape=shape, dtype="uint8", all_touched=True)
        if not drawn.any():
            return far, known
        away = ndimage.distance_transform_edt(drawn == 0, sampling=self._spacing_m[::-1])
        own = away[down : down + height, across : across + width]
        return np.minimum(own, self._most_m).astype(np.float32), known


def list_cautions(study: Study) -> list[str]:
    """What must be said of factors that show the ground after landslides of the inventory had happened."""
    since = study.inventory and (study.inventory.first or study.inventory.last)
    return [
        f"{factor.name} is of {factor.day}, landslides happened from {since} on: it may show them"
        for factor in study.factors
        if factor.day is not None and since and factor.day >= since
    ]
