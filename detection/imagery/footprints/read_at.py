"""At which pixels a network reads a scene: its own, or those of its training where the card says that this carries."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import numpy as np

from detection.imagery.footprints.polygons import STEPS
from detection.imagery.raster.areas import geodesic_pixel_m2, resample_grid
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.tiling import cut
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import Pixels, ResizedReader, find_pixels, measure_steps, resample

TILE_PX: Final = 512


class ReadAt(NamedTuple):
    """The grid on which a network reads a scene that has other pixels.

    Attributes:
        pixel_m: side of a pixel on the ground.
        width: columns.
        height: rows.
        step_px: how many pixels of the scene one of these is wide and high.
    """

    pixel_m: float
    width: int
    height: int
    step_px: list[float]


def fit_pixels(reader: BandReader, card: Mapping[str, Any]) -> tuple[BandReader, ReadAt | None]:
    """Return what the network reads: the scene itself, or the scene on other pixels, and on which."""
    pixel_m = find_pixels(geodesic_pixel_m2(reader.grid) ** 0.5, card) if reader.grid.placed else None
    if pixel_m is None:
        return reader, None
    grid = resample_grid(reader.grid, pixel_m)
    read_at = ReadAt(pixel_m, grid.width, grid.height, list(measure_steps(reader.grid, grid)))
    return cast("BandReader", ResizedReader(reader, grid)), read_at


def bring_back(drawn: ByteRaster, steps: ByteRaster, reader: BandReader) -> int:
    """Write probabilities that were drawn on other pixels onto those of the scene; return how many are valid.

    Args:
        drawn: steps of 1/200 on the grid of the network.
        steps: the same on the grid of the scene, to be written.
        reader: the scene, which says where it is valid.
    """
    grid, pixels = reader.grid, 0
    with drawn.reading() as read, steps.writing() as write:

        def read_steps(*window: int) -> Pixels:
            found = np.stack([read(*window, band) for band in range(1, drawn.count + 1)])
            return found.astype(np.float32), found[0] != NODATA

        for tile in cut(grid.width, grid.height, TILE_PX, 0):
            window = tile.own_column, tile.own_row, tile.own_width, tile.own_height
            values, known = resample(read_steps, drawn.grid, grid, window)
            known &= reader.read(*window)[1]
            write(np.where(known, np.rint(values).clip(0, STEPS), NODATA).astype(np.uint8), *window[:2])
            pixels += int(np.count_nonzero(known))
    return pixels


def spell_pixels(read_at: Mapping[str, Any], grid: Grid, card: Mapping[str, Any]) -> str:
    """Say at which pixels a scene was read that has others."""
    pixel_m, trained_m, at_m = geodesic_pixel_m2(grid) ** 0.5, float(card["pixel_size_m"]), read_at["pixel_m"]
    if pixel_m < trained_m:
        return f"read at {at_m:g} m, the pixels of its training; the image has {pixel_m:.3g} m"
    return (
        f"read at {at_m:g} m, near the {trained_m:g} m of its training; the image has {pixel_m:.3g} m, "
        "and what is small in it may be missed"
    )
