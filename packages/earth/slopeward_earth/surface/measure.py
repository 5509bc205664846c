"""Measure the difference of two surfaces, and from which difference on a cell has changed.

Two surfaces of one ground differ by an offset, by noise and by what moved. Offset and noise are measured on stable
ground. The limit of detection of a cell is 1.96 standard deviations of the difference (95 %). The standard deviation is

* `given`: that of both surfaces, as the caller states it;
* `cells`: that of each cell (Wheaton et al. 2010), where both surfaces have a band `sigma_m`, as `slopeward scenes
  clouds grid` writes it, raised to the scatter on stable ground where that is larger;
* `stable ground`: the NMAD over stable ground (Höhle and Höhle 2009);
* `what differs as a whole`: the same with an offset that may be movement.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from detection.imagery.change.comparison import ClassifiedBlock, PixelClass
from detection.imagery.errors import NoValidPixelsError
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.components import EIGHT
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import inspect
from detection.imagery.raster.reading.values import HEIGHT, HEIGHT_ERROR
from slopeward_earth.surface.grids import read_surface

# Band with the standard deviation of each cell, as `slopeward scenes clouds grid` writes it.
SIGMA_BAND: Final = "sigma_m"
# Two-sided 95 % of a normal error.
CONFIDENCE: Final = 1.96
# The NMAD of a normal error is its standard deviation.
NMAD: Final = 1.4826
# Given errors are doubted where stable ground scatters more than this factor of them.
GIVEN_RATIO: Final = 1.5
# Errors of the cells are raised with a warning where stable ground scatters more than this factor of them.
RAISE_RATIO: Final = 1.2
# Clipping of outliers ends after this many rounds at the latest.
CLIP_ROUNDS: Final = 10
CLIP_DEVIATIONS: Final = 3.0
# Stable ground must be at least this share of the ground that both surfaces show; otherwise the offset is uncertain.
STABLE_LEAST: Final = 0.2
# Noise alone puts 5 % of the cells beyond the limit of detection, some of them side by side. A body of fewer cells than
# this counts only if one of its cells lies so far out that noise reaches it with this chance in a whole comparison.
CELLS_LEAST: Final = 10
CHANCE: Final = 0.05
# An offset beyond the limit of detection on more than this share of the ground is accepted only with a mask of stable
# ground: either a surface was off, or the ground moved.
DOUBTED: Final = 0.05
# Errors are uncorrelated from the lag on at which their correlation falls below this.
CORRELATION_LEAST: Final = 0.05
# A fit of the horizontal displacement needs this many cells, and slopes that vary by more than the scatter over
# `FLATNESS`.
FIT_LEAST: Final = 200
FLATNESS: Final = 10.0
# A larger horizontal displacement makes false loss and gain on slopes, pixels.
SHIFT_WARN_PX: Final = 0.5


@dataclass(frozen=True, slots=True)
class HeightMeasure:
    """Height of the ground: newer less older, without the offset between the surfaces."""

    difference_m: NDArray[np.float64]  # rows x columns; NaN where a surface has no height
    errors_m: NDArray[np.float64]  # standard deviation of the difference, rows x columns
    # Cells beyond the limit of detection in bodies that are too small or that noise explains, rows x columns.
    is_left_out: NDArray[np.bool_]
    sigma_m: float  # standard deviation of the difference; the median where it differs by cell
    sigma_from: str  # `given`, `cells`, `stable ground` or `what differs as a whole`
    offset_m: float  # offset that was taken away; 0 where it may be movement
    offset_error_m: float  # standard deviation of the offset
    correlation_range_m: float  # distance over which errors are correlated
    stable_share: float  # of the ground that both surfaces show
    shift_px: dict[str, float] | None  # horizontal displacement of the newer surface, not rounded; None: not measured
    warnings: tuple[str, ...]

    name = "height"
    unit = "m"
    layers = ("height",)
    is_graded = False

    @property
    def limit(self) -> float:
        """Limit of detection, m, at 95 %; the median where it differs by cell."""
        return CONFIDENCE * self.sigma_m

    def classify(self, column: int, row: int, width: int, height: int) -> ClassifiedBlock:
        """Classify a window; see `Measure`."""
        window = np.s_[row : row + height, column : column + width]
        difference = self.difference_m[window]
        limit = CONFIDENCE * self.errors_m[window]
        classes = np.full(difference.shape, PixelClass.UNCHANGED, np.uint8)
        classes[difference > limit] = PixelClass.GAINED
        classes[difference < -limit] = PixelClass.LOST
        classes[self.is_left_out[window]] = PixelClass.UNCHANGED
        classes[np.isnan(difference)] = PixelClass.NODATA
        return ClassifiedBlock(classes[None])

    def volume_error_m3(self, area_m2: float, sigma_m: float | None = None) -> float:
        """Return the standard deviation of a volume over an area.

        Args:
            area_m2: the area.
            sigma_m: standard deviation of a height over the area. None: `sigma_m` of the measure.
        """
        mean_error_m = calculate_mean_error(
            self.sigma_m if sigma_m is None else sigma_m, area_m2, self.correlation_range_m
        )
        return round(float(area_m2 * np.hypot(mean_error_m, self.offset_error_m)), 3)


def measure_heights(
    older: Path,
    newer: Path,
    grid: Grid,
    pixel_m2: NDArray[np.float64],
    *,
    given_sigma_m: float | None,
    stable: Path | None,
    minimum_area_m2: float,
) -> HeightMeasure:
    """Subtract two surfaces and measure offset, errors and horizontal displacement on stable ground.

    Args:
        older: heights of the older surface.
        newer: heights of the newer surface.
        grid: grid of the comparison.
        pixel_m2: areas of the cells by row, a column.
        given_sigma_m: standard deviation of the difference. None: measured.
        stable: raster that is not 0 on stable ground. None: stable ground is found by clipping.
        minimum_area_m2: smaller bodies of loss and gain are left out.

    Raises:
        NoValidPixelsError: the surfaces have no cell in common, or no stable one.
        SceneError: a surface is too large.
    """
    warnings: list[str] = []
    newer_heights = read_surface(newer, grid, HEIGHT)
    older_heights = read_surface(older, grid, HEIGHT)
    warnings += [*older_heights.notes, *newer_heights.notes]
    valid = newer_heights.valid & older_heights.valid
    cell_errors_m = _read_errors(older, newer, grid) if given_sigma_m is None else None
    if cell_errors_m is not None:
        valid &= np.isfinite(cell_errors_m)
    if not valid.any():
        raise NoValidPixelsError(f"{older} and {newer} have no valid pixel in common")
    difference = np.where(valid, newer_heights.values.astype(np.float64) - older_heights.values, np.nan)
    ground = _find_stable_ground(difference, valid, stable, grid, warnings)
    offset_m = float(np.median(difference[ground]))
    difference -= offset_m
    scatter_m = NMAD * float(np.median(np.abs(difference[ground])))
    sigma_m, sigma_from = (scatter_m, "stable ground") if given_sigma_m is None else (given_sigma_m, "given")
    errors_m: NDArray[np.float64] = np.broadcast_to(np.float64(sigma_m), difference.shape)
    if given_sigma_m is not None and scatter_m > GIVEN_RATIO * given_sigma_m:
        warnings.append(
            f"stable ground scatters by {scatter_m:.2f} m, more than the given errors ({given_sigma_m:.2f} m)"
        )
    if cell_errors_m is not None:
        raise_ratio = NMAD * float(np.median(np.abs(difference[ground] / cell_errors_m[ground])))
        if raise_ratio > RAISE_RATIO:
            warnings.append(
                f"stable ground scatters {raise_ratio:.1f} times more than the errors of the cells say; they are "
                "raised by that"
            )
        errors_m = cell_errors_m * max(1.0, raise_ratio)
        sigma_m, sigma_from = float(np.median(errors_m[valid])), "cells"
    doubted_offset_m = 0.0
    is_doubted = float((abs(offset_m) > CONFIDENCE * errors_m[valid]).mean()) > DOUBTED
    if stable is None and is_doubted:
        warnings.append(
            f"the newer surface differs by {offset_m:+.3f} m as a whole: either it lay off or this ground moved; "
            "nothing was taken away: give --stable"
        )
        doubted_offset_m = abs(offset_m)
        difference += offset_m
        offset_m = 0.0
        if given_sigma_m is None:
            errors_m = np.hypot(errors_m, doubted_offset_m)
            sigma_m, sigma_from = float(np.hypot(sigma_m, doubted_offset_m)), "what differs as a whole"
    range_m = _measure_correlation_range(difference, ground, spacing_m(grid, grid.width / 2, grid.height / 2))
    mean_offset_error_m = calculate_mean_error(scatter_m, float((ground * pixel_m2).sum()), range_m)
    is_left_out, noise_m3 = _find_left_out(difference, errors_m, pixel_m2, minimum_area_m2)
    if noise_m3:
        warnings.append(
            f"{len(noise_m3)} bodies of less than {CELLS_LEAST} cells and {sum(noise_m3):,.1f} m³ in all do not stand "
            f"out of the noise of {valid.sum():,} cells: they are left out"
        )
    shift_px = _measure_displacement(newer_heights.values, difference, ground)
    warnings += _warn_of_displacement(shift_px)
    return HeightMeasure(
        difference_m=difference,
        errors_m=errors_m,
        is_left_out=is_left_out,
        sigma_m=sigma_m,
        sigma_from=sigma_from,
        offset_m=offset_m,
        offset_error_m=float(np.hypot(mean_offset_error_m, doubted_offset_m)),
        correlation_range_m=range_m,
        stable_share=float(ground.sum() / valid.sum()),
        shift_px=shift_px,
        warnings=tuple(warnings),
    )


def calculate_mean_error(sigma_m: float, area_m2: float, range_m: float) -> float:
    """Return the standard deviation of the mean over an area, of errors that are correlated within a distance.

    It is sqrt(sigma² pi range² / (5 area)) for areas larger than pi range² (Rolstad et al. 2009).
    """
    correlated_m2 = np.pi * range_m**2
    if area_m2 <= correlated_m2:
        return sigma_m
    return float(sigma_m * np.sqrt(min(1.0, correlated_m2 / (5 * area_m2))))


def warn_of_heights(older: str | None, newer: str | None) -> list[str]:
    """Return a warning if the heights of two dates refer to two vertical systems.

    Args:
        older: vertical system of the older date, empty or None if it is unknown.
        newer: that of the newer date.
    """
    if not older or not newer or older == newer:
        return []
    line = f"heights of the older date are {older}, of the newer {newer}: their difference shows as movement"
    return [f"{line}, unless stable ground takes it away"]


def _read_errors(older: Path, newer: Path, grid: Grid) -> NDArray[np.float64] | None:
    """Return the standard deviation of the difference by cell, NaN where it is unknown; None if a surface has none."""
    variance: NDArray[np.float64] = np.zeros((grid.height, grid.width))
    for path in (older, newer):
        names = inspect(path).descriptions
        if SIGMA_BAND not in names:
            return None
        # The error of a mean of finer cells is at most their mean error, as errors of neighbours may be correlated.
        errors = read_surface(path, grid, HEIGHT_ERROR, names.index(SIGMA_BAND) + 1)
        is_known = errors.valid & (errors.values > 0)
        variance += np.where(is_known, errors.values.astype(np.float64) ** 2, np.nan)
    return np.asarray(np.sqrt(variance))


def _find_stable_ground(
    difference: NDArray[np.float64], valid: NDArray[np.bool_], stable: Path | None, grid: Grid, warnings: list[str]
) -> NDArray[np.bool_]:
    """Return the cells of stable ground: those of the mask, else those that remain after clipping outliers."""
    if stable is not None:
        with Layer(stable, grid, nearest=True) as layer:
            values, is_known = layer.read(0, 0, grid.width, grid.height)
        ground = valid & is_known & apply_mask("mask", values)
        if not ground.any():
            raise NoValidPixelsError(f"{stable}: no stable pixel that both surfaces show")
        return np.asarray(ground)
    ground = valid
    for _ in range(CLIP_ROUNDS):
        median_m = np.median(difference[ground])
        scatter_m = NMAD * np.median(np.abs(difference[ground] - median_m))
        remaining = valid & (np.abs(difference - median_m) <= CLIP_DEVIATIONS * max(scatter_m, 1e-6))
        if np.array_equal(remaining, ground):
            break
        ground = remaining
    warnings.append("stable ground was found by clipping; a mask of stable ground is better")
    if ground.sum() < STABLE_LEAST * valid.sum():
        warnings.append("hardly any ground is stable: offset and limit of detection rest on little")
    return np.asarray(ground)


def _measure_correlation_range(
    difference: NDArray[np.float64], ground: NDArray[np.bool_], spacing: tuple[float, float]
) -> float:
    """Return the lag at which errors on stable ground are uncorrelated, metres; the larger one of both axes.

    Args:
        difference: newer less older.
        ground: stable ground.
        spacing: size of a cell across and down, metres.
    """
    values = np.where(ground, difference - np.mean(difference[ground]), 0.0)
    total = float((values**2).sum())
    if total <= 0:
        return max(spacing)
    variance = total / max(1, int(ground.sum()))
    ranges = []
    for axis, step_m in ((1, spacing[0]), (0, spacing[1])):
        longest = max(1, values.shape[axis] // 4)
        range_cells = longest
        for lag in range(1, longest + 1):
            ahead = np.delete(values, np.s_[:lag], axis)
            behind = np.delete(values, np.s_[-lag:], axis)
            both = np.delete(ground, np.s_[:lag], axis) & np.delete(ground, np.s_[-lag:], axis)
            correlation = float((ahead * behind).sum()) / max(1, int(both.sum())) / variance
            if correlation < CORRELATION_LEAST:
                range_cells = lag
                break
        ranges.append(range_cells * step_m)
    return float(max(ranges))


def _find_left_out(
    difference: NDArray[np.float64],
    errors_m: NDArray[np.float64],
    pixel_m2: NDArray[np.float64],
    minimum_area_m2: float,
) -> tuple[NDArray[np.bool_], list[float]]:
    """Return the cells of bodies that are too small or that noise explains, and the volumes of the latter."""
    is_left_out = np.zeros(difference.shape, bool)
    noise_m3: list[float] = []
    cells = int(np.isfinite(difference).sum())
    least_peak = float(ndtri(1 - CHANCE / (2 * max(1, cells))))
    for sign in (-1, 1):
        labels, count = ndimage.label(sign * difference > CONFIDENCE * errors_m, structure=EIGHT)
        rows, columns = np.nonzero(labels)
        body = labels[rows, columns]
        heights_m = np.abs(difference[rows, columns])
        cells_m2 = pixel_m2[rows, 0]
        sizes = np.bincount(body, minlength=count + 1)
        areas_m2 = np.bincount(body, weights=cells_m2, minlength=count + 1)
        volumes_m3 = np.bincount(body, weights=heights_m * cells_m2, minlength=count + 1)
        peaks = np.zeros(count + 1)
        np.maximum.at(peaks, body, heights_m / np.maximum(errors_m[rows, columns], 1e-9))
        # Label 0 is everything else.
        is_body = np.arange(count + 1) > 0
        is_small = is_body & (areas_m2 < minimum_area_m2)
        is_noise = is_body & ~is_small & (sizes < CELLS_LEAST) & (peaks < least_peak)
        is_left_out |= (is_small | is_noise)[labels]
        noise_m3 += volumes_m3[is_noise].tolist()
    return is_left_out, noise_m3


def _warn_of_displacement(shift_px: dict[str, float] | None) -> list[str]:
    if shift_px is None:
        return []
    columns, rows = shift_px["columns"], shift_px["rows"]
    length_px = np.hypot(columns, rows)
    if length_px <= SHIFT_WARN_PX:
        return []
    line = f"the surfaces lie {length_px:.1f} px apart ({columns:+.1f} columns, {rows:+.1f} rows)"
    return [f"{line}: false loss and gain on slopes"]


def _measure_displacement(
    heights: NDArray[np.float32], difference: NDArray[np.float64], ground: NDArray[np.bool_]
) -> dict[str, float] | None:
    """Return the horizontal displacement of the newer surface in pixels, by least squares on stable ground.

    This is the linear form of Nuth and Kääb (2011). None if the ground is too flat, or too little of it is stable.
    """
    down, across = (np.gradient(heights.astype(np.float64), axis=axis) for axis in (0, 1))
    fit = ground & np.isfinite(down) & np.isfinite(across)
    fit &= ndimage.binary_erosion(np.isfinite(difference), iterations=1)
    slopes = np.stack([across[fit], down[fit]])
    if slopes.shape[1] < FIT_LEAST or float(slopes.std(axis=1).min()) <= float(np.std(difference[fit])) / FLATNESS:
        return None
    columns, rows = np.linalg.lstsq(-(slopes - slopes.mean(axis=1)[:, None]).T, difference[fit], rcond=None)[0]
    return {"columns": float(columns), "rows": float(rows)}
