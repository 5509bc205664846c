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
    """What is to be learnt from."""

    scenes: tuple[Path, ...]  # rasters, folders with `scene.toml`, products
    labels: tuple[GroundLabel, ...]  # what people said
    out: Path  # folder of the answer
    name: str  # of the model
    around: bool = True  # ground around outlines counts as looked at, where nobody says what was: for files of outlines
    minutes: float = 4.0  # of processor time for all of it; the clock says the same where two cores are free
    seed: int = 0  # of split and training
    notes: tuple[str, ...] = ()  # what was mended or left out before
    tile_px: int = TILE_PX  # side of the tiles
    # seeds of earlier runs for the same purpose: who tries often enough passes any gate, so the card says it
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
