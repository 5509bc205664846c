"""Classify each footprint of a date against earlier dates, and find footprints of earlier dates that vanished."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import shape as shape_of

from detection.imagery.change.comparison import measure_pixel_m2
from detection.imagery.change.dates import DATES_MOST, Neighbours, ProbabilityDate, merge_earlier
from detection.imagery.change.images import open_scene
from detection.imagery.change.records import (
    FootprintChange,
    KnownOutline,
    PlacedOutline,
    VanishedFootprint,
    join_cautions,
)
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.cautions import FLAT_DEG
from detection.imagery.footprints.polygons import STEPS, threshold_steps
from detection.imagery.raster.areas import slope_deg, spacing_m
from detection.imagery.raster.components import EIGHT, NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Box, Layer, burn, shapes_of, to_pixels, window_around
from detection.imagery.raster.reading.values import HEIGHT
from detection.reasons import Explanation, Reason

# A pixel at most this far below the threshold (steps of 1/200) was nearly a landslide. If it rises over the threshold,
# that is not a change.
HYSTERESIS_STEPS = 20
# Share of an outline that the older date must show, so that the outline can be new with less than the minimum area of
# new ground, or known without a parent.
SHOWN_SHARE = 0.5
# Share of an older outline that the newer date must show, so that the outline can have vanished.
VANISHED_SHOWN_SHARE = 0.8
# An outline continues a footprint of an older date, which the newest date lacks, if the footprint covers at least this
# share of the outline.
AGAIN_SHARE = 0.5
# An outline of a scene that was delivered again replaces one of the earlier delivery if their common area is at least
# this share of the smaller one.
SAME_SHARE = 0.5
# Pixels around an outline that are read with it; more than the largest tolerance.
MARGIN_PX = 6
# A new outline of which more than this share was of another class before is doubtful.
OTHER_CLASS_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """Numbers of pixels of an outline by what the older date shows there."""

    body: int  # all pixels of the outline
    # Pixels that are valid on the older date, and farther than the tolerance from larger nodata. Nodata may have hidden
    # a landslide, and outlines of unchanged ground differ by the tolerance.
    shown: int
    fresh: int  # shown pixels that are farther than the tolerance from all ground that was nearly a landslide
    grown: int  # shown pixels that were no landslide and are near fresh pixels: the best estimate of the growth


def measure_evidence(body: NDArray[np.bool_], older: NDArray[np.uint8], least: int, tolerance_px: int) -> Evidence:
    """Count pixels of an outline by what the older date shows there.

    Args:
        body: pixels of the outline, in a window with a margin wider than the tolerance.
        older: probability steps of the older date in the window, 255 = nodata.
        least: smallest step of a landslide.
        tolerance_px: pixels by which outlines of unchanged ground may differ.
    """
    valid = older != NODATA
    nearly = valid & (older >= max(1, least - HYSTERESIS_STEPS))
    hidden = body & ~valid
    if hidden.any():
        # Specks of nodata are removed, because they are too narrow to have hidden a landslide.
        hidden = ndimage.binary_opening(hidden, EIGHT)
    shown = body & valid & ~_widen(hidden, tolerance_px)
    fresh = shown & ~_widen(nearly, tolerance_px)
    grown = shown & (older < least) & _widen(fresh, tolerance_px)
    return Evidence(*(int(np.count_nonzero(pixels)) for pixels in (body, shown, fresh, grown)))


def _widen(pixels: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    if by_px < 1 or not pixels.any():
        return pixels
    return np.asarray(ndimage.binary_dilation(pixels, EIGHT, iterations=by_px))


def is_new(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool | None:
    """Return whether an outline without a parent is new; None if the older date shows too little of it."""
    if evidence.fresh * pixel_m2 >= minimum_m2 and evidence.fresh:
        return True
    if evidence.shown < SHOWN_SHARE * evidence.body or not evidence.shown:
        return None
    return evidence.fresh * 2 >= evidence.shown


def has_grown(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool:
    """Return whether an outline with a parent has grown beyond the tolerance by at least the minimum area."""
    if not evidence.fresh:
        return False
    return 2 * evidence.fresh * pixel_m2 >= minimum_m2 and evidence.grown * pixel_m2 >= minimum_m2


def has_vanished(body: NDArray[np.bool_], newer: NDArray[np.uint8], least: int, tolerance_px: int) -> bool:
    """Return whether an older outline vanished: the newer date shows its ground, without any near landslide."""
    shown = body & (newer != NODATA)
    if not body.any() or np.count_nonzero(shown) < VANISHED_SHOWN_SHARE * np.count_nonzero(body):
        return False
    near = _widen(body, tolerance_px) & (newer != NODATA)
    return not bool((newer[near] >= max(1, least - HYSTERESIS_STEPS)).any())


def choose_parent(outline: Any, candidates: Sequence[Any], tolerance_px: float) -> int | None:
    """Return the position of the older outline that an outline continues; None if none is within the tolerance.

    It is the one with the largest common area, else the nearest one.
    """
    reachable = []
    for position, candidate in enumerate(candidates):
        distance_px = float(outline.distance(candidate))
        if distance_px <= tolerance_px:
            reachable.append((position, distance_px))
    if not reachable:
        return None
    if len(reachable) == 1:
        return reachable[0][0]

    def rank(item: tuple[int, float]) -> tuple[float, float, int]:
        position, distance_px = item
        common_area = float(outline.intersection(candidates[position]).area) if distance_px == 0 else 0.0
        return -common_area, distance_px, position

    return min(reachable, key=rank)[0]


def continue_lines(
    outlines: Iterable[KnownOutline], changes: Mapping[str, FootprintChange], replaced: Iterable[KnownOutline]
) -> dict[str, FootprintChange]:
    """Return the changes of a scene that was delivered again, with the lines of the earlier delivery.

    An outline without a parent gets the root and the first date of the outline that it replaces.

    Args:
        outlines: outlines of the new delivery.
        changes: their changes by polygon_id.
        replaced: outlines of the earlier delivery.

    Returns:
        All changes by polygon_id.

    >>> from datetime import UTC, datetime
    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    >>> old = KnownOutline("o", "landslide", square, (0, 0, 2, 2), 900.0, 0.8, root_id="r")
    >>> new = KnownOutline("n", "landslide", square, (0, 0, 2, 2), 900.0, 0.8)
    >>> change = FootprintChange("single", None, None, None, "n", datetime(2026, 5, 12, tzinfo=UTC), "s", None)
    >>> continue_lines([new], {"n": change}, [old])["n"].root_id
    'r'
    """
    predecessors = [(shape_of({**outline.geometry}), outline) for outline in replaced if not outline.is_gone]
    continued = dict(changes)
    for outline in outlines:
        change = changes[outline.polygon_id]
        if change.parent_id is not None or not predecessors:
            continue
        shape = shape_of({**outline.geometry})
        candidates = []
        for other_shape, other in predecessors:
            if other_shape.area and shape.area and other.kind == outline.kind:
                share = shape.intersection(other_shape).area / min(shape.area, other_shape.area)
                candidates.append((share, other.polygon_id, other))
        if not candidates:
            continue
        share, _, predecessor = max(candidates, key=lambda candidate: candidate[:2])
        if share >= SAME_SHARE:
            continued[outline.polygon_id] = replace(
                change,
                root_id=predecessor.root_id or predecessor.polygon_id,
                first_seen_at=predecessor.first_seen_at or change.first_seen_at,
            )
    return continued


def classify_footprints(
    newer: ProbabilityDate, dates: list[ProbabilityDate], grid: Grid
) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
    """Classify each footprint of a date as new, grown, known or single, and find those that vanished.

    Args:
        newer: the date.
        dates: earlier dates, the newest first.
        grid: grid of all dates.

    Returns:
        The changes by polygon_id, and the footprints of earlier dates that vanished.
    """
    changes: dict[str, FootprintChange] = {}
    vanished: list[VanishedFootprint] = []
    with ExitStack() as stack:
        heights = None
        # Without the files of the scene there are no heights, and flat ground is not recognised.
        with suppress(ImageryError):
            dem = Path(newer.record.dem) if newer.record.dem else open_scene(newer.record).dem
            heights = None if dem is None else stack.enter_context(Layer(dem, grid, quantity=HEIGHT))
        kinds = dict.fromkeys((*newer.record.classes, *(outline.kind for outline in newer.record.outlines)))
        for kind in kinds:
            class_changes, class_vanished = ChangeClassifier(newer, dates, grid, kind, heights).classify()
            changes |= class_changes
            vanished += class_vanished
    return changes, vanished


class ChangeClassifier:
    """Classify the footprints of one class of a date against earlier dates.

    Args:
        newer: the date.
        dates: earlier dates, the newest first.
        grid: grid of all dates.
        kind: the class.
        heights: elevation model on the grid. None: flat ground is not recognised.
    """

    def __init__(
        self, newer: ProbabilityDate, dates: list[ProbabilityDate], grid: Grid, kind: str, heights: Layer | None
    ) -> None:
        self.newer = newer
        self.dates = dates
        self.grid = grid
        self.kind = kind
        self.least = threshold_steps(newer.record.threshold)
        self.minimum_m2 = newer.record.minimum_area_m2
        self._heights = heights

    def classify(self) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
        """Return the changes of the footprints by polygon_id, and the footprints of earlier dates that are gone."""
        changes: dict[str, FootprintChange] = {}
        continued_ids: set[str] = set()
        polygons = [outline for outline in self.newer.record.outlines if outline.kind == self.kind]
        outlines = to_pixels(shapes_of([polygon.geometry for polygon in polygons]), self.grid)
        neighbours_by_date = [date.list_neighbours(outlines, self.kind) for date in self.dates]
        for number, (polygon, outline) in enumerate(zip(polygons, outlines, strict=True)):
            neighbours = [of_date[number] for of_date in neighbours_by_date]
            changes[polygon.polygon_id], touched_ids = self._classify_footprint(polygon, outline, neighbours)
            continued_ids |= touched_ids
        return changes, list(self._find_vanished(continued_ids))

    def _classify_footprint(
        self, polygon: KnownOutline, outline: Any, neighbours: list[Neighbours]
    ) -> tuple[FootprintChange, set[str]]:
        """Classify one footprint.

        Args:
            polygon: the footprint.
            outline: its outline in pixels.
            neighbours: footprints within the tolerance, by earlier date.

        Returns:
            Its change, and the ids of the earlier footprints within the tolerance, which therefore did not vanish.
        """
        single = self._make_change("single", polygon, None, None)
        box = window_around(outline, self.grid, MARGIN_PX)
        if box is None or not self.dates:
            return single, set()
        body = burn(outline, box)
        steps, sources = merge_earlier(self.dates, box, self.kind)
        pixels_by_date = np.bincount(sources[body & (sources != NODATA)], minlength=len(self.dates))
        # If no earlier date shows the ground of the footprint, earlier footprints next to it are no evidence.
        if not pixels_by_date.any():
            return single, set()
        # The date that shows most of the ground last.
        newest = int(np.argmax(pixels_by_date))
        touched_ids = {other.polygon_id for of_date in neighbours for other, _ in of_date}
        parent = self._find_parent(outline, neighbours, newest)
        if parent is None:
            return self._classify_orphan(polygon, body, box, self.dates[newest]), touched_ids
        change = self._classify_child(polygon, body, box, self.dates[newest], parent, steps, sources)
        return change, touched_ids

    def _classify_child(
        self,
        polygon: KnownOutline,
        body: NDArray[np.bool_],
        box: Box,
        newest: ProbabilityDate,
        dated_parent: tuple[ProbabilityDate, KnownOutline],
        steps: NDArray[np.uint8],
        sources: NDArray[np.uint8],
    ) -> FootprintChange:
        """Classify a footprint that continues an earlier one: grown or known.

        Args:
            polygon: the footprint.
            body: its pixels in the window.
            box: the window.
            newest: the date that shows most of the ground of the footprint last.
            dated_parent: the earlier footprint and its date.
            steps: probability steps of the newest earlier date that shows each pixel of the window.
            sources: positions of these dates.
        """
        parent_date, parent = dated_parent
        pixel_m2 = self._pixel_m2(box)
        # The footprint was there, was missing on the newest date, and is there again.
        is_back = parent_date is not newest

        def measure_growth(older: NDArray[np.uint8]) -> tuple[Evidence, bool]:
            evidence = measure_evidence(body, older, self.least, parent_date.alignment.tolerance_px)
            return evidence, has_grown(evidence, pixel_m2, self.minimum_m2)

        evidence, grown = measure_growth(parent_date.read_steps(box, self.kind) if is_back else steps)
        since = parent_date
        cautions = list(parent_date.cautions)
        if grown and not is_back:
            cautions += self._list_decisive_cautions(body, steps, sources, lambda older: measure_growth(older)[1])
        # Growth that stays below the tolerance from date to date shows against the date on which the outline was last
        # new or grown.
        anchors = [
            date for date in self.dates if date.record.scene_hash == parent.anchor_scene and date is not parent_date
        ]
        if not grown and anchors:
            anchor = anchors[0]
            anchor_evidence = measure_evidence(
                body, anchor.read_steps(box, self.kind), self.least, anchor.alignment.tolerance_px
            )
            if has_grown(anchor_evidence, pixel_m2, self.minimum_m2):
                since = anchor
                grown = True
                evidence = anchor_evidence
                cautions = anchor.cautions
        change = self._make_change("grown" if grown else "known", polygon, parent, since, cautions)
        if grown:
            return self._caution_flat(replace(change, grown_m2=round(evidence.grown * pixel_m2, 1)), body, box)
        if is_back:
            days = {"day": parent_date.record.day, "other": newest.record.day}
            return change.with_cautions(Reason("caution.seen", days))
        return change

    def _classify_orphan(
        self, polygon: KnownOutline, body: NDArray[np.bool_], box: Box, date: ProbabilityDate
    ) -> FootprintChange:
        """Classify a footprint without a parent: new, single, or known if it was just below the threshold."""
        steps, sources = merge_earlier(self.dates, box, self.kind)

        def measure_newness(older: NDArray[np.uint8]) -> bool | None:
            evidence = measure_evidence(body, older, self.least, date.alignment.tolerance_px)
            return is_new(evidence, self._pixel_m2(box), self.minimum_m2)

        new = measure_newness(steps)
        if new is None:
            return self._make_change("single", polygon, None, None)
        if not new:
            change = self._make_change("known", polygon, None, date, date.cautions)
            return change.with_cautions(Reason("caution.below", {"day": date.record.day}))
        cautions = list(date.cautions)
        cautions += self._list_decisive_cautions(body, steps, sources, measure_newness)
        # If the network found another class on the same ground before, the ground may be unchanged.
        for other_kind in self.newer.record.classes:
            if other_kind == self.kind:
                continue
            other_steps = merge_earlier(self.dates, box, other_kind)[0]
            other_px = np.count_nonzero(body & (other_steps >= self.least) & (other_steps != NODATA))
            if other_px > OTHER_CLASS_SHARE * np.count_nonzero(body):
                cautions.append(Reason("caution.other_class", {"kind": other_kind}))
        return self._caution_flat(self._make_change("new", polygon, None, date, cautions), body, box)

    def _list_decisive_cautions(
        self,
        body: NDArray[np.bool_],
        steps: NDArray[np.uint8],
        sources: NDArray[np.uint8],
        is_claimed: Callable[[NDArray[np.uint8]], bool | None],
    ) -> list[Explanation]:
        """Return the cautions of doubtful dates, if the claim would fail without their pixels."""
        doubtful = [
            position
            for position, date in enumerate(self.dates[:DATES_MOST])
            if date.cautions and (sources[body] == position).any()
        ]
        if not doubtful:
            return []
        undoubted_steps = np.where(np.isin(sources, doubtful), np.uint8(NODATA), steps)
        if is_claimed(undoubted_steps):
            return []
        return [caution for position in doubtful for caution in self.dates[position].cautions]

    def _make_change(
        self,
        change: str,
        polygon: KnownOutline,
        parent: KnownOutline | None,
        since: ProbabilityDate | None,
        cautions: Iterable[Explanation] = (),
    ) -> FootprintChange:
        newer = self.newer.record
        first_seen_at = newer.acquired_at
        root_id = polygon.polygon_id
        anchor_scene = newer.scene_hash
        if parent is not None:
            first_seen_at = parent.first_seen_at or first_seen_at
            root_id = parent.root_id or parent.polygon_id
            if change not in {"new", "grown", "single"}:
                anchor_scene = parent.anchor_scene or anchor_scene
        return FootprintChange(
            change=change,
            parent_id=None if parent is None else parent.polygon_id,
            grown_m2=None,
            since_at=None if since is None else since.record.acquired_at,
            root_id=root_id,
            first_seen_at=first_seen_at,
            anchor_scene=anchor_scene,
            caution=join_cautions(*cautions),
        )

    def _find_parent(
        self, outline: Any, neighbours: list[Neighbours], newest: int
    ) -> tuple[ProbabilityDate, KnownOutline] | None:
        """Return the earlier footprint that a footprint continues, and its date; None if there is none.

        It is of the date that shows the ground last, or else of an older date, if it covers at least `AGAIN_SHARE` of
        the footprint.
        """
        newest_at = self.dates[newest].record.acquired_at
        older = [
            position
            for position, date in enumerate(self.dates)
            if position != newest and date.record.acquired_at < newest_at
        ]
        for position in (newest, *older):
            date = self.dates[position]
            outlines = [other for _, other in neighbours[position]]
            chosen = choose_parent(outline, outlines, date.alignment.tolerance_px)
            if chosen is None:
                continue
            polygon, other = neighbours[position][chosen]
            if position == newest or outline.intersection(other).area >= AGAIN_SHARE * outline.area:
                return date, replace(
                    polygon,
                    first_seen_at=polygon.first_seen_at or date.record.acquired_at,
                    root_id=polygon.root_id or polygon.polygon_id,
                    anchor_scene=polygon.anchor_scene or date.record.scene_hash,
                )
        return None

    def _find_vanished(self, continued_ids: set[str]) -> Iterable[VanishedFootprint]:
        """Yield the footprints of earlier dates that the newer date lacks, although it shows their ground.

        For each footprint, only the newest earlier date that shows its ground counts.
        """
        for position, date in enumerate(self.dates[:DATES_MOST]):
            for polygon, outline in date.list_footprints(self.kind):
                box = window_around(outline, self.grid, MARGIN_PX)
                if polygon.polygon_id in continued_ids or box is None:
                    continue
                body = burn(outline, box)
                sources = merge_earlier(self.dates, box, self.kind)[1]
                if not body.any() or np.median(sources[body]) != position:
                    continue
                newer_steps = self.newer.read_steps(box, self.kind)
                if not has_vanished(body, newer_steps, self.least, date.alignment.tolerance_px):
                    continue
                shown_steps = newer_steps[body & (newer_steps != NODATA)]
                parent = replace(polygon, first_seen_at=polygon.first_seen_at or date.record.acquired_at)
                change = self._make_change("vanished", polygon, parent, date, date.cautions)
                identity = f"{self.newer.record.scene_hash}:vanished:{polygon.polygon_id}"
                yield VanishedFootprint(
                    PlacedOutline(
                        polygon_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                        kind=self.kind,
                        geometry=polygon.geometry,
                        bbox=polygon.bbox,
                        area_m2=polygon.area_m2,
                        mean_probability=round(float(shown_steps.mean(dtype=np.float64)) / STEPS, 4),
                    ),
                    change,
                )

    def _caution_flat(self, change: FootprintChange, body: NDArray[np.bool_], box: Box) -> FootprintChange:
        """Add a caution to a change on flat ground."""
        if self._heights is None:
            return change
        heights, valid = self._heights.read(*box)
        slopes = slope_deg(heights, valid, spacing_m(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2))[body]
        slopes = slopes[np.isfinite(slopes)]
        if not slopes.size:
            return change
        steepest_deg = float(np.percentile(slopes, 90))
        if steepest_deg >= FLAT_DEG:
            return change
        return change.with_cautions(Reason("caution.flat", {"slope": steepest_deg}))

    def _pixel_m2(self, box: Box) -> float:
        return measure_pixel_m2(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2)
