"""Requests to workers that make map tiles, and their results. Importing this module loads no raster library."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from detection.reasons import Explanation

# Colours of probabilities from low to high: Matplotlib's inferno without its darkest and palest colours.
RAMP: Final = ((87, 16, 110), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10), (249, 201, 50))
SHOWN_FROM: Final = 0.05  # lower probabilities are not drawn
# Layer -> its file beside the results of a scene.
SCENE_FILES: Final = {"scene": "scene.pmtiles", "probability": "probability.pmtiles"}
# File beside the tiles: the scene and the model that they show, or why no tiles exist.
METADATA_FILE: Final = "tiles.json"


@dataclass(frozen=True, slots=True)
class ReliefRequest:
    """An elevation model, and the file of tiles to draw from it.

    `into` and `affine` place a model in a local system; see `raster.local_grid.LocalGridTransform`. An empty `into`
    means that no local system exists.
    """

    dem: Path
    out: Path
    into: str = ""
    affine: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneTilesRequest:
    """A scene and its probabilities, and the folder for their tiles.

    `prob` is None for radar, which has no probabilities. For `into` and `affine` see `ReliefRequest`.
    """

    scene: Path
    acquired_at: datetime
    prob: Path | None
    out_dir: Path
    into: str = ""
    affine: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TilesRequest:
    """A file of tiles to copy, and its destination."""

    source: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles that were written, or the reason why none were."""

    tiles: int = 0  # number of tiles
    kind: str = ""  # png, jpg, webp or mvt
    zooms: tuple[int, int] = (0, 0)  # lowest, highest
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # west, south, east, north in degrees
    error: Explanation = ""  # why no tiles were written; empty if some were
