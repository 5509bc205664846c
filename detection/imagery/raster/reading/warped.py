"""A raster on another grid, warped once into a file beside the work, not anew for every window that is read."""

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

# What such a file may take; a larger raster is warped window by window. Of a disk that fills up no more than half of
# what is free.
KEPT_BYTES: Final = 4 << 30


def keep_warped(warped: WarpedVRT, path: Path) -> Any:
    """Return an open copy of a warped raster; itself where its source cannot be read, or the disk has no room."""
    size = warped.width * warped.height * sum(np.dtype(kind).itemsize for kind in warped.dtypes)
    if size > min(KEPT_BYTES, shutil.disk_usage(path.parent).free // 2):
        return warped
    try:
        rasterio.shutil.copy(warped, path, driver="GTiff", TILED="YES", NUM_THREADS="1")
        return rasterio.open(path, driver="GTiff")
    except RasterioError:
        return warped


def read_warped_valid(source: WarpedVRT, index: int, window: Any) -> NDArray[np.bool_]:
    """Where a band of a warped raster says something."""
    if source.src_nodata is None:
        # The alpha that the warp adds says where the file reaches; the mask flags claim that all is valid.
        return np.asarray(source.read(source.count, window=window) > 0)
    return np.asarray(source.read_masks(index, window=window) > 0)
