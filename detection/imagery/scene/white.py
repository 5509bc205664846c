"""Find white pixels (snow, ice and cloud) by their brightness above that of the darkest ground of the scene."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = ("B4", "B3", "B2")
"""Red, green and blue."""
# Pixel sizes, in metres, for which the rules of this module and the rule of `radiometry` for clouds were measured:
# Sentinel-2 at 8.6 and 10 m (Hokkaido, Landslide4Sense), averaged to 20 and 30 m. There 0.05 % of the landslide pixels
# are white by these rules, and 2 to 40 % at 0.8 to 3 m: single blocks, pale debris and roofs are white in fine pixels.
PIXELS_M: Final = (6.6, 33.0)
# Quantile of the darkest ground. Its brightness is the light that the air adds to all ground, mostly in blue.
DARKEST_QUANTILE: Final = 0.01
# A pixel has no colour if the ratio of its darkest to its brightest colour is at least this, without the light of the
# air. Snow has .54 to .75 as much blue as red (5 % to 95 % of 386 outlines of snow, Hokkaido), bare soil and debris .30
# to .45.
LEAST_RATIO: Final = 0.55
# Pixels whose ratio of green to the brighter of red and blue is larger are plants.
MOST_GREEN: Final = 1.05
# White pixels are brighter than the median of coloured ground by this factor, in their darkest colour.
TIMES_USUAL: Final = 2.5
# The brightness of coloured ground counts as usual if that ground is at least this share of the scene.
LEAST_COLOURED_SHARE: Final = 0.01


class SceneBrightness(NamedTuple):
    """Brightness of a scene."""

    darkest: NDArray[np.float64]  # of the darkest ground: red, green and blue
    usual: float  # median of coloured ground above `darkest`, in the darkest colour of each pixel


def is_measured_size(pixel_m: float | None) -> bool:
    """Return whether the rules for white were measured for pixels of this size (m); None is an unknown size.

    >>> is_measured_size(10.0), is_measured_size(30.0), is_measured_size(0.1), is_measured_size(None)
    (True, True, False, False)
    """
    return pixel_m is not None and PIXELS_M[0] <= pixel_m <= PIXELS_M[1]


def measure_brightness(sample: NDArray[np.floating]) -> SceneBrightness | None:
    """Return the brightness of a scene from red, green and blue of valid pixels, 3 x n; None without pixels."""
    if not sample.shape[1]:
        return None
    darkest = np.quantile(sample.astype(np.float64), DARKEST_QUANTILE, axis=1)
    light = _subtract_darkest(sample, darkest)
    coloured = ~_has_no_colour(light)
    if coloured.mean() < LEAST_COLOURED_SHARE:
        # the image shows only snow, or is grey: all pixels brighter than the darkest ground are white
        return SceneBrightness(darkest, 0.0)
    return SceneBrightness(darkest, float(np.median(light.min(axis=0)[coloured])))


def find_white(
    values: NDArray[np.floating], valid: NDArray[np.bool_], brightness: SceneBrightness
) -> NDArray[np.bool_]:
    """Return where red, green and blue (3 x H x W) are bright and white, including thin snow and snow in shade.

    >>> scene = np.array([[200.0, 210, 220, 900, 1500], [230, 240, 250, 750, 1500], [300, 305, 310, 520, 1500]])
    >>> find_white(scene[:, None], np.ones((1, 5), bool), SceneBrightness(scene[:, 0], 20.0)).tolist()
    [[False, False, False, False, True]]
    """
    light = _subtract_darkest(values, brightness.darkest)
    return np.asarray(valid & _has_no_colour(light) & (light.min(axis=0) > TIMES_USUAL * brightness.usual))


def _subtract_darkest(values: NDArray[np.floating], darkest: NDArray[np.float64]) -> NDArray[np.float64]:
    shape = (-1, *[1] * (values.ndim - 1))
    return np.asarray(np.maximum(values - darkest.reshape(shape), 0))


def _has_no_colour(light: NDArray[np.float64]) -> NDArray[np.bool_]:
    red, green, blue = light
    most, least = light.max(axis=0), light.min(axis=0)
    return np.asarray((least >= LEAST_RATIO * most) & (green <= MOST_GREEN * np.maximum(red, blue)))
