"""Outline the footprints of a probability raster: components across strips, true areas, longitude and latitude."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from detection.imagery.footprints.records import Footprint
from detection.imagery.raster.areas import (
    Outlines,
    join_sides,
    map_outline,
    measure_ground,
    measure_rectangles,
    pixel_area_m2,
)
from detection.imagery.raster.components import EIGHT, FOUR, NODATA, Component, Labelling, Read, Rows, outline_pixels
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.sampling import NO_SAMPLER, Sampler, Sums

# An outline that lies within this distance of nodata is most likely an edge effect, not a landslide.
NODATA_MARGIN_PX = 3
# Probabilities are stored as whole steps of 1/200; 255 is nodata.
STEPS = 200
# Without a place on the ground the smallest footprint is nine pixels: 900 m² at 10 m.
UNPLACED_MINIMUM_PX = 9.0
# A component whose box is larger than this is outlined strip by strip.
LARGE_PX = 1 << 22
# This many outlines are measured at once.
AT_ONCE = 256
# Bodies in windows of at most `NARROW_PX` columns are outlined together, at most `STACK_PX` pixels at once.
NARROW_PX, STACK_PX = 128, 1 << 20
EMPTY = shapely.Polygon()


@dataclass(slots=True)
class ComponentFacts:
    """Sums over the pixels of a component, and its outline."""

    outline: BaseGeometry = EMPTY
    pixels: int = 0
    steps_sum: int = 0
    steps_max: int = 0
    touches_nodata: bool = False
    hugs_nodata: bool = True
    samples: Sums = field(default_factory=Sums)


class OutlineQueue:
    """Outline many bodies in one call, their windows below each other in one array.

    One call for many bodies takes a fifth of the time of many calls. A wide window is outlined by itself, because it
    would leave too much of the array empty.

    Args:
        hole_px: holes of fewer pixels are filled, unless they contain nodata.
    """

    def __init__(self, hole_px: float) -> None:
        self._hole_px, self._px = hole_px, 0
        self._waiting: list[tuple[ComponentFacts, NDArray[np.bool_], NDArray[np.bool_], tuple[int, int]]] = []

    def add(
        self, body: ComponentFacts, pixels: NDArray[np.bool_], nodata: NDArray[np.bool_], origin: tuple[int, int]
    ) -> None:
        """Add a body.

        Args:
            body: gets its outline when the queue is drawn.
            pixels: the pixels of the body in a window.
            nodata: the nodata pixels of the window.
            origin: column and row of the first pixel of the window.
        """
        alone = pixels.shape[1] > NARROW_PX
        if alone or self._px + NARROW_PX * pixels.shape[0] > STACK_PX:
            self.draw()
        self._waiting.append((body, pixels, nodata, origin))
        self._px += NARROW_PX * (pixels.shape[0] + 1)
        if alone:
            self.draw()

    def draw(self) -> None:
        """Set the outline of every body in the queue."""
        waiting, self._waiting, self._px = self._waiting, [], 0
        if not waiting:
            return
        tops = np.cumsum([0, *(len(pixels) + 1 for _, pixels, _, _ in waiting)])  # a row between parts them
        size = tops[-1], max(pixels.shape[1] for _, pixels, _, _ in waiting)
        bodies, empty = np.zeros(size, bool), np.zeros(size, bool)
        for top, (_, pixels, nodata, _) in zip(tops, waiting, strict=False):
            place = slice(top, top + len(pixels)), slice(0, pixels.shape[1])
            bodies[place], empty[place] = pixels, nodata
        outlines = np.array(outline_pixels(_fill_holes(bodies, empty, self._hole_px)), object)
        owners = np.searchsorted(tops, shapely.bounds(outlines)[:, 1], side="right") - 1
        shifts = np.array([origin for *_, origin in waiting]) - np.stack([np.zeros_like(tops[:-1]), tops[:-1]], axis=1)
        places, of = shapely.get_coordinates(outlines, return_index=True)
        outlines = shapely.set_coordinates(outlines, places + shifts[owners[of]])
        every = np.split(outlines, np.searchsorted(owners, np.arange(1, len(waiting))))
        whole = np.array([_collect(own.tolist()) for own in every], object)
        for (body, *_), outline, valid in zip(waiting, whole, shapely.is_valid(whole), strict=True):
            body.outline = outline if valid else _mend(outline)


def threshold_steps(threshold: float) -> int:
    """Return the smallest stored step that counts as landslide.

    >>> threshold_steps(0.5), threshold_steps(0.0), threshold_steps(0.301)
    (100, 1, 61)
    """
    return max(1, int(np.ceil(threshold * STEPS - 1e-9)))


@dataclass(frozen=True, slots=True)
class OutlineRule:
    """Which components become footprints."""

    threshold: float  # probability from which a pixel counts
    # footprints with a smaller area, holes filled, are left out; on a grid without georeference nine pixels count
    minimum_area_m2: float
    minimum_hole_m2: float  # smaller holes are filled, unless they contain nodata
    identity: str  # scene and model; the id of a footprint is a hash of it and the first pixel
    kind: str = "landslide"  # the class
    linear: bool = False  # footprints of this class are lines (cracks), whose width is the area over the length


def find_footprints(
    read: Read,
    grid: Grid,
    rule: OutlineRule,
    sampler: Sampler = NO_SAMPLER,
    on_small: Callable[[], None] = lambda: None,
) -> Iterator[Footprint]:
    """Yield the footprints of a stored probability raster, in the order of their first pixel.

    Memory is bounded by a strip of the scene and the outlines of `AT_ONCE` components.

    Args:
        read: reads the stored probability steps (0 to 200, 255 = nodata): column, row, width, height.
        grid: grid of the raster.
        rule: which components become footprints.
        sampler: samples terrain and susceptibility below footprints.
        on_small: called for each component that is too small.
    """
    least = threshold_steps(rule.threshold)
    # Filled holes at most double the area, so components whose box is below half of the minimum need no outline.
    pixel_m2 = pixel_area_m2(grid) if grid.placed else 1.0
    smallest = rule.minimum_area_m2 if grid.placed else UNPLACED_MINIMUM_PX
    hole_px = (rule.minimum_hole_m2 if grid.placed else UNPLACED_MINIMUM_PX) / pixel_m2
    labelling = Labelling(read, grid.width, grid.height, least)
    rows = Rows(read, grid.width, grid.height)
    bodies: list[tuple[Component, ComponentFacts]] = []
    queue = OutlineQueue(hole_px)
    for component in labelling.components:
        if component.box_px * pixel_m2 < 0.5 * smallest:
            on_small()
            continue
        if component.box_px > LARGE_PX:
            body = _gather_large(read, grid, component, labelling, hole_px, sampler)
        else:
            body = _gather(rows, grid, component, least, queue, sampler)
        bodies.append((component, body))
        if len(bodies) == AT_ONCE:
            queue.draw()
            yield from _describe(bodies, grid, smallest, rule, sampler, on_small)
            bodies = []
    queue.draw()
    yield from _describe(bodies, grid, smallest, rule, sampler, on_small)


def _describe(
    bodies: list[tuple[Component, ComponentFacts]],
    grid: Grid,
    smallest: float,
    rule: OutlineRule,
    sampler: Sampler,
    on_small: Callable[[], None],
) -> Iterator[Footprint]:
    """Measure all bodies on the ground at once, and yield the footprints that are large enough."""
    placed = grid.placed
    outlines = np.array([body.outline for _, body in bodies], object)
    on_ground = map_outline(outlines, grid.to_crs)
    areas, perimeters = measure_ground(on_ground, grid)
    large = (areas if placed else shapely.area(outlines)) >= smallest
    lonlat = _to_geojson(on_ground[large], grid)
    # An outline of millimetres has no area at seven decimals of a degree.
    has_area = ~shapely.is_empty(lonlat)
    lonlat, large[large] = lonlat[has_area], has_area
    for _ in range(np.count_nonzero(~large)):
        on_small()
    whole = lonlat.copy()
    for place in np.flatnonzero(np.ptp(shapely.bounds(lonlat)[:, ::2], axis=1) > 180) if placed else ():
        whole[place] = join_sides(lonlat[place])
    rectangles = measure_rectangles(whole) if placed else [(None, None, None)] * len(whole)
    middles = shapely.get_coordinates(shapely.centroid(whole)).tolist()
    geometries, boxes = (json.loads(text) for text in shapely.to_geojson(lonlat)), shapely.bounds(lonlat).tolist()
    for place, geometry, box, (x, y), (length, width, azimuth) in zip(
        np.flatnonzero(large), geometries, boxes, middles, rectangles, strict=True
    ):
        component, body = bodies[place]
        area, perimeter = float(areas[place]), float(perimeters[place])
        name = f"{rule.identity}:{component.first_row}:{component.first_column}"
        if rule.kind != "landslide":
            name = f"{name}:{rule.kind}"
        yield Footprint(
            polygon_id=hashlib.sha256(name.encode()).hexdigest()[:16],
            kind=rule.kind,
            area_m2=round(area, 2) if placed else None,
            perimeter_m=round(perimeter, 2) if placed else None,
            mean_probability=round(body.steps_sum / body.pixels / STEPS, 4),
            max_probability=body.steps_max / STEPS,
            geometry=geometry,
            bbox=(box[0], box[1], box[2], box[3]),
            centroid=(round(x - 360 * round(x / 360) if placed else x, 7), round(y, 7)),
            length_m=length,
            width_m=round(area / length, 2) if rule.linear and length else width,
            azimuth_deg=azimuth,
            touches_edge=any(component.list_sides(grid.width, grid.height)),
            touches_nodata=body.touches_nodata,
            hugs_nodata=body.hugs_nodata,
            **sampler.describe(body.samples, body.pixels)._asdict(),
        )


def _gather(
    read: Read, grid: Grid, component: Component, least: int, queue: OutlineQueue, sampler: Sampler
) -> ComponentFacts:
    """Read a component in one window. Its outline is set when the queue is drawn."""
    left, top = max(0, component.left - NODATA_MARGIN_PX), max(0, component.top - NODATA_MARGIN_PX)
    right = min(grid.width, component.right + NODATA_MARGIN_PX)
    bottom = min(grid.height, component.bottom + NODATA_MARGIN_PX)
    values = read(left, top, right - left, bottom - top)
    nodata = values == NODATA
    pixels = _find_pixels((values >= least) & ~nodata, component, left, top)
    body = ComponentFacts()
    queue.add(body, pixels, nodata, (left, top))
    _count(body, values, pixels, nodata)
    sampler.sample(body.samples, left, top, pixels)
    return body


def _find_pixels(marked: NDArray[np.bool_], component: Component, left: int, top: int) -> NDArray[np.bool_]:
    box = slice(component.top - top, component.bottom - top), slice(component.left - left, component.right - left)
    if np.count_nonzero(marked[box]) == component.pixels:  # no other component reaches into its box
        pixels = np.zeros_like(marked)
        pixels[box] = marked[box]
        return pixels
    labels, _ = ndimage.label(marked, structure=EIGHT)
    return np.asarray(labels == labels[component.first_row - top, component.first_column - left])


def _gather_large(
    read: Read, grid: Grid, component: Component, labelling: Labelling, hole_px: float, sampler: Sampler
) -> ComponentFacts:
    parts: list[BaseGeometry] = []
    body = ComponentFacts()
    for row, pixels, _ in labelling.read_component(component):
        if not pixels.any():
            continue
        left, top = max(0, component.left - NODATA_MARGIN_PX), max(0, row - NODATA_MARGIN_PX)
        right = min(grid.width, component.right + NODATA_MARGIN_PX)
        bottom = min(grid.height, row + pixels.shape[0] + NODATA_MARGIN_PX)
        values = read(left, top, right - left, bottom - top)
        framed = np.zeros(values.shape, bool)
        at_row, at_column = row - top, component.left - left
        framed[at_row : at_row + pixels.shape[0], at_column : at_column + pixels.shape[1]] = pixels
        _count(body, values, framed, values == NODATA)
        sampler.sample(body.samples, component.left, row, pixels)
        parts += outline_pixels(pixels, (component.left, row))
    body.outline = _mend(_fill_faces(shapely.union_all(parts), read, hole_px))
    return body


def _count(
    body: ComponentFacts, values: NDArray[np.uint8], pixels: NDArray[np.bool_], nodata: NDArray[np.bool_]
) -> None:
    steps = values[pixels]
    body.pixels += int(steps.size)
    body.steps_sum += int(steps.sum(dtype=np.int64))
    body.steps_max = max(body.steps_max, int(steps.max()))
    if not nodata.any():
        body.hugs_nodata = False
        return
    body.touches_nodata |= bool((ndimage.binary_dilation(pixels, EIGHT) & nodata).any())
    near = ndimage.binary_dilation(nodata, EIGHT, iterations=NODATA_MARGIN_PX)
    body.hugs_nodata &= bool(near[pixels].all())


def _fill_holes(body: NDArray[np.bool_], nodata: NDArray[np.bool_], limit_px: float) -> NDArray[np.bool_]:
    """Fill the holes of fewer than `limit_px` pixels that contain no nodata."""
    framed = np.ones((body.shape[0] + 2, body.shape[1] + 2), bool)
    framed[1:-1, 1:-1] = ~body
    around, number = ndimage.label(framed, structure=FOUR)
    if number == 1:
        return body
    fill = np.bincount(around.ravel()) < limit_px
    fill[:2] = False  # the body itself, and the ground outside of it
    holes = around[1:-1, 1:-1]
    fill[np.unique(holes[nodata])] = False
    return np.asarray(body | fill[holes])


def _fill_faces(outline: BaseGeometry, read: Read, limit_px: float) -> BaseGeometry:
    """Fill holes of an outline like `_fill_holes`, also those enclosed by pixels that touch at corners only."""
    fill = []
    for face in shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.node(outline.boundary)))):
        if face.area >= limit_px or outline.contains(face.representative_point()):
            continue
        left, top, right, bottom = (int(value) for value in face.bounds)
        rows, columns = np.nonzero(read(left, top, right - left, bottom - top) == NODATA)
        if not shapely.contains_xy(face, columns + left + 0.5, rows + top + 0.5).any():
            fill.append(face)
    return shapely.union_all([outline, *fill]) if fill else outline


def _mend(outline: BaseGeometry) -> BaseGeometry:
    return outline if outline.is_valid else shapely.make_valid(outline, method="structure")


def _to_geojson(on_ground: Outlines, grid: Grid) -> Outlines:
    """Return outlines in longitude and latitude by RFC 7946.

    They have 7 decimals and counter-clockwise exterior rings, and are cut at 180 degrees.
    """
    lonlat = map_outline(on_ground, lambda x, y: _round(*grid.to_lonlat(x, y)))
    left, _, right, _ = shapely.bounds(lonlat).T
    for place in np.flatnonzero((left <= -180) | (right >= 180) | (right - left > 180)) if grid.placed else ():
        whole = join_sides(map_outline(on_ground[place], grid.to_lonlat))
        if whole.bounds[0] < -180 or whole.bounds[2] > 180:  # all parts are moved to -180..180 (section 3.1.9)
            cut = [
                (whole.intersection(shapely.box(west, -90, west + 360, 90)), west + 180) for west in (-540, -180, 180)
            ]
            moved = [shapely.affinity.translate(part, -shift) for part, shift in cut if not part.is_empty]
            whole = shapely.union_all(moved)
        lonlat[place] = map_outline(whole, _round)
    parts, owners = shapely.get_parts(lonlat, return_index=True)
    kept = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)
    parts, owners = shapely.orient_polygons(parts[kept]), owners[kept]
    every = np.split(parts, np.searchsorted(owners, np.arange(1, len(lonlat))))
    for number, own in enumerate(every[: len(lonlat)]):
        lonlat[number] = _collect(own.tolist())
    return lonlat


def _round(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.round(x, 7), np.round(y, 7)


def _collect(parts: list[Any]) -> BaseGeometry:
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
