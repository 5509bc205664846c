"""Which scenes of a folder can be learnt from: the bands that they share, and the unit of their values."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from detection.imagery.errors import ImageryError, ManifestError
from detection.imagery.scene.offsets import COUNT
from detection.imagery.scene.products.product import is_product
from detection.imagery.scene.radiometry import sample_pixels
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import MANIFEST, Scene, read_scene
from slopeward_lab.learning.records import LearningError

RASTERS: Final = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
MOST_SCENES: Final = 5_000
BANDS: Final = ("B4", "B3", "B2", "B8", "B11", "B12")
"""What a network of one's own reads, where all scenes have it: red and green first, as the simple maps need them."""
LOOKED_AT: Final = 10  # scenes whose values are sampled for their unit
UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)  # of a picture that does not say when it was taken
SHARES_MOST, BYTES_MOST = 2.0, 255.0


@dataclass(frozen=True, slots=True)
class ReadableScenes:
    """Scenes that go together."""

    scenes: tuple[Scene, ...]  # them
    bands: tuple[str, ...]  # which all of them have
    scale: float  # by which their values become those of the network
    notes: tuple[str, ...]  # what was left out, and why


def find_scenes(folder: Path) -> tuple[Path, ...]:
    """List what may be a scene in a folder: products and folders with a manifest, else every raster.

    Raises:
        LearningError: there is nothing, or far too much.
    """
    if not folder.is_dir():
        if folder.is_file():
            return (folder,)
        raise LearningError(f"{folder}: no such folder")
    found: list[Path] = []
    for here, inner, files in os.walk(folder):
        inner.sort()
        place = Path(here)
        if (place / MANIFEST).is_file() or is_product(place):
            found.append(place)
            inner.clear()
            continue
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [place / name for name in sorted(files) if Path(name).suffix.lower() in RASTERS]
        if len(found) > MOST_SCENES:
            raise LearningError(f"{folder}: more than {MOST_SCENES:,} rasters; name the folder of the scenes alone")
    if not found:
        raise LearningError(f"{folder}: no scene in it (GeoTIFF, folder with {MANIFEST}, product as it was handed out)")
    return tuple(found)


def read_scenes(paths: tuple[Path, ...]) -> ReadableScenes:
    """Read what the scenes are, and find what they share.

    Raises:
        LearningError: none can be read, they share no two bands, or their values have different units.
    """
    scenes, notes = [], []
    for path in paths:
        try:
            try:
                scene = read_scene(path)
            except ManifestError:
                if path.is_dir():
                    raise
                scene = read_scene(path, UNKNOWN)  # it does not say when it was taken
            if not set(BANDS) & set(scene.bands):
                raise LearningError(f"{path}: none of its bands has a known name (B4, red, ...)")
        except ImageryError as error:
            notes.append(f"left out: {error}")
            continue
        scenes.append(scene)
    if not scenes:
        raise LearningError(notes[0].removeprefix("left out: ") if notes else "no scene")
    shared = set.intersection(*(set(scene.bands) for scene in scenes))
    bands = tuple(name for name in BANDS if name in shared)
    if len(bands) < 2:
        few = min(scenes, key=lambda scene: len(set(BANDS) & set(scene.bands)))
        raise LearningError(
            f"the scenes share {len(bands)} of the bands {', '.join(BANDS)}, and two are needed; "
            f"{few.path.name} has {', '.join(few.bands)}"
        )
    if left := sorted({name for scene in scenes for name in BANDS if name in scene.bands} - set(bands)):
        notes.append(f"bands {', '.join(left)} are not used: not every scene has them")
    return ReadableScenes(tuple(scenes), bands, _find_scale(scenes, bands, notes), tuple(notes))


def _find_scale(scenes: list[Scene], bands: tuple[str, ...], notes: list[str]) -> float:
    """1 for shares of one, 1/255 for pictures, 1/10000 for counts of reflectance; of all scenes the same."""
    found: dict[float, Path] = {}
    for scene in scenes[:: max(1, len(scenes) // LOOKED_AT)]:
        try:
            with open_scene(scene, bands) as reader:
                sample, whole = sample_pixels(reader), all(not t.startswith("float") for t in reader.spectral_types)
        except ImageryError as error:
            notes.append(f"not looked at: {error}")
            continue
        if np.median(sample) < 0:
            raise LearningError(f"{scene.path}: most values are below 0: decibels or an index, no brightness")
        high = float(np.quantile(sample, 0.999))
        if not whole and high <= SHARES_MOST:
            found.setdefault(1.0, scene.path)
        else:
            found.setdefault(1 / BYTES_MOST if whole and high <= BYTES_MOST else COUNT, scene.path)
    if len(found) > 1:
        (one, a), (other, b) = list(found.items())[:2]
        raise LearningError(f"values of different units: {a.name} (scale {one:.4g}) and {b.name} (scale {other:.4g})")
    if not found:
        raise LearningError(notes[-1].removeprefix("not looked at: "))
    return next(iter(found))
