"""Scenes without landslides, such as a city or snow, cut into patches whose masks are empty.

Half of the tiles, as on a chess board, are for training. The others measure how much of such ground a network marks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from detection.imagery.data.patches import IGNORED, Patches
from detection.imagery.errors import DataError, ImageryError, TrainingRecipeError
from detection.imagery.raster.untrusted import NO_LIMITS, open_raster

LEAST_VALID_SHARE: Final = 0.5  # of the pixels of a tile
# Keys of an entry.
KEYS: Final = {"name", "files", "repeat"}


class EmptyGround(TypedDict, total=False):
    """One scene without landslides, an entry of `empty_ground` in the table `[data]` of a recipe."""

    name: str  # of the ground, e.g. "city"
    files: list[str]  # rasters of one grid, relative to the data folder, whose bands together are those of the recipe
    repeat: int  # how often each tile is trained on in one epoch; 1 if left out


def check_empty_ground(entries: Sequence[EmptyGround], where: str) -> None:
    """Check the entries of a recipe.

    Args:
        where: file of the recipe, for error messages.

    Raises:
        TrainingRecipeError: a key is missing or unknown, or two entries have one name.
    """
    for entry in entries:
        if unknown := sorted(set(entry) - KEYS):
            raise TrainingRecipeError(f"{where}: unknown key data.empty_ground.{unknown[0]}; expected: name, files")
        if not entry.get("name") or not entry.get("files"):
            raise TrainingRecipeError(f"{where}: each data.empty_ground needs name and files")
        if int(entry.get("repeat", 1)) < 1:
            raise TrainingRecipeError(f"{where}: data.empty_ground.repeat must be at least 1")
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise TrainingRecipeError(f"{where}: two entries of data.empty_ground have the same name")


def read_empty_ground(
    entry: EmptyGround, bands: tuple[str, ...], tile_px: int, data_folder: Path, *, is_rendered: bool
) -> tuple[Patches, Patches]:
    """Cut one scene into tiles, and return those for training and those for evaluation.

    Pixels without data are 0 in all bands and `IGNORED` in the mask. Tiles with fewer than half of their pixels valid
    are left out.

    Args:
        entry: files and name of the scene.
        bands: names of the bands of the files, in order.
        tile_px: side of a tile.
        data_folder: the folder to which the names of the files are relative.
        is_rendered: stretch each tile like the true-colour patches of Landslide4Sense, to uint8 with 255 for the
            greatest value of all bands in the tile. Otherwise the values of the files are returned.

    Raises:
        TrainingRecipeError: a file is absent.
        DataError: a file is no raster, or the files have different sizes or another number of bands.
    """
    values, valid = _read_bands([data_folder / name for name in entry["files"]], len(bands))
    tiles: dict[bool, list[tuple[str, NDArray[Any], NDArray[np.uint8]]]] = {True: [], False: []}
    for row in range(valid.shape[0] // tile_px):
        for column in range(valid.shape[1] // tile_px):
            window = np.s_[row * tile_px : (row + 1) * tile_px, column * tile_px : (column + 1) * tile_px]
            if valid[window].mean() < LEAST_VALID_SHARE:
                continue
            image = np.where(valid[window], values[:, *window], np.float32(0))
            if is_rendered:
                image = np.floor(255 * image / image.max()).astype(np.uint8)
            mask = np.where(valid[window], np.uint8(0), np.uint8(IGNORED))
            is_for_training = (row + column) % 2 == 0
            tiles[is_for_training].append((f"{entry['name']}/{row}-{column}", image, mask))
    return _collect(tiles[True], bands), _collect(tiles[False], bands)


def _collect(tiles: list[tuple[str, NDArray[Any], NDArray[np.uint8]]], bands: tuple[str, ...]) -> Patches:
    return Patches(tuple(name for name, _, _ in tiles), bands, lambda position: tiles[position][1:])


def _read_bands(paths: Sequence[Path], count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the bands of all files, bands x H x W, and where all of them are valid, H x W."""
    bands: list[NDArray[Any]] = []
    masks: list[NDArray[Any]] = []
    for path in paths:
        if not path.is_file():
            raise TrainingRecipeError(f"{path}: no such file")
        try:
            with open_raster(path, NO_LIMITS) as raster:
                bands += list(raster.read().astype(np.float32))
                masks += [band != 0 for band in raster.read_masks()]
        except (ImageryError, RasterioError) as error:
            raise DataError(f"{path}: not readable as a raster ({error})") from None
    if len(bands) != count:
        raise DataError(f"{paths[0]}: {len(bands)} bands in all files, expected {count}")
    if len({band.shape for band in bands}) > 1:
        raise DataError(f"{paths[0]}: the files have different sizes")
    values = np.stack(bands)
    # 0 is nodata in Sentinel-2 products, even if the file does not declare it.
    valid = np.asarray(np.stack(masks).all(axis=0) & (values > 0).all(axis=0))
    return values, valid
