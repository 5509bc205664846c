"""What learning is asked, what it reads as labels, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ImageryError

LANDSLIDE, NOT_LANDSLIDE, NOTHING = "landslide", "not_landslide", "nothing"
KINDS: Final = (LANDSLIDE, NOT_LANDSLIDE, NOTHING)
"""Of an outline: a landslide; what looks like one and is none; ground that was looked at, all else in it is none."""
TILE_PX: Final = 128


class LearningError(ImageryError):
    """Scenes and outlines from which nothing can be learnt; one line says what is missing."""


@dataclass(frozen=True, slots=True)
class GroundLabel:
    """The kind that a person gave a piece of ground."""

    kind: str  # one of `KINDS`
    shape: Any  # polygon in longitude and latitude (shapely)
    scene: str = ""  # path of the one scene that it speaks of; empty: of every scene that shows the ground
    since: datetime | None = None  # it speaks of no scene that was taken before; None: of scenes of any day


@dataclass(frozen=True, slots=True)
class LearningRequest:
    """What is to be learnt from.

    Attributes:
        scenes: rasters, folders with `scene.toml`, products.
        labels: what people said.
        around: ground around outlines counts as looked at, where nobody says what was: for files of outlines.
        out: folder of the answer.
        name: of the model.
        minutes: of processor time for all of it; the clock says the same where two cores are free.
        seed: of split and training.
        notes: what was mended or left out before.
        tile_px: side of the tiles.
        tried: seeds of earlier runs for the same purpose: who tries often enough passes any gate, so the card says it.
    """

    scenes: tuple[Path, ...]
    labels: tuple[GroundLabel, ...]
    out: Path
    name: str
    around: bool = True
    minutes: float = 4.0
    seed: int = 0
    notes: tuple[str, ...] = ()
    tile_px: int = TILE_PX
    tried: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneWindow:
    """A square tile of a scene: its first pixel and side, and what it frames in degrees (west, south, east, north)."""

    scene: Path
    column: int
    row: int
    side_px: int
    bounds: tuple[float, float, float, float]


Report = Callable[[str], None]
"""Called with one line for people."""
