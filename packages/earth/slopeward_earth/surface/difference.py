"""Subtract two surfaces: where ground was lost and gained, how much, and with which error."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import shape as shape_of

from detection.geojson import Geometry
from detection.imagery.change.comparison import Comparison, PixelClass, measure_pixel_m2
from detection.imagery.errors import SceneError
from detection.imagery.footprints.polygons import OutlineRule
from detection.imagery.raster.geojson import list_features
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, to_pixels, window_around
from detection.imagery.raster.raster import inspect, write_geotiff
from detection.whole_file import write_json
from slopeward_earth.surface.grids import choose_grid
from slopeward_earth.surface.measure import (
    CONFIDENCE,
    HeightMeasure,
    measure_heights,
    warn_of_heights,
)

EMPTY: Final = -9999.0
FILES: Final = {"difference": "difference.tif", "geojson": "difference.geojson", "run": "difference.json"}
KINDS: Final = {"loss": PixelClass.LOST, "gain": PixelClass.GAINED}
# The area of a cell is computed for this many rows and interpolated for the others.
AREA_ROWS: Final = 9


@dataclass(frozen=True, slots=True)
class SurfaceBody:
    """A body of loss or gain beyond the limit of detection."""

    kind: str  # loss or gain
    area_m2: float
    volume_m3: float
    mean_m: float  # mean height that was lost or gained
    most_m: float  # largest height that was lost or gained
    geometry: Geometry  # GeoJSON, longitude and latitude
    volume_error_m3: float  # one standard deviation


@dataclass(frozen=True, slots=True)
class SurfaceTotal:
    """All bodies of loss, or of gain."""

    bodies: int
    area_m2: float
    volume_m3: float
    volume_error_m3: float  # one standard deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceDifference:
    """What a newer surface has lost and gained."""

    offset_m: float  # between the surfaces, which was taken away; 0 where it may be movement
    sigma_m: float  # standard deviation of a height of the difference; the median where it differs by cell
    sigma_from: str  # see `slopeward_earth.surface.measure`
    limit_of_detection_m: float  # at 95 %; the median where it differs by cell
    correlation_range_m: float  # distance over which errors are correlated
    stable_share: float  # of the ground that both surfaces show
    compared_share: float  # of all cells
    shift_px: dict[str, float] | None  # horizontal displacement of the newer surface; None: not measured
    loss: SurfaceTotal
    gain: SurfaceTotal
    crs: str  # of the grid
    pixel_area_m2: float  # in the middle of the grid
    net_volume_m3: float  # gain less loss
    net_volume_error_m3: float  # one standard deviation
    polygons: tuple[SurfaceBody, ...]  # the largest volume first
    warnings: tuple[str, ...]
    outputs: dict[str, str] = field(default_factory=dict)  # name to path of each file that was written


def subtract(
    older: Path,
    newer: Path,
    *,
    sigma_older_m: float | None = None,
    sigma_newer_m: float | None = None,
    stable: Path | None = None,
    minimum_area_m2: float = 0.0,
    out_dir: Path | None = None,
) -> SurfaceDifference:
    """Subtract an older surface from a newer one, on the coarser of their grids.

    The vertical offset between the surfaces is the median over stable ground, and is taken away. Without a mask of
    stable ground, an offset beyond the limit of detection stays: either a surface was off or the ground moved. It
    counts as an error of measured heights, and of all volumes. See `slopeward_earth.surface.measure` for the limit of
    detection.

    Height that was lost or gained below the limit at the rim of a body is not counted. Volumes are a little too small
    by that, and their errors do not contain it.

    Args:
        older: heights; unit and scale as the file says, else metres.
        newer: heights.
        sigma_older_m: standard deviation of the older heights; only together with the other one.
        sigma_newer_m: standard deviation of the newer heights.
        stable: raster that is not 0 on ground known to be stable. None: stable ground is found by clipping outliers.
        minimum_area_m2: smaller bodies are left out.
        out_dir: folder for `difference.tif` (metres, without the offset), outlines and record. None: nothing is
            written.

    Raises:
        NoValidPixelsError: the surfaces have no cell in common.
        SceneError: a surface is too large, or only one error is given.
    """
    if (sigma_older_m is None) != (sigma_newer_m is None):
        raise SceneError("give the errors of both surfaces, or of none")
    given_sigma_m = None
    if sigma_older_m is not None and sigma_newer_m is not None:
        given_sigma_m = float(np.hypot(sigma_older_m, sigma_newer_m))
    # open, check and bring onto one grid
    grid = choose_grid(older, newer)
    warnings = warn_of_heights(inspect(older).vertical, inspect(newer).vertical)
    pixel_m2 = _measure_rows_m2(grid)
    # measure
    measure = measure_heights(
        older,
        newer,
        grid,
        pixel_m2,
        given_sigma_m=given_sigma_m,
        stable=stable,
        minimum_area_m2=minimum_area_m2,
    )
    warnings += measure.warnings
    # classify and outline
    with TemporaryDirectory(prefix="slopeward-surface-") as folder:
        comparison = Comparison(grid, measure, Path(folder) / "pixels.tif")
        comparison.classify_pixels()
        bodies = _list_bodies(comparison, measure, pixel_m2)
    loss = _sum_up(bodies, "loss", measure)
    gain = _sum_up(bodies, "gain", measure)
    difference = SurfaceDifference(
        offset_m=round(measure.offset_m, 4),
        sigma_m=round(measure.sigma_m, 4),
        sigma_from=measure.sigma_from,
        limit_of_detection_m=round(measure.limit, 4),
        correlation_range_m=round(measure.correlation_range_m, 2),
        stable_share=round(measure.stable_share, 4),
        compared_share=comparison.compared_share(),
        shift_px=None if measure.shift_px is None else {axis: round(px, 2) for axis, px in measure.shift_px.items()},
        loss=loss,
        gain=gain,
        crs=grid.crs_name,
        pixel_area_m2=round(float(pixel_m2[grid.height // 2, 0]), 4),
        net_volume_m3=round(gain.volume_m3 - loss.volume_m3, 3),
        net_volume_error_m3=measure.volume_error_m3(loss.area_m2 + gain.area_m2),
        polygons=tuple(bodies),
        warnings=tuple(warnings),
    )
    return difference if out_dir is None else _write(difference, measure, grid, out_dir)


def _measure_rows_m2(grid: Grid) -> NDArray[np.float64]:
    """Return the true area of a cell by row, a column: in a grid in degrees it changes with latitude."""
    rows = np.unique(np.linspace(0, grid.height - 1, AREA_ROWS).astype(int))
    areas_m2 = [measure_pixel_m2(grid, grid.width / 2, row + 0.5) for row in rows]
    return np.asarray(np.interp(np.arange(grid.height), rows, areas_m2), np.float64)[:, None]


def _list_bodies(comparison: Comparison, measure: HeightMeasure, pixel_m2: NDArray[np.float64]) -> list[SurfaceBody]:
    """Return the bodies of loss and gain, the largest volume first."""
    bodies: list[SurfaceBody] = []
    for kind, pixel_class in KINDS.items():
        # The measure has left out small bodies. Holes stay: their ground has not changed.
        rule = OutlineRule(0.5, minimum_area_m2=0.0, minimum_hole_m2=0.0, identity=kind)
        for footprint in comparison.find_outlines(pixel_class, rule):
            outline = to_pixels(shape_of({**footprint.geometry}), comparison.grid)
            box = window_around(outline, comparison.grid, 0)
            assert box is not None
            column, row, width, height = box
            window = np.s_[row : row + height, column : column + width]
            pixels = burn(outline, box)
            heights_m = np.where(pixels, np.abs(measure.difference_m[window]), 0.0)
            rows_m2 = pixel_m2[row : row + height]
            area_m2 = round(float((pixels * rows_m2).sum()), 2)
            error_m = float(np.sqrt(np.mean(measure.errors_m[window][pixels] ** 2)))
            bodies.append(
                SurfaceBody(
                    kind=kind,
                    area_m2=area_m2,
                    volume_m3=round(float((heights_m * rows_m2).sum()), 3),
                    mean_m=round(float(heights_m[pixels].mean()), 3),
                    most_m=round(float(heights_m.max()), 3),
                    geometry=footprint.geometry,
                    volume_error_m3=measure.volume_error_m3(area_m2, error_m),
                )
            )
    return sorted(bodies, key=lambda body: (-body.volume_m3, body.kind))


def _sum_up(bodies: Sequence[SurfaceBody], kind: str, measure: HeightMeasure) -> SurfaceTotal:
    of_kind = [body for body in bodies if body.kind == kind]
    area_m2 = sum(body.area_m2 for body in of_kind)
    volume_m3 = sum(body.volume_m3 for body in of_kind)
    return SurfaceTotal(len(of_kind), round(area_m2, 2), round(volume_m3, 3), measure.volume_error_m3(area_m2))


def _write(difference: SurfaceDifference, measure: HeightMeasure, grid: Grid, out_dir: Path) -> SurfaceDifference:
    """Write raster, outlines and record; return the difference with the paths of the files."""
    out_dir.mkdir(parents=True, exist_ok=True)
    valid = np.isfinite(measure.difference_m)
    layers = [
        np.where(valid, values, EMPTY).astype(np.float32)
        for values in (measure.difference_m, CONFIDENCE * measure.errors_m)
    ]
    names = ("newer - older, m", "limit of detection at 95 %, m")
    write_geotiff(out_dir / FILES["difference"], np.stack(layers), grid, nodata=EMPTY, descriptions=names)
    written = replace(difference, outputs={name: str(out_dir / file) for name, file in FILES.items()})
    features = list_features(written.polygons)
    write_json(out_dir / FILES["geojson"], {"type": "FeatureCollection", "features": features})
    write_json(out_dir / FILES["run"], asdict(written))
    return written
