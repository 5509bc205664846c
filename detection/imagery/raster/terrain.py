"""Compute elevation, slope, aspect, curvature and roughness in metres, and warp them to the grid of a scene."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError

from detection.imagery.errors import CoverageError, NoCrsError, TruncatedRasterError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import Grid, local_utm, same_grid
from detection.imagery.raster.raster import grid_of, window_below, window_of
from detection.imagery.raster.reading.values import HEIGHT, open_values
from detection.imagery.raster.untrusted import SETTINGS
from detection.imagery.raster.warping import warp

# Fields that models may use, and the fields that are stored to compute them: aspect as its cosine and sine.
TERRAIN = ("dem", "slope", "aspect", "curvature", "roughness")
STORED = ("dem", "slope", "northness", "eastness", "curvature", "roughness")
NODATA = -99_999.0
LEAST_COVERED_SHARE = 0.5
# Rows of the elevation model in memory at a time.
STRIP_ROWS = 256
# A projected CRS is used for distances if the error of its areas is at most this share.
MOST_AREA_ERROR = 0.005
LEAST_STEEPNESS = 1e-6  # ground below this is flat, without an aspect


def derive_terrain(
    dem: NDArray[np.float64], pixel_x_m: float, pixel_y_m: float, names: Collection[str] = STORED
) -> dict[str, NDArray[np.float32]]:
    """Derive terrain from elevations. The first row is in the north, the first column in the west.

    Slope in degrees and aspect by Horn (1981). Aspect is the downslope direction, clockwise from grid north, as its
    cosine and sine, which are both 0 on flat ground. Curvature in 1/m by Zevenbergen and Thorne (1987): minus the
    Laplacian, positive on ridges. Roughness in metres: the range of the 3 x 3 window (Wilson et al. 2007). All are NaN
    where a neighbour is NaN.

    Args:
        dem: elevations with a rim of one pixel, (rows + 2) x (columns + 2), metres.
        pixel_x_m: width of a pixel, metres.
        pixel_y_m: height of a pixel, metres.
        names: fields of `STORED` to derive.

    Returns:
        The fields by their names, each rows x columns.
    """
    rows, columns = dem.shape[0] - 2, dem.shape[1] - 2
    shifted = [[dem[i : i + rows, j : j + columns] for j in range(3)] for i in range(3)]
    (_, n, _), (w, middle, e), (_, s, _) = shifted
    down = dem[:-2] + 2 * dem[1:-1] + dem[2:]
    across = dem[:, :-2] + 2 * dem[:, 1:-1] + dem[:, 2:]
    to_east = (down[:, 2:] - down[:, :-2]) / (8 * pixel_x_m)
    to_north = (across[:-2] - across[2:]) / (8 * pixel_y_m)
    steepness = np.sqrt(to_east * to_east + to_north * to_north)  # `np.hypot` takes more than twice as long
    fields = {"dem": middle, "slope": np.degrees(np.arctan(steepness))}
    if {"northness", "eastness"} & set(names):
        divisor = np.maximum(steepness, LEAST_STEEPNESS)
        fields |= {"northness": -to_north / divisor, "eastness": -to_east / divisor}
    if "curvature" in names:
        fields["curvature"] = (2 * middle - w - e) / pixel_x_m**2 + (2 * middle - n - s) / pixel_y_m**2
    if "roughness" in names:
        window = np.stack([cell for row in shifted for cell in row])
        fields["roughness"] = window.max(axis=0) - window.min(axis=0)
    # The steepness depends on the eight neighbours, the other fields also on the pixel itself.
    broken = np.isnan(steepness) | np.isnan(middle)
    derived = {name: np.asarray(fields[name], np.float32) for name in names}
    if broken.any():
        for name in derived.keys() - {"dem"}:
            derived[name][broken] = np.nan
    return derived


@dataclass(frozen=True, slots=True)
class TerrainReader:
    """Read windows of terrain on the grid of a scene."""

    source: Any  # the stored fields on that grid
    stored: tuple[str, ...]  # their names, of `STORED`
    path: Path  # the elevation model, for messages
    covered_share: float  # share of the scene's pixels that have terrain
    notes: tuple[str, ...] = ()  # a sentence for each kind of heights that was left out

    def read(
        self, column: int, row: int, width: int, height: int
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
        """Read a window: fields by the names of `TERRAIN`, 0 where they are invalid, and where they are valid."""
        bands = np.asarray(self.source.read(window=window_of(column, row, width, height)), np.float32)
        fields = dict(zip(self.stored, bands, strict=True))
        valid = np.asarray((bands != NODATA).all(axis=0))
        if "northness" in fields:
            aspect = np.degrees(np.arctan2(fields.pop("eastness"), fields.pop("northness"))) % 360
            fields["aspect"] = aspect.astype(np.float32)
        if not valid.all():
            for field in fields.values():
                field[~valid] = 0
        return fields, valid


@contextmanager
def open_terrain(dem: Path, grid: Grid, work: Path, names: Collection[str] = TERRAIN) -> Iterator[TerrainReader]:
    """Compute terrain from an elevation model and open it on a scene's grid.

    An elevation model in degrees, or in a CRS whose metres are not true there, is first warped to the local UTM zone
    (cubic). The fields are computed on its grid, and warped to the scene's grid (bilinear). Only the ground of the
    scene is computed, in strips, into temporary files.

    Args:
        dem: raster of elevations, band 1; unit and scale as the file states, else metres.
        grid: grid of the scene.
        work: folder for the temporary files.
        names: fields of `TERRAIN` to compute, besides elevation and slope.

    Raises:
        CoverageError: less than half of the scene is covered.
        RadiometryError: a unit, a scale or a height is impossible.
        NoCrsError: the elevation model has no place on the ground.
        TruncatedRasterError: a block of it cannot be read.
    """
    needed = {"dem", "slope", *names} | ({"northness", "eastness"} if "aspect" in names else set())
    stored = tuple(name for name in STORED if name in needed)
    metric_path, path = work / "terrain-metres.tif", work / "terrain.tif"
    notes: list[str] = []
    with open_values(dem, HEIGHT, ground=grid, notes=notes) as source, ExitStack() as stack:
        dem_grid = grid_of(source, dem)
        metric: Any = source
        transform = dem_grid.transform
        is_north_up = not transform.b and not transform.d and transform.e <= 0
        # Slopes need a grid whose axes point east and north, and whose units are metres on the ground.
        area = abs(transform.determinant)
        area_error = abs(geodesic_pixel_m2(dem_grid) - area)
        has_true_metres = dem_grid.crs.is_projected and area_error <= MOST_AREA_ERROR * area
        if not is_north_up or not has_true_metres:
            metric = stack.enter_context(
                # Bilinear resampling lowers the slopes of a measured surface model by 4 %, cubic does not.
                warp(
                    source,
                    local_utm(grid),
                    Resampling.cubic,
                    src_nodata=source.nodata,
                    nodata=NODATA,
                    dtype="float32",
                )
            )
        covered_share = _write_fields(metric, dem, grid, metric_path, stored)
        on_grid = metric is source and same_grid(dem_grid, grid)
    with rasterio.Env(**SETTINGS):
        if on_grid:
            metric_path.replace(path)
        else:
            covered_share = _warp_fields(metric_path, grid, path)
            metric_path.unlink()
        if covered_share < LEAST_COVERED_SHARE:
            raise CoverageError(
                f"{dem}: covers {covered_share:.1%} of the ground, at least {LEAST_COVERED_SHARE:.0%} are needed"
            )
        with rasterio.open(path, driver="GTiff") as source:
            yield TerrainReader(source, stored, dem, covered_share, tuple(notes))


def _warp_fields(metric_path: Path, grid: Grid, path: Path) -> float:
    """Warp the stored fields to a grid; return the share of its pixels that have all of them."""
    valid_px = 0
    with (
        rasterio.open(metric_path, driver="GTiff") as source,
        warp(source, grid, Resampling.bilinear, src_nodata=source.nodata) as warped,
        _create(path, source.count, (grid.width, grid.height), grid.crs_wkt, grid.transform) as target,
    ):
        for row in range(0, grid.height, STRIP_ROWS):
            window = window_of(0, row, grid.width, min(STRIP_ROWS, grid.height - row))
            bands = np.asarray(warped.read(window=window), np.float32)
            broken = ((bands == NODATA) | ~np.isfinite(bands)).any(axis=0)
            bands[:, broken] = NODATA
            valid_px += int(np.count_nonzero(~broken))
            target.write(bands, window=window)
    return valid_px / (grid.width * grid.height)


def _create(path: Path, count: int, size: tuple[int, int], crs: Any, transform: Any) -> Any:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size[0],
        height=size[1],
        count=count,
        dtype="float32",
        crs=crs,
        transform=transform,
        nodata=NODATA,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        interleave="band",
        bigtiff="if_safer",
    )


def _write_fields(source: Any, path: Path, grid: Grid, metric_path: Path, stored: tuple[str, ...]) -> float:
    """Write the fields of an elevation model below a grid; return the share of pixels that have all of them."""
    valid_px = 0
    try:
        left, top, right, bottom = window_below(source, grid)
    except RasterioError:
        raise NoCrsError(f"{path}: cannot be warped to the grid of the scene") from None
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        raise CoverageError(f"{path}: covers 0.0% of the ground, at least {LEAST_COVERED_SHARE:.0%} are needed")
    transform = Grid(source.transform, "", source.width, source.height).transform_at(left, top)
    with _create(metric_path, len(stored), (width, height), source.crs, transform) as target:
        for row in range(0, height, STRIP_ROWS):
            rows = min(STRIP_ROWS, height - row)
            dem = np.full((rows + 2, width + 2), np.nan)
            first_row, first_column = max(0, top + row - 1), max(0, left - 1)
            last_row, last_column = min(source.height, top + row + rows + 1), min(source.width, left + width + 1)
            window = window_of(first_column, first_row, last_column - first_column, last_row - first_row)
            try:
                values = source.read(1, window=window)
                is_whole = MaskFlags.all_valid in source.mask_flag_enums[0]
                invalid = None if is_whole else source.read_masks(1, window=window) == 0
            except RasterioError:
                raise TruncatedRasterError(f"{path}: a block cannot be read (truncated or damaged file)") from None
            offset_row, offset_column = first_row - (top + row - 1), first_column - (left - 1)
            inner = dem[offset_row : offset_row + values.shape[0], offset_column : offset_column + values.shape[1]]
            inner[...] = values
            if invalid is not None:
                inner[invalid] = np.nan
            if values.dtype.kind == "f":
                inner[~np.isfinite(values)] = np.nan
            _extrapolate_border(
                dem,
                rows=(top + row == 0, top + row + rows == source.height),
                columns=(left == 0, left + width == source.width),
            )
            fields = derive_terrain(dem, abs(transform.a), abs(transform.e), stored)
            bands = np.stack([fields[name] for name in stored])
            # A pixel has all fields or none: otherwise the warp would blend nodata of one field with its neighbours.
            broken = np.isnan(bands).any(axis=0)
            if broken.any():
                bands[:, broken] = NODATA
            valid_px += int(np.count_nonzero(~broken))
            target.write(bands, window=window_of(0, row, width, rows))
    return valid_px / (width * height)


def _extrapolate_border(dem: NDArray[np.float64], rows: tuple[bool, bool], columns: tuple[bool, bool]) -> None:
    """Extrapolate elevations linearly beyond the border of the source, so that its outermost pixels have a slope.

    Args:
        dem: a strip with a rim of one pixel, changed in place.
        rows: whether the upper and the lower rim are beyond the border.
        columns: whether the left and the right rim are beyond the border.
    """
    for is_border, edge, first, second in zip(rows, (0, -1), (1, -2), (2, -3), strict=True):
        if is_border and dem.shape[0] >= 4:
            dem[edge] = 2 * dem[first] - dem[second]
    for is_border, edge, first, second in zip(columns, (0, -1), (1, -2), (2, -3), strict=True):
        if is_border and dem.shape[1] >= 4:
            dem[:, edge] = 2 * dem[:, first] - dem[:, second]
