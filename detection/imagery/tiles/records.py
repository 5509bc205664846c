"""What a worker is asked for map tiles, and what it answers; read without any library of rasters."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from detection.reasons import Explanation

# Colours of probabilities, faint to certain: Matplotlib's inferno, without what is too dark or too pale on an image.
RAMP: Final = ((87, 16, 110), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10), (249, 201, 50))
SHOWN_FROM: Final = 0.05  # what is less probable is not drawn
SCENE_FILES: Final = {"scene": "scene.pmtiles", "probability": "probability.pmtiles"}  # beside the results of a scene


METADATA_FILE: Final = "tiles.json"  # beside them: of what they were cut, or why there are none


@dataclass(frozen=True, slots=True)
class ReliefRequest:
    """Which elevation model becomes which file of tiles; `into` and `affine` place one in a local system."""

    dem: Path
    out: Path
    into: str = ""
    affine: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneTilesRequest:
    """Which scene, and which of its results, become tiles in `out_dir`; see `ReliefRequest` for the local system.

    `prob` is None where there are no probabilities: radar marks what changed.
    """

    scene: Path
    acquired_at: datetime
    prob: Path | None
    out_dir: Path
    into: str = ""
    affine: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TilesRequest:
    """Which file becomes which."""

    source: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Tiles:
    """What was written; `error` says in one line why nothing was."""

    tiles: int = 0  # how many
    kind: str = ""  # of them: png, jpg, webp, mvt
    zooms: tuple[int, int] = (0, 0)  # lowest, highest
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # west, south, east, north in degrees
    error: Explanation = ""  # empty where there are some
