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
    map_outline,
    measure_ground,
    measure_rectangles,
    pixel_area_m2,
    unwrap_longitudes,
)
from detection.imagery.raster.components import (
    EIGHT,
    FOUR,
    NODATA,
    Component,
    Labelling,
    Read,
    RowBuffer,
    outline_pixels,
)
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.sampling import NO_SAMPLER, Sampler, Sums

# An outline that lies within this distance of nodata is most likely an edge effect, not a landslide.
NODATA_MARGIN_PX = 3
# Probabilities are stored as whole steps of 1/200; 255 is nodata.
STEPS = 200
# Without a place on the ground the smallest footprint is nine pixels: 900 m² at 10 m.
UNPLACED_MINIMUM_PX = 9.0
# A component whose bounding box has more pixels than this is outlined strip by strip.
LARGE_BOX_PX = 1 << 22
# How many outlines are measured in one call.
MEASURED_AT_ONCE = 256
# Components in windows of at most `NARROW_PX` columns are outlined together, at most `STACK_PX` pixels in one call.
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
    """Outline many components in one call, with their windows stacked below each other in one array.

    One call for many components takes a fifth of the time of many calls. A wide window is outlined by itself, because
    it would leave too much of the array empty.

    Args:
        hole_px: holes of fewer pixels are filled, unless they contain nodata.
    """

    def __init__(self, hole_px: float) -> None:
        self._hole_px = hole_px
        self._queued_px = 0
        self._queued: list[tuple[ComponentFacts, NDArray[np.bool_], NDArray[np.bool_], tuple[int, int]]] = []

    def add(
        self, facts: ComponentFacts, pixels: NDArray[np.bool_], nodata: NDArray[np.bool_], origin: tuple[int, int]
    ) -> None:
        """Add a component.

        Args:
            facts: its outline is set by `outline_all`, which this method also calls when the queue is full.
            pixels: the pixels of the component in a window.
            nodata: the nodata pixels of the window.
            origin: column and row of the first pixel of the window.
        """
        is_wide = pixels.shape[1] > NARROW_PX
        if is_wide or self._queued_px + NARROW_PX * pixels.shape[0] > STACK_PX:
            self.outline_all()
        self._queued.append((facts, pixels, nodata, origin))
        self._queued_px += NARROW_PX * (pixels.shape[0] + 1)
        if is_wide:
            self.outline_all()

    def outline_all(self) -> None:
        """Set the outline of every component in the queue, and empty the queue."""
        queued = self._queued
        self._queued = []
        self._queued_px = 0
        if not queued:
            return
        # Between two windows there is an empty row, so that their pixels do not touch.
        tops = np.cumsum([0, *(len(pixels) + 1 for _, pixels, _, _ in queued)])
        size = tops[-1], max(pixels.shape[1] for _, pixels, _, _ in queued)
        all_pixels, all_nodata = np.zeros(size, bool), np.zeros(size, bool)
        for top, (_, pixels, nodata, _) in zip(tops, queued, strict=False):
            window = slice(top, top + len(pixels)), slice(0, pixels.shape[1])
            all_pixels[window] = pixels
            all_nodata[window] = nodata
        parts = np.array(outline_pixels(_fill_holes(all_pixels, all_nodata, self._hole_px)), object)
        # The component of each part, by the first row of the part in the array.
        owners = np.searchsorted(tops, shapely.bounds(parts)[:, 1], side="right") - 1
        shifts = np.array([origin for *_, origin in queued]) - np.stack([np.zeros_like(tops[:-1]), tops[:-1]], axis=1)
        coordinates, part_of_coordinate = shapely.get_coordinates(parts, return_index=True)
        parts = shapely.set_coordinates(parts, coordinates + shifts[owners[part_of_coordinate]])
        parts_by_component = np.split(parts, np.searchsorted(owners, np.arange(1, len(queued))))
        outlines = np.array([_join_parts(own_parts.tolist()) for own_parts in parts_by_component], object)
        for (facts, *_), outline, is_valid in zip(queued, outlines, shapely.is_valid(outlines), strict=True):
            facts.outline = outline if is_valid else _make_valid(outline)


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
    # footprints whose area with filled holes is smaller are left out; without a georeference `UNPLACED_MINIMUM_PX` is
    # used instead
    minimum_area_m2: float
    minimum_hole_m2: float  # smaller holes are filled, unless they contain nodata
    identity: str  # names scene and model; the id of a footprint is a hash of this text and of its first pixel
    kind: str = "landslide"  # class of the footprints
    linear: bool = False  # footprints of this class are lines (cracks), whose width is the area over the length


def find_footprints(
    read: Read,
    grid: Grid,
    rule: OutlineRule,
    sampler: Sampler = NO_SAMPLER,
    on_small: Callable[[], None] = lambda: None,
) -> Iterator[Footprint]:
    """Yield the footprints of a stored probability raster, in the order of their first pixel.

    Memory is bounded by a strip of the scene and the outlines of `MEASURED_AT_ONCE` components.

    Args:
        read: reads the stored probability steps (0 to 200, 255 = nodata): column, row, width, height.
        grid: grid of the raster.
        rule: which components become footprints.
        sampler: samples terrain and susceptibility below footprints.
        on_small: called for each component that is too small.
    """
    least = threshold_steps(rule.threshold)
    # `pixel_m2` is the area at the centre of the scene. Elsewhere a pixel has less than twice this area, so components
    # whose bounding box is below half of the minimum need no outline.
    pixel_m2 = pixel_area_m2(grid) if grid.placed else 1.0
    smallest = rule.minimum_area_m2 if grid.placed else UNPLACED_MINIMUM_PX
    hole_px = (rule.minimum_hole_m2 if grid.placed else UNPLACED_MINIMUM_PX) / pixel_m2
    labelling = Labelling(read, grid.width, grid.height, least)
    rows = RowBuffer(read, grid.width, grid.height)
    components: list[tuple[Component, ComponentFacts]] = []
    queue = OutlineQueue(hole_px)
    for component in labelling.components:
        if component.box_px * pixel_m2 < 0.5 * smallest:
            on_small()
            continue
        if component.box_px > LARGE_BOX_PX:
            facts = _measure_large_component(read, grid, component, labelling, hole_px, sampler)
        else:
            facts = _measure_component(rows, grid, component, least, queue, sampler)
        components.append((component, facts))
        if len(components) == MEASURED_AT_ONCE:
            queue.outline_all()
            yield from _measure_footprints(components, grid, smallest, rule, sampler, on_small)
            components = []
    queue.outline_all()
    yield from _measure_footprints(components, grid, smallest, rule, sampler, on_small)


def _measure_footprints(
    components: list[tuple[Component, ComponentFacts]],
    grid: Grid,
    smallest: float,
    rule: OutlineRule,
    sampler: Sampler,
    on_small: Callable[[], None],
) -> Iterator[Footprint]:
    """Measure outlines on the ground in one call, and yield the footprints that are large enough."""
    placed = grid.placed
    outlines = np.array([facts.outline for _, facts in components], object)
    on_ground = map_outline(outlines, grid.to_crs)
    areas, perimeters = measure_ground(on_ground, grid)
    large = (areas if placed else shapely.area(outlines)) >= smallest
    lonlat = cut_to_geojson(on_ground[large], grid)
    # An outline of millimetres has no area at seven decimals of a degree.
    has_area = ~shapely.is_empty(lonlat)
    lonlat, large[large] = lonlat[has_area], has_area
    for _ in range(np.count_nonzero(~large)):
        on_small()
    # Outlines that were cut at 180 degrees are joined for their centroids and rectangles.
    whole = lonlat.copy()
    for index in np.flatnonzero(np.ptp(shapely.bounds(lonlat)[:, ::2], axis=1) > 180) if placed else ():
        whole[index] = unwrap_longitudes(lonlat[index])
    rectangles = measure_rectangles(whole) if placed else [(None, None, None)] * len(whole)
    centroids = shapely.get_coordinates(shapely.centroid(whole)).tolist()
    geometries = (json.loads(text) for text in shapely.to_geojson(lonlat))
    boxes = shapely.bounds(lonlat).tolist()
    for index, geometry, box, (x, y), (length, width, azimuth) in zip(
        np.flatnonzero(large), geometries, boxes, centroids, rectangles, strict=True
    ):
        component, facts = components[index]
        area, perimeter = float(areas[index]), float(perimeters[index])
        name = f"{rule.identity}:{component.first_row}:{component.first_column}"
        if rule.kind != "landslide":
            name = f"{name}:{rule.kind}"
        yield Footprint(
            polygon_id=hashlib.sha256(name.encode()).hexdigest()[:16],
            kind=rule.kind,
            area_m2=round(area, 2) if placed else None,
            perimeter_m=round(perimeter, 2) if placed else None,
            mean_probability=round(facts.steps_sum / facts.pixels / STEPS, 4),
            max_probability=facts.steps_max / STEPS,
            geometry=geometry,
            bbox=(box[0], box[1], box[2], box[3]),
            centroid=(round(x - 360 * round(x / 360) if placed else x, 7), round(y, 7)),
            length_m=length,
            width_m=round(area / length, 2) if rule.linear and length else width,
            azimuth_deg=azimuth,
            touches_edge=any(component.touches_sides(grid.width, grid.height)),
            touches_nodata=facts.touches_nodata,
            hugs_nodata=facts.hugs_nodata,
            **sampler.describe(facts.samples, facts.pixels)._asdict(),
        )


def _measure_component(
    read: Read, grid: Grid, component: Component, least: int, queue: OutlineQueue, sampler: Sampler
) -> ComponentFacts:
    """Read a component in one window, and add it to the queue, which sets its outline."""
    left, top = max(0, component.left - NODATA_MARGIN_PX), max(0, component.top - NODATA_MARGIN_PX)
    right = min(grid.width, component.right + NODATA_MARGIN_PX)
    bottom = min(grid.height, component.bottom + NODATA_MARGIN_PX)
    values = read(left, top, right - left, bottom - top)
    nodata = values == NODATA
    pixels = _find_pixels((values >= least) & ~nodata, component, left, top)
    facts = ComponentFacts()
    queue.add(facts, pixels, nodata, (left, top))
    _add_pixels(facts, values, pixels, nodata)
    sampler.sample(facts.samples, left, top, pixels)
    return facts


def _find_pixels(marked: NDArray[np.bool_], component: Component, left: int, top: int) -> NDArray[np.bool_]:
    """Return which of the marked pixels of a window, whose first pixel is (left, top), belong to a component."""
    box = slice(component.top - top, component.bottom - top), slice(component.left - left, component.right - left)
    if np.count_nonzero(marked[box]) == component.pixels:  # the box contains no pixel of another component
        pixels = np.zeros_like(marked)
        pixels[box] = marked[box]
        return pixels
    labels, _ = ndimage.label(marked, structure=EIGHT)
    return np.asarray(labels == labels[component.first_row - top, component.first_column - left])


def _measure_large_component(
    read: Read, grid: Grid, component: Component, labelling: Labelling, hole_px: float, sampler: Sampler
) -> ComponentFacts:
    """Read and outline a component strip by strip, so that memory does not grow with its size."""
    parts: list[BaseGeometry] = []
    facts = ComponentFacts()
    for row, pixels, _ in labelling.read_component(component):
        if not pixels.any():
            continue
        left, top = max(0, component.left - NODATA_MARGIN_PX), max(0, row - NODATA_MARGIN_PX)
        right = min(grid.width, component.right + NODATA_MARGIN_PX)
        bottom = min(grid.height, row + pixels.shape[0] + NODATA_MARGIN_PX)
        values = read(left, top, right - left, bottom - top)
        framed = np.zeros(values.shape, bool)
        first_row, first_column = row - top, component.left - left
        framed[first_row : first_row + pixels.shape[0], first_column : first_column + pixels.shape[1]] = pixels
        _add_pixels(facts, values, framed, values == NODATA)
        sampler.sample(facts.samples, component.left, row, pixels)
        parts += outline_pixels(pixels, (component.left, row))
    facts.outline = _make_valid(_fill_faces(shapely.union_all(parts), read, hole_px))
    return facts


def _add_pixels(
    facts: ComponentFacts, values: NDArray[np.uint8], pixels: NDArray[np.bool_], nodata: NDArray[np.bool_]
) -> None:
    """Add the pixels of a component in one window to its sums."""
    steps = values[pixels]
    facts.pixels += int(steps.size)
    facts.steps_sum += int(steps.sum(dtype=np.int64))
    facts.steps_max = max(facts.steps_max, int(steps.max()))
    if not nodata.any():
        facts.hugs_nodata = False
        return
    facts.touches_nodata |= bool((ndimage.binary_dilation(pixels, EIGHT) & nodata).any())
    near = ndimage.binary_dilation(nodata, EIGHT, iterations=NODATA_MARGIN_PX)
    facts.hugs_nodata &= bool(near[pixels].all())


def _fill_holes(pixels: NDArray[np.bool_], nodata: NDArray[np.bool_], limit_px: float) -> NDArray[np.bool_]:
    """Fill the holes of fewer than `limit_px` pixels that contain no nodata."""
    is_outside = np.ones((pixels.shape[0] + 2, pixels.shape[1] + 2), bool)  # with a frame of one pixel
    is_outside[1:-1, 1:-1] = ~pixels
    labels, count = ndimage.label(is_outside, structure=FOUR)
    if count == 1:
        return pixels
    is_filled = np.bincount(labels.ravel()) < limit_px
    is_filled[:2] = False  # label 0 is the component itself, label 1 the ground around it
    holes = labels[1:-1, 1:-1]
    is_filled[np.unique(holes[nodata])] = False
    return np.asarray(pixels | is_filled[holes])


def _fill_faces(outline: BaseGeometry, read: Read, limit_px: float) -> BaseGeometry:
    """Fill the holes of an outline like `_fill_holes`, also those whose surrounding pixels touch at corners only."""
    filled = []
    for face in shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.node(outline.boundary)))):
        if face.area >= limit_px or outline.contains(face.representative_point()):
            continue
        left, top, right, bottom = (int(value) for value in face.bounds)
        rows, columns = np.nonzero(read(left, top, right - left, bottom - top) == NODATA)
        if not shapely.contains_xy(face, columns + left + 0.5, rows + top + 0.5).any():
            filled.append(face)
    return shapely.union_all([outline, *filled]) if filled else outline


def _make_valid(outline: BaseGeometry) -> BaseGeometry:
    return outline if outline.is_valid else shapely.make_valid(outline, method="structure")


def cut_to_geojson(on_ground: Outlines, grid: Grid) -> Outlines:
    """Return outlines in longitude and latitude by RFC 7946.

    They have 7 decimals and counter-clockwise exterior rings, and are cut at 180 degrees.
    """
    lonlat = map_outline(on_ground, lambda x, y: _round(*grid.to_lonlat(x, y)))
    left, _, right, _ = shapely.bounds(lonlat).T
    for place in np.flatnonzero((left <= -180) | (right >= 180) | (right - left > 180)) if grid.placed else ():
        whole = unwrap_longitudes(map_outline(on_ground[place], grid.to_lonlat))
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
    parts_by_outline = np.split(parts, np.searchsorted(owners, np.arange(1, len(lonlat))))
    for number, footprint_parts in enumerate(parts_by_outline[: len(lonlat)]):
        lonlat[number] = _join_parts(footprint_parts.tolist())
    return lonlat


def _round(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.round(x, 7), np.round(y, 7)


def _join_parts(parts: list[Any]) -> BaseGeometry:
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
