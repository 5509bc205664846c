"""The tiles that a network is least sure of: where a look of a person would teach it most."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ImageryError
from detection.imagery.footprints.doubt import measure_doubt
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.model_file import SegmentationModel
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import Scene
from detection.whole_file import replacing
from slopeward_lab.learning.records import SceneWindow

LISTED: Final = 30
LOOKED_AT: Final = 600
CORE: Final = 0.01  # of a tile: so much of it, where the network is least sure, says how unsure the tile is
LEAST_VALID: Final = 0.5


@dataclass(frozen=True, slots=True)
class UnsureTile:
    """A tile, and how unsure the network is of it: 1 at the threshold, 0 where it is certain."""

    window: SceneWindow
    doubt: float


def list_unsure(
    model: SegmentationModel, scenes: Sequence[Scene], windows: Sequence[SceneWindow], seconds: float
) -> tuple[UnsureTile, ...]:
    """Look at tiles of which nobody said anything; the least sure first.

    `seconds`: of processor time; after these no further tile is looked at.
    """
    until = time.process_time() + seconds
    segmenter, threshold = Segmenter(model), float(model.card["threshold"])
    scale = np.asarray(model.card["radiometry"]["scale"], np.float32)
    chosen = list(windows[:: max(1, -(-len(windows) // LOOKED_AT))])
    found: list[UnsureTile] = []
    for scene in scenes:
        own = [one for one in chosen if one.scene == scene.path]
        if not own or time.process_time() > until:
            continue
        try:
            with open_scene(scene, model.bands) as reader:
                for window in own:
                    size = (
                        min(window.side_px, reader.grid.width - window.column),
                        min(window.side_px, reader.grid.height - window.row),
                    )
                    values, valid = reader.read(window.column, window.row, *size)
                    if valid.mean() < LEAST_VALID or min(size) < window.side_px // 4:
                        continue
                    probabilities = segmenter.probabilities(values * scale, valid)
                    found.append(UnsureTile(window, rate_tile(probabilities[valid], threshold)))
                    if time.process_time() > until:
                        break
        except ImageryError:
            continue  # said when the tiles were cut
    return tuple(sorted(found, key=lambda one: (-one.doubt, str(one.window.scene), one.window.row, one.window.column)))[
        :LISTED
    ]


def rate_tile(probabilities: NDArray[np.floating], threshold: float) -> float:
    """How near the probabilities of a tile come to the threshold: the mean of the nearest hundredth.

    >>> rate_tile(np.array([0.0, 0.4, 1.0]), 0.4), rate_tile(np.array([0.0, 1.0]), 0.4)
    (1.0, 0.0)
    """
    near = measure_doubt(probabilities, threshold)
    kept = max(1, round(CORE * near.size))
    return round(float(np.partition(near, near.size - kept)[-kept:].mean()), 4)


def write_unsure(path: Path, tiles: Sequence[UnsureTile], root: Path) -> None:
    """Write the tiles as GeoJSON in longitude and latitude, the least sure first."""
    features = []
    for rank, tile in enumerate(tiles, start=1):
        west, south, east, north = (round(value, 7) for value in tile.window.bounds)
        scene = tile.window.scene
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        name = scene.relative_to(root).as_posix() if scene.is_relative_to(root) else scene.name
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"rank": rank, "doubt": tile.doubt, "scene": name},
            }
        )
    with replacing(path) as partial:
        partial.write_text(
            json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_unsure(path: Path, root: Path) -> tuple[UnsureTile, ...]:
    """What `write_unsure` wrote; a tile is known by what it frames, not by its pixels."""
    found = []
    for one in json.loads(path.read_text(encoding="utf-8"))["features"]:
        (west, south), (east, _), (_, north) = one["geometry"]["coordinates"][0][:3]
        properties = one["properties"]
        found.append(
            UnsureTile(
                SceneWindow(root / properties["scene"], 0, 0, 0, (west, south, east, north)), properties["doubt"]
            )
        )
    return tuple(found)
