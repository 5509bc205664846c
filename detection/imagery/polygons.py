"""From a probability raster to footprints: components joined across strips, true areas, lon/lat outlines."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from detection.imagery.grid import Grid
from detection.imagery.raster import outline_pixels

EIGHT = np.ones((3, 3), bool)
NODATA = 255
# What never leaves this distance from nodata is most likely an edge effect, not a landslide.
NODATA_MARGIN_PX = 3
# Probabilities are stored as whole steps of 1/200; 255 is nodata.
STEPS = 200
# Up to here a projected CRS may be taken as true to area; beyond (Web Mercator, feet) the geodesic area is used.
AREA_TOLERANCE = 0.005

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
MapXy = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Component:
    """Pixels that hang together by sides or corners; rows and columns of the scene, right and bottom exclusive."""

    first_row: int
    first_column: int
    pixels: int
    left: int
    top: int
    right: int
    bottom: int


def map_outline(outline: BaseGeometry, function: MapXy) -> BaseGeometry:
    """Return the outline with `function` applied to its x and y."""
    moved: BaseGeometry = shapely.transform(outline, function, interleaved=False)  # type: ignore[arg-type]
    return moved


def threshold_steps(threshold: float) -> int:
    """Return the smallest stored step that counts as landslide.

    >>> threshold_steps(0.5), threshold_steps(0.0), threshold_steps(0.301)
    (100, 1, 61)
    """
    return max(1, int(np.ceil(threshold * STEPS - 1e-9)))


def find_components(read: Read, width: int, height: int, least: int, strip: int = 512) -> list[Component]:
    """Find the connected components of `step >= least`, reading strip by strip and joining them by union-find.

    Args:
        read: `read(column, row, width, height)` of the stored probability steps.
        width: columns of the scene.
        height: rows of the scene.
        least: smallest step that counts.
        strip: rows held in memory at a time.

    Returns:
        Components in the order of their first pixel (row by row).
    """
    parents: list[int] = [0]
    facts: list[NDArray[np.int64]] = []
    offset = 0
    above: NDArray[np.int64] | None = None
    for top in range(0, height, strip):
        rows = min(strip, height - top)
        values = read(0, top, width, rows)
        labels, number = ndimage.label((values >= least) & (values != NODATA), structure=EIGHT)
        parents.extend(range(offset + 1, offset + number + 1))
        facts.append(_component_facts(labels, number, top))
        labels = np.where(labels > 0, labels.astype(np.int64) + offset, 0)
        if above is not None:
            for shift in (-1, 0, 1):
                upper, lower = (
                    above[max(0, -shift) : width - max(0, shift)],
                    labels[0, max(0, shift) : width + min(0, shift)],
                )
                for one, other in np.unique(np.stack([upper, lower])[:, (upper > 0) & (lower > 0)], axis=1).T:
                    _join(parents, int(one), int(other))
        above = labels[-1]
        offset += number
    return _merge(parents, np.concatenate(facts) if facts else np.empty((0, 7), np.int64))


def _component_facts(labels: NDArray[Any], number: int, top: int) -> NDArray[np.int64]:
    """Per label: first row, first column, pixels, left, top, right, bottom."""
    out = np.zeros((number, 7), np.int64)
    if not number:
        return out
    out[:, 2] = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    for index, box in enumerate(ndimage.find_objects(labels)):
        rows, columns = box
        first = columns.start + int(np.argmax(labels[rows.start, columns] == index + 1))
        out[index, [0, 1]] = rows.start + top, first
        out[index, 3:] = columns.start, rows.start + top, columns.stop, rows.stop + top
    return out


def _root(parents: list[int], label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def _merge(parents: list[int], facts: NDArray[np.int64]) -> list[Component]:
    merged: dict[int, Component] = {}
    for label, row in enumerate(facts, start=1):
        part = Component(*(int(value) for value in row))
        root = _root(parents, label)
        known = merged.get(root)
        if known is None:
            merged[root] = part
            continue
        first = min((known.first_row, known.first_column), (part.first_row, part.first_column))
        merged[root] = Component(
            first[0],
            first[1],
            known.pixels + part.pixels,
            min(known.left, part.left),
            min(known.top, part.top),
            max(known.right, part.right),
            max(known.bottom, part.bottom),
        )
    return sorted(merged.values(), key=lambda item: (item.first_row, item.first_column))


def pixel_area_m2(grid: Grid) -> float:
    """Return the true area of the pixel at the grid's centre, m²."""
    column, row = grid.width / 2, grid.height / 2
    square = shapely.box(column - 0.5, row - 0.5, column + 0.5, row + 0.5)
    return true_area_m2(map_outline(square, grid.to_crs), grid)


def true_area_m2(outline: BaseGeometry, grid: Grid) -> float:
    """Return the area on the ground of an outline in the grid's CRS, m².

    In a projected CRS in metres that is true to area within 0.5 % here, the planar area (which is the determinant of
    the affine times the pixels, whatever the rotation); else the geodesic area on WGS 84 (Karney 2013) of the outline
    densified to steps of at most a pixel.
    """
    geodesic = _geodesic_area_m2(outline, grid)
    if not grid.crs.is_projected:
        return geodesic
    planar = float(outline.area)
    return planar if abs(planar - geodesic) <= AREA_TOLERANCE * geodesic else geodesic


def _geodesic_area_m2(outline: BaseGeometry, grid: Grid) -> float:
    step = float(np.sqrt(abs(grid.transform.determinant)))
    dense = map_outline(shapely.segmentize(outline, step), grid.to_lonlat)
    geod = pyproj.Geod(ellps="WGS84")
    area = 0.0
    for part in shapely.get_parts(dense):
        area += float(geod.geometry_area_perimeter(orient(part))[0])
    return area


def find_footprints(
    read: Read,
    grid: Grid,
    *,
    threshold: float,
    minimum_area_m2: float,
    minimum_hole_m2: float,
    identity: str,
) -> Iterator[dict[str, Any]]:
    """Yield the footprints of a stored probability raster, in the order of their first pixel.

    Memory is bounded by a strip of the scene and by the largest component's window.

    Args:
        read: `read(column, row, width, height)` of the stored probability steps (0 to 200, 255 = nodata).
        grid: the raster's grid.
        threshold: probability from which a pixel counts.
        minimum_area_m2: footprints smaller than this on the ground, holes filled, are left out.
        minimum_hole_m2: holes smaller than this are filled, unless there is nodata in them.
        identity: what the ids shall depend on (scene and model); an id is a hash of it and the first pixel.

    Yields:
        Dictionaries with polygon_id, area_m2, mean_probability, max_probability, geometry (GeoJSON, RFC 7946: lon/lat,
        exterior rings counter-clockwise, 7 decimals), bbox, centroid, touches_edge, touches_nodata,
        hugs_nodata (no pixel lies farther than 3 pixels from nodata).
    """
    least = threshold_steps(threshold)
    # A hole can at most double what the minimum leaves: a rough bound spares the outlines of mere specks.
    pixel_m2 = pixel_area_m2(grid)
    for component in find_components(read, grid.width, grid.height, least):
        box_m2 = (component.right - component.left) * (component.bottom - component.top) * pixel_m2
        if box_m2 < 0.5 * minimum_area_m2:
            continue
        footprint = _footprint(read, grid, component, least, (minimum_hole_m2, pixel_m2))
        if footprint["area_m2"] < minimum_area_m2:
            continue
        name = f"{identity}:{component.first_row}:{component.first_column}"
        yield {"polygon_id": hashlib.sha256(name.encode()).hexdigest()[:16], **footprint}


def _footprint(read: Read, grid: Grid, component: Component, least: int, hole: tuple[float, float]) -> dict[str, Any]:
    left, top = max(0, component.left - NODATA_MARGIN_PX), max(0, component.top - NODATA_MARGIN_PX)
    right = min(grid.width, component.right + NODATA_MARGIN_PX)
    bottom = min(grid.height, component.bottom + NODATA_MARGIN_PX)
    values = read(left, top, right - left, bottom - top)
    labels, _ = ndimage.label((values >= least) & (values != NODATA), structure=EIGHT)
    body = labels == labels[component.first_row - top, component.first_column - left]
    steps = values[body]
    nodata = values == NODATA
    near_nodata = ndimage.binary_dilation(nodata, EIGHT, iterations=NODATA_MARGIN_PX) if nodata.any() else nodata
    filled = _fill_holes(body, nodata, hole[0] / hole[1])
    parts = [shapely.geometry.shape(geometry) for geometry in outline_pixels(filled)]
    outline = map_outline(_collect(parts), lambda x, y: (x + left, y + top))
    if not outline.is_valid:
        outline = shapely.make_valid(outline, method="structure")
    on_ground = map_outline(outline, grid.to_crs)
    lonlat = _to_geojson(on_ground, grid)
    centroid = lonlat.centroid
    return {
        "area_m2": round(true_area_m2(on_ground, grid), 2),
        "mean_probability": round(float(steps.mean(dtype=np.float64)) / STEPS, 4),
        "max_probability": int(steps.max()) / STEPS,
        "geometry": mapping(lonlat),
        "bbox": [float(value) for value in lonlat.bounds],
        "centroid": [round(centroid.x, 7), round(centroid.y, 7)],
        "touches_edge": bool(
            component.left == 0
            or component.top == 0
            or component.right == grid.width
            or component.bottom == grid.height
        ),
        "touches_nodata": bool((ndimage.binary_dilation(body, EIGHT) & nodata).any()),
        "hugs_nodata": bool(near_nodata[body].all()),
    }


def _fill_holes(body: NDArray[np.bool_], nodata: NDArray[np.bool_], limit_px: float) -> NDArray[np.bool_]:
    """Fill the holes of fewer than `limit_px` pixels that hold no nodata."""
    holes, number = ndimage.label(ndimage.binary_fill_holes(body) & ~body)
    if not number:
        return body
    sizes = np.bincount(holes.ravel(), minlength=number + 1)
    fill = sizes < limit_px
    fill[0] = False
    fill[np.unique(holes[nodata])] = False
    return np.asarray(body | fill[holes])


def _to_geojson(on_ground: BaseGeometry, grid: Grid) -> BaseGeometry:
    """Lon/lat by RFC 7946: 7 decimals, exterior rings counter-clockwise; longitudes within -180..180."""
    lonlat = map_outline(on_ground, grid.to_lonlat)
    rounded = map_outline(lonlat, lambda x, y: (np.round((x + 180) % 360 - 180, 7), np.round(y, 7)))
    parts = [orient(part) for part in shapely.get_parts(rounded) if part.geom_type == "Polygon"]
    return _collect(parts)


def _collect(parts: list[Any]) -> BaseGeometry:
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
