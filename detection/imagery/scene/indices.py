"""Indices of bands, and the channels that models are made of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DERIVED: dict[str, tuple[str, ...]] = {"ndvi": ("B8", "B4")}
"""Channels that a model may name among its bands, and what they are made of; of reflectance or counts, not of values
that were divided by a constant of each band's own."""


def derive(name: str, sources: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return a channel of `DERIVED` from its sources, in their order; NaN where it says nothing."""
    near_infrared, red = sources
    return {"ndvi": ndvi}[name](red, near_infrared)


def ndvi(red: NDArray[np.floating], near_infrared: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the normalised difference vegetation index (Rouse et al. 1974), NaN where both bands are 0.

    >>> round(float(ndvi(np.array(0.1), np.array(0.3))), 3)
    0.5
    """
    total = near_infrared + red
    return np.asarray(np.divide(near_infrared - red, total, out=np.full_like(total, np.nan), where=total != 0))
