"""From unwrapped interferograms to movement: displacement per date, rate with its error, zones."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import mapping

from detection.geojson import Geometry
from detection.imagery.errors import MismatchedBandsError, NoValidPixelsError, RadiometryError
from detection.imagery.raster.areas import map_outline, spacing_m, true_area_m2
from detection.imagery.raster.components import EIGHT, outline_pixels
from detection.imagery.raster.grid import Grid, same_grid
from detection.imagery.raster.overlay import Layer, burn
from detection.imagery.raster.raster import read_grid
from detection.imagery.raster.reading.values import COHERENCES, PHASE
from slopeward_earth.insar.records import MovingZone, PointSeries
from slopeward_earth.insar.stack import InterferogramStack

PIXELS_MOST = 4_000_000
# Coherence below this says nothing of phase; looks taken together for the weights (only their ratio matters).
COHERENCE_LEAST = 0.3
LOOKS = 8.0
# Share of the interferograms that a pixel must have.
PAIRS_SHARE = 0.8
# What the interferograms of a pixel contradict each other by (r.m.s.) must stay below half a cycle of the phase.
MISFIT_MOST_RAD = np.pi
# Both ends of one cycle that phases reach so closely, in more than this share of the interferograms, are no chance.
CYCLES = (-np.pi, np.pi), (0.0, 2 * np.pi)
END_RAD = 0.05
WRAPPED_SHARE = 0.5
NMAD = 1.4826
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class StackMovement:
    """What a stack says of each pixel; NaN where it says nothing."""

    grid: Grid  # of all rasters here
    dates: tuple[datetime, ...]  # acquisitions
    # dates x H x W, toward the satellite, against the first date and the reference
    displacement_mm: NDArray[np.float64]
    rate_mm_per_year: NDArray[np.float64]  # H x W, toward the satellite
    error_mm_per_year: NDArray[np.float64]  # H x W, one standard error of the rate, from the scatter about the line
    misfit_rad: NDArray[np.float64]  # H x W, r.m.s. by which the interferograms contradict each other.
    coherence: NDArray[np.float64]  # H x W, mean
    noise_mm_per_year: float  # NMAD of the rates of the reference ground: what still ground shows here
    warnings: tuple[str, ...]  # what a reader must know


def invert(stack: InterferogramStack, coherence_least: float = COHERENCE_LEAST) -> StackMovement:
    """Invert a stack for displacement per date and rate, pixel by pixel, by weighted least squares.

    Each interferogram is the difference of two dates (Berardino et al. 2002, all baselines in one network); weights are
    the inverse variance of the phase at its coherence, 2 L g² / (1 - g²) with L looks (Rodriguez and Martin 1992). Of
    every interferogram the median over the reference is taken away first. A phase of exactly 0 is legal: what is nodata
    is told by the coherence where there is one, else by the file's mask.

    `coherence_least`: phases of lower coherence are not used.

    Raises:
        MismatchedBandsError: the interferograms lie on different grids.
        NoValidPixelsError: too large, or no pixel is left.
        RadiometryError: its phases are wrapped.
    """
    grid = read_grid(stack.pairs[0].unwrapped)
    if grid.width * grid.height > PIXELS_MOST:
        raise NoValidPixelsError(f"{stack.path}: {grid.width} x {grid.height} pixels are too many; cut out the slope")
    warnings: list[str] = []
    phase, coherence, valid = _read(stack, grid, warnings)
    if np.mean([fills_cycle(one[seen]) for one, seen in zip(phase, valid, strict=True)]) > WRAPPED_SHARE:
        raise RadiometryError(
            f"{stack.path}: phases fill one cycle from end to end and never leave it: they are wrapped; unwrap them"
        )
    used = valid & (coherence >= coherence_least)
    reference = _reference(stack, grid, coherence, used, warnings)
    for number in range(len(stack.pairs)):
        still = reference & used[number]
        if not still.any():
            raise NoValidPixelsError(f"{stack.pairs[number].unwrapped}: no coherent pixel in the reference area")
        phase[number] -= np.median(phase[number][still])
    good = np.clip(coherence, 0.05, 0.98)
    weights = np.where(used, 2 * LOOKS * good**2 / (1 - good**2), 0.0)
    dates = stack.dates
    # an interferogram is the later date minus the earlier one; the first date is zero
    design = np.zeros((len(stack.pairs), len(dates) - 1))
    for number, pair in enumerate(stack.pairs):
        for at, sign in ((pair.second_at, 1.0), (pair.first_at, -1.0)):
            if (place := dates.index(at)) > 0:
                design[number, place - 1] = sign
    solved, misfit, known = _solve(design, phase, weights, used)
    if not known.any():
        raise NoValidPixelsError(f"{stack.path}: no pixel has enough coherent interferograms")
    sign = 1.0 if stack.toward_positive else -1.0
    displacement = sign * solved * stack.wavelength_m / (4 * np.pi) * 1000
    contradicted = known & (misfit > MISFIT_MOST_RAD)
    if contradicted.any():
        warnings.append(
            f"{contradicted.sum() / known.sum():.1%} of the pixels are left out: their interferograms contradict each "
            "other (unwrapping)"
        )
    known &= ~contradicted
    if not known.any():
        raise NoValidPixelsError(f"{stack.path}: the interferograms of every pixel contradict each other (unwrapping)")
    rate, error = _fit_rate(dates, displacement)
    for values in (displacement, rate, error, misfit):
        values[..., ~known] = np.nan
    noise = NMAD * float(np.nanmedian(np.abs(rate[reference & known] - np.nanmedian(rate[reference & known]))))
    seen = valid.any(axis=0)
    mean = np.where(seen, (coherence * valid).sum(axis=0) / np.maximum(1, valid.sum(axis=0)), np.nan)
    return StackMovement(grid, dates, displacement, rate, error, misfit, mean, noise, tuple(warnings))


def _read(
    stack: InterferogramStack, grid: Grid, warnings: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Phases, coherences (1 where there is none) and validity, pairs x H x W."""
    shape = (len(stack.pairs), grid.height, grid.width)
    phase, coherence, valid = np.zeros(shape), np.ones(shape), np.zeros(shape, bool)
    box = (0, 0, grid.width, grid.height)
    for number, pair in enumerate(stack.pairs):
        if not same_grid(grid, read_grid(pair.unwrapped)):
            raise MismatchedBandsError(f"{pair.unwrapped}: on another grid than {stack.pairs[0].unwrapped.name}")
        with (
            Layer(pair.unwrapped, grid, quantity=PHASE) as layer,
            Layer(pair.unwrapped, grid, layer.index) as stored,
        ):
            phase[number], valid[number] = layer.read(*box)
            zero = stored.read_values(*box) == 0
            warnings += layer.notes
        if pair.coherence is not None:
            with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
                coherence[number], also = layer.read(*box)
                warnings += layer.notes
            # a phase of exactly zero that has a coherence was measured
            valid[number] = also & (valid[number] | zero)
    return phase, coherence, valid


def fills_cycle(phase: NDArray[np.float64]) -> bool:
    """Whether phases, radians, reach both ends of one cycle and never leave it, as wrapped ones do.

    >>> [fills_cycle(np.linspace(*ends, 99)) for ends in ((-3.14, 3.14), (0, 6.28), (-3.0, 3.0), (-3.14, 9.0))]
    [True, True, False, False]
    """
    if not phase.size:
        return False
    ends = np.array([phase.min(), phase.max()])
    return any(bool((np.abs(ends - cycle) < END_RAD).all()) for cycle in CYCLES)


def _reference(
    stack: InterferogramStack, grid: Grid, coherence: NDArray[np.float64], used: NDArray[np.bool_], warnings: list[str]
) -> NDArray[np.bool_]:
    """Ground taken as still: the named circle, else all ground that is coherent in most interferograms."""
    if stack.reference is not None:
        lon, lat, radius_m = stack.reference
        column, row = grid.pixel_of(lon, lat)
        across, down = spacing_m(grid, column, row)
        circle = shapely.Point(0, 0).buffer(radius_m)
        circle = shapely.transform(circle, lambda p: p / np.array([across, down]) + np.array([column, row]))
        return burn(circle, (0, 0, grid.width, grid.height))
    warnings.append(
        "no reference area is named: rates are against the median of all coherent ground, not against still ground"
    )
    share = used.mean(axis=0)
    mean = np.where(used, coherence, 0.0).sum(axis=0) / np.maximum(1, used.sum(axis=0))
    steady = share >= PAIRS_SHARE
    return np.asarray(steady & (mean >= np.median(mean[steady]))) if steady.any() else share > 0


def _solve(
    design: NDArray[np.float64], phase: NDArray[np.float64], weights: NDArray[np.float64], used: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Phase per date (first = 0), misfit, and where there was enough: all pixels in one batch of normal equations."""
    pairs, height, width = phase.shape
    flat_phase, flat_weights = phase.reshape(pairs, -1).T, weights.reshape(pairs, -1).T
    enough = used.reshape(pairs, -1).mean(axis=0) >= PAIRS_SHARE
    normal = np.einsum("pk,np,pl->nkl", design, flat_weights[enough], design)
    right = np.einsum("pk,np->nk", design, flat_weights[enough] * flat_phase[enough])
    # a network in two parts ties no date to another: its normal matrix is singular
    tied = np.linalg.cond(normal) < 1e10
    solution = np.full((enough.sum(), design.shape[1]), np.nan)
    solution[tied] = np.linalg.solve(normal[tied], right[tied][..., None])[..., 0]
    residual = flat_phase[enough] - solution @ design.T
    total = flat_weights[enough].sum(axis=1)
    misfit = np.sqrt((flat_weights[enough] * residual**2).sum(axis=1) / np.maximum(total, 1e-12))
    out = np.full((design.shape[1] + 1, height * width), np.nan)
    out[0, enough], out[1:, enough] = np.where(tied, 0.0, np.nan), solution.T
    misfits = np.full(height * width, np.nan)
    misfits[enough] = misfit
    known = np.isfinite(misfits)
    return out.reshape(-1, height, width), misfits.reshape(height, width), known.reshape(height, width)


def _fit_rate(
    dates: tuple[datetime, ...], displacement_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    years = np.array([(d - dates[0]).total_seconds() for d in dates]) / 86_400 / DAYS_PER_YEAR
    centred = years - years.mean()
    spread = float((centred**2).sum())
    rate = np.tensordot(centred, displacement_mm, axes=1) / spread
    residual = displacement_mm - displacement_mm.mean(axis=0) - centred[:, None, None] * rate
    freedom = max(1, len(dates) - 2)
    error = np.sqrt((residual**2).sum(axis=0) / freedom / spread)
    return np.asarray(rate), np.asarray(error)


def find_zones(movement: StackMovement, *, k_sigma: float = 3.0, minimum_area_m2: float = 40_000.0) -> list[MovingZone]:
    """Connected zones that move beyond k sigma, the fastest first.

    Sigma of a pixel is its own standard error and the scatter of still ground together, so that an atmosphere that all
    pixels share is no movement.

    `k_sigma`: how far beyond its sigma a rate must lie.
    """
    sigma = np.hypot(movement.error_mm_per_year, movement.noise_mm_per_year)
    found = []
    for kind, sign in (("toward", 1.0), ("away", -1.0)):
        beyond = np.nan_to_num(sign * movement.rate_mm_per_year - k_sigma * sigma, nan=-1.0) > 0
        for zone in outline_zones(beyond, movement.grid, minimum_area_m2):
            rates = movement.rate_mm_per_year[zone.body]
            found.append(
                MovingZone(
                    kind=kind,
                    area_m2=zone.area_m2,
                    pixels=int(zone.body.sum()),
                    rate_mm_per_year=round(float(np.median(rates)), 2),
                    fastest_mm_per_year=round(float(rates[np.argmax(np.abs(rates))]), 2),
                    sigma_mm_per_year=round(float(np.median(sigma[zone.body])), 2),
                    geometry=zone.geometry,
                )
            )
    return sorted(found, key=lambda zone: -abs(zone.fastest_mm_per_year))


@dataclass(frozen=True, slots=True)
class PixelZone:
    """A connected part of a mask: its pixels (H x W), its true area, its outline as GeoJSON."""

    body: NDArray[np.bool_]
    area_m2: float
    geometry: Geometry


def outline_zones(beyond: NDArray[np.bool_], grid: Grid, minimum_area_m2: float) -> list[PixelZone]:
    """Outline the connected parts of a mask; small ones are left out."""
    labels, number = ndimage.label(beyond, structure=EIGHT)
    zones = []
    for index in range(1, number + 1):
        body = labels == index
        outline = shapely.union_all(outline_pixels(body))
        ground = map_outline(outline, grid.to_crs)
        area = true_area_m2(ground, grid)
        if area >= minimum_area_m2:
            lonlat = shapely.set_precision(map_outline(ground, grid.to_lonlat), 1e-7)
            zones.append(PixelZone(body, round(area, 1), cast("Geometry", mapping(shapely.normalize(lonlat)))))
    return zones


def list_points(movement: StackMovement, every: int = 1) -> list[PointSeries]:
    """The pixels that have a rate as points; every n-th row and column."""
    known = np.isfinite(movement.rate_mm_per_year)
    rows, columns = np.nonzero(known)
    chosen = (rows % every == 0) & (columns % every == 0)
    rows, columns = rows[chosen], columns[chosen]
    lon, lat = movement.grid.to_lonlat(*movement.grid.to_crs(columns + 0.5, rows + 0.5))
    return [
        PointSeries(
            f"r{row:04d}c{column:04d}",
            round(float(x), 7),
            round(float(y), 7),
            tuple(round(float(v), 3) for v in movement.displacement_mm[:, row, column]),
        )
        for row, column, x, y in zip(rows, columns, lon, lat, strict=True)
    ]
