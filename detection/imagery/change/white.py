"""Snow, ice and cloud on the images of two dates: what a network marks there comes and goes without any landslide."""

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.change.dates import ground_m2
from detection.imagery.change.guards import Image
from detection.imagery.errors import ImageryError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.components import EIGHT, Rows
from detection.imagery.raster.overlay import burn, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.white import COLOURS, PIXELS_M, Light, find_white, holds_at, measure_light
from forecasting.message import Figure, Message, Template

# An outline lies on or beside white ground that covers so much of it, or as much within so many pixels of it.
SHARE_LEAST: Final = 0.1
BESIDE_PX: Final = 2
# What is narrower, in pixels, is a road or noise.
NARROWEST: Final = np.ones((2, 2), bool)
# White ground is told from this share of an image on, also where no outline lies beside it.
TOLD_SHARE: Final = 0.05
WHITE_OF: Final = Template(
    "caution.white", "lies on or beside white ground of {day}: snow, ice or cloud, or pale bare ground"
)
_TOLD: Final = Template(
    "change.white",
    "{area} km² ({share} %) of the image of {day} is white (snow, ice or cloud, or pale bare ground): outlines on or "
    "beside it, {outlines} here, count for no warning level",
)
_NO_BANDS: Final = Template(
    "change.white_bands", "snow and cloud were not looked for on the image of {day}: it has no red, green and blue"
)
_PIXELS: Final = Template(
    "change.white_pixels",
    "snow and cloud were not looked for on the image of {day}: it has pixels of {pixel} m, and what tells them was "
    "measured at {least} to {most} m",
)


class White:
    """The white ground of one image.

    Args:
        image: of a date, open for as long as this is asked.
        light: of that image.

    Attributes:
        share: of the grid of the comparison, what is white.
        area_m2: of that.
    """

    def __init__(self, image: Image, light: Light) -> None:
        self._image, self._light, self._grid = image, light, image.grid
        values, valid = image.sample_colours()
        self.share = float(find_white(values, valid, light).mean())
        grid = image.grid
        self.area_m2 = self.share * grid.width * grid.height * ground_m2(grid, grid.width / 2, grid.height / 2)

    def lies_at(self, outlines: NDArray[Any]) -> NDArray[np.bool_]:
        """Which outlines, in pixels of the grid, lie on or beside white ground."""
        found = np.zeros(len(outlines), bool)
        if not self.share:
            return found
        read = Rows(partial(self._read), self._grid.width, self._grid.height)
        boxes = [window_around(outline, self._grid, BESIDE_PX + len(NARROWEST)) for outline in outlines]
        for place in sorted(range(len(outlines)), key=lambda k: (boxes[k] or (0, 0))[1]):
            if (box := boxes[place]) is None or not (body := burn(outlines[place], box)).any():
                continue
            near = ndimage.binary_dilation(body, EIGHT, iterations=BESIDE_PX)
            white = ndimage.binary_opening(read(*box), NARROWEST)
            found[place] = np.count_nonzero(near & white) >= SHARE_LEAST * np.count_nonzero(body)
        return found

    def _read(self, *box: int) -> NDArray[np.bool_]:
        return find_white(*self._image.read_colours(*box), self._light)


def look_for_white(image: Image, day: str) -> tuple[White | None, list[Message]]:
    """The white ground of the image of a date; None with a line that says why it was not looked for.

    An image that cannot be read is the trouble of the guards, and said by them.
    """
    try:
        bands = image.scene.bands
        if not set(COLOURS) <= set(bands):
            return None, [_NO_BANDS(day=day)]
        pixel_m = geodesic_pixel_m2(read_grid(bands[COLOURS[0]].path)) ** 0.5
        if not holds_at(pixel_m):
            least, most = (Figure(one, ".2g") for one in PIXELS_M)
            return None, [_PIXELS(day=day, pixel=Figure(pixel_m, ".3g"), least=least, most=most)]
        values, valid = image.sample_colours()
        light = measure_light(values[:, valid])
        return (None if light is None else White(image, light)), []
    except ImageryError:
        return None, []


def tell_white(white: White | None, day: str, outlines: int) -> list[Message]:
    """How much of an image is white, where that is much or takes outlines their vote."""
    if white is None or not (outlines or white.share >= TOLD_SHARE):
        return []
    area, share = Figure(white.area_m2 / 1e6, ".2f"), Figure(100 * white.share, ".1f")
    return [_TOLD(area=area, share=share, day=day, outlines=outlines)]
