"""Find white pixels (snow, ice and cloud) by their light beyond that of the darkest ground of the scene."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = ("B4", "B3", "B2")
"""Red, green and blue."""
# Pixel sizes, in metres, at which the rules of this module and of `radiometry` for white clouds were measured:
# Sentinel-2 at 8.6 and 10 m (Hokkaido, Landslide4Sense), averaged to 20 and 30 m. There 0.05 % of the landslide pixels
# are white by these rules, at 0.8 to 3 m 2 to 40 %: single blocks, pale debris and roofs are white in finer pixels.
PIXELS_M: Final = (6.6, 33.0)
# Quantile of the darkest ground. The air adds blue light to all ground alike, and this ground shows how much.
DARKEST: Final = 0.01
# Smallest ratio of the darkest colour to the brightest one, after the light of the air is subtracted. Snow has .54 to
# .75 as much blue as red (5 % to 95 % of 386 outlines of snow, Hokkaido), bare soil and debris .30 to .45.
COLOURLESS: Final = 0.55
# Pixels that are greener than this, as a ratio to the brighter of red and blue, are plants.
GREEN_MOST: Final = 1.05
# White pixels are so many times as bright as the median of coloured ground, in their darkest colour.
TIMES_USUAL: Final = 2.5
# Coloured ground gives the usual brightness if it covers at least this share of the scene.
COLOURED_LEAST: Final = 0.01


class SceneBrightness(NamedTuple):
    """Brightness of a scene."""

    darkest: NDArray[np.float64]  # of the darkest ground, by colour
    usual: float  # of coloured ground beyond that, in the darkest of its colours


def holds_at(pixel_m: float | None) -> bool:
    """Return whether the rules for white were measured on pixels of this size (m); None is an unknown size.

    >>> holds_at(10.0), holds_at(30.0), holds_at(0.1), holds_at(None)
    (True, True, False, False)
    """
    return pixel_m is not None and PIXELS_M[0] <= pixel_m <= PIXELS_M[1]


def measure_light(sample: NDArray[np.floating]) -> SceneBrightness | None:
    """Return the brightness of a scene from red, green and blue of valid pixels, 3 x n; None without pixels."""
    if not sample.shape[1]:
        return None
    darkest = np.quantile(sample.astype(np.float64), DARKEST, axis=1)
    light = _subtract_darkest(sample, darkest)
    coloured = ~_has_no_colour(light)
    if coloured.mean() < COLOURED_LEAST:
        # only snow, or a grey image: all pixels that are not dark are white
        return SceneBrightness(darkest, 0.0)
    return SceneBrightness(darkest, float(np.median(light.min(axis=0)[coloured])))


def find_white(values: NDArray[np.floating], valid: NDArray[np.bool_], light: SceneBrightness) -> NDArray[np.bool_]:
    """Return where red, green and blue (3 x H x W) are bright and white, including thin snow and snow in shade.

    >>> scene = np.array([[200.0, 210, 220, 900, 1500], [230, 240, 250, 750, 1500], [300, 305, 310, 520, 1500]])
    >>> find_white(scene[:, None], np.ones((1, 5), bool), SceneBrightness(scene[:, 0], 20.0)).tolist()
    [[False, False, False, False, True]]
    """
    beyond = _subtract_darkest(values, light.darkest)
    return np.asarray(valid & _has_no_colour(beyond) & (beyond.min(axis=0) > TIMES_USUAL * light.usual))


def _subtract_darkest(values: NDArray[np.floating], darkest: NDArray[np.float64]) -> NDArray[np.float64]:
    shape = (-1, *[1] * (values.ndim - 1))
    return np.asarray(np.maximum(values - darkest.reshape(shape), 0))


def _has_no_colour(light: NDArray[np.float64]) -> NDArray[np.bool_]:
    red, green, blue = light
    most, least = light.max(axis=0), light.min(axis=0)
    return np.asarray((least >= COLOURLESS * most) & (green <= GREEN_MOST * np.maximum(red, blue)))
