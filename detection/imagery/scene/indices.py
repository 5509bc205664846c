"""Indices of bands."""

import numpy as np
from numpy.typing import NDArray


def ndvi(red: NDArray[np.floating], near_infrared: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the normalised difference vegetation index (Rouse et al. 1974), NaN where both bands are 0.

    >>> round(float(ndvi(np.array(0.1), np.array(0.3))), 3)
    0.5
    """
    total = near_infrared + red
    return np.asarray(np.divide(near_infrared - red, total, out=np.full_like(total, np.nan), where=total != 0))
