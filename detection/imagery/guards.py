"""Guards of change: are two dates laid on each other, and of one season? Measured on the images, not on the maps."""

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detection.imagery.components import NODATA
from detection.imagery.grid import Grid
from detection.imagery.overlay import Layer, strips
from detection.imagery.registration import Shift, measure_shift, median_ratios
from detection.imagery.scene import Scene, read_scene

# Above this shift between two images no change is claimed, pixels.
SHIFT_MOST_PX = 1.5
# Share of landslide pixels before over the share after beyond which the two dates do not compare.
SHARE_RATIO = 5.0
# Medians of a band may differ by this factor between two dates of one season: below the 1.26 to 1.44 of the measured
# pair of two seasons.
MEDIAN_RATIO = 1.25
# So many pixels give the medians, and so many bands.
SAMPLE = 400_000
BANDS_MOST = 4


def scene_of(facts: dict[str, Any]) -> Scene:
    """Return the scene of a date by its `scene_path`.

    Raises:
        ImageryError: its files are gone.
        KeyError: the date names no scene.
    """
    return read_scene(Path(facts["scene_path"]), datetime.fromisoformat(facts["acquired_at"]))


def lay_together(
    newer: dict[str, Any], older: dict[str, Any], grid: Grid
) -> tuple[Shift | None, tuple[float, ...] | None]:
    """Measure the shift between the images of two dates, and the ratios of their bands' medians (newer over older).

    Raises:
        ImageryError: an image cannot be read.
        KeyError: the dates have no band in common.
    """
    with _Images(newer, older, grid) as images:
        return images.shift(), images.ratios()


def find_season(ratios: tuple[float, ...] | None, before: float, after: float) -> list[str]:
    """Return what speaks against one season, from medians and from the landslide shares before and after.

    >>> find_season((1.1, 0.9), 0.01, 0.004), find_season((1.4,), 0.06, 0.01)[1]
    ([], 'season or radiometry differs (landslide share 6.00% before, 1.00% after)')
    """
    found = []
    if ratios is not None and any(not 1 / MEDIAN_RATIO <= ratio <= MEDIAN_RATIO for ratio in ratios):
        found.append(f"season or radiometry differs (medians of the bands by {', '.join(map(str, ratios))})")
    if before > SHARE_RATIO * after and before > 0:
        found.append(f"season or radiometry differs (landslide share {before:.2%} before, {after:.2%} after)")
    return found


def landslide_shares(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], least: int) -> tuple[float, float]:
    """Return the landslide shares (before, after) of the pixels that both dates show; pairs are (newer, older)."""
    joint = before = after = 0
    for now, then in pairs:
        both = (now != NODATA) & (then != NODATA)
        joint += int(np.count_nonzero(both))
        before += int(np.count_nonzero(both & (then >= least)))
        after += int(np.count_nonzero(both & (now >= least)))
    return before / max(1, joint), after / max(1, joint)


class _Images:
    """The images of two dates on the newer grid, by the bands that both have."""

    def __init__(self, newer: dict[str, Any], older: dict[str, Any], grid: Grid) -> None:
        self._stack = ExitStack()
        self._grid = grid
        scenes = [scene_of(facts) for facts in (newer, older)]
        names = [name for name in scenes[0].bands if name in scenes[1].bands]
        if not names:
            raise KeyError("no band in common")
        names.sort(key=lambda name: (name != "B4", name))
        try:
            self._bands = [[self._open(scene, name) for scene in scenes] for name in names[:BANDS_MOST]]
        except BaseException:
            self._stack.close()
            raise

    def _open(self, scene: Scene, name: str) -> Layer:
        band = scene.bands[name]
        offset = scene.offset / scene.gain  # medians and shifts are compared by ratio: the gain does not matter
        return self._stack.enter_context(Layer(band.path, self._grid, band.index, nodata=0.0, offset=offset))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def shift(self) -> Shift | None:
        newer, older = self._bands[0]

        def read(
            column: int, row: int, width: int, height: int
        ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
            now, valid = newer.read(column, row, width, height)
            then, also = older.read(column, row, width, height)
            return now, then, valid & also

        return measure_shift(read, self._grid.width, self._grid.height)

    def ratios(self) -> tuple[float, ...] | None:
        step = max(1, int(np.sqrt(self._grid.width * self._grid.height / SAMPLE)))
        samples: list[list[NDArray[np.floating]]] = [[], []]
        for box in strips(self._grid):
            pairs = [(newer.read(*box), older.read(*box)) for newer, older in self._bands]
            valid = np.logical_and.reduce([v for pair in pairs for _, v in pair])[::step, ::step]
            for which in (0, 1):
                samples[which].append(np.stack([pair[which][0][::step, ::step][valid] for pair in pairs]))
        now, then = (np.concatenate(part, axis=1) for part in samples)
        return median_ratios(now, then, np.ones(now.shape[1], bool))
