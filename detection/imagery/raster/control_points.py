"""Rasters on a grid of their own: turned north up, or warped by the polynomial through control points."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import CRSError as ProjectionError
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_points

from detection.imagery.raster.grid import Grid, turn_north_up, utm_code

LONLAT = "EPSG:4326"
GEOD = pyproj.Geod(ellps="WGS84")
# The order that GDAL takes for so many points, and how many it needs: beyond that number the points test each other.
SECOND_ORDER_FROM = 6
NEEDED = {1: 3, 2: 6}
# Points that lie farther beside their own polynomial, in pixels, contradict each other.
WORST_PX = 10.0
# Up to so many spare points the polynomial bends to each of them: the error it leaves says little.
FEW_SPARE = 3
NO_ORTHO_IMAGE = (
    "carries RPC beside its transform, so it may be no ortho image: on slopes places can be off by as much as the "
    "height differs from the mean; write an ortho image with gdalwarp -rpc -to RPC_DEM=dem.tif"
)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a polynomial meets the control points of a raster."""

    points: int  # how many there are
    order: int  # of the polynomial, 1 or 2
    rms_m: float  # root mean square distance between where points are said to lie and where they come to lie, metres
    worst_m: float  # the greatest of these distances, metres
    pixel_m: float  # side of a pixel, metres

    @property
    def spare(self) -> int:
        """Points beyond those that the polynomial needs; with none its error cannot be known."""
        return self.points - NEEDED[self.order]

    @property
    def serves(self) -> bool:
        """Whether the points agree on one place."""
        return self.worst_m <= WORST_PX * self.pixel_m

    def describe(self) -> str:
        """The fit in one sentence."""
        begun = f"placed by {self.points} control points, polynomial of order {self.order}"
        if not self.spare:
            return f"{begun}: no point is left over to test it, so the error of its place is not known"
        few = "; few points are left over to test it" if self.spare <= FEW_SPARE else ""
        return f"{begun}: they fit to {self.rms_m:.3g} m (RMS), {self.worst_m:.3g} m at worst{few}"


class PlacedSource(WarpedVRT):  # type: ignore[misc,unused-ignore]
    """An open raster, warped by its control points; `src_dataset` is the raster as the file has it.

    Pixels are taken by nearest neighbour: counts, flags and fill values stay what they are.
    """

    def __init__(self, source: Any, **how: Any) -> None:
        alpha = source.colorinterp[-1] is ColorInterp.alpha
        super().__init__(
            source,
            resampling=Resampling.nearest,
            src_nodata=source.nodata,
            nodata=source.nodata,
            add_alpha=source.nodata is None and not alpha,
            **how,
        )


def turn_up(source: Any, stack: ExitStack) -> Any:
    """Return an open raster with rows from north to south and columns from west to east, pixel by pixel."""
    grid = Grid(source.transform, "", source.width, source.height)
    turned = turn_north_up(grid)
    if turned == grid or source.crs is None or source.transform.is_identity:
        return source
    size = {"transform": turned.transform, "width": grid.width, "height": grid.height}
    return stack.enter_context(PlacedSource(source, src_crs=source.crs, crs=source.crs, **size))


def place_by_points(source: Any, stack: ExitStack) -> Any:
    """Return an open raster on a grid of its own where only control points place it; else as it is.

    Points that do not serve leave the raster without a place; `explain_no_place` says why.
    """
    fit = find_fit(source)
    if fit is None or not fit.serves:
        return source
    try:
        return stack.enter_context(PlacedSource(source, src_crs=source.gcps[1], crs=_choose_crs(source)))
    except (RasterioError, ValueError):
        return source


def original_of(source: Any) -> Any:
    """The raster as its file has it."""
    return source.src_dataset if isinstance(source, PlacedSource) else source


def find_fit(source: Any) -> Fit | None:
    """Return how well control points place an open raster; None where they do not, or something else does."""
    source = original_of(source)
    points, crs = source.gcps
    if not points or not crs or not source.transform.is_identity or isinstance(source, WarpedVRT):
        return None
    rows, columns, x, y = (tuple(getattr(p, name) for p in points) for name in ("row", "col", "x", "y"))
    return _fit(rows, columns, x, y, crs.to_wkt())


@lru_cache(maxsize=32)
def _fit(
    rows: tuple[float, ...], columns: tuple[float, ...], x: tuple[float, ...], y: tuple[float, ...], wkt: str
) -> Fit | None:
    """The fit of one set of points; a scene asks for it for each of its bands."""
    order = 2 if len(rows) >= SECOND_ORDER_FROM else 1
    if len(rows) < NEEDED[order] or not np.isfinite([rows, columns, x, y]).all():
        return None
    points = [
        GroundControlPoint(row, column, east, north)
        for row, column, east, north in zip(rows, columns, x, y, strict=True)
    ]
    at = np.array(rows), np.array(columns)
    try:
        with GCPTransformer(points) as transformer:
            found = transformer.xy(*at, offset="ul")
            right = transformer.xy(at[0], at[1] + 1, offset="ul")
            below = transformer.xy(at[0] + 1, at[1], offset="ul")
    except Exception:  # the bindings raise classes of their own: too few points, or all on one line
        return None
    stated = (np.array(x), np.array(y))
    away_m = _apart_m(stated, found, wkt)
    side_m = np.sqrt(_apart_m(found, right, wkt) * _apart_m(found, below, wkt))
    if not (np.isfinite(away_m).all() and np.isfinite(side_m).all()):
        return None
    return Fit(len(rows), order, float(np.sqrt(np.mean(away_m**2))), float(away_m.max()), float(np.median(side_m)))


def explain_no_place(source: Any) -> str:
    """Say why an open raster has no place on the ground, and what to do."""
    source = original_of(source)
    points, crs = source.gcps
    if points and not crs:
        return (
            f"its {len(points)} control points name no coordinate reference system; write it with gdal_edit -a_srs, or "
            "with gdal_translate -a_srs"
        )
    if points:
        fit = find_fit(source)
        if fit is None:
            return f"its {len(points)} control points give no place (too few, on one line, or not on the globe)"
        return (
            f"its {fit.points} control points contradict each other: {fit.worst_m:.3g} m at worst, pixels of "
            f"{fit.pixel_m:.3g} m; correct or remove the wrong point"
        )
    if source.rpcs is not None:
        return (
            "carries RPC alone, which place it by the height of the ground; write an ortho image first (gdalwarp -rpc)"
        )
    return "no coordinate reference system, so neither place nor area can be given"


def list_placing(source: Any) -> list[str]:
    """Return what one must know of the place of an open raster, one sentence each."""
    if note := getattr(source, "note", ""):
        return [note]
    fit = find_fit(source)
    if fit is not None and isinstance(source, PlacedSource):
        return [fit.describe()]
    source = original_of(source)
    if source.rpcs is not None and source.crs is not None:
        return [NO_ORTHO_IMAGE]
    return []


def _choose_crs(source: Any) -> str:
    """The system of the points, in metres: of points in degrees the UTM zone of their middle."""
    points, crs = source.gcps
    if crs.is_projected:
        return str(crs.to_wkt())
    lon, lat = transform_points(crs, LONLAT, [p.x for p in points], [p.y for p in points])
    return f"EPSG:{utm_code(float(np.median(lon)), float(np.median(lat)))}"


def _apart_m(first: Any, second: Any, wkt: str) -> NDArray[np.float64]:
    """Distances on the ellipsoid between places of a system, metres; not finite where one is not on the globe."""
    try:
        into = pyproj.Transformer.from_crs(wkt, LONLAT, always_xy=True)
        places = [into.transform(np.asarray(x), np.asarray(y)) for x, y in (first, second)]
        if any((abs(np.asarray(lat)) > 90).any() or not np.isfinite(lon).all() for lon, lat in places):
            return np.full(len(np.asarray(first[0])), np.inf)
        return np.asarray(GEOD.inv(*places[0], *places[1])[2])
    except (ProjectionError, ValueError):
        return np.full(len(np.asarray(first[0])), np.inf)
