"""Ground of a scene that triage passed over and no other tile looked at: it proves nothing for other dates."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.footprints.probabilities import tile_origins
from detection.imagery.footprints.records import SceneDetection, Window
from detection.imagery.raster.tiling import cut


def list_unseen(result: SceneDetection) -> list[Window]:
    """Return the windows of a result of `detect` that nobody looked at, in pixels of its grid.

    Where the network saw other pixels (`read_at`), a pixel of which it saw a part is one that it did not see.

    What triage names are the windows that were read. Of a crop plan a tile owns less than it reads; of a blend half of
    a tile that was passed over lies under tiles that were not.

    >>> told = {"windows": [[0, 0, 40, 40]]}
    >>> list_unseen({"passed_over": told, "blend": "crop", "tile": 32, "halo": 16, "width": 64, "height": 40})
    []
    >>> told = {"windows": [[0, 0, 48, 40]]}
    >>> list_unseen({"passed_over": told, "blend": "crop", "tile": 32, "halo": 16, "width": 64, "height": 40})
    [(0, 0, 32, 32)]
    >>> told = {"windows": [[0, 0, 32, 32]]}
    >>> list_unseen({"passed_over": told, "blend": "hann", "tile": 32, "halo": 0, "width": 64, "height": 32})
    [(0, 0, 16, 32)]
    """
    if not (triage := result.get("passed_over")) or not triage["windows"]:
        return []
    passed = {tuple(window) for window in triage["windows"]}
    own: Mapping[str, Any] = result.get("read_at") or result
    width, height = int(own["width"]), int(own["height"])
    pairs = _list_tiles(str(result["blend"]), int(result["tile"]), int(result["halo"]), width, height)
    owned = [(own, read in passed) for read, own in pairs]
    columns = np.unique([x for (c, _, w, _), _ in owned for x in (c, c + w)])
    rows = np.unique([y for (_, r, _, h), _ in owned for y in (r, r + h)])
    hidden, looked = (np.zeros((len(rows) - 1, len(columns) - 1), bool) for _ in range(2))
    for (column, row, wide, high), is_passed in owned:
        across = slice(*np.searchsorted(columns, (column, column + wide)))
        down = slice(*np.searchsorted(rows, (row, row + high)))
        (hidden if is_passed else looked)[down, across] = True
    across, down = own.get("step_px", (1, 1))
    lefts, rights = _bring_sides(columns, across, int(result["width"]))
    tops, bottoms = _bring_sides(rows, down, int(result["height"]))
    return [
        (int(lefts[c]), int(tops[r]), int(rights[c + 1] - lefts[c]), int(bottoms[r + 1] - tops[r]))
        for r, c in zip(*np.nonzero(hidden & ~looked), strict=True)
    ]


def _bring_sides(sides: NDArray[np.int64], step: float, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where windows between such sides begin and end, in pixels of which `length` lie below those, `step` below each.

    >>> begin, end = _bring_sides(np.array([0, 16, 21]), 1.5, 31)
    >>> begin.tolist(), end.tolist()
    ([0, 24, 31], [0, 24, 31])
    """
    places = np.minimum(sides * step, length)
    return np.floor(places + 1e-6).astype(np.int64), np.ceil(places - 1e-6).astype(np.int64)


def _list_tiles(blend: str, tile: int, halo: int, width: int, height: int) -> Iterable[tuple[Window, Window]]:
    """The window that each tile reads, and the one that it speaks for."""
    if blend != "hann":
        for one in cut(width, height, tile, halo, 1):
            yield (
                (one.read_column, one.read_row, one.read_width, one.read_height),
                (one.own_column, one.own_row, one.own_width, one.own_height),
            )
        return
    for origin in tile_origins(0, height, tile, 0):
        for start in tile_origins(0, width, tile, 0):
            column, row = max(0, start), max(0, origin)
            window = column, row, min(width, start + tile) - column, min(height, origin + tile) - row
            yield window, window
