"""Difference of two surfaces: what was lost, what was gained, and how sure that is."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri
from shapely.geometry import mapping

from detection.geojson import Geometry
from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.raster.areas import map_outline, spacing_m, true_area_m2
from detection.imagery.raster.components import EIGHT, outline_pixels
from detection.imagery.raster.geojson import list_features
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import inspect, write_geotiff
from detection.imagery.raster.reading.values import HEIGHT, HEIGHT_ERROR
from detection.whole_file import write_json
from slopeward_earth.surface.grids import choose_grid, read_surface

# The band that holds the error of each cell, as point clouds are gridded.
SIGMA_BAND = "sigma_m"
RAISE_WARN = 1.2
# Two-sided 95 % of a normal error.
CONFIDENCE = 1.96
# Noise alone puts 5 % of the cells beyond the limit of detection, some of them side by side. A body of fewer cells than
# this counts only if one of its cells lies so far out that noise reaches it once in twenty comparisons.
CELLS_LEAST: Final = 10
CHANCE: Final = 0.05
# NMAD of a normal error is its standard deviation.
NMAD = 1.4826
ROUNDS = 10
# A horizontal displacement above this makes false loss and gain on slopes, pixels.
SHIFT_WARN_PX = 0.5
# Pixels that a fit of the displacement needs, and how far the steps between pixels may lie below the scatter.
FIT_LEAST = 200
FLATNESS = 10.0
# An offset beyond the limit of detection at more of the ground than this is a claim that stable ground has to bear out.
DOUBTED: Final = 0.05
# Stable ground must be at least this share of what both surfaces show, else the offset rests on too little.
STABLE_LEAST = 0.2
FILES = {"difference": "difference.tif", "geojson": "difference.geojson", "run": "difference.json"}


@dataclass(frozen=True, slots=True)
class SurfaceBody:
    """A body of loss or gain beyond the limit of detection; `geometry` is GeoJSON, the error one sigma."""

    kind: str
    area_m2: float
    volume_m3: float
    mean_m: float
    most_m: float
    geometry: Geometry
    volume_error_m3: float


@dataclass(frozen=True, slots=True)
class SurfaceTotal:
    """All bodies of a kind."""

    bodies: int
    area_m2: float
    volume_m3: float
    volume_error_m3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceDifference:
    """What a newer surface has lost and gained."""

    offset_m: float  # between the surfaces, which was taken away; 0 where nobody knows whether it is movement
    sigma_m: float  # of a height of the difference; where errors are known by cell, their median
    # `given`, `cells` (the surfaces bring the error of each cell), `stable ground`, or `what differs as a whole` where
    # that counts as error
    sigma_from: str
    limit_of_detection_m: float  # at 95 %; where errors are known by cell, its median
    correlation_range_m: float  # how far errors hang together
    stable_share: float  # of what both surfaces show
    compared_share: float  # of all pixels
    shift_px: dict[str, float] | None  # how far the newer surface lies off; None: not measured
    loss: SurfaceTotal  # all bodies of loss
    gain: SurfaceTotal  # all bodies of gain
    crs: str  # of the grid
    pixel_area_m2: float  # in the middle of the grid
    net_volume_m3: float  # gain less loss
    net_volume_error_m3: float  # one sigma
    polygons: tuple[SurfaceBody, ...]  # the bodies, the largest volume first
    warnings: tuple[str, ...]  # one sentence each
    outputs: dict[str, str] = field(default_factory=dict)  # name to path of what was written


def warn_of_heights(older: str | None, newer: str | None) -> list[str]:
    """One sentence where two dates have their heights in two systems, else nothing."""
    if not older or not newer or older == newer:
        return []
    line = f"heights of the older date are {older}, of the newer {newer}: their difference shows as movement"
    return [f"{line}, unless stable ground takes it away"]


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
    """Subtract an older surface from a newer one, on the coarser of their grids (`surface_grids`).

    The vertical offset between the surfaces is the median over stable ground, and is taken away. Without named stable
    ground one beyond the limit of detection is not: either the surface lay off or all of it moved, so it counts as
    error of heights that nobody gave, and of volumes. The limit of detection
    is 1.96 * sqrt(s1² + s2²) of the given errors, else of the errors of each cell (Wheaton et al. 2010) where both
    surfaces have a band `sigma_m`, of `slopeward scenes clouds grid`, else 1.96 times the NMAD over stable ground
    (Höhle and Höhle 2009). Errors by cell are raised to what stable ground shows, where that is more.
    The error of a volume over an area A takes the errors as correlated within a range r found on stable ground:
    s² * pi * r² / (5 A) where A > pi * r² (Rolstad et al. 2009), plus the error of the offset. What thins out below the
    limit at the rim of a body is not counted: volumes are a little too small, and that is not in the error.

    Args:
        older: heights; unit and scale as the file says, else metres.
        sigma_older_m: standard deviation of the older heights; only with the other one.
        sigma_newer_m: standard deviation of the newer heights.
        stable: raster that is not 0 on ground known to be stable; None: what differs little, found by clipping.
        minimum_area_m2: smaller bodies of loss or gain are left out.
        out_dir: where `difference.tif` (metres, offset taken away), GeoJSON and the record are written.

    Raises:
        NoValidPixelsError: the surfaces have no pixel in common.
        SceneError: too large, or only one error given.
    """
    if (sigma_older_m is None) != (sigma_newer_m is None):
        raise SceneError("give the errors of both surfaces, or of none")
    grid = choose_grid(older, newer)
    warnings = warn_of_heights(*(inspect(path).vertical for path in (older, newer)))
    given = None if sigma_older_m is None or sigma_newer_m is None else float(np.hypot(sigma_older_m, sigma_newer_m))
    difference, new, cells = _read_difference(older, newer, grid, warnings, with_errors=given is None)
    valid = np.isfinite(difference)
    ground = _find_stable(difference, valid, stable, grid, warnings)
    offset = float(np.median(difference[ground]))
    difference -= offset
    scatter = NMAD * float(np.median(np.abs(difference[ground])))
    sigma, source = (scatter, "stable ground") if given is None else (given, "given")
    errors: NDArray[np.float64] = np.broadcast_to(np.float64(sigma), difference.shape)
    if given is not None and scatter > 1.5 * given:
        warnings.append(f"stable ground scatters by {scatter:.2f} m, more than the given errors ({given:.2f} m)")
    if cells is not None:
        # by how much errors by cell are too small
        factor = NMAD * float(np.median(np.abs(difference[ground] / cells[ground])))
        if factor > RAISE_WARN:
            warnings.append(
                f"stable ground scatters {factor:.1f} times more than the errors of the cells say; they are raised by "
                "that"
            )
        errors = cells * max(1.0, factor)
        sigma, source = float(np.median(errors[valid])), "cells"
    trusted = stable is not None or float((abs(offset) > CONFIDENCE * errors[valid]).mean()) <= DOUBTED
    off_m = 0.0 if trusted else abs(offset)
    if not trusted:
        warnings.append(
            f"the newer surface differs by {offset:+.3f} m as a whole: either it lay off or this ground moved; nothing "
            "was taken away: give --stable"
        )
        difference += offset
        offset = 0.0
        if given is None:
            errors = np.hypot(errors, off_m)
            sigma, source = float(np.hypot(sigma, off_m)), "what differs as a whole"
    # true area of the pixels, m², as a column (they change with latitude where the grid is in degrees)
    rows = np.unique(np.linspace(0, grid.height - 1, 9).astype(int))
    pixels = [shapely.box(grid.width / 2 - 0.5, r, grid.width / 2 + 0.5, r + 1.0) for r in rows]
    areas = [true_area_m2(map_outline(pixel, grid.to_crs), grid) for pixel in pixels]
    pixel_m2 = np.asarray(np.interp(np.arange(grid.height), rows, areas), np.float64)[:, None]
    range_m = _correlation_range_m(difference, ground, spacing_m(grid, grid.width / 2, grid.height / 2))
    offset_error = float(np.hypot(_mean_error(scatter, float((ground * pixel_m2).sum()), range_m), off_m))

    def err(area_m2: float, sigma_m: float = sigma) -> float:
        return round(float(area_m2 * np.hypot(_mean_error(sigma_m, area_m2, range_m), offset_error)), 3)

    bodies, noise = _list_bodies(difference, errors, grid, pixel_m2, minimum_area_m2, err)
    if noise:
        warnings.append(
            f"{len(noise)} bodies of less than {CELLS_LEAST} cells and {sum(noise):,.1f} m³ in all do not stand out of "
            f"the noise of {valid.sum():,} cells: they are left out"
        )
    loss, gain = _sum_up(bodies, "loss", err), _sum_up(bodies, "gain", err)
    shift_px = _shift(new, difference, ground, warnings)
    found = SurfaceDifference(
        offset_m=round(offset, 4),
        sigma_m=round(sigma, 4),
        sigma_from=source,
        limit_of_detection_m=round(CONFIDENCE * sigma, 4),
        correlation_range_m=round(range_m, 2),
        stable_share=round(float(ground.sum() / valid.sum()), 4),
        compared_share=round(float(valid.mean()), 6),
        shift_px=shift_px,
        loss=loss,
        gain=gain,
        crs=grid.crs_name,
        pixel_area_m2=round(float(pixel_m2[grid.height // 2, 0]), 4),
        net_volume_m3=round(gain.volume_m3 - loss.volume_m3, 3),
        net_volume_error_m3=err(loss.area_m2 + gain.area_m2),
        polygons=tuple(bodies),
        warnings=tuple(warnings),
    )
    if out_dir is None:
        return found
    layers = [np.where(valid, one, -9999.0).astype(np.float32) for one in (difference, CONFIDENCE * errors)]
    return _write(found, np.stack(layers), grid, out_dir)


def _read_difference(
    older: Path, newer: Path, grid: Grid, warnings: list[str], *, with_errors: bool
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64] | None]:
    """Newer less older, NaN where one is not known, the newer heights, and the error of the difference by cell."""
    now, then = read_surface(newer, grid, HEIGHT), read_surface(older, grid, HEIGHT)
    warnings += [*then.notes, *now.notes]
    valid = now.valid & then.valid
    cells = _read_errors(older, newer, grid) if with_errors else None
    if cells is not None:
        valid &= np.isfinite(cells)
    if not valid.any():
        raise NoValidPixelsError(f"{older} and {newer} have no valid pixel in common")
    return np.where(valid, now.values.astype(np.float64) - then.values, np.nan), now.values, cells


def _read_errors(older: Path, newer: Path, grid: Grid) -> NDArray[np.float64] | None:
    """The error of the difference in each cell, NaN where one is not known; None: not both surfaces bring theirs."""
    variance: NDArray[np.float64] = np.zeros((grid.height, grid.width))
    for path in (older, newer):
        names = inspect(path).descriptions
        if SIGMA_BAND not in names:
            return None
        # Errors of neighbouring fine cells may hang together: their mean is the error of the mean at most.
        sigma = read_surface(path, grid, HEIGHT_ERROR, names.index(SIGMA_BAND) + 1)
        variance += np.where(sigma.valid & (sigma.values > 0), sigma.values.astype(np.float64) ** 2, np.nan)
    return np.asarray(np.sqrt(variance))


def _find_stable(
    difference: NDArray[np.float64], valid: NDArray[np.bool_], stable: Path | None, grid: Grid, warnings: list[str]
) -> NDArray[np.bool_]:
    """Ground that did not move: as given, else what is left when outliers are clipped at three NMAD until it rests."""
    if stable is not None:
        with Layer(stable, grid, nearest=True) as layer:
            values, known = layer.read(0, 0, grid.width, grid.height)
        ground = valid & known & apply_mask("mask", values)
        if not ground.any():
            raise NoValidPixelsError(f"{stable}: no stable pixel that both surfaces show")
        return np.asarray(ground)
    ground = valid
    for _ in range(ROUNDS):
        middle = np.median(difference[ground])
        scatter = NMAD * np.median(np.abs(difference[ground] - middle))
        kept = valid & (np.abs(difference - middle) <= 3 * max(scatter, 1e-6))
        if np.array_equal(kept, ground):
            break
        ground = kept
    warnings.append("stable ground was found by clipping; a mask of stable ground is better")
    if ground.sum() < STABLE_LEAST * valid.sum():
        warnings.append("hardly any ground is stable: offset and limit of detection rest on little")
    return np.asarray(ground)


def _correlation_range_m(
    difference: NDArray[np.float64], ground: NDArray[np.bool_], spacing: tuple[float, float]
) -> float:
    """How far errors on stable ground hang together: the lag at which their correlation falls below 0.05, metres."""
    values = np.where(ground, difference - np.mean(difference[ground]), 0.0)
    total = float((values**2).sum())
    if total <= 0:
        return max(spacing)
    ranges = []
    for axis, step in ((1, spacing[0]), (0, spacing[1])):
        longest = max(1, values.shape[axis] // 4)
        lag = longest
        for k in range(1, longest + 1):
            ahead, back = np.delete(values, np.s_[:k], axis), np.delete(values, np.s_[-k:], axis)
            seen = np.delete(ground, np.s_[:k], axis) & np.delete(ground, np.s_[-k:], axis)
            share = float((ahead * back).sum()) / max(1, int(seen.sum())) / (total / max(1, int(ground.sum())))
            if share < 0.05:
                lag = k
                break
        ranges.append(lag * step)
    return float(max(ranges))


def _mean_error(sigma: float, area_m2: float, range_m: float) -> float:
    reach = np.pi * range_m**2
    if area_m2 <= 0:
        return sigma
    return float(sigma * np.sqrt(min(1.0, reach / (5 * area_m2) if area_m2 > reach else 1.0)))


def _list_bodies(
    difference: NDArray[np.float64],
    errors: NDArray[np.float64],
    grid: Grid,
    pixel_m2: NDArray[np.float64],
    minimum_m2: float,
    err: Callable[[float, float], float],
) -> tuple[list[SurfaceBody], list[float]]:
    """Outline the bodies of loss and gain; return them, and the volumes of those that noise explains."""
    found, noise = [], []
    cells = int(np.isfinite(difference).sum())
    peak_least = float(ndtri(1 - CHANCE / (2 * max(1, cells))))
    for kind, beyond in (("loss", difference < -CONFIDENCE * errors), ("gain", difference > CONFIDENCE * errors)):
        labels, _ = ndimage.label(beyond, structure=EIGHT)
        for index, place in enumerate(ndimage.find_objects(labels), start=1):
            body = labels[place] == index
            area = float((body * pixel_m2[place[0]]).sum())
            if area < minimum_m2:
                continue
            heights = np.where(body, np.abs(difference[place]), 0.0)
            volume = float((heights * pixel_m2[place[0]]).sum())
            peak = float((heights[body] / np.maximum(errors[place][body], 1e-9)).max())
            if np.count_nonzero(body) < CELLS_LEAST and peak < peak_least:
                noise.append(volume)
                continue
            parts = outline_pixels(body)
            outline = shapely.union_all(parts)
            left, top = place[1].start, place[0].start
            ground = map_outline(outline, lambda x, y, c=left, r=top: grid.to_crs(x + c, y + r))  # type: ignore[misc]
            lonlat = map_outline(ground, grid.to_lonlat)
            found.append(
                SurfaceBody(
                    kind=kind,
                    area_m2=round(area, 2),
                    volume_m3=round(volume, 3),
                    mean_m=round(float(heights[body].mean()), 3),
                    most_m=round(float(heights.max()), 3),
                    geometry=cast("Geometry", mapping(shapely.normalize(shapely.set_precision(lonlat, 1e-7)))),
                    volume_error_m3=err(round(area, 2), float(np.sqrt(np.mean(errors[place][body] ** 2)))),
                )
            )
    return sorted(found, key=lambda body: (-body.volume_m3, body.kind)), noise


def _sum_up(bodies: Sequence[SurfaceBody], kind: str, err: Callable[[float], float]) -> SurfaceTotal:
    own = [body for body in bodies if body.kind == kind]
    area = sum(body.area_m2 for body in own)
    return SurfaceTotal(len(own), round(area, 2), round(sum(body.volume_m3 for body in own), 3), err(area))


def _shift(
    new: NDArray[np.float32], difference: NDArray[np.float64], ground: NDArray[np.bool_], warnings: list[str]
) -> dict[str, float] | None:
    """How far the newer surface lies off, pixels, by least squares on stable ground: what slopes make of it.

    The linear form of Nuth and Kääb (2011). None where the ground is too flat, or too little of it, to tell.
    """
    down, across = (np.gradient(new.astype(np.float64), axis=axis) for axis in (0, 1))
    fit = ground & np.isfinite(down) & np.isfinite(across)
    fit &= ndimage.binary_erosion(np.isfinite(difference), iterations=1)
    slopes = np.stack([across[fit], down[fit]])
    if slopes.shape[1] < FIT_LEAST or float(slopes.std(axis=1).min()) <= float(np.std(difference[fit])) / FLATNESS:
        return None
    columns, rows = np.linalg.lstsq(-(slopes - slopes.mean(axis=1)[:, None]).T, difference[fit], rcond=None)[0]
    if np.hypot(columns, rows) > SHIFT_WARN_PX:
        warnings.append(
            f"the surfaces lie {np.hypot(columns, rows):.1f} px apart ({columns:+.1f} columns, {rows:+.1f} rows): "
            "false loss and gain on slopes"
        )
    return {"columns": round(float(columns), 2), "rows": round(float(rows), 2)}


def _write(found: SurfaceDifference, layers: NDArray[np.float32], grid: Grid, out_dir: Path) -> SurfaceDifference:
    """The same with the paths of the files that were written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    names = ("newer - older, m", "limit of detection at 95 %, m")
    write_geotiff(out_dir / FILES["difference"], layers, grid, nodata=-9999.0, descriptions=names)
    found = replace(found, outputs={name: str(out_dir / file) for name, file in FILES.items()})
    write_json(out_dir / FILES["geojson"], {"type": "FeatureCollection", "features": list_features(found.polygons)})
    write_json(out_dir / FILES["run"], asdict(found))
    return found
