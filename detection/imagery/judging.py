"""One date against the earlier ones of its ground: footprint by footprint, and pixel by pixel."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape as shape_of

from detection.imagery.areas import map_outline, true_area_m2
from detection.imagery.change import (
    AGAIN_SHARE,
    NOTHING,
    Evidence,
    change_of,
    choose_parent,
    has_grown,
    has_vanished,
    is_new,
    weigh,
)
from detection.imagery.components import NODATA
from detection.imagery.errors import ImageryError
from detection.imagery.grid import Grid
from detection.imagery.guards import scene_of
from detection.imagery.overlay import Box, Layer, burn, slope_deg, spacing_m, strips, to_pixels, window_around
from detection.imagery.polygons import threshold_steps
from detection.imagery.raster import ByteRaster, write_cog
from detection.imagery.registration import Shift

FILE = "change.tif"
# Below this slope a new footprint is doubtful: hardly any landslide starts or stops there.
FLAT_DEG = 5.0
# So many earlier dates are looked at, the newest first.
DATES_MOST = 5
MARGIN_PX = 6


@dataclass(slots=True)
class Date:
    """One earlier date beside the newer one: its layer, its guards, its footprints in pixels of the newer grid."""

    facts: dict[str, Any]
    layer: Layer
    shift: Shift | None = None
    ratios: tuple[float, ...] | None = None
    cautions: list[str] = field(default_factory=list)
    polygons: list[dict[str, Any]] = field(default_factory=list)
    outlines: list[Any] = field(default_factory=list)

    @property
    def at(self) -> str:
        """When it was taken, ISO."""
        return str(self.facts["acquired_at"])

    @property
    def day(self) -> str:
        """The day it was taken."""
        return self.at[:10]

    def steps(self, box: Box) -> NDArray[np.uint8]:
        """Probability steps of a window, 255 = nodata."""
        values, valid = self.layer.read(*box)
        return np.where(valid, np.rint(values), NODATA).astype(np.uint8)


class Pair:
    """The newer date against the earlier ones that serve."""

    def __init__(self, own: Date, dates: list[Date], grid: Grid, stack: ExitStack) -> None:
        self.own, self.dates, self.grid = own, dates, grid
        self.least = threshold_steps(float(own.facts["threshold"]))
        self.minimum_m2 = float(own.facts["minimum_area_m2"])
        self.main_class = str(own.facts.get("main_class", "landslide"))
        self._slope = _open_dem(own.facts, grid, stack)

    def before(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Steps of the newest earlier date that shows a pixel, and which date that is (255: none)."""
        steps = np.full((box[3], box[2]), NODATA, np.uint8)
        source = np.full_like(steps, NODATA)
        for position, date in enumerate(self.dates[:DATES_MOST]):
            missing = steps == NODATA
            if not missing.any():
                break
            values = date.steps(box)
            fill = missing & (values != NODATA)
            steps[fill], source[fill] = values[fill], position
        return steps, source

    def write(self, out_dir: Path | None) -> dict[str, Any]:
        """Count the pixels of change, and write them as a cloud-optimised GeoTIFF where a folder is given."""
        counts = np.zeros(256, np.int64)
        part = None if out_dir is None or not self.dates else out_dir / f".{FILE}.part"
        with ExitStack() as stack:
            write = None
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
                raster = ByteRaster(part / "pixels.tif", self.grid)
                write = stack.enter_context(raster.writing())
            for box in strips(self.grid):
                values = change_of(self.own.steps(box), self.before(box)[0], self.least)
                counts += np.bincount(values.ravel(), minlength=256)
                if write is not None:
                    write(values, box[0], box[1])
        if part is not None and out_dir is not None:
            tags = {"SCENE_HASH": str(self.own.facts["scene_hash"]), "BEFORE": ",".join(d.day for d in self.dates),
                    "CLASSES": "0 none, 1 new, 2 on both dates, 3 gone"}  # fmt: skip
            write_cog(part / "pixels.tif", part / FILE, overviews="mode", tags=tags)
            (part / FILE).replace(out_dir / FILE)
            shutil.rmtree(part, ignore_errors=True)
        pixel_m2 = _ground_m2(self.grid, self.grid.width / 2, self.grid.height / 2)
        total = self.grid.width * self.grid.height
        return {
            "new_m2": round(int(counts[1]) * pixel_m2, 1), "known_m2": round(int(counts[2]) * pixel_m2, 1),
            "gone_m2": round(int(counts[3]) * pixel_m2, 1),
            "joint_share": round(float(counts[NOTHING : NODATA].sum()) / total, 6),
        }  # fmt: skip

    def judge(self) -> dict[str, Any]:
        """Say what became of each footprint, and which of before are gone."""
        changes, children = {}, set()
        for polygon in self.own.facts["polygons"]:
            word, parents = self._judge_one(polygon)
            changes[polygon["polygon_id"]] = word
            children |= parents
        return {"changes": changes, "vanished": list(self._find_vanished(children))}

    def _judge_one(self, polygon: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        outline = to_pixels(shape_of(polygon["geometry"]), self.grid)
        single = self._word("single", polygon, None, None)
        box = window_around(outline, self.grid, MARGIN_PX)
        other = polygon.get("class", self.main_class) != self.main_class
        if box is None or not self.dates or other:
            return single, set()
        body = burn(outline, box)
        steps, source = self.before(box)
        sources = np.bincount(source[body & (source != NODATA)], minlength=len(self.dates))
        # Where nothing beneath it was seen, an outline beside it proves nothing.
        if not sources.any():
            return single, set()
        date = self.dates[int(np.argmax(sources))]
        touched = self._touched(outline)
        parent = self._parent(outline, date)
        if parent is None:
            return self._judge_orphan(polygon, body, box, date), touched
        known_at, known = parent
        again = known_at is not date
        pixel_m2 = self._pixel_m2(box)

        def claim(before: NDArray[np.uint8]) -> tuple[Evidence, bool]:
            found = weigh(body, before, self.least, self._tolerance(known_at))
            return found, has_grown(found, pixel_m2, self.minimum_m2)

        evidence, grown = claim(known_at.steps(box) if again else steps)
        since, cautions = known_at, list(known_at.cautions)
        if grown and not again:
            cautions += self._doubts(body, steps, source, lambda before: claim(before)[1])
        if not grown and (anchor := self._anchor(known, known_at)) is not None:
            older = weigh(body, anchor.steps(box), self.least, self._tolerance(anchor))
            if has_grown(older, pixel_m2, self.minimum_m2):
                since, grown, evidence, cautions = anchor, True, older, anchor.cautions
        word = self._word("grown" if grown else "known", polygon, known, since, cautions)
        if again and not grown:
            word["caution"] = _join(word["caution"], f"seen on {known_at.day}, not on {date.day}")
        if grown:
            word["grown_m2"] = round(evidence.grown * pixel_m2, 1)
            self._gate(word, body, box)
        return word, touched

    def _judge_orphan(self, polygon: dict[str, Any], body: NDArray[np.bool_], box: Box, date: Date) -> dict[str, Any]:
        steps, source = self.before(box)

        def claim(before: NDArray[np.uint8]) -> bool | None:
            found = weigh(body, before, self.least, self._tolerance(date))
            return is_new(found, self._pixel_m2(box), self.minimum_m2)

        new = claim(steps)
        if new is None:
            return self._word("single", polygon, None, None)
        doubts = self._doubts(body, steps, source, claim) if new else []
        word = self._word("new" if new else "known", polygon, None, date, [*date.cautions, *doubts])
        if new:
            self._gate(word, body, box)
        else:
            word["caution"] = _join(word["caution"], f"just below the threshold on {date.day}")
        return word

    def _doubts(
        self, body: NDArray[np.bool_], steps: NDArray[np.uint8], source: NDArray[np.uint8],
        claim: Callable[[NDArray[np.uint8]], bool | None],
    ) -> list[str]:  # fmt: skip
        """The cautions of dates without whose pixels a claim would not stand."""
        numbers = [k for k, d in enumerate(self.dates[:DATES_MOST]) if d.cautions and (source[body] == k).any()]
        if not numbers or claim(np.where(np.isin(source, numbers), np.uint8(NODATA), steps)):
            return []
        return [caution for k in numbers for caution in self.dates[k].cautions]

    def _word(
        self, change: str, polygon: dict[str, Any], parent: dict[str, Any] | None, since: Date | None,
        cautions: Iterable[str] = (),
    ) -> dict[str, Any]:  # fmt: skip
        own = self.own.facts
        declared = change in {"new", "grown", "single"}
        first = own["acquired_at"]
        root = polygon["polygon_id"]
        anchor = own["scene_hash"]
        if parent is not None:
            first, root = parent.get("first_seen_at") or first, parent.get("root_id") or parent["polygon_id"]
            anchor = anchor if declared else parent.get("anchor_scene") or anchor
        return {
            "change": change, "parent_id": None if parent is None else parent["polygon_id"], "grown_m2": None,
            "since_at": None if since is None else since.at, "root_id": root, "first_seen_at": first,
            "anchor_scene": anchor, "caution": _join(*cautions),
        }  # fmt: skip

    def _parent(self, outline: Any, newest: Date) -> tuple[Date, dict[str, Any]] | None:
        """The earlier footprint that this one continues: on the date that shows the place, else on an older one."""
        ordered = [newest, *(d for d in self.dates if d is not newest and d.at < newest.at)]
        for date in ordered:
            chosen = choose_parent(outline, date.outlines, self._tolerance(date))
            if chosen is None:
                continue
            shared = outline.intersection(date.outlines[chosen]).area
            if date is newest or shared >= AGAIN_SHARE * outline.area:
                polygon = date.polygons[chosen]
                inherited = {"first_seen_at": date.at, "root_id": polygon["polygon_id"],
                             "anchor_scene": date.facts["scene_hash"]}  # fmt: skip
                return date, {**inherited, **{k: v for k, v in polygon.items() if v is not None}}
        return None

    def _touched(self, outline: Any) -> set[str]:
        """All earlier footprints that live on in this one: none of them has vanished."""
        return {
            polygon["polygon_id"]
            for date in self.dates
            for polygon, other in zip(date.polygons, date.outlines, strict=True)
            if outline.distance(other) <= self._tolerance(date)
        }

    def _anchor(self, known: dict[str, Any], known_at: Date) -> Date | None:
        """The date on which the outline was last declared, if it is another one and at hand."""
        wanted = known.get("anchor_scene")
        if wanted == known_at.facts["scene_hash"]:
            return None
        return next((d for d in self.dates if d.facts["scene_hash"] == wanted), None)

    def _find_vanished(self, children: set[str]) -> Iterable[dict[str, Any]]:
        for position, date in enumerate(self.dates[:DATES_MOST]):
            for polygon, outline in zip(date.polygons, date.outlines, strict=True):
                box = window_around(outline, self.grid, MARGIN_PX)
                if polygon["polygon_id"] in children or box is None:
                    continue
                body = burn(outline, box)
                source = self.before(box)[1]
                if not body.any() or np.median(source[body]) != position:
                    continue
                newer = self.own.steps(box)
                if not has_vanished(body, newer, self.least, self._tolerance(date)):
                    continue
                shown = newer[body & (newer != NODATA)]
                word = self._word("vanished", polygon, {"first_seen_at": date.at, **polygon}, date, date.cautions)
                name = f"{self.own.facts['scene_hash']}:vanished:{polygon['polygon_id']}"
                yield {
                    **{k: polygon[k] for k in ("geometry", "bbox", "area_m2") if k in polygon}, **word,
                    "polygon_id": hashlib.sha256(name.encode()).hexdigest()[:16],
                    "mean_probability": round(float(shown.mean(dtype=np.float64)) / 200, 4),
                }  # fmt: skip

    def _gate(self, word: dict[str, Any], body: NDArray[np.bool_], box: Box) -> None:
        """Caution on flat ground, where a slope is known."""
        if self._slope is None:
            return
        heights, valid = self._slope.read(*box)
        slopes = slope_deg(heights, valid, spacing_m(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2))[body]
        slopes = slopes[np.isfinite(slopes)]
        if slopes.size and (steepest := float(np.percentile(slopes, 90))) < FLAT_DEG:
            word["caution"] = _join(word["caution"], f"flat ground ({steepest:.0f} degrees)")

    def _pixel_m2(self, box: Box) -> float:
        return _ground_m2(self.grid, box[0] + box[2] / 2, box[1] + box[3] / 2)

    @staticmethod
    def _tolerance(date: Date) -> int:
        """Pixels by which an outline may wobble: one, and by how much the images are displaced."""
        return 2 if date.shift is None else 1 + int(np.ceil(date.shift.px - 0.25))


def _open_dem(facts: dict[str, Any], grid: Grid, stack: ExitStack) -> Layer | None:
    try:
        scene = scene_of(facts)
        return None if scene.dem is None else stack.enter_context(Layer(scene.dem, grid))
    except (ImageryError, KeyError):
        return None


def _ground_m2(grid: Grid, column: float, row: float) -> float:
    """True area of the pixel around a place of the grid, m²."""
    square = shapely.box(column - 0.5, row - 0.5, column + 0.5, row + 0.5)
    return true_area_m2(map_outline(square, grid.to_crs), grid)


def _join(*cautions: str | None) -> str | None:
    return "; ".join(dict.fromkeys(c for c in cautions if c)) or None
