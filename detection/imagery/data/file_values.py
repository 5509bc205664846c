"""Convert the numbers in files of patches to the values that a network reads, as scenes are converted.

With the stretch `reflectance`, a value is the number in the file, after the scale and offset of the file's header,
times `scale`. The rule is the same for scenes and for patches of the user, and for every data type. Data sets that are
published as patches have a conversion of their own, see `catalogue.SOURCES`.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import IGNORED, Patches, as_values
from detection.imagery.errors import DataError
from detection.imagery.raster.terrain import TERRAIN
from detection.imagery.weights_file import RadiometrySpec

# Scale of pictures of eight bits. Their patches stay uint8, in which 255 means 1.
PICTURE_SCALE: Final = 1 / 255
PICTURE_MAX: Final = 255
# Ground reflects more than this in the brightest 1 % of its pixels. Reflectance or pictures that are multiplied by the
# scale of counts a second time are darker.
MIN_BRIGHTEST: Final = 0.004
# At most this many patches, evenly spread over the set, are checked.
CHECKED_PATCHES: Final = 10


def convert_to_values(patches: Patches, radiometry: RadiometrySpec, scale: float | None = None) -> Patches:
    """Return the patches in the values that a network reads.

    The stretch `reflectance` multiplies by a scale. `local-max` divides by the brightest value of the patch. The other
    stretches depend on no unit, or are applied later (`training.network_input.choose_stretch`), so the patches are not
    changed. Bands of terrain are never changed.

    Args:
        patches: as their files contain them. If `scale` has a value for each band, the first bands are in its order.
        radiometry: of the recipe or the card.
        scale: replaces the scale of `radiometry`. None: the patches have the unit of the scenes.

    Raises:
        DataError: the patches are too dark after the conversion, because they contain reflectance already.
    """
    is_spectral = np.array([name not in TERRAIN for name in patches.bands])
    stretch = radiometry.get("stretch")
    if stretch == "local-max":
        return patches.map_images(lambda image, _: _divide_by_brightest(image, is_spectral))
    if stretch != "reflectance":
        return patches
    factors = np.ones(len(patches.bands), np.float32)
    stated = radiometry["scale"] if scale is None else scale
    if isinstance(stated, list):
        factors[: len(stated)] = stated
    else:
        factors[:] = stated
    factors[~is_spectral] = 1
    is_picture = bool(np.allclose(factors, PICTURE_SCALE, rtol=1e-6, atol=0))

    def multiply(image: NDArray[Any], _: NDArray[np.uint8]) -> NDArray[Any]:
        if is_picture and image.dtype == np.uint8:
            return image
        return image.astype(np.float32) * factors[:, None, None]

    converted = patches.map_images(multiply)
    _check_brightness(converted, is_spectral, stated)
    return converted


def _divide_by_brightest(image: NDArray[Any], is_spectral: NDArray[np.bool_]) -> NDArray[Any]:
    """Return shares of the brightest value of any spectral band in the patch; 0 if no value is above 0."""
    brightest = float(image[is_spectral].max(initial=0))
    if image.dtype == np.uint8 and brightest == PICTURE_MAX and is_spectral.all():
        return image
    values = image.astype(np.float32)
    values[is_spectral] = np.clip(values[is_spectral] / np.float32(brightest or 1), 0, 1)
    return values


def _check_brightness(patches: Patches, is_spectral: NDArray[np.bool_], scale: float | list[float]) -> None:
    """Refuse patches of which no pixel is as bright as ground."""
    samples = []
    for position in range(0, len(patches), max(1, len(patches) // CHECKED_PATCHES)):
        _, image, mask = patches.read(position)
        samples.append(as_values(image)[is_spectral][:, mask != IGNORED].ravel())
    values = np.concatenate(samples) if samples else np.empty(0)
    if not values.size:
        return
    brightest = float(np.quantile(values, 0.99))
    if brightest < MIN_BRIGHTEST:
        raise DataError(
            f"{patches.names[0]} and other patches: 99 % of the numbers in the files, times the scale {scale}, are "
            f"below {brightest:.2g}, which is darker than ground. If the files contain reflectance already, set "
            "`scale = 1` in [data] of the recipe, or score them with --layout folder --scale 1"
        )
