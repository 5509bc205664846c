"""Dates of one ground beside each other: which earlier one shows a pixel last, class by class of the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.change.records import KnownOutline, StoredDate
from detection.imagery.raster.areas import map_outline, pixel_at, true_area_m2
from detection.imagery.raster.components import NODATA, Rows
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Box, Layer, burn
from detection.imagery.scene.registration import ImageShift
from detection.reasons import Explanation

# So many earlier dates are looked at, the newest first.
DATES_MOST = 5
Near = list[tuple[KnownOutline, Any]]
"""Footprints with their outlines in pixels."""


@dataclass(slots=True)
class Date:
    """One date on the newer grid: its kept probabilities by class, its guards, its footprints in pixels."""

    facts: StoredDate
    layers: dict[str, Layer]
    shift: ImageShift | None = None
    registered: ImageShift | None = None  # the shift that was corrected; `shift` is what is left
    ratios: tuple[float, ...] | None = None
    cautions: list[Explanation] = field(default_factory=list)
    polygons: list[KnownOutline] = field(default_factory=list)
    outlines: list[Any] = field(default_factory=list)
    unseen: Any = None  # ground that proves nothing (rims of clouds), in pixels
    doubtful: Any = None  # ground that may be a border, in pixels
    cloudy: Any = None  # ground beside clouds, in pixels
    white: Any = None  # snow, ice and cloud of its image (`guards.White`), where that was looked for
    _rows: dict[str, Rows] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """When it was taken."""
        return self.facts.acquired_at

    @property
    def day(self) -> str:
        """The day it was taken."""
        return self.at.date().isoformat()

    @property
    def tolerance_px(self) -> int:
        """Pixels by which an outline may wobble: one, and by how much the images are displaced."""
        return 2 if self.shift is None else 1 + int(np.ceil(self.shift.px - 0.25))

    def steps(self, box: Box, kind: str) -> NDArray[np.uint8]:
        """Probability steps of a class in a window, 255 = nodata; all nodata where the date does not know the class.

        The array must not be changed: thousands of footprints ask from top to bottom, and each row is read about once.
        """
        if kind not in self.layers:
            return np.full((box[3], box[2]), NODATA, np.uint8)
        if kind not in self._rows:
            grid = self.layers[kind].grid

            def read(*own: int) -> NDArray[np.uint8]:
                steps = self.layers[kind].read_steps(*own)
                if self.unseen is not None:
                    part = shapely.clip_by_rect(self.unseen, own[0], own[1], own[0] + own[2], own[1] + own[3])
                    if not part.is_empty:
                        steps[burn(part, (own[0], own[1], own[2], own[3]))] = NODATA
                return steps

            self._rows[kind] = Rows(read, grid.width, grid.height)
        return self._rows[kind](*box)

    def footprints(self, kind: str) -> Near:
        """Its footprints of a class with their outlines: a crack is not the parent of a landslide."""
        return [pair for pair in zip(self.polygons, self.outlines, strict=True) if pair[0].kind == kind]

    def list_near(self, outlines: Sequence[Any], kind: str) -> list[Near]:
        """For each outline those that lie within the tolerance of it, in the same order.

        Asked for all at once: thousands of footprints have thousands of neighbours.
        """
        pairs = self.footprints(kind)
        found: list[Near] = [[] for _ in outlines]
        tree = shapely.STRtree([outline for _, outline in pairs])
        for one, other in sorted(tree.query(outlines, "dwithin", self.tolerance_px).T.tolist()):
            found[one].append(pairs[other])
        return found


def lay_before(dates: Sequence[Date], box: Box, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Steps of the newest earlier date that shows a pixel, and the number of that date (255: none)."""
    steps = np.full((box[3], box[2]), NODATA, np.uint8)
    source = np.full_like(steps, NODATA)
    for position, date in enumerate(dates[:DATES_MOST]):
        missing = steps == NODATA
        if not missing.any():
            break
        values = date.steps(box, kind)
        fill = missing & (values != NODATA)
        steps[fill], source[fill] = values[fill], position
    return steps, source


def ground_m2(grid: Grid, column: float, row: float) -> float:
    """True area of the pixel around a place of the grid, m²."""
    return true_area_m2(map_outline(pixel_at(column, row), grid.to_crs), grid)
