"""Find built ground, which has many bright grey pixels around it: towns, roads, quarries and gravel.

Networks for 10 m images mark roofs, building plots and quarries as landslides. Concrete, asphalt, metal roofs and
gravel are bright and grey. Fresh debris and bare soil are bright too, but they reflect much less blue than red. A
landslide in forest or pasture therefore has hardly any grey pixels around it, while grey pixels are everywhere in a
town. Snow and cloud are grey as well, so outlines near them can also count as on built ground.

Measured on scenes at 8.6 and 10 m:

* City (Chattogram): all outlines that three networks draw in it and in the hills around it (10, 206 and 36) lie on such
  ground. With a reach of 200 m two outlines in a hill cutting beside the town did not.
* Fresh landslides in forested hills (Hokkaido 2018): 3 of 267 outlines.
* Labelled landslides of Landslide4Sense: 0.3 % of 1,487 in the validation pictures as they are. Their bands have no
  known unit.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import RowBuffer
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn_outlines
from detection.imagery.scene.radiometry import find_pixel_m
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS, SceneBrightness, is_measured_size, measure_brightness
from detection.reasons import Reason

Colours = tuple[NDArray[np.floating], NDArray[np.bool_]]
"""Red, green and blue, 3 x H x W, and H x W where all three are valid."""
ReadColours = Callable[[int, int, int, int], Colours]
"""Read a window: column, row, width, height."""

# A pixel is grey if the least of its three colours is at least this share of the greatest, both without the light that
# the air adds. Fresh debris has .30 to .45.
LEAST_GREY: Final = 0.65
# Vegetation in haze is nearly grey, but its ratio of green to the brighter of red and blue is larger than this.
MOST_GREEN: Final = 1.05
# A grey pixel counts if its least colour is brighter than usual ground by this factor. Shadow is grey and dark.
TIMES_USUAL: Final = 1.25
# An outline is on built ground if at least this share of the ground within `REACH_M` is bright and grey. The share is
# larger around all outlines of three networks in Chattogram.
LEAST_GREY_SHARE: Final = 0.015
REACH_M: Final = 300.0
# Built ground is reported if it is at least this share of a scene, also without an outline on it.
REPORTED_SHARE: Final = 0.05
# The share of a scene is measured in windows of this side, with about this many pixels altogether.
WINDOW_PX: Final = 256
SAMPLE_PX: Final = 1_000_000


class BuiltGround:
    """The built ground of one image."""

    def __init__(self, read: ReadColours, grid: Grid, brightness: SceneBrightness, pixel_m: float) -> None:
        """Measure which share of an image is built ground.

        Args:
            read: reads a window of the image.
            grid: grid of the image.
            brightness: of the image.
            pixel_m: side of a pixel in metres.
        """
        self._read_colours = read
        self._grid = grid
        self._brightness = brightness
        self._reach_px = max(1, round(REACH_M / pixel_m))
        self.share = self._measure_share()
        """Share of all pixels of the image, including invalid pixels."""
        self.area_m2 = self.share * grid.width * grid.height * pixel_m**2

    def contains(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which outlines lie on built ground.

        Args:
            outlines: polygons in pixels of the grid.
        """
        built = np.zeros(len(outlines), bool)
        read = RowBuffer(self._read_grey, self._grid.width, self._grid.height)
        for index, window, body in burn_outlines(outlines, self._grid, self._reach_px):
            grey, valid = read(*window)
            around = valid & ndimage.maximum_filter(body, size=2 * self._reach_px + 1, mode="constant")
            pixels = int(np.count_nonzero(around))
            built[index] = pixels > 0 and np.count_nonzero(around & grey) >= LEAST_GREY_SHARE * pixels
        return built

    def _read_grey(self, *window: int) -> NDArray[np.bool_]:
        """Return 2 x H x W of a window: where it is bright and grey, and where it is valid."""
        column, row, width, height = window
        values, valid = self._read_colours(column, row, width, height)
        return np.stack([find_grey(values, valid, self._brightness), valid])

    def _measure_share(self) -> float:
        built = 0
        pixels = 0
        for window in _spread_windows(self._grid):
            grey, valid = self._read_grey(*window)
            size = 2 * self._reach_px + 1
            grey_share, valid_share = (
                ndimage.uniform_filter(mask.astype(np.float32), size, mode="constant") for mask in (grey, valid)
            )
            built += int(np.count_nonzero(valid & (grey_share >= LEAST_GREY_SHARE * valid_share)))
            pixels += valid.size
        return built / pixels


def _spread_windows(grid: Grid) -> Iterator[tuple[int, int, int, int]]:
    """Yield windows that are spread evenly over a grid: column, row, width, height."""
    every = max(1, int(np.sqrt(grid.width * grid.height / SAMPLE_PX)))
    for row in range(0, grid.height, WINDOW_PX * every):
        for column in range(0, grid.width, WINDOW_PX * every):
            yield column, row, min(WINDOW_PX, grid.width - column), min(WINDOW_PX, grid.height - row)


def find_grey(values: NDArray[np.floating], valid: NDArray[np.bool_], brightness: SceneBrightness) -> NDArray[np.bool_]:
    """Return where values of red, green and blue, 3 x H x W, are grey and brighter than usual ground.

    Forest, debris, shadow, concrete:

    >>> scene = np.array([[200.0, 900, 150, 700], [260, 600, 160, 690], [180, 400, 155, 650]])
    >>> light = SceneBrightness(np.array([100.0, 100.0, 100.0]), 80.0)
    >>> find_grey(scene[:, None], np.ones((1, 4), bool), light).tolist()
    [[False, False, False, True]]
    """
    red, green, blue = (
        np.maximum(band - darkest, 0) for band, darkest in zip(values, brightness.darkest.tolist(), strict=True)
    )
    least = np.minimum(np.minimum(red, green), blue)
    greatest = np.maximum(np.maximum(red, green), blue)
    is_grey = (least >= LEAST_GREY * greatest) & (green <= MOST_GREEN * np.maximum(red, blue))
    return np.asarray(valid & is_grey & (least > TIMES_USUAL * brightness.usual))


def open_built_ground(reader: BandReader, sample: NDArray[np.floating]) -> BuiltGround | None:
    """Return the built ground of a scene.

    None without red, green and blue, or if the pixels have another size than `white.PIXELS_M`, for which the constants
    of this module were measured. `open_white_ground` returns the reason, which is the same for both.

    Args:
        reader: the scene.
        sample: valid pixels of the scene, bands x n, as `radiometry.sample_pixels` returns them.
    """
    pixel_m = find_pixel_m(reader.grid)
    if pixel_m is None or not is_measured_size(pixel_m) or not set(COLOURS) <= set(reader.names):
        return None
    bands = [reader.names.index(name) for name in COLOURS]

    def read(column: int, row: int, width: int, height: int) -> Colours:
        values, valid = reader.read(column, row, width, height)
        return values[bands], valid

    brightness = measure_brightness(sample[bands])
    return None if brightness is None else BuiltGround(read, reader.grid, brightness, pixel_m)


def describe_built(day: str) -> Reason:
    """Return the caution for an outline on built ground. `day` is that of the image."""
    return Reason("caution.built", {"day": day, "reach": REACH_M})


def describe_built_ground(built: BuiltGround | None, day: str, outlines: int) -> list[Reason]:
    """Return a warning about the built ground of an image if it is large, or if outlines are on it.

    Args:
        built: the built ground; None if it cannot be found.
        day: of the image.
        outlines: number of outlines on built ground.
    """
    if built is None or (not outlines and built.share < REPORTED_SHARE):
        return []
    area_km2 = built.area_m2 / 1e6
    share_percent = 100 * built.share
    return [Reason("change.built", {"area": area_km2, "share": share_percent, "day": day, "outlines": outlines})]
