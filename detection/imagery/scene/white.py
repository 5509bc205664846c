"""What is white: snow, ice and cloud, by the light of a pixel beyond the darkest ground of its scene."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = ("B4", "B3", "B2")
"""Red, green and blue."""
# Sides of pixels, in metres, at which the rules of this module and of `radiometry` for white clouds were measured:
# Sentinel-2 at 8.6 and 10 m (Hokkaido, Landslide4Sense), averaged to 20 and 30 m. There they take 0.05 % of the pixels
# of landslides. At 0.8 to 3 m they take 2 to 40 % of them: in finer pixels single blocks, pale debris and roofs are
# white.
PIXELS_M: Final = (6.6, 33.0)
# The air adds blue light to all ground alike; the darkest ground of a scene shows how much.
DARKEST: Final = 0.01
# Beyond that light snow has .54 to .75 as much blue as red (5 % to 95 % of 386 outlines of snow, Hokkaido), bare soil
# and debris .30 to .45: the least of three colours over the greatest.
COLOURLESS: Final = 0.55
# What is green is alive.
GREEN_MOST: Final = 1.05
# How much brighter than usual ground that has a colour, in the least of its three colours.
TIMES_USUAL: Final = 2.5
# Ground that has a colour is the measure of brightness from this share of the scene on.
COLOURED_LEAST: Final = 0.01


class SceneBrightness(NamedTuple):
    """How bright a scene is: the darkest ground by colour, and usual ground beyond that."""

    darkest: NDArray[np.float64]
    usual: float


def holds_at(pixel_m: float | None) -> bool:
    """Whether pixels have a size at which the rules for what is white were measured; None: nobody knows it.

    >>> holds_at(10.0), holds_at(30.0), holds_at(0.1), holds_at(None)
    (True, True, False, False)
    """
    return pixel_m is not None and PIXELS_M[0] <= pixel_m <= PIXELS_M[1]


def measure_light(sample: NDArray[np.floating]) -> SceneBrightness | None:
    """The light of a scene from values of red, green and blue, 3 x n; None where there are none."""
    if not sample.shape[1]:
        return None
    darkest = np.quantile(sample.astype(np.float64), DARKEST, axis=1)
    light = _take_off(sample, darkest)
    coloured = ~_has_no_colour(light)
    if coloured.mean() < COLOURED_LEAST:
        return SceneBrightness(darkest, 0.0)  # nothing but snow, or a grey image: all that is not dark is white
    return SceneBrightness(darkest, float(np.median(light.min(axis=0)[coloured])))


def find_white(values: NDArray[np.floating], valid: NDArray[np.bool_], light: SceneBrightness) -> NDArray[np.bool_]:
    """Where values of red, green and blue, 3 x H x W, are bright and white; thin snow and that in shade too.

    >>> scene = np.array([[200.0, 210, 220, 900, 1500], [230, 240, 250, 750, 1500], [300, 305, 310, 520, 1500]])
    >>> find_white(scene[:, None], np.ones((1, 5), bool), SceneBrightness(scene[:, 0], 20.0)).tolist()
    [[False, False, False, False, True]]
    """
    beyond = _take_off(values, light.darkest)
    return np.asarray(valid & _has_no_colour(beyond) & (beyond.min(axis=0) > TIMES_USUAL * light.usual))


def _take_off(values: NDArray[np.floating], darkest: NDArray[np.float64]) -> NDArray[np.float64]:
    shape = (-1, *[1] * (values.ndim - 1))
    return np.asarray(np.maximum(values - darkest.reshape(shape), 0))


def _has_no_colour(light: NDArray[np.float64]) -> NDArray[np.bool_]:
    red, green, blue = light
    most, least = light.max(axis=0), light.min(axis=0)
    return np.asarray((least >= COLOURLESS * most) & (green <= GREEN_MOST * np.maximum(red, blue)))
