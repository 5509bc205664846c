"""Find the usable pixels and the shadow of a scene in the masks of satellite products."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Classes of the scene classification (SCL) of Sentinel-2 level 2A, by Sen2Cor: no data, saturated, cloud shadow, clouds
# of two kinds, cirrus, snow; and dark areas, which are mostly in the shadow of the relief.
SCL_UNUSABLE = (0, 1, 3, 8, 9, 10, 11)
SCL_SHADOW = (2,)
# Bits of the pixel quality of Landsat Collection 2 (USGS LSDS-1619, table 6-3): fill, dilated cloud, cirrus, cloud,
# cloud shadow, snow.
QA_UNUSABLE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5
# Bits of QA60 of Sentinel-2, as Earth Engine exports it: opaque cloud and cirrus.
QA60_UNUSABLE = 1 << 10 | 1 << 11
# Name of a band that is a mask -> kind of the mask. The name `mask` is missing, because such a band can contain labels.
MASK_BANDS = {
    "scl": "classification",
    "qa_pixel": "qa_pixel",
    "qa60": "qa60",
    "datamask": "mask",
    "data_mask": "mask",
    "alpha": "mask",
}
# Meaning of the values of each kind, for the message about a mask that hides the whole scene.
MASK_CODES = {
    "mask": "usable above 0",
    "clouds": "usable at 0",
    "classification": "classes of Sentinel-2 level 2A",
    "qa_pixel": "bits of Landsat Collection 2",
    "qa60": "bits 10 and 11 of Sentinel-2",
}
SHADOW_KINDS = ("shadow", "classification")
# Bands of PlanetScope's usable data mask (UDM2).
UDM2_CLEAR, UDM2_SHADOW = 1, 3


@dataclass(frozen=True, slots=True)
class Mask:
    """A raster of flags."""

    path: Path  # the file
    # `mask` (above 0 = usable), `clouds` (not 0 = not usable), `classification`, `qa_pixel`, `qa60`, `shadow` (above 0)
    kind: str
    index: int = 1  # band of the file, from 1


def apply_mask(kind: str, values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which pixels a mask marks as usable. In a `mask`, NaN and negative values are fills and not usable.

    >>> apply_mask("classification", np.array([4, 3, 2, 9, 5])).tolist()
    [True, False, True, False, True]
    >>> apply_mask("mask", np.array([1.0, 0.0, 255.0, np.nan, -9999.0])).tolist()
    [True, False, True, False, False]
    """
    if kind == "mask":
        return np.asarray(np.greater(values, 0))
    if kind == "clouds":
        return np.asarray(values == 0)
    if kind == "classification":
        return np.asarray(~np.isin(values, SCL_UNUSABLE))
    if kind in {"qa_pixel", "qa60"}:
        bits = QA_UNUSABLE if kind == "qa_pixel" else QA60_UNUSABLE
        return np.asarray(values.astype(np.int64) & bits == 0)
    return np.ones(values.shape, bool)


def find_shadow(kind: str, values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which pixels a mask marks as shadow."""
    if kind == "shadow":
        return np.asarray(np.greater(values, 0))
    if kind == "classification":
        return np.asarray(np.isin(values, SCL_SHADOW))
    return np.zeros(values.shape, bool)
