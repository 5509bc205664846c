"""Warp rasters to another grid. Only this module resamples the files of scenes, elevation models and masks.

A `WarpedVRT` computes the pixels of a window when the window is read, so that memory does not grow with the raster.
"""

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from detection.imagery.raster.grid import Grid

# Size of the largest warped raster that is stored, if that is at most half of the free space on the disk.
STORED_BYTES: Final = 4 << 30


def warp(
    source: Any,
    target: Grid | pyproj.CRS,
    resampling: Resampling,
    *,
    src_nodata: float | None,
    nodata: float | None = None,
    dtype: str | None = None,
) -> WarpedVRT:
    """Warp an open raster to a grid, or to a coordinate system, for which GDAL chooses the grid.

    Args:
        source: the open raster.
        target: the grid or the coordinate system.
        resampling: how values are interpolated.
        src_nodata: value that marks invalid pixels of the source; None: the masks of the source mark the valid pixels.
        nodata: value that marks invalid pixels of the result. If neither this nor `src_nodata` is given, an alpha band
            after the last band marks the valid pixels. An alpha band of the source is warped like the other bands.
        dtype: type of the values; None: that of the source.
    """
    options: dict[str, Any] = {"src_nodata": src_nodata, "resampling": resampling}
    if isinstance(target, Grid):
        options |= {
            "crs": target.crs_wkt,
            "transform": target.transform,
            "width": target.width,
            "height": target.height,
        }
    else:
        options["crs"] = target.to_wkt()
    if nodata is not None:
        options["nodata"] = nodata
    elif src_nodata is None:
        options["add_alpha"] = not has_alpha(source)
    if dtype is not None:
        options["dtype"] = dtype
    return WarpedVRT(source, **options)


def has_alpha(source: Any) -> bool:
    """Return whether the last band of an open raster is an alpha band."""
    return bool(source.colorinterp[-1] is ColorInterp.alpha)


def read_warped_mask(source: WarpedVRT, index: int, window: Any) -> NDArray[np.bool_]:
    """Return where a band of a warped raster is valid."""
    if source.src_nodata is None:
        # Only the alpha band marks the pixels that the source covers: by the mask flags all pixels are valid.
        return np.asarray(source.read(source.count, window=window) > 0)
    return np.asarray(source.read_masks(index, window=window) > 0)


def store_warped(warped: WarpedVRT, path: Path) -> Any:
    """Write a warped raster to a file and open it, so that no window is warped twice.

    Returns the warped raster itself if it is too large for the disk, or if its source cannot be read.
    """
    size = warped.width * warped.height * sum(np.dtype(kind).itemsize for kind in warped.dtypes)
    if size > min(STORED_BYTES, shutil.disk_usage(path.parent).free // 2):
        return warped
    try:
        rasterio.shutil.copy(warped, path, driver="GTiff", TILED="YES", NUM_THREADS="1")
        return rasterio.open(path, driver="GTiff")
    except RasterioError:
        return warped
