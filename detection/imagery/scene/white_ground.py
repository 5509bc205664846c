"""Outlines on or beside white ground: snow, ice, cloud, or pale bare ground."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import EIGHT, Rows
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, window_around
from detection.imagery.scene.radiometry import find_pixel_m, sample_pixels
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS, SceneBrightness, find_white, holds_at, measure_light
from detection.reasons import Reason

Colours = tuple[NDArray[np.floating], NDArray[np.bool_]]  # red, green and blue, 3 x H x W, and where all are valid
# An outline lies on or beside white ground that covers so much of it, or as much within so many pixels of it.
SHARE_LEAST: Final = 0.1
NEAR_PX: Final = 2
# What is narrower, in pixels, is a road or noise.
NARROWEST: Final = np.ones((2, 2), bool)
# White ground is told from this share of an image on, also where no outline lies beside it.
REPORTED_SHARE: Final = 0.05


class WhiteGround:
    """The white ground of one image: its area, and its share of all pixels of the image."""

    def __init__(
        self,
        read: Callable[[int, int, int, int], Colours],
        share: float,
        grid: Grid,
        light: SceneBrightness,
        pixel_m2: float,
    ) -> None:
        """Take what is known of an image.

        Args:
            read: from column, row, width and height of a window to its colours.
            share: share of the pixels of the grid that are white; pixels without a value are not white.
            grid: of the image.
            light: of the image.
            pixel_m2: area of a pixel.
        """
        self._read_colours, self._grid, self._light = read, grid, light
        self.share = share
        self.area_m2 = share * grid.width * grid.height * pixel_m2

    def lies_at(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which outlines, in pixels of the grid, lie on or beside white ground."""
        found = np.zeros(len(outlines), bool)
        if not self.share:
            return found
        read = Rows(self._read, self._grid.width, self._grid.height)
        boxes = [window_around(outline, self._grid, NEAR_PX + len(NARROWEST)) for outline in outlines]
        for place in sorted(range(len(outlines)), key=lambda k: (boxes[k] or (0, 0))[1]):
            if (box := boxes[place]) is None or not (body := burn(outlines[place], box)).any():
                continue
            near = ndimage.binary_dilation(body, EIGHT, iterations=NEAR_PX)
            white = ndimage.binary_opening(read(*box), NARROWEST)
            found[place] = np.count_nonzero(near & white) >= SHARE_LEAST * np.count_nonzero(body)
        return found

    def _read(self, *box: int) -> NDArray[np.bool_]:
        column, row, width, height = box
        return find_white(*self._read_colours(column, row, width, height), self._light)


def open_white_ground(reader: BandReader, valid_share: float) -> WhiteGround | None:
    """Return the white ground of a scene; None without red, green and blue, or if its pixels have another size.

    The rules for what is white were measured on pixels of the sizes `white.PIXELS_M`.

    Args:
        reader: the scene.
        valid_share: share of its pixels that are valid.
    """
    pixel_m = find_pixel_m(reader.grid)
    if pixel_m is None or not holds_at(pixel_m) or not set(COLOURS) <= set(reader.names):
        return None
    places = [reader.names.index(name) for name in COLOURS]

    def read(column: int, row: int, width: int, height: int) -> Colours:
        values, valid = reader.read(column, row, width, height)
        return values[places], valid

    sample = sample_pixels(reader)[places]
    light = measure_light(sample)
    if light is None:
        return None
    share = float(find_white(sample, np.ones(sample.shape[1], bool), light).mean())
    return WhiteGround(read, share * valid_share, reader.grid, light, pixel_m**2)


def describe_white(day: str) -> Reason:
    """Return the caution on an outline on or beside white ground of the image of a day."""
    return Reason("caution.white", {"day": day})


def describe_white_ground(white: WhiteGround | None, day: str, outlines: int) -> list[Reason]:
    """Return how much of an image is white, where that is much or takes outlines their vote."""
    if white is None or not (outlines or white.share >= REPORTED_SHARE):
        return []
    area_km2, share = white.area_m2 / 1e6, 100 * white.share
    return [Reason("change.white", {"area": area_km2, "share": share, "day": day, "outlines": outlines})]
