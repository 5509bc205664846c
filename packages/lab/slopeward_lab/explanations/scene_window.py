"""Read a window of a scene as its network reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.footprints.inputs import OpenScene, open_inputs, read_input_scene
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.model_file import SegmentationModel
from detection.imagery.optional_bands import list_optional_bands
from detection.imagery.raster.grid import Grid
from detection.imagery.registry import find_entry
from detection.imagery.scene.optional_reader import OptionalBandReader
from detection.imagery.scene.radiometry import measure_stretch
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import fit_to_network

MOST_SIDE_PX: Final = 1024
# Pixels that are read around a window, or fewer if the network depends on fewer (`NetworkEntry.halo_px`). With this
# margin, 0.4 % of the pixels of a window of 256 px on a measured scene differ from the map of the whole scene; without
# a margin it is 4.6 % (`landslide4sense-standard`, Hokkaido 2018).
MARGIN_PX: Final = 128


@dataclass(frozen=True, slots=True)
class SceneWindow:
    """A window of a scene, with the pixels around it that its network reads."""

    # Input of the network, 1 x channels x H x W, with the margin. Invalid pixels are 0, the mean of the training.
    image: torch.Tensor
    valid: NDArray[np.bool_]  # H x W, the valid pixels of the window; False in the margin
    crop: tuple[slice, slice]  # rows and columns of the window in the image
    grid: Grid  # of the window, on the pixels of the network
    column: int  # of its first pixel
    row: int  # of its first pixel


def read_window(
    scene_path: Path, model: SegmentationModel, place: tuple[float, float] | None, side_px: int, dem: Path | None = None
) -> SceneWindow:
    """Read a window of a scene as `slopeward scenes detect` reads it.

    Args:
        scene_path: raster, folder with `scene.toml`, or product of a satellite.
        model: the network.
        place: longitude and latitude of the centre of the window; column and row for a scene without coordinates.
            None: the whole scene.
        side_px: largest side of the window, in pixels of the network.
        dem: elevation model, for networks that read terrain.

    Raises:
        SceneError: the scene cannot be read, does not contain the place, or is larger than a window and no place is
            given.
        NoValidPixelsError: the window has no valid pixel.
        ImageryError: the scene does not fit the network.
    """
    with _open_scene(scene_path, model, dem) as (opened, reader):
        column, row, width, height = _choose_window(scene_path, reader.grid, place, side_px)
        left, top, right, bottom = _add_margin(model, reader.grid, column, row, width, height)
        stretch = measure_stretch(reader, model.card)
        counts, valid = reader.read(left, top, right - left, bottom - top)
        values = stretch.apply(counts, left, top)
        plausible = stretch.find_plausible(values)
        if plausible is not None:
            valid = valid & plausible
        names = list_optional_bands(model.card)
        if names and opened.terrain is not None:
            optional = OptionalBandReader(opened.terrain, names, opened.reader.grid, reader.grid)
            values = np.concatenate([values, optional.read(left, top, right - left, bottom - top)])
        grid = Grid(reader.grid.transform_at(column, row), reader.grid.crs_wkt, width, height)
    image = Segmenter(model).prepare(values, valid).contiguous()
    crop = slice(row - top, row - top + height), slice(column - left, column - left + width)
    in_window = np.zeros_like(valid)
    in_window[crop] = valid[crop]
    if not in_window.any():
        raise NoValidPixelsError(f"{scene_path}: no pixel of the window is valid; name another --place")
    return SceneWindow(image, in_window, crop, grid, column, row)


@contextmanager
def _open_scene(scene_path: Path, model: SegmentationModel, dem: Path | None) -> Iterator[tuple[OpenScene, BandReader]]:
    """Open a scene. Yield it, and its reader on the pixels of the network."""
    options = DetectionOptions(scene_path, dem=dem, allow_ungeoreferenced=True)
    scene = read_input_scene(options)
    with (
        TemporaryDirectory(prefix="slopeward-explain-") as work,
        open_inputs(scene, model.bands, options, Path(work)) as opened,
    ):
        reader, _ = fit_to_network(opened.reader, model.card)
        yield opened, reader


def _choose_window(
    scene_path: Path, grid: Grid, place: tuple[float, float] | None, side_px: int
) -> tuple[int, int, int, int]:
    """Return column, row, width and height of the window."""
    width, height = min(side_px, grid.width), min(side_px, grid.height)
    if place is None:
        if (width, height) != (grid.width, grid.height):
            raise SceneError(
                f"{scene_path}: {grid.width} x {grid.height} pixels, more than {side_px} x {side_px}: name a place by "
                f"--place, such as the centroid of a footprint, or a larger --side (at most {MOST_SIDE_PX})"
            )
        return 0, 0, width, height
    x, y = grid.pixel_of(*place) if grid.placed else place
    if not (0 <= x < grid.width and 0 <= y < grid.height):
        raise SceneError(f"{scene_path}: the place {place[0]:g},{place[1]:g} is outside of the scene")
    column = min(max(0, round(x - width / 2)), grid.width - width)
    row = min(max(0, round(y - height / 2)), grid.height - height)
    return column, row, width, height


def _add_margin(
    model: SegmentationModel, grid: Grid, column: int, row: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the pixels that are read for a window.

    Left and top are multiples of the stride of the network, so that its maps have the cells of the whole scene.
    """
    entry = find_entry(model.card["network"]["name"])
    margin = min(entry.halo_px, MARGIN_PX)
    left = max(0, column - margin) // entry.stride * entry.stride
    top = max(0, row - margin) // entry.stride * entry.stride
    return left, top, min(grid.width, column + width + margin), min(grid.height, row + height + margin)
