"""Radiometric match on request: an older image stretched band by band to the newer one, kept apart and told."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ForbiddenSourceError, NoValidPixelsError
from detection.imagery.footprints.outputs import RUN
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.raster.raster import read_grid, writing_geotiff
from detection.imagery.raster.untrusted import find_driver
from detection.imagery.scene.scene import COMPANIONS, MANIFEST, Scene
from forecasting.whole_file import replacing

# Percentiles that are laid on each other: the extremes of clouds and shadows are left out.
LOW, HIGH = 2.0, 98.0
SAMPLE = 1_000_000


def match_scene(older: Scene, newer: Scene, folder: Path) -> tuple[Path, dict[str, dict[str, float]]]:
    """Write a copy of the older scene whose bands have the newer one's 2nd and 98th percentile.

    The percentiles are taken over pixels that are valid in both, band by band; the map between them is linear. It mends
    a difference of light or processing; it cannot mend another season, and it hides a change that covers most of the
    scene.

    Each band is read twice by strips: for the percentiles every n-th row and column, so that about a million pixels are
    kept whatever the size, and for the copy. Whole counts stay whole counts; reflectances stay fractions.

    `folder`: the copy (emptied before).

    Returns:
        The copy's folder, and per band `gain` and `offset` of new = gain * old + offset, with `sampled_px`, the number
        of pixels that the percentiles rest on, and `every_px`, the stride at which they were read.

    Raises NoValidPixelsError: the scenes share no valid pixel, or a band is flat.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    factors: dict[str, dict[str, float]] = {}
    # the copy is in the newer scene's counts; what hid the ground still hides it
    lines = [
        f"acquired_at = {older.acquired_at.isoformat()}",
        f'role = "{older.role}"',
        "complete = true",
        f"offset = {newer.offset}",
        *_copy_companions(older, folder),
        "[bands]",
    ]
    for name, band in older.bands.items():
        grid = read_grid(band.path)
        with ExitStack() as stack:
            own = stack.enter_context(Layer(band.path, grid, band.index, nodata=0.0))
            other = None
            if name in newer.bands:
                far = newer.bands[name]
                other = stack.enter_context(Layer(far.path, grid, far.index, nodata=0.0))
            step = max(1, int(np.sqrt(grid.width * grid.height / SAMPLE)))
            gain, offset, sampled = 1.0, 0.0, 0
            if other is not None:
                pairs = _sample(own, other, step)
                sampled = pairs.shape[1]
                gain, offset = _fit(pairs, older, name)
            # counts of eight bits stay such where both are: weights of pictures know no others
            types = {own.dtype, (other or own).dtype}
            whole = newer.gain == 1 and all(np.issubdtype(one, np.integer) for one in types)
            kind = np.dtype(np.uint8 if whole and types == {np.dtype(np.uint8)} else np.uint16 if whole else np.float32)
            # a manifest states an offset and no gain: this is applied here
            _write(folder / f"{name}.tif", own, gain * newer.gain, offset * newer.gain, kind)
        digits = 3 if np.issubdtype(kind, np.integer) else 7
        factors[name] = {
            "gain": round(gain, 5),
            "offset": round(offset, digits),
            "sampled_px": sampled,
            "every_px": step,
        }
        lines.append(f'{name} = "{name}.tif"')
    (folder / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, factors


def write_match(out_dir: Path, factors: dict[str, dict[str, float]]) -> None:
    """Write into the record of a result (`run.json`) how its image was matched before anything was found on it."""
    path = out_dir / RUN
    record = json.loads(path.read_text(encoding="utf-8")) | {"matched": factors}
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _sample(own: Layer, other: Layer, step: int) -> NDArray[np.floating]:
    """Values of both layers at every n-th row and column of the grid that both show (2 x n)."""
    pairs = []
    for column, row, width, height in strips(own.grid):
        box = column, row, width, height
        (values, valid), (wanted, also) = own.read(*box), other.read(*box)
        # the lattice of the whole grid, not of the strip: strips need not be a multiple of the stride
        rows = slice(-row % step, None, step)
        both = (valid & also)[rows, ::step]
        pairs.append(np.stack([values[rows, ::step][both], wanted[rows, ::step][both]]))
    return np.concatenate(pairs, axis=1)


def _write(path: Path, own: Layer, gain: float, offset: float, kind: np.dtype[Any]) -> None:
    with writing_geotiff(path, own.grid, kind.name, nodata=0) as write:
        for box in strips(own.grid):
            values, shown = own.read(*box)
            stretched = values * np.float32(gain) + np.float32(offset)
            if np.issubdtype(kind, np.integer):
                stretched = np.clip(np.rint(stretched), 1, np.iinfo(kind).max).astype(kind)
            else:
                stretched = np.where(stretched == 0, np.finfo(np.float32).tiny, stretched)
            write(np.where(shown, stretched, stretched.dtype.type(0)), box[0], box[1])


def _copy_companions(scene: Scene, folder: Path) -> list[str]:
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
    if not pairs.shape[1]:
        raise NoValidPixelsError(f"{older.path}: band {name} shares no valid pixel with the newer scene")
    (low, high), (to_low, to_high) = np.percentile(pairs, [LOW, HIGH], axis=1).T
    if high <= low:
        raise NoValidPixelsError(f"{older.path}: band {name} is flat; it cannot be matched")
    gain = float((to_high - to_low) / (high - low))
    return gain, float(to_low - gain * low)
