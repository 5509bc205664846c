"""White ground of an image (snow, ice, cloud or pale bare ground), and which outlines lie on or beside it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import EIGHT, Rows
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, window_around
from detection.imagery.scene.radiometry import find_pixel_m, sample_pixels
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.white import COLOURS, PIXELS_M, SceneBrightness, find_white, holds_at, measure_light
from detection.reasons import Reason

Colours = tuple[NDArray[np.floating], NDArray[np.bool_]]
"""Red, green and blue of a window, 3 x height x width, and where all three are valid."""
# An outline lies on or beside white ground if so much of it is white, or as many pixels within so many pixels of it.
SHARE_LEAST: Final = 0.1
NEAR_PX: Final = 2
# White areas that are narrower, in pixels, are roads or noise.
NARROWEST: Final = np.ones((2, 2), bool)
# White ground is reported from this share of an image on, also if no outline lies beside it.
REPORTED_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class ColourImage:
    """Access to red, green and blue of an image, which need not exist."""

    bands: Collection[str]  # names of all bands
    pixel_m: float | None  # side of a pixel of the image on the ground, metres; None if it is not known
    grid: Grid  # the grid on which `read_colours` reads; outlines are in its pixels
    read_colours: Callable[[int, int, int, int], Colours]  # of a window: column, row, width, height
    # red, green and blue of valid pixels all over the image, 3 x n, and the share of the image that is valid
    sample_colours: Callable[[], tuple[NDArray[np.floating], float]]
    measure_pixel_m2: Callable[[], float]  # area of a pixel of `grid`


class WhiteGround:
    """The white ground of one image.

    Attributes:
        share: share of all pixels of the image; pixels without a value are not white.
        area_m2: area of the white ground.
    """

    def __init__(self, image: ColourImage, light: SceneBrightness, share: float) -> None:
        self._image = image
        self._light = light
        self.share = share
        self.area_m2 = share * image.grid.width * image.grid.height * image.measure_pixel_m2()

    def lies_at(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which outlines, in pixels of the image's grid, lie on or beside white ground."""
        beside_white = np.zeros(len(outlines), bool)
        if not self.share:
            return beside_white
        grid = self._image.grid
        read = Rows(self._read, grid.width, grid.height)
        boxes = [window_around(outline, grid, NEAR_PX + len(NARROWEST)) for outline in outlines]
        # from top to bottom, so that each row is read about once
        for number in sorted(range(len(outlines)), key=lambda number: (boxes[number] or (0, 0))[1]):
            box = boxes[number]
            if box is None:
                continue
            body = burn(outlines[number], box)
            if not body.any():
                continue
            near = ndimage.binary_dilation(body, EIGHT, iterations=NEAR_PX)
            white = ndimage.binary_opening(read(*box), NARROWEST)
            beside_white[number] = np.count_nonzero(near & white) >= SHARE_LEAST * np.count_nonzero(body)
        return beside_white

    def _read(self, *box: int) -> NDArray[np.bool_]:
        column, row, width, height = box
        return find_white(*self._image.read_colours(column, row, width, height), self._light)


def open_white_ground(image: ColourImage, day: str) -> tuple[WhiteGround | None, list[Reason]]:
    """Return the white ground of an image, and why it could not be looked for.

    It cannot be looked for without red, green and blue, nor in pixels of another size than `white.PIXELS_M`, for which
    the rules for white were measured.

    Args:
        image: the image.
        day: of the image, for the messages.

    Returns:
        None with a reason if white ground cannot be looked for; None without a reason if no pixel is valid.
    """
    if not set(COLOURS) <= set(image.bands):
        return None, [Reason("change.white_bands", {"day": day})]
    least, most = PIXELS_M
    if image.pixel_m is None:
        return None, [Reason("change.white_unknown", {"day": day, "least": least, "most": most})]
    if not holds_at(image.pixel_m):
        return None, [Reason("change.white_pixels", {"day": day, "pixel": image.pixel_m, "least": least, "most": most})]
    sample, valid_share = image.sample_colours()
    light = measure_light(sample)
    if light is None:
        return None, []
    white_share = float(find_white(sample, np.ones(sample.shape[1], bool), light).mean())
    return WhiteGround(image, light, white_share * valid_share), []


def select_colours(reader: BandReader, valid_share: float) -> ColourImage:
    """Return access to the colours of an open scene.

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
    """Return the caution on an outline on or beside white ground of the image of a day."""
    return Reason("caution.white", {"day": day})


def describe_white_ground(white: WhiteGround | None, day: str, outlines: int) -> list[Reason]:
    """Return a warning about the white ground of an image if it is large, or if outlines lie on or beside it.

    Args:
        white: the white ground, if it was looked for.
        day: of the image.
        outlines: how many outlines lie on or beside it.
    """
    if white is None or not (outlines or white.share >= REPORTED_SHARE):
        return []
    area_km2, share = white.area_m2 / 1e6, 100 * white.share
    return [Reason("change.white", {"area": area_km2, "share": share, "day": day, "outlines": outlines})]
