"""Find the white ground of an image (snow, ice, cloud or pale bare ground), and the outlines on or beside it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import EIGHT, RowBuffer
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn_outlines
from detection.imagery.scene.radiometry import find_pixel_m, sample_pixels
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import (
    COLOURS,
    PIXELS_M,
    SceneBrightness,
    find_white,
    is_measured_size,
    measure_brightness,
)
from detection.reasons import Reason

Colours = tuple[NDArray[np.floating], NDArray[np.bool_]]
"""Red, green and blue of a window, 3 x height x width, and where all three are valid."""
# An outline is on or beside white ground if the white pixels in it and within `NEAR_PX` of it are at least this share
# of its own pixels.
LEAST_WHITE_SHARE: Final = 0.1
NEAR_PX: Final = 2
# White areas that do not contain such a square are roads or noise.
NARROWEST: Final = np.ones((2, 2), bool)
# White ground is reported if it is at least this share of an image, also without an outline beside it.
REPORTED_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class ColourImage:
    """Access to the colours of an image. The functions are called only if it has red, green and blue."""

    bands: Collection[str]  # names of all bands of the image
    pixel_m: float | None  # side of a pixel of the image on the ground, metres; None if it is not known
    grid: Grid  # the grid on which `read_colours` reads; outlines are in its pixels
    read_colours: Callable[[int, int, int, int], Colours]  # reads a window: column, row, width, height
    # returns red, green and blue of valid pixels from all over the image, 3 x n, and the share of valid pixels
    sample_colours: Callable[[], tuple[NDArray[np.floating], float]]
    measure_pixel_m2: Callable[[], float]  # returns the area of a pixel of `grid`


class WhiteGround:
    """The white ground of one image.

    Attributes:
        share: share of all pixels of the image. Invalid pixels are not white.
        area_m2: area of the white ground.
    """

    def __init__(self, image: ColourImage, brightness: SceneBrightness, share: float) -> None:
        self._image = image
        self._brightness = brightness
        self.share = share
        self.area_m2 = share * image.grid.width * image.grid.height * image.measure_pixel_m2()

    def find_beside(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which outlines, in pixels of the image's grid, are on or beside white ground."""
        beside_white = np.zeros(len(outlines), bool)
        if not self.share:
            return beside_white
        grid = self._image.grid
        read = RowBuffer(self._read, grid.width, grid.height)
        for index, window, body in burn_outlines(outlines, grid, NEAR_PX + len(NARROWEST)):
            near = ndimage.binary_dilation(body, EIGHT, iterations=NEAR_PX)
            white = ndimage.binary_opening(read(*window), NARROWEST)
            beside_white[index] = np.count_nonzero(near & white) >= LEAST_WHITE_SHARE * np.count_nonzero(body)
        return beside_white

    def _read(self, *window: int) -> NDArray[np.bool_]:
        column, row, width, height = window
        return find_white(*self._image.read_colours(column, row, width, height), self._brightness)


def open_white_ground(image: ColourImage, day: str) -> tuple[WhiteGround | None, list[Reason]]:
    """Return the white ground of an image, or the reason why it cannot be found.

    It cannot be found without red, green and blue, nor if the pixels have another size than `white.PIXELS_M`, for which
    the rules for white were measured.

    Args:
        image: the image.
        day: of the image, for the reasons.

    Returns:
        None with a reason if white ground cannot be found; None without a reason if no pixel is valid.
    """
    if not set(COLOURS) <= set(image.bands):
        return None, [Reason("change.white_bands", {"day": day})]
    least, most = PIXELS_M
    if image.pixel_m is None:
        return None, [Reason("change.white_unknown", {"day": day, "least": least, "most": most})]
    if not is_measured_size(image.pixel_m):
        return None, [Reason("change.white_pixels", {"day": day, "pixel": image.pixel_m, "least": least, "most": most})]
    sample, valid_share = image.sample_colours()
    brightness = measure_brightness(sample)
    if brightness is None:
        return None, []
    white_share = float(find_white(sample, np.ones(sample.shape[1], bool), brightness).mean())
    return WhiteGround(image, brightness, white_share * valid_share), []


def select_colours(reader: BandReader, valid_share: float) -> ColourImage:
    """Return access to the colours of an open scene; see `ColourImage`.

    Args:
        reader: the scene.
        valid_share: share of its pixels that are valid.
    """
    positions = [reader.names.index(name) for name in COLOURS if name in reader.names]
    pixel_m = find_pixel_m(reader.grid)

    def read_colours(column: int, row: int, width: int, height: int) -> Colours:
        values, valid = reader.read(column, row, width, height)
        return values[positions], valid

    return ColourImage(
        bands=reader.names,
        pixel_m=pixel_m,
        grid=reader.grid,
        read_colours=read_colours,
        sample_colours=lambda: (sample_pixels(reader)[positions], valid_share),
        measure_pixel_m2=lambda: (pixel_m or 0.0) ** 2,
    )


def describe_white(day: str) -> Reason:
    """Return the caution for an outline on or beside white ground. `day` is that of the image."""
    return Reason("caution.white", {"day": day})


def describe_white_ground(white: WhiteGround | None, day: str, outlines: int) -> list[Reason]:
    """Return a warning about the white ground of an image if it is large, or if outlines are on or beside it.

    Args:
        white: the white ground; None if it cannot be found.
        day: of the image.
        outlines: number of outlines on or beside it.
    """
    if white is None or not (outlines or white.share >= REPORTED_SHARE):
        return []
    area_km2, share = white.area_m2 / 1e6, 100 * white.share
    return [Reason("change.white", {"area": area_km2, "share": share, "day": day, "outlines": outlines})]
