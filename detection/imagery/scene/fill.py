"""Mask nodata that the files do not declare: areas with one value in all bands, at the edge of a scene or inside."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.components import Labelling
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.tiling import cut_tiles
from detection.imagery.scene.reader import BandReader

# The edge of a scene contains a fill value if at least so many of its valid pixels have this value in every band.
LEAST_SHARE: Final = 0.01
LEAST_PX: Final = 16
# Dark water and bright ground have the value of a fill in scattered pixels of the edge. A fill is in long runs: at
# least this share of the pixels with the value is in runs of at least so many pixels.
RUN_PX: Final = 16
RUN_SHARE: Final = 0.5
# A connected area with a fill value inside the scene is a hole in a mosaic if it has so many pixels, else ground.
HOLE_PX: Final = 400
STRIP_PX: Final = 4096  # longest piece of a rim
TILE_PX: Final = 512
Rim = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
"""The outermost pixels of a scene in pieces: values, bands x height x width, and where they are valid."""
# Values that programs use as fills. Any other value repeats at an edge only by chance.
FILLS: Final = (0.0, 1.0, -9999.0, -32768.0, -999.0, 255.0, 65535.0, 32767.0)


def mask_fills(reader: BandReader, rim: Rim, work: Path) -> tuple[float, ...]:
    """Mask the nodata of a scene that its files do not declare, and return its values.

    The fill of a mosaic or of a rotated scene is at its edges, so fill values are searched along the four sides, as the
    files store them. Declared nodata (value, mask, alpha) is not valid and does not count. Connected areas that touch
    the edge and large holes are masked. A single pixel of the same value is ground.

    Args:
        reader: the bands of the model; the masks are added to it.
        rim: the outermost pixels; see `read_rim`.
        work: folder for the masks.
    """
    fills = _find_fills(rim)
    for fill in fills:
        _mask_fill(reader, fill, work)
    return fills


def _find_fills(rim: Rim) -> tuple[float, ...]:
    counts = dict.fromkeys(FILLS, 0)
    in_runs = dict.fromkeys(FILLS, 0)
    valid_px = 0
    for values, valid in rim:
        valid_px += int(valid.sum())
        for fill in FILLS:
            has_fill = ((values == fill).all(axis=0) & valid).ravel()  # along the edge
            if has_fill.any():
                runs = _measure_runs(has_fill)
                counts[fill] += int(runs.sum())
                in_runs[fill] += int(runs[runs >= RUN_PX].sum())
    least = max(LEAST_PX, LEAST_SHARE * valid_px)
    return tuple(fill for fill in FILLS if in_runs[fill] >= max(least, RUN_SHARE * counts[fill]))


def _measure_runs(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths of the runs of marked pixels, in order.

    >>> _measure_runs(np.array([True, True, False, True])).tolist()
    [2, 1]
    """
    turns = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0))
    return np.asarray(turns[1::2] - turns[::2], dtype=np.int64)


def _mask_fill(reader: BandReader, fill: float, work: Path) -> None:
    grid = reader.grid
    drawn = ByteRaster(work / f"fill{fill:g}.tif", grid, nodata=None)
    with drawn.writing() as write:
        for tile in cut_tiles(grid.width, grid.height, TILE_PX, 0):
            has_fill = np.zeros((tile.own_height, tile.own_width), np.uint8)
            try:
                values, valid = reader.read_spectral(tile.own_column, tile.own_row, tile.own_width, tile.own_height)
                has_fill[(values == fill).all(axis=0) & valid] = 1
            except TruncatedRasterError:  # `BandReader.read` reports it
                pass
            write(has_fill, tile.own_column, tile.own_row)
    with drawn.reading() as read:
        labelling = Labelling(read, grid.width, grid.height, 1)
        chosen = [
            label
            for label, component in enumerate(labelling.components, start=1)
            if component.pixels >= (RUN_PX if any(component.touches_sides(grid.width, grid.height)) else HOLE_PX)
        ]
        reader.add_mask(write_mask(labelling, np.array(chosen), work / f"fill{fill:g}-mask.tif", reader))


def write_mask(labelling: Labelling, chosen: NDArray[np.int64], path: Path, reader: BandReader) -> Mask:
    """Write a mask that is 0 on the chosen components (numbers from 1) and 1 elsewhere."""
    raster = ByteRaster(path, reader.grid, nodata=None)
    with raster.writing() as write:
        for top, labels, _ in labelling.read_labels():
            write((~np.isin(labels, chosen)).astype(np.uint8), 0, top)
    return Mask(path, "mask")


def read_rim(reader: BandReader) -> Rim:
    """Return the outermost pixels of a scene, with values as in the files."""
    width, height = reader.grid.width, reader.grid.height
    windows = []
    for row in {0, height - 1}:
        windows += [(column, row, min(STRIP_PX, width - column), 1) for column in range(0, width, STRIP_PX)]
    for column in {0, width - 1}:
        windows += [(column, row, 1, min(STRIP_PX, height - row)) for row in range(0, height, STRIP_PX)]
    rim = []
    for window in windows:
        try:
            rim.append(reader.read_spectral(*window))
        except TruncatedRasterError:  # `BandReader.read` reports it
            continue
    return rim
