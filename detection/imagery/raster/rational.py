"""Rasters placed by rational polynomials (RPC), at one height for all of their ground, and what that puts them off by.

The height is the median of an elevation model, else the one in the middle of the polynomials. Relief itself is not
taken out: GDAL would open the elevation model by itself, in no box and by a name that the bindings write in capitals.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
from rasterio.errors import RasterioError, TransformError
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from detection.imagery.raster.control_points import GEOD, LONLAT, PlacedSource
from detection.imagery.raster.grid import apply_affine, utm_code
from forecasting.message import Figure, Template

STEP_M: Final = 100.0
SAMPLED_PX: Final = 256  # rows and columns of the elevation model that are read
LEAST_REACH: Final = 0.75  # share of the ground that the elevation model must show
DOUBTED_M: Final = 50.0  # places that are off by more name no station: what changed there is advice
PLACED: Final = "placed by RPC"
_ASSUMED: Final = Template(
    "caution.assumed_height",
    "placed by RPC at an assumed height: where the ground lies 100 m higher or lower, places are off by {error} m",
)
_ONE_HEIGHT: Final = Template("caution.one_height", "placed by RPC at one height: places are off by {error} m and more")
MISPLACED: Final = frozenset({_ASSUMED.id, _ONE_HEIGHT.id})
"""What says that the place of an image is not known well."""


class RationalSource(PlacedSource):
    """An open raster, warped by its RPC; `note` says at which heights, and what they may put it off by.

    `doubt` says why its place is not known well enough for a vote; empty where it is.
    """

    note = ""
    doubt = ""


@dataclass(frozen=True, slots=True)
class HeightRange:
    """Heights of the ground of a raster, metres: 5th, 50th and 95th percentile, and where they come from.

    `reach` is the share of the ground that the elevation model shows; below `LEAST_REACH` it gives no height.
    """

    low_m: float
    middle_m: float
    high_m: float
    name: str
    reach: float = 1.0


@dataclass(slots=True)
class GroundHeights:
    """The elevation model in use, and what was measured on it; a scene opens its files many times."""

    path: Path
    measured: dict[tuple[float, ...], HeightRange] = field(default_factory=dict)


_heights: dict[Path, GroundHeights] = {}  # by file


def keep_heights(files: Iterable[Path], dem: Path | None) -> None:
    """Take the height for the RPC of some files from an elevation model from here on; None: one is assumed.

    Whoever reads what a scene is says it once. So its files lie in one place, whoever opens them.
    """
    heights = None if dem is None else GroundHeights(dem)
    for file in files:
        if heights is None or file == dem:
            _heights.pop(file.absolute(), None)
        else:
            _heights[file.absolute()] = heights


def find_spread(path: Path, rpc: RPC, open_dem: Callable[[Path], AbstractContextManager[Any]]) -> HeightRange | None:
    """The heights on the ground of some RPC; None where no elevation model is in use.

    `open_dem`: opens the elevation model by the rules for files from outside.
    """
    heights = _heights.get(path.absolute())
    if heights is None or not _is_placed(rpc):
        return None
    key = (rpc.lat_off, rpc.long_off, rpc.lat_scale, rpc.long_scale)
    if key not in heights.measured:
        with open_dem(heights.path) as source:
            heights.measured[key] = _measure(source, rpc, heights.path.name)
    return heights.measured[key]


def _measure(source: Any, rpc: RPC, name: str) -> HeightRange:
    nothing = HeightRange(math.nan, math.nan, math.nan, name, 0.0)
    if source.crs is None:
        return nothing
    west, east = rpc.long_off - rpc.long_scale, rpc.long_off + rpc.long_scale
    south, north = rpc.lat_off - rpc.lat_scale, rpc.lat_off + rpc.lat_scale
    left, bottom, right, top = transform_bounds(LONLAT, source.crs, west, south, east, north)
    corners = [apply_affine(~source.transform, x, y) for x in (left, right) for y in (bottom, top)]
    whole = [np.array([one[axis] for one in corners]) for axis in (0, 1)]
    columns, rows = (np.clip(whole[axis], 0, size) for axis, size in enumerate((source.width, source.height)))
    column, row = int(columns.min()), int(rows.min())
    width, height = int(np.ceil(columns.max())) - column, int(np.ceil(rows.max())) - row
    if width < 1 or height < 1:
        return nothing
    window = Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]
    shape = (min(SAMPLED_PX, height), min(SAMPLED_PX, width))
    read = source.read(1, window=window, out_shape=shape, masked=True).astype(float)
    values = read.compressed()
    values = values[np.isfinite(values)]
    if not values.size:
        return nothing
    inside = float(np.ptp(columns) * np.ptp(rows)) / float(np.ptp(whole[0]) * np.ptp(whole[1]))
    low, middle, high = (float(one) for one in np.percentile(values, [5, 50, 95]))
    return HeightRange(low, middle, high, name, inside * values.size / read.size)


def place_by_rpc(source: Any, stack: ExitStack, ground: HeightRange | None) -> Any:
    """Return an open raster that only RPC place on a grid of its own, else as it is.

    `ground`: its heights; None: the height in the middle of the RPC is assumed.
    """
    rpc = source.rpcs
    if rpc is None or source.crs is not None or not source.transform.is_identity or source.gcps[0]:
        return source
    if isinstance(source, WarpedVRT) or not _is_placed(rpc):
        return source
    reaches = ground is not None and ground.reach >= LEAST_REACH
    height_m = ground.middle_m if ground is not None and reaches else rpc.height_off
    try:
        lean_m = _find_lean(rpc, height_m)
        crs = f"EPSG:{utm_code(rpc.long_off, rpc.lat_off)}"
        placed = RationalSource(source, src_crs=LONLAT, crs=crs, SRC_METHOD="RPC", RPC_HEIGHT=repr(height_m))
    except (RasterioError, TransformError, ValueError, pyproj.exceptions.ProjError):
        return source
    placed.note, placed.doubt = _describe_place(rpc, lean_m, ground)
    return stack.enter_context(placed)


def _is_placed(rpc: RPC) -> bool:
    numbers = [
        rpc.lat_off,
        rpc.long_off,
        rpc.height_off,
        rpc.lat_scale,
        rpc.long_scale,
        rpc.height_scale,
        rpc.line_off,
        rpc.samp_off,
        rpc.line_scale,
        rpc.samp_scale,
        *rpc.line_num_coeff,
        *rpc.line_den_coeff,
        *rpc.samp_num_coeff,
        *rpc.samp_den_coeff,
    ]
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


def _describe_place(rpc: RPC, lean_m: float, ground: HeightRange | None) -> tuple[str, str]:
    """What one must know of the place, and why it is not known well enough for a vote."""
    stated = [one for one in (rpc.err_bias, rpc.err_rand) if one is not None and math.isfinite(one) and one > 0]
    own_m = math.hypot(*stated)
    error = f"; the RPC themselves are off by {own_m:.3g} m as they say" if stated else ""
    lean = Figure(lean_m, ".3g")
    higher = f"where the ground lies 100 m higher or lower, places are off by {lean.english()} m"
    if ground is None or ground.reach < LEAST_REACH:
        what = "name an elevation model (--dem, or dem in scene.toml)"
        if ground is not None:
            what = f"{ground.name} does not reach: it shows {ground.reach:.0%} of the ground"
        return f"{PLACED} at an assumed height of {rpc.height_off:.0f} m: {higher}; {what}{error}", _ASSUMED(error=lean)
    off_m = lean_m / STEP_M * max(ground.high_m - ground.middle_m, ground.middle_m - ground.low_m)
    all_m = off_m + own_m
    doubt = _ONE_HEIGHT(error=Figure(all_m, ".3g")) if all_m > DOUBTED_M else ""
    return (
        f"{PLACED} at {ground.middle_m:.0f} m, the median of {ground.name}: 90 % of the ground lies between "
        f"{ground.low_m:.0f} m and {ground.high_m:.0f} m, where places are off by up to {off_m:.3g} m. RPC count "
        f"heights from the ellipsoid: if {ground.name} counts from the sea (geoid), places are off by {lean_m:.3g} m "
        f"for each 100 m between the two. An ortho image has no such error (gdalwarp -rpc -to RPC_DEM=dem.tif){error}"
    ), doubt
