"""Rasters placed by rational polynomials (RPC), at one height for all of their ground, and what that puts them off by.

The height is the median of an elevation model, else the one in the middle of the polynomials. Relief itself is not
taken out: GDAL would open the elevation model by itself, in no box and by a name that the bindings write in capitals.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError, TransformError
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from detection.imagery.raster.control_points import GEOD, LONLAT, PlacedSource
from detection.imagery.raster.grid import apply_affine

STEP_M: Final = 100.0
SAMPLED_PX: Final = 256  # rows and columns of the elevation model that are read


class RationalSource(PlacedSource):
    """An open raster, warped by its RPC; `told` says at which heights, and what they may put it off by."""

    told = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Heights of the ground of a raster, metres: 5th, 50th and 95th percentile, and where they come from."""

    low_m: float
    middle_m: float
    high_m: float
    name: str


@dataclass(slots=True)
class Heights:
    """The elevation model in use, and what was measured on it; a scene opens its files many times."""

    path: Path
    measured: dict[tuple[float, ...], Spread | None] = field(default_factory=dict)


_heights: ContextVar[Heights | None] = ContextVar("heights", default=None)


@contextmanager
def using_heights(dem: Path | None) -> Iterator[None]:
    """Take the height for RPC from an elevation model, for as long as the block lasts; None: one is assumed.

    It stands beside the calls as the local grid does: all files of a scene are opened through one door.
    """
    token = _heights.set(None if dem is None else Heights(dem))
    try:
        yield
    finally:
        _heights.reset(token)


def find_spread(rpc: RPC, open_dem: Callable[[Path], AbstractContextManager[Any]]) -> Spread | None:
    """The heights on the ground of some RPC; None where no elevation model is in use, or it does not reach there.

    Args:
        rpc: of the raster.
        open_dem: opens the elevation model by the rules for files from outside.
    """
    heights = _heights.get()
    if heights is None or not _is_placed(rpc):
        return None
    key = (rpc.lat_off, rpc.long_off, rpc.lat_scale, rpc.long_scale)
    if key not in heights.measured:
        token = _heights.set(None)  # an elevation model that RPC place has no other below it
        try:
            with open_dem(heights.path) as source:
                heights.measured[key] = _measure(source, rpc, heights.path.name)
        finally:
            _heights.reset(token)
    return heights.measured[key]


def _measure(source: Any, rpc: RPC, name: str) -> Spread | None:
    if source.crs is None:
        return None
    west, east = rpc.long_off - rpc.long_scale, rpc.long_off + rpc.long_scale
    south, north = rpc.lat_off - rpc.lat_scale, rpc.lat_off + rpc.lat_scale
    left, bottom, right, top = transform_bounds(LONLAT, source.crs, west, south, east, north)
    corners = [apply_affine(~source.transform, x, y) for x in (left, right) for y in (bottom, top)]
    columns, rows = (np.clip([one[axis] for one in corners], 0, size) for axis, size in
                     enumerate((source.width, source.height)))  # fmt: skip
    column, row = int(columns.min()), int(rows.min())
    width, height = int(np.ceil(columns.max())) - column, int(np.ceil(rows.max())) - row
    if width < 1 or height < 1:
        return None
    window = Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]
    shape = (min(SAMPLED_PX, height), min(SAMPLED_PX, width))
    values = source.read(1, window=window, out_shape=shape, masked=True).astype(float).compressed()
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, middle, high = (float(one) for one in np.percentile(values, [5, 50, 95]))
    return Spread(low, middle, high, name)


def place_by_rpc(source: Any, stack: ExitStack, ground: Spread | None) -> Any:
    """Return an open raster that only RPC place on a grid of its own, else as it is.

    Args:
        source: the raster as the file has it.
        stack: closes what is opened here.
        ground: its heights; None: the height in the middle of the RPC is assumed.
    """
    rpc = source.rpcs
    if rpc is None or source.crs is not None or not source.transform.is_identity or source.gcps[0]:
        return source
    if isinstance(source, WarpedVRT) or not _is_placed(rpc):
        return source
    zone = int((rpc.long_off + 180) // 6) % 60 + 1
    height_m = rpc.height_off if ground is None else ground.middle_m
    try:
        lean_m = _find_lean(rpc, height_m)
        placed = RationalSource(
            source,
            src_crs=LONLAT,
            crs=f"EPSG:{(32600 if rpc.lat_off >= 0 else 32700) + zone}",
            resampling=Resampling.nearest,
            src_nodata=source.nodata,
            nodata=source.nodata,
            add_alpha=source.nodata is None and source.colorinterp[-1] is not ColorInterp.alpha,
            SRC_METHOD="RPC",
            RPC_HEIGHT=repr(height_m),
        )
    except (RasterioError, TransformError, ValueError, pyproj.exceptions.ProjError):
        return source
    placed.told = _tell(rpc, lean_m, ground)
    return stack.enter_context(placed)


def _is_placed(rpc: RPC) -> bool:
    numbers = [
        rpc.lat_off, rpc.long_off, rpc.height_off, rpc.lat_scale, rpc.long_scale, rpc.height_scale, rpc.line_off,
        rpc.samp_off, rpc.line_scale, rpc.samp_scale, *rpc.line_num_coeff, *rpc.line_den_coeff, *rpc.samp_num_coeff,
        *rpc.samp_den_coeff,
    ]  # fmt: skip
    return all(map(math.isfinite, numbers)) and abs(rpc.lat_off) <= 90 and abs(rpc.long_off) <= 180


def _find_lean(rpc: RPC, height_m: float) -> float:
    """By how many metres a pixel in the middle moves where the ground lies 100 m higher.

    Raises:
        ValueError: it comes to lie nowhere.
    """
    places = []
    for at_m in (height_m, height_m + STEP_M):
        with RPCTransformer(rpc, RPC_HEIGHT=at_m) as transformer:
            places.append(tuple(float(v[0]) for v in transformer.xy([rpc.line_off], [rpc.samp_off], offset="ul")))
    (west, south), (east, north) = places
    lean_m = float(GEOD.inv(west, south, east, north)[2])
    if not math.isfinite(lean_m):
        raise ValueError("RPC lead nowhere")
    return lean_m


def _tell(rpc: RPC, lean_m: float, ground: Spread | None) -> str:
    own = [one for one in (rpc.err_bias, rpc.err_rand) if one is not None and math.isfinite(one) and one > 0]
    error = f"; the RPC themselves are off by {math.hypot(*own):.3g} m as they say" if own else ""
    if ground is None:
        return (
            f"placed by RPC at an assumed height of {rpc.height_off:.0f} m: where the ground lies 100 m higher or "
            f"lower, places are off by {lean_m:.3g} m; name an elevation model (--dem, or dem in scene.toml){error}"
        )
    off_m = lean_m / STEP_M * max(ground.high_m - ground.middle_m, ground.middle_m - ground.low_m)
    return (
        f"placed by RPC at {ground.middle_m:.0f} m, the median of {ground.name}: the ground lies between "
        f"{ground.low_m:.0f} m and {ground.high_m:.0f} m (5 to 95 %), so places are off by up to {off_m:.3g} m; an "
        f"ortho image has no such error (gdalwarp -rpc -to RPC_DEM=dem.tif){error}"
    )
