"""Radiometric match on request: an older image stretched band by band to the newer one, kept apart and told."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ForbiddenSourceError, NoValidPixelsError
from detection.imagery.overlay import Layer, strips
from detection.imagery.raster import read_grid, write_geotiff
from detection.imagery.scene import COMPANIONS, MANIFEST, Scene
from detection.imagery.sources import find_driver

# Percentiles that are laid on each other: the extremes of clouds and shadows are left out.
LOW, HIGH = 2.0, 98.0
SAMPLE = 1_000_000


def match_scene(older: Scene, newer: Scene, folder: Path) -> tuple[Path, dict[str, dict[str, float]]]:
    """Write a copy of the older scene whose bands have the newer one's 2nd and 98th percentile.

    The percentiles are taken over pixels that are valid in both, band by band; the map between them is linear. It mends
    a difference of light or processing; it cannot mend another season, and it hides a change that covers most of the
    scene.

    Args:
        older: the scene to be matched.
        newer: the scene it is matched to.
        folder: the copy (emptied before).

    Returns:
        The copy's folder, and per band `gain` and `offset` of new = gain * old + offset.

    Raises:
        NoValidPixelsError: the scenes share no valid pixel, or a band is flat.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    factors: dict[str, dict[str, float]] = {}
    # the copy is in the newer scene's counts; what hid the ground still hides it
    lines = [f"acquired_at = {older.acquired_at.isoformat()}", f'role = "{older.role}"', "complete = true",
             f"offset = {newer.offset}", *_copy_companions(older, folder), "[bands]"]  # fmt: skip
    for name, band in older.bands.items():
        grid = read_grid(band.path)
        with ExitStack() as stack:
            own = stack.enter_context(Layer(band.path, grid, band.index, nodata=0.0))
            pairs = []
            other = None
            if name in newer.bands:
                far = newer.bands[name]
                other = stack.enter_context(Layer(far.path, grid, far.index, nodata=0.0))
            step = max(1, int(np.sqrt(grid.width * grid.height / SAMPLE)))
            parts = []
            for box in strips(grid):
                values, valid = own.read(*box)
                parts.append((values, valid))
                if other is not None:
                    wanted, also = other.read(*box)
                    both = (valid & also)[::step, ::step]
                    pairs.append(np.stack([values[::step, ::step][both], wanted[::step, ::step][both]]))
        image = np.concatenate([values for values, _ in parts])
        shown = np.concatenate([valid for _, valid in parts])
        gain, offset = _fit(np.concatenate(pairs, axis=1), older, name) if pairs else (1.0, 0.0)
        factors[name] = {"gain": round(gain, 5), "offset": round(offset, 3)}
        matched = np.where(shown, np.clip(np.rint(image * gain + offset), 1, 65_535), 0).astype(np.uint16)
        write_geotiff(folder / f"{name}.tif", matched[None], grid, nodata=0)
        lines.append(f'{name} = "{name}.tif"')
    (folder / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, factors


def _copy_companions(scene: Scene, folder: Path) -> list[str]:
    """Copy the rasters beside the bands (masks, clouds, heights); returns their lines of the manifest."""
    lines = []
    for name in COMPANIONS:
        path: Path | None = getattr(scene, name)
        if path is None:
            continue
        if find_driver(path) == "VRT":
            raise ForbiddenSourceError(f"{path}: a VRT beside the bands is not copied; write it as one file")
        shutil.copy(path, folder / f"{name}{path.suffix}")
        lines.append(f'{name} = "{name}{path.suffix}"')
    return lines


def _fit(pairs: NDArray[np.floating], older: Scene, name: str) -> tuple[float, float]:
    """Gain and offset that lay two percentiles of the first row on those of the second."""
    if not pairs.shape[1]:
        raise NoValidPixelsError(f"{older.path}: band {name} shares no valid pixel with the newer scene")
    (low, high), (to_low, to_high) = np.percentile(pairs, [LOW, HIGH], axis=1).T
    if high <= low:
        raise NoValidPixelsError(f"{older.path}: band {name} is flat; it cannot be matched")
    gain = float((to_high - to_low) / (high - low))
    return gain, float(to_low - gain * low)
