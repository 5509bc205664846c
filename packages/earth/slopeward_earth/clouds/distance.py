"""Distances between two clouds along the normals of the ground, with their level of detection: M3C2.

Lague, Brodu and Leroux (2013), ISPRS Journal of Photogrammetry and Remote Sensing 82, 10-26; computed by py4dgeo.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from scipy import ndimage, stats
from shapely.geometry import mapping

from detection.geojson import Geometry
from detection.imagery.errors import AoiError
from detection.imagery.raster.aoi import read_outlines
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.components import EIGHT, outline_pixels
from detection.imagery.raster.geojson import list_features
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Layer, burn, to_pixels
from detection.imagery.raster.raster import write_geotiff
from detection.whole_file import write_json
from slopeward_earth.clouds.grid import NODATA, list_warnings, read_ground
from slopeward_earth.clouds.gridding import choose_rule
from slopeward_earth.clouds.header import CloudError, NoPointsError
from slopeward_earth.clouds.spool import Points, Progress, Spool, cell_of, find_place, plan_grid, spooling
from slopeward_earth.surface.measure import DOUBTED, warn_of_heights

SIZE_MOST_M: Final = 100.0  # of normals and cylinders: all points within lie in memory at once
CORE_MOST: Final = 10_000_000
# A spread of fewer points than this says nothing (Lague et al. 2013, section 4.3).
SAMPLES_LEAST: Final = 5
NMAD: Final = 1.4826
ROUNDS: Final = 10
# Normals that all point one way do not tell a horizontal shift: standard deviation of their parts.
TURNED_LEAST: Final = 0.05
STABLE_LEAST: Final = 100
# A normal has two ends. It is turned towards the sky, or between the sky and where the face looks; at right angles to
# that (within 20 degrees) nobody knows which end is out.
TURN_LEAST: Final = 0.34
# Two surfaces lie over each other in a cell where its points stand in two groups, this many in each, apart by more than
# the radius of normals and by most of their height.
APART: Final = 0.5
OVERLAID: Final = "two surfaces lie over each other (a cave, a deep overhang, a tree): the sign may be wrong"
BANDS: Final = ("distance_m", "level_of_detection_m", "significant_distance_m")
FILES: Final = {"raster": "m3c2.tif", "zones": "m3c2.geojson", "run": "m3c2.json"}


@dataclass(frozen=True, slots=True)
class CloudDistanceRequest:
    """How two clouds are compared."""

    spacing_m: float = 1.0  # between the places where a distance is measured
    normal_m: float = 1.5  # radius within which points give the normal
    radius_m: float = 0.75  # of the cylinder whose points are averaged
    depth_m: float = 5.0  # how far the cylinder reaches along the normal, both ways
    ground: str = "auto"  # `auto`, `class`, `cloth` or `all`
    stable: Path | None = None  # raster that is not 0 on ground known to be stable; None: what differs little
    registration_m: float | None = None  # error of laying the clouds on each other, one sigma; None: from stable ground
    minimum_area_m2: float = 10.0  # smaller zones are left out
    places: Path | None = None  # geoJSON of areas that are summed up by name
    outward_deg: float | None = None  # azimuth into which a wall looks; None: normals point upwards
    crs: str | None = None  # of files that do not say theirs
    height_unit: str | None = None  # of files that do not say theirs
    out_dir: Path | None = None  # for the files


@dataclass(frozen=True, slots=True)
class DistanceZone:
    """Ground that moved significantly, or a named area; distances along the normal, outwards positive."""

    name: str  # of an area that was asked for; empty for what was found
    kind: str  # `gain`, `loss`, or `area`
    area_m2: float  # on the map
    places: int  # where a distance was measured
    significant_share: float  # of them
    mean_m: float  # distance; of an area over all its places
    mean_error_m: float  # one sigma; the error of the registration is not averaged away
    most_m: float  # the distance farthest from 0
    caution: str  # one sentence where gain may be loss; empty else
    geometry: Geometry  # geoJSON, longitude and latitude


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudDistances:
    """What became of the ground between two clouds."""

    places: int  # where a distance was measured
    asked: int  # places of the older cloud
    steep: int  # places left out because nobody knows on which side of them the air is
    overlaid: int  # places where two surfaces lie over each other: of one of them the normal points inwards
    shift_m: tuple[float, float, float]  # east, north and up by which the newer cloud lay off; it was taken away
    registration_m: float  # error of that, one sigma
    registration_from: str  # `given`, `stable ground`, or `what differs as a whole` where no stable ground was named
    level_of_detection_m: float  # median, 95 %
    stable_share: float  # of all places
    significant_share: float  # of all places
    zones: tuple[DistanceZone, ...]  # found, the largest first, then areas that were asked for
    crs: str  # of the raster
    vertical: str  # the system of heights of the older cloud; empty where nobody says it
    warnings: tuple[str, ...]  # one sentence each
    outputs: dict[str, str] = field(default_factory=dict)  # name to path


@dataclass(frozen=True, slots=True)
class _MeasuredDistances:
    """At n places: columns, rows and heights; normals (east, north, up); distances and their errors."""

    at: Points
    normals: Points
    distance: NDArray[np.float64]
    sigma: NDArray[np.float64]
    quantile: NDArray[np.float64]
    overlaid: NDArray[np.bool_]


def compare_clouds(
    older: Sequence[Path], newer: Sequence[Path], request: CloudDistanceRequest, progress: Progress = lambda *_: None
) -> CloudDistances:
    """Measure distances from an older cloud to a newer one along the normals of the older.

    The level of detection is t · √(s₁²/n₁ + s₂²/n₂) + 1.96 · r: s is the spread of the points of a cylinder along the
    normal, t Student's quantile at 95 % (1.96 in the paper, which takes many points), r the error of the registration.
    A shift of the whole is fitted to stable ground and taken away; r is what stable ground scatters beyond its points.
    Without named stable ground a shift beyond the level of detection is not taken away: it counts as error.

    `older`: LAS or LAZ of the earlier date.

    Raises:
        CloudError: a file cannot be used.
        NoPointsError: the clouds share no ground.
    """
    sizes = (request.normal_m, request.radius_m, request.depth_m)
    if not all(0 < size <= SIZE_MOST_M for size in sizes):
        raise CloudError(f"radii and depth are more than 0 and at most {SIZE_MOST_M:g} m")
    if request.registration_m is not None and not 0 <= request.registration_m < np.inf:
        raise CloudError(f"the error of the registration is a number of metres, not {request.registration_m:g}")
    if request.outward_deg is not None and not 0 <= request.outward_deg <= 360:
        raise CloudError(f"outwards is an azimuth of 0 to 360 degrees, not {request.outward_deg:g}")
    # into which half of the sphere normals are turned: up, or half-way between up and where the wall looks
    outward = np.array([0.0, 0.0, 1.0])
    if request.outward_deg is not None:
        azimuth = np.radians(request.outward_deg)
        outward = np.array([np.sin(azimuth), np.cos(azimuth), 1.0]) / np.sqrt(2)
    place = find_place(older, request.crs, request.height_unit)
    later = find_place(newer, request.crs, request.height_unit)
    grid = plan_grid(older, place, request.spacing_m)
    if grid.width * grid.height > CORE_MOST:
        raise CloudError(f"{older[0]}: {grid.width:,} x {grid.height:,} places are too many; take a wider --spacing")
    terms = grid, request.out_dir, request.crs, request.height_unit, progress
    with spooling(older, *terms) as then, spooling(newer, *terms) as now:
        rules = [choose_rule(request.ground, is_classified=spool.is_classified) for spool in (then, now)]
        warnings = [line for spool, rule in zip((then, now), rules, strict=True) for line in list_warnings(spool, rule)]
        warnings += warn_of_heights(place.vertical, later.vertical)
        cell_m = cell_of(grid)
        reach = float(np.hypot(request.radius_m, request.depth_m)) / cell_m + 1
        wide = max(reach, request.normal_m / cell_m + 1)
        parts, count = [], 0
        squares = then.squares()
        for number, square in enumerate(squares, start=1):
            points = read_ground(then, square, rules[0], cell_m, wide)
            core = _choose_places(points, square, then)
            count += len(core)
            others = read_ground(now, square, rules[1], cell_m, reach) if len(core) else core
            if len(others):
                parts.append(_measure(core, points, others, cell_m, request, outward))
            progress("distances", number / len(squares))
    if not sum(len(part.at) for part in parts):
        raise NoPointsError(f"{older[0]} and {newer[0]}: no place has points of both dates")
    names = _MeasuredDistances.__dataclass_fields__
    measured = _MeasuredDistances(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    towards = np.abs(measured.normals @ outward) >= TURN_LEAST
    if steep := int((~towards).sum()):
        line = f"{steep:,} of {len(towards):,} places are too steep to say which is gain: give --outward"
        if steep == len(towards):
            raise NoPointsError(f"{older[0]}: {line}")
        warnings.append(line)
        measured = _MeasuredDistances(**{name: getattr(measured, name)[towards] for name in names})
    return _sum_up(measured, (count, steep), grid, request, place.vertical, list(dict.fromkeys(warnings)))


def _choose_places(points: Points, square: tuple[int, int], spool: Spool) -> Points:
    """Of each cell of a square the point nearest to its middle."""
    low = np.array(square) * spool.side
    inside = ((points[:, :2] >= low) & (points[:, :2] < low + spool.side)).all(axis=1)
    points = points[inside]
    cell = np.floor(points[:, :2]).astype(np.int64)
    away = ((points[:, :2] - cell - 0.5) ** 2).sum(axis=1)
    order = np.lexsort((away, cell[:, 0], cell[:, 1]))
    first = np.r_[True, (np.diff(cell[order], axis=0) != 0).any(axis=1)] if len(order) else np.empty(0, bool)
    return np.asarray(points[order[first]])


def _find_overlaid(core: Points, points: Points, apart_m: float) -> NDArray[np.bool_]:
    """Whether the points in the cell of each place stand in two groups, one over the other."""
    cells = np.floor(points[:, :2]).astype(np.int64)
    order = np.lexsort((points[:, 2], cells[:, 0], cells[:, 1]))
    cells, height = cells[order], points[order, 2]
    begins = np.flatnonzero(np.r_[True, (np.diff(cells, axis=0) != 0).any(axis=1)])
    ends = np.r_[begins[1:], len(cells)]
    found = set()
    for begin, end in zip(begins, ends, strict=True):
        steps = np.diff(height[begin:end])[SAMPLES_LEAST - 1 : -(SAMPLES_LEAST - 1)]
        if len(steps) and steps.max() > max(apart_m, APART * (height[end - 1] - height[begin])):
            found.add((int(cells[begin, 0]), int(cells[begin, 1])))
    return np.array([cell in found for cell in map(tuple, np.floor(core[:, :2]).astype(int).tolist())], bool)


def _measure(
    core: Points,
    older: Points,
    newer: Points,
    cell_m: float,
    request: CloudDistanceRequest,
    outward: NDArray[np.float64],
) -> _MeasuredDistances:
    import py4dgeo

    log = logging.getLogger("py4dgeo")  # it writes a log file where one stands
    for handler in list(log.handlers):
        log.removeHandler(handler)
    log.propagate = False
    turn = np.array([cell_m, -cell_m, 1.0])  # rows count southwards
    middle = core.mean(axis=0)
    epochs = tuple(py4dgeo.Epoch(np.ascontiguousarray((points - middle) * turn)) for points in (older, newer))
    run = py4dgeo.M3C2(
        epochs=epochs,
        corepoints=np.ascontiguousarray((core - middle) * turn),
        normal_radii=(request.normal_m,),
        cyl_radius=request.radius_m,
        max_distance=request.depth_m,
        registration_error=0.0,
        orientation_vector=outward,
    )
    distance, uncertainty = run.run()
    counts = np.column_stack([uncertainty["num_samples1"], uncertainty["num_samples2"]]).astype(np.int64)
    enough = (counts >= SAMPLES_LEAST).all(axis=1) & np.isfinite(distance)
    counts, distance = counts[enough], np.asarray(distance, np.float64)[enough]
    parts = np.column_stack([uncertainty["spread1"], uncertainty["spread2"]])[enough] ** 2 / counts
    total = parts.sum(axis=1)
    freedom = total**2 / np.maximum((parts**2 / (counts - 1)).sum(axis=1), 1e-30)  # Welch and Satterthwaite
    quantile = stats.t.ppf(0.975, np.maximum(freedom, 1.0))
    normals = np.asarray(run.corepoint_normals, np.float64)[enough]
    overlaid = _find_overlaid(core[enough], older, request.normal_m)
    return _MeasuredDistances(core[enough], normals, distance, np.sqrt(total), quantile, overlaid)


def _sum_up(
    measured: _MeasuredDistances,
    counts: tuple[int, int],
    grid: Grid,
    request: CloudDistanceRequest,
    vertical: str,
    warnings: list[str],
) -> CloudDistances:
    count, steep = counts
    shift, ground = _fit_shift(measured, _read_stable(measured, grid, request.stable), request.stable, warnings)
    distance = measured.distance - measured.normals @ shift
    scatter = NMAD * float(np.median(np.abs(distance[ground])))
    registration_m = request.registration_m
    if registration_m is None:
        registration_m = float(np.sqrt(max(0.0, scatter**2 - float(np.median(measured.sigma[ground] ** 2)))))
    limit = measured.quantile * measured.sigma + 1.96 * registration_m
    off = np.abs(measured.normals @ shift)
    trusted = request.stable is not None or float((off > limit).mean()) <= DOUBTED
    if not trusted:
        off_m = float(np.median(off))
        warnings.append(
            f"the newer cloud differs by {off_m:.3f} m as a whole: either it lay off or this ground moved; nothing was "
            "taken away: give --stable"
        )
        shift, distance = np.zeros(3), measured.distance
        if request.registration_m is None:
            registration_m = float(np.hypot(registration_m, off_m))
            limit = measured.quantile * measured.sigma + 1.96 * registration_m
    significant = np.abs(distance) > limit
    column, row = measured.at[:, 0].astype(np.int64), measured.at[:, 1].astype(np.int64)
    fields = np.full((5, grid.height, grid.width), np.nan)
    shown = np.where(significant, distance, np.nan)
    fields[:, row, column] = distance, limit, shown, measured.sigma, measured.overlaid
    zones = _find_zones(fields, registration_m, grid, request, warnings)
    if overlaid := int(measured.overlaid.sum()):
        warnings.append(f"at {overlaid:,} of {len(measured.at):,} places {OVERLAID}")
    if len(measured.at) + steep < 0.5 * count:
        warnings.append(
            f"{1 - (len(measured.at) + steep) / count:.0%} of the places have fewer than {SAMPLES_LEAST} points of "
            "both dates in the cylinder: take a wider --radius or a longer --depth"
        )
    found = CloudDistances(
        places=len(measured.at),
        asked=count,
        steep=steep,
        overlaid=overlaid,
        shift_m=tuple(round(float(one), 4) for one in shift),  # type: ignore[arg-type]
        registration_m=round(registration_m, 4),
        registration_from=(
            "given" if request.registration_m is not None else "stable ground" if trusted else "what differs as a whole"
        ),
        level_of_detection_m=round(float(np.median(limit)), 4),
        stable_share=round(float(ground.mean()), 4),
        significant_share=round(float(significant.mean()), 4),
        zones=tuple(zones),
        crs=grid.crs_name,
        vertical=vertical,
        warnings=tuple(warnings),
    )
    if request.out_dir is None:
        return found
    request.out_dir.mkdir(parents=True, exist_ok=True)
    values = np.where(np.isfinite(fields[:3]), fields[:3], NODATA).astype(np.float32)
    write_geotiff(request.out_dir / FILES["raster"], values, grid, nodata=NODATA, descriptions=BANDS)
    found = replace(found, outputs={name: str(request.out_dir / file) for name, file in FILES.items()})
    write_json(request.out_dir / FILES["zones"], {"type": "FeatureCollection", "features": list_features(found.zones)})
    write_json(request.out_dir / FILES["run"], asdict(found))
    return found


def _read_stable(measured: _MeasuredDistances, grid: Grid, stable: Path | None) -> NDArray[np.bool_] | None:
    if stable is None:
        return None
    with Layer(stable, grid, nearest=True) as layer:
        values, known = layer.read(0, 0, grid.width, grid.height)
    held = known & apply_mask("mask", values)
    found = held[measured.at[:, 1].astype(np.int64), measured.at[:, 0].astype(np.int64)]
    if not found.any():
        raise NoPointsError(f"{stable}: no stable ground where a distance was measured")
    return np.asarray(found)


def _fit_shift(
    measured: _MeasuredDistances, given: NDArray[np.bool_] | None, stable: Path | None, warnings: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """East, north and up by which the newer cloud lies off on stable ground, and where that ground is.

    Where normals all point one way, a shift along the ground cannot be seen, and one along their mean is taken.
    """
    start = np.ones(len(measured.distance), bool) if given is None else given
    ground, shift = start, np.zeros(3)
    for _ in range(ROUNDS):
        normals, distance = measured.normals[ground], measured.distance[ground]
        if len(distance) >= STABLE_LEAST and np.linalg.svd(normals - normals.mean(axis=0), compute_uv=False)[1] > (
            TURNED_LEAST * np.sqrt(len(distance))
        ):
            shift = np.linalg.lstsq(normals, distance, rcond=None)[0]
        else:
            shift = float(np.median(distance)) * normals.mean(axis=0) / float((normals.mean(axis=0) ** 2).sum())
        left = measured.distance - measured.normals @ shift
        scatter = NMAD * float(np.median(np.abs(left[ground])))
        kept = start & (np.abs(left) <= 3 * max(scatter, 1e-6))
        if np.array_equal(kept, ground):
            break
        ground = kept
    if stable is None:
        warnings.append("stable ground was found by clipping; a mask of stable ground is better")
        if ground.sum() < 0.5 * len(ground):
            warnings.append("less than half of the ground is stable: shift and registration rest on little")
    return np.asarray(shift), ground


def _find_zones(
    fields: NDArray[np.float64],
    registration_m: float,
    grid: Grid,
    request: CloudDistanceRequest,
    warnings: list[str],
) -> list[DistanceZone]:
    """Connected ground with significant distances of one sign, the largest first; and the areas asked for by name.

    `fields`: of each cell distance, limit, the distance where it is significant, the error of the distance, and 1
    where two surfaces lie over each other.
    """
    found, named = [], []
    for kind, beyond in (("loss", fields[2] < 0), ("gain", fields[2] > 0)):
        labels, _ = ndimage.label(beyond, structure=EIGHT)
        for index, place in enumerate(ndimage.find_objects(labels), start=1):
            body = labels[place] == index
            if body.sum() * request.spacing_m**2 >= request.minimum_area_m2:
                outline = shapely.union_all(outline_pixels(body))
                outline = shapely.affinity.translate(outline, place[1].start, place[0].start)
                values = fields[(slice(None), *place)][:, body]
                found.append(_describe("", kind, outline, values, registration_m, grid, request))
    for name, outline in [] if request.places is None else read_outlines(request.places, warnings):
        pixels = to_pixels(outline, grid)
        inside = burn(pixels, (0, 0, grid.width, grid.height)) & np.isfinite(fields[0])
        if inside.any():
            named.append(_describe(name, "area", pixels, fields[:, inside], registration_m, grid, request))
    if request.places is not None and not named:
        raise AoiError(f"{request.places}: no area of it has a distance")
    return [*sorted(found, key=lambda zone: -zone.area_m2), *named]


def _describe(
    name: str,
    kind: str,
    outline: Any,
    fields: NDArray[np.float64],
    registration_m: float,
    grid: Grid,
    request: CloudDistanceRequest,
) -> DistanceZone:
    distance, _, significant, sigma, overlaid = fields
    # cylinders of neighbouring places share points: so many of them are independent
    share = min(1.0, request.spacing_m**2 / (np.pi * request.radius_m**2))
    error = np.sqrt(np.mean(sigma**2) / max(1.0, share * len(distance)) + registration_m**2)
    lonlat = map_outline(map_outline(outline, grid.to_crs), grid.to_lonlat)
    return DistanceZone(
        name=name,
        kind=kind,
        area_m2=round(float(len(distance) * request.spacing_m**2), 2),
        places=len(distance),
        significant_share=round(float(np.isfinite(significant).mean()), 4),
        mean_m=round(float(distance.mean()), 4),
        mean_error_m=round(float(error), 4),
        most_m=round(float(distance[np.argmax(np.abs(distance))]), 4),
        caution=f"at {overlaid.mean():.0%} of its places {OVERLAID}" if overlaid.any() else "",
        geometry=cast("Geometry", mapping(shapely.normalize(shapely.set_precision(lonlat, 1e-7)))),
    )
