"""Read the stored probabilities of several dates on the grid of the newest one."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.change.alignment import Alignment
from detection.imagery.change.records import KnownOutline, StoredDate, parse_geometry
from detection.imagery.raster.components import NODATA, RowBuffer
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Box, Layer, burn, join_windows, shapes_of, strips, to_pixels
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.built_ground import BuiltGround
from detection.imagery.scene.white_ground import WhiteGround
from detection.reasons import Explanation

# A date is compared with this many earlier dates, the newest first.
DATES_MOST = 5

Neighbours = list[tuple[KnownOutline, Any]]
"""Footprints with their outlines in pixels."""


@dataclass(slots=True)
class ProbabilityDate:
    """Stored probabilities, footprints and doubtful ground of one date, on the grid of the newer date."""

    record: StoredDate
    layers: dict[str, Layer]  # probabilities by class
    alignment: Alignment = field(default_factory=lambda: Alignment(None))  # of its image on that of the newer date
    cautions: list[Explanation] = field(default_factory=list)  # why a change since this date is advice only
    polygons: list[KnownOutline] = field(default_factory=list)  # its footprints
    outlines: list[Any] = field(default_factory=list)  # the same in pixels
    hidden: Any = None  # ground that counts as nodata: beside clouds, and footprints there; in pixels; None: none
    doubtful: Any = None  # ground that may be at a border of the image, in pixels; None: none
    cloudy: Any = None  # ground beside clouds, in pixels; None: none
    white: WhiteGround | None = None  # snow, ice and cloud of its image; None: not measured
    built: BuiltGround | None = None  # built ground of its image, of the newer date only; None: not measured
    _rows: dict[str, RowBuffer] = field(default_factory=dict)

    @classmethod
    def open(cls, record: StoredDate, own_grid: Grid, grid: Grid, stack: ExitStack) -> "ProbabilityDate":
        """Open the stored probabilities of a date.

        Args:
            own_grid: grid of the probabilities, in whose pixels the windows of the record are given.
            grid: grid on which they are read.
            stack: closes the files when it is closed.

        Raises:
            ImageryError: the file cannot be read.
        """
        doubtful = join_windows(record.doubtful, own_grid, grid)
        cloudy = join_windows(record.cloudy, own_grid, grid)
        layers = {
            kind: stack.enter_context(Layer(Path(record.probability_path), grid, band, nodata=NODATA))
            for band, kind in enumerate(record.classes, start=1)
        }
        return cls(record, layers, hidden=cloudy, doubtful=doubtful, cloudy=cloudy)

    @classmethod
    def open_earlier(cls, record: StoredDate, grid: Grid, stack: ExitStack) -> "ProbabilityDate":
        """Open the stored probabilities of an earlier date and its footprints.

        See `open`. Footprints beside clouds count as nodata as a whole.
        """
        date = cls.open(record, read_grid(Path(record.probability_path)), grid, stack)
        date.cautions = list(record.doubts)
        date.polygons = [parse_geometry(outline) for outline in record.outlines if not outline.is_gone]
        date.outlines = list(to_pixels(shapes_of([polygon.geometry for polygon in date.polygons]), grid))
        if date.cloudy is not None:
            clouded = [outline for outline in date.outlines if outline.intersects(date.cloudy)]
            date.hidden = shapely.union_all([date.hidden, *clouded])
        return date

    @property
    def is_of_its_scene(self) -> bool:
        """Whether the file still contains the probabilities of the scene of the record."""
        expected = self.record.scene_hash
        return all(layer.tags.get("SCENE_HASH", expected) == expected for layer in self.layers.values())

    def shows_ground(self, kind: str) -> bool:
        """Whether any pixel of a class is valid on the grid."""
        grid = self.layers[kind].grid if kind in self.layers else None
        return grid is not None and any((self.read_steps(box, kind) != NODATA).any() for box in strips(grid))

    def read_steps(self, box: Box, kind: str) -> NDArray[np.uint8]:
        """Read probability steps of a class in a window; all 255 (nodata) if the date has no such class.

        The array must not be changed. A buffer of rows reads each row of the file about once, although the windows of
        thousands of footprints are read from top to bottom.
        """
        if kind not in self.layers:
            return np.full((box[3], box[2]), NODATA, np.uint8)
        if kind not in self._rows:
            grid = self.layers[kind].grid

            def read(column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
                steps = self.layers[kind].read_steps(column, row, width, height)
                if self.hidden is not None:
                    part = shapely.clip_by_rect(self.hidden, column, row, column + width, row + height)
                    if not part.is_empty:
                        steps[burn(part, (column, row, width, height))] = NODATA
                return steps

            self._rows[kind] = RowBuffer(read, grid.width, grid.height)
        return self._rows[kind](*box)

    def list_footprints(self, kind: str) -> Neighbours:
        """Return its footprints of a class. A footprint never continues one of another class."""
        pairs = zip(self.polygons, self.outlines, strict=True)
        return [(polygon, outline) for polygon, outline in pairs if polygon.kind == kind]

    def list_neighbours(self, outlines: Sequence[Any], kind: str) -> list[Neighbours]:
        """Return for each outline the footprints of a class within the tolerance, in the order of the outlines.

        One query for all outlines keeps this fast for thousands of them.
        """
        footprints = self.list_footprints(kind)
        neighbours: list[Neighbours] = [[] for _ in outlines]
        tree = shapely.STRtree([outline for _, outline in footprints])
        pairs = tree.query(outlines, "dwithin", self.alignment.tolerance_px).T.tolist()
        for place, footprint in sorted(pairs):
            neighbours[place].append(footprints[footprint])
        return neighbours


def list_before(newer: StoredDate, earlier: Iterable[StoredDate]) -> list[StoredDate]:
    """Return the dates before `newer`, the newest first."""
    before = [date for date in earlier if date.acquired_at < newer.acquired_at]
    return sorted(before, key=lambda date: (date.acquired_at, date.scene_hash), reverse=True)


def choose_before(newer: StoredDate, earlier: Iterable[StoredDate]) -> list[StoredDate]:
    """Return the earlier dates that a date is compared with, the newest first.

    These are the last `DATES_MOST` dates, and older ones on which their outlines were last new, grown or single.
    """
    before = list_before(newer, earlier)
    recent = before[:DATES_MOST]
    anchors = {outline.anchor_scene for date in recent for outline in date.outlines}
    return recent + [date for date in before[DATES_MOST:] if date.scene_hash in anchors]


def merge_earlier(dates: Sequence[ProbabilityDate], box: Box, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the probability steps of the newest earlier date that shows each pixel.

    Args:
        dates: earlier dates, the newest first.

    Returns:
        Probability steps, and the position of the date that they are from; both 255 where no date shows the pixel.
    """
    steps = np.full((box[3], box[2]), NODATA, np.uint8)
    sources = np.full_like(steps, NODATA)
    for position, date in enumerate(dates[:DATES_MOST]):
        missing = steps == NODATA
        if not missing.any():
            break
        date_steps = date.read_steps(box, kind)
        fill = missing & (date_steps != NODATA)
        steps[fill] = date_steps[fill]
        sources[fill] = position
    return steps, sources
