"""Outlines of pixels: polygons along the sides of the true ones."""

from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray


def outline_pixels(mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[shapely.Polygon]:
    """Outline the true pixels: a polygon in (column, row) for all that hang together by their sides.

    Args:
        mask: H x W.
        origin: column and row of its first pixel.

    Returns valid polygons, in the order of their first pixel.
    """
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask, 4, Affine.translation(*origin))
    found: list[Any] = [shapely.geometry.shape(outline) for outline, _ in shapes]
    return sorted(found, key=lambda one: min(place[::-1] for place in one.exterior.coords))
