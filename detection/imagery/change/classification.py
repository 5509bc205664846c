"""What became of each footprint of a date, class by class: its change, its parent, and which of before are gone."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import shape as shape_of

from detection.imagery.change.dates import DATES_MOST, Date, Near, ground_m2, lay_before
from detection.imagery.change.guards import scene_of
from detection.imagery.change.records import (
    FootprintChange,
    KnownOutline,
    PlacedOutline,
    VanishedFootprint,
    join_cautions,
)
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import STEPS, threshold_steps
from detection.imagery.raster.areas import slope_deg, spacing_m
from detection.imagery.raster.components import EIGHT, NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Box, Layer, burn, shapes_of, to_pixels, window_around
from detection.imagery.raster.reading.values import HEIGHT
from detection.reasons import Explanation, Reason

# Values of the change raster.
NOTHING, NEW, KNOWN, GONE = 0, 1, 2, 3
# A pixel this much below the threshold was nearly one: its rise over the threshold is no news (steps of 1/200).
HYSTERESIS_STEPS = 20
# Share of an outline that the other date must show before it can be called new by less than the minimum area, known
# without a parent, or (VANISHED_SEEN) gone.
SEEN_SHARE = 0.5
VANISHED_SEEN = 0.8
# A footprint that was seen earlier, then not, and lies again by this share in its old place, is the same one.
AGAIN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the older date says of one outline, in pixels of the newer grid."""

    body: int  # pixels of the outline
    # of those, valid at the older date, and farther than the tolerance from where more than specks were not: beside a
    # landslide that nodata may have hidden, the outline wobbles as beside one that was seen
    seen: int
    fresh: int  # seen, and farther than the tolerance from all that was nearly a landslide
    grown: int  # not a landslide at the older date, and near what is fresh: the best estimate of the growth


def change_of(newer: NDArray[np.uint8], older: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Classify pixels of two dates by their probability steps on one grid; 255 wherever either of them is nodata.

    >>> change_of(np.uint8([200, 200, 0, 0, 200, 255]), np.uint8([0, 200, 200, 0, 255, 0]), 100).tolist()
    [1, 2, 3, 0, 255, 255]
    """
    now, then = newer >= least, older >= least
    out = np.where(now, np.where(then, KNOWN, NEW), np.where(then, GONE, NOTHING)).astype(np.uint8)
    out[(newer == NODATA) | (older == NODATA)] = NODATA
    return out


def measure_evidence(body: NDArray[np.bool_], older: NDArray[np.uint8], least: int, tolerance_px: int) -> Evidence:
    """Count pixels of one outline on the older date, in a window with a margin wider than the tolerance."""
    seen = older != NODATA
    nearly = seen & (older >= max(1, least - HYSTERESIS_STEPS))
    hidden = body & ~seen
    if hidden.any():  # specks of nodata are too narrow to have hidden a landslide
        hidden = ndimage.binary_opening(hidden, EIGHT)
    shown = body & seen & ~_widen(hidden, tolerance_px)
    fresh = shown & ~_widen(nearly, tolerance_px)
    grown = shown & (older < least) & _widen(fresh, tolerance_px)
    return Evidence(*(int(np.count_nonzero(part)) for part in (body, shown, fresh, grown)))


def _widen(pixels: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    if by_px < 1 or not pixels.any():
        return pixels
    return np.asarray(ndimage.binary_dilation(pixels, EIGHT, iterations=by_px))


def is_new(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool | None:
    """Whether an outline without a parent is new; None where the older date shows too little of it to say."""
    if evidence.fresh * pixel_m2 >= minimum_m2 and evidence.fresh:
        return True
    if evidence.seen < SEEN_SHARE * evidence.body or not evidence.seen:
        return None
    return evidence.fresh * 2 >= evidence.seen


def has_grown(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool:
    """Whether an outline with a parent has grown beyond the wobble, by at least the minimum area."""
    return bool(evidence.fresh) and 2 * evidence.fresh * pixel_m2 >= minimum_m2 <= evidence.grown * pixel_m2


def has_vanished(body: NDArray[np.bool_], newer: NDArray[np.uint8], least: int, tolerance_px: int) -> bool:
    """Whether an older outline is gone: the newer date shows it, and nothing near it is nearly a landslide."""
    shown = body & (newer != NODATA)
    if not body.any() or np.count_nonzero(shown) < VANISHED_SEEN * np.count_nonzero(body):
        return False
    near = _widen(body, tolerance_px) & (newer != NODATA)
    return not bool((newer[near] >= max(1, least - HYSTERESIS_STEPS)).any())


def choose_parent(outline: Any, candidates: list[Any], tolerance_px: float) -> int | None:
    """Which older outline this one continues: the one with the largest common area, else the nearest in reach."""
    near = [(float(outline.distance(one)), position, one) for position, one in enumerate(candidates)]
    near = [one for one in near if one[0] <= tolerance_px]
    if len(near) < 2:  # no common area is needed to choose
        return near[0][1] if near else None

    def rank(one: tuple[float, int, Any]) -> tuple[float, float, int]:
        away, position, candidate = one
        return -float(outline.intersection(candidate).area) if away == 0 else 0.0, away, position

    return min(map(rank, near))[2]


# An outline of a scene delivered again is that of the version before where they share so much of the smaller one.
SAME_SHARE = 0.5


def keep_lines(
    outlines: Iterable[KnownOutline], changes: Mapping[str, FootprintChange], before: Iterable[KnownOutline]
) -> dict[str, FootprintChange]:
    """What was judged, where outlines without a parent take the root of the outline that they replace.

    >>> from datetime import UTC, datetime
    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    >>> old = KnownOutline("o", "landslide", square, (0, 0, 2, 2), 900.0, 0.8, root_id="r")
    >>> own = KnownOutline("n", "landslide", square, (0, 0, 2, 2), 900.0, 0.8)
    >>> word = FootprintChange("single", None, None, None, "n", datetime(2026, 5, 12, tzinfo=UTC), "s", None)
    >>> keep_lines([own], {"n": word}, [old])["n"].root_id
    'r'
    """
    known = [(shape_of({**one.geometry}), one) for one in before if not one.is_gone]
    found = dict(changes)
    for own in outlines:
        change = changes[own.polygon_id]
        if change.parent_id is not None or not known:
            continue
        outline = shape_of({**own.geometry})
        shared = [
            (outline.intersection(other).area / min(outline.area, other.area), one.polygon_id, one)
            for other, one in known
            if other.area and outline.area and one.kind == own.kind
        ]
        if not shared:
            continue
        share, _, one = max(shared, key=lambda item: item[:2])
        if share >= SAME_SHARE:
            root, first = one.root_id or one.polygon_id, one.first_seen_at or change.first_seen_at
            found[own.polygon_id] = replace(change, root_id=root, first_seen_at=first)
    return found


# Below this slope a new footprint is doubtful: hardly any landslide starts or stops there.
FLAT_DEG = 5.0
MARGIN_PX = 6
# A new outline of which more than this share was of another class before is doubtful.
OTHER_SHARE = 0.5


def classify_dates(
    own: Date, dates: list[Date], grid: Grid
) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
    """Classify each footprint of a date against earlier ones (new, grown, known, single), and find those that are gone.

    Returns what became of each footprint by its polygon_id, and the footprints of before that are gone.
    """
    changes: dict[str, FootprintChange] = {}
    vanished: list[VanishedFootprint] = []
    with ExitStack() as stack:
        slope = None
        with suppress(ImageryError):  # the files of the date are gone
            dem = Path(own.facts.dem) if own.facts.dem else scene_of(own.facts).dem
            slope = None if dem is None else stack.enter_context(Layer(dem, grid, quantity=HEIGHT))
        for kind in dict.fromkeys((*own.facts.classes, *(p.kind for p in own.facts.outlines))):
            words, gone = ChangeClassifier(own, dates, grid, kind, slope).classify()
            changes |= words
            vanished += gone
    return changes, vanished


class ChangeClassifier:
    """The footprints of one class on one date against the earlier dates."""

    def __init__(self, own: Date, dates: list[Date], grid: Grid, kind: str, slope: Layer | None) -> None:
        self.own, self.dates, self.grid, self.kind, self._slope = own, dates, grid, kind, slope
        self.least = threshold_steps(own.facts.threshold)
        self.minimum_m2 = own.facts.minimum_area_m2

    def before(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Steps of the newest earlier date that shows a pixel, and which date that is (255: none)."""
        return lay_before(self.dates, box, self.kind)

    def classify(self) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
        """The change of each footprint of the class, by its id, and the footprints of before that are gone."""
        words, children = {}, set()
        polygons = [p for p in self.own.facts.outlines if p.kind == self.kind]
        outlines = to_pixels(shapes_of([p.geometry for p in polygons]), self.grid)
        of_dates = [date.list_near(outlines, self.kind) for date in self.dates]
        for number, (polygon, outline) in enumerate(zip(polygons, outlines, strict=True)):
            near = [of_date[number] for of_date in of_dates]
            words[polygon.polygon_id], parents = self._classify_one(polygon, outline, near)
            children |= parents
        return words, list(self._find_vanished(children))

    def _classify_one(self, polygon: KnownOutline, outline: Any, near: list[Near]) -> tuple[FootprintChange, set[str]]:
        """The change of one footprint, and the ids of those that live on in it; `near`: neighbours, date by date."""
        single = self._make_change("single", polygon, None, None)
        box = window_around(outline, self.grid, MARGIN_PX)
        if box is None or not self.dates:
            return single, set()
        body = burn(outline, box)
        steps, source = self.before(box)
        sources = np.bincount(source[body & (source != NODATA)], minlength=len(self.dates))
        # Where the ground below it was not seen, an outline next to it proves nothing.
        if not sources.any():
            return single, set()
        date = self.dates[newest := int(np.argmax(sources))]
        touched = {other.polygon_id for found in near for other, _ in found}
        parent = self._parent(outline, near, newest)
        if parent is None:
            return self._classify_orphan(polygon, body, box, date), touched
        known_at, known = parent
        again = known_at is not date
        pixel_m2 = self._pixel_m2(box)

        def claim(before: NDArray[np.uint8]) -> tuple[Evidence, bool]:
            found = measure_evidence(body, before, self.least, known_at.tolerance_px)
            return found, has_grown(found, pixel_m2, self.minimum_m2)

        evidence, grown = claim(known_at.steps(box, self.kind) if again else steps)
        since, cautions = known_at, list(known_at.cautions)
        if grown and not again:
            cautions += self._doubts(body, steps, source, lambda before: claim(before)[1])
        # the date on which the outline was last declared, if it is another one and at hand
        anchored = [d for d in self.dates if d.facts.scene_hash == known.anchor_scene and d is not known_at]
        if not grown and anchored:
            anchor = anchored[0]
            older = measure_evidence(body, anchor.steps(box, self.kind), self.least, anchor.tolerance_px)
            if has_grown(older, pixel_m2, self.minimum_m2):
                since, grown, evidence, cautions = anchor, True, older, anchor.cautions
        change = self._make_change("grown" if grown else "known", polygon, known, since, cautions)
        if again and not grown:
            change = change.doubted(Reason("caution.seen", {"day": known_at.day, "other": date.day}))
        if grown:
            change = self._gate(replace(change, grown_m2=round(evidence.grown * pixel_m2, 1)), body, box)
        return change, touched

    def _classify_orphan(self, polygon: KnownOutline, body: NDArray[np.bool_], box: Box, date: Date) -> FootprintChange:
        steps, source = self.before(box)

        def claim(before: NDArray[np.uint8]) -> bool | None:
            found = measure_evidence(body, before, self.least, date.tolerance_px)
            return is_new(found, self._pixel_m2(box), self.minimum_m2)

        new = claim(steps)
        if new is None:
            return self._make_change("single", polygon, None, None)
        doubts = list(date.cautions)
        if new:
            doubts += self._doubts(body, steps, source, claim)
            # a word that flips between classes is no change of the ground
            for other in (one for one in self.own.facts.classes if one != self.kind):
                before = lay_before(self.dates, box, other)[0]
                seen = np.count_nonzero(body & (before >= self.least) & (before != NODATA))
                if seen > OTHER_SHARE * np.count_nonzero(body):
                    doubts.append(Reason("caution.other_class", {"kind": other}))
        change = self._make_change("new" if new else "known", polygon, None, date, doubts)
        if new:
            return self._gate(change, body, box)
        return change.doubted(Reason("caution.below", {"day": date.day}))

    def _doubts(
        self,
        body: NDArray[np.bool_],
        steps: NDArray[np.uint8],
        source: NDArray[np.uint8],
        claim: Callable[[NDArray[np.uint8]], bool | None],
    ) -> list[Explanation]:
        """The cautions of dates without whose pixels a claim would not stand."""
        numbers = [k for k, d in enumerate(self.dates[:DATES_MOST]) if d.cautions and (source[body] == k).any()]
        if not numbers or claim(np.where(np.isin(source, numbers), np.uint8(NODATA), steps)):
            return []
        return [caution for k in numbers for caution in self.dates[k].cautions]

    def _make_change(
        self,
        change: str,
        polygon: KnownOutline,
        parent: KnownOutline | None,
        since: Date | None,
        cautions: Iterable[Explanation] = (),
    ) -> FootprintChange:
        own = self.own.facts
        first, root, anchor = own.acquired_at, polygon.polygon_id, own.scene_hash
        if parent is not None:
            first, root = parent.first_seen_at or first, parent.root_id or parent.polygon_id
            declared = change in {"new", "grown", "single"}
            anchor = anchor if declared else parent.anchor_scene or anchor
        return FootprintChange(
            change=change,
            parent_id=None if parent is None else parent.polygon_id,
            grown_m2=None,
            since_at=None if since is None else since.at,
            root_id=root,
            first_seen_at=first,
            anchor_scene=anchor,
            caution=join_cautions(*cautions),
        )

    def _parent(self, outline: Any, near: list[Near], newest: int) -> tuple[Date, KnownOutline] | None:
        """The earlier footprint that this one continues: on the date that shows the place, else on an older one."""
        at = self.dates[newest].at
        for number in (newest, *(k for k, date in enumerate(self.dates) if k != newest and date.at < at)):
            date = self.dates[number]
            chosen = choose_parent(outline, [other for _, other in near[number]], date.tolerance_px)
            if chosen is None:
                continue
            polygon, other = near[number][chosen]
            if number == newest or outline.intersection(other).area >= AGAIN_SHARE * outline.area:
                return date, replace(
                    polygon,
                    first_seen_at=polygon.first_seen_at or date.at,
                    root_id=polygon.root_id or polygon.polygon_id,
                    anchor_scene=polygon.anchor_scene or date.facts.scene_hash,
                )
        return None

    def _find_vanished(self, children: set[str]) -> Iterable[VanishedFootprint]:
        for position, date in enumerate(self.dates[:DATES_MOST]):
            for polygon, outline in date.footprints(self.kind):
                box = window_around(outline, self.grid, MARGIN_PX)
                if polygon.polygon_id in children or box is None:
                    continue
                body = burn(outline, box)
                source = self.before(box)[1]
                if not body.any() or np.median(source[body]) != position:
                    continue
                newer = self.own.steps(box, self.kind)
                if not has_vanished(body, newer, self.least, date.tolerance_px):
                    continue
                shown = newer[body & (newer != NODATA)]
                parent = replace(polygon, first_seen_at=polygon.first_seen_at or date.at)
                change = self._make_change("vanished", polygon, parent, date, date.cautions)
                name = f"{self.own.facts.scene_hash}:vanished:{polygon.polygon_id}"
                yield VanishedFootprint(
                    PlacedOutline(
                        hashlib.sha256(name.encode()).hexdigest()[:16],
                        self.kind,
                        polygon.geometry,
                        polygon.bbox,
                        polygon.area_m2,
                        round(float(shown.mean(dtype=np.float64)) / STEPS, 4),
                    ),
                    change,
                )

    def _gate(self, change: FootprintChange, body: NDArray[np.bool_], box: Box) -> FootprintChange:
        if self._slope is None:
            return change
        heights, valid = self._slope.read(*box)
        slopes = slope_deg(heights, valid, spacing_m(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2))[body]
        slopes = slopes[np.isfinite(slopes)]
        if slopes.size and (steepest := float(np.percentile(slopes, 90))) < FLAT_DEG:
            return change.doubted(Reason("caution.flat", {"slope": steepest}))
        return change

    def _pixel_m2(self, box: Box) -> float:
        return ground_m2(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2)
