"""The elevation model of a scene, brought together from tiles that lie in a folder of their own."""

from pathlib import Path
from typing import Final, NamedTuple

from rasterio.errors import RasterioError

from detection.imagery.errors import HeightsError, ImageryError
from detection.imagery.raster.height_tiles import join_tiles
from detection.imagery.raster.untrusted import NO_LIMITS
from detection.imagery.scene.reader import ReaderOptions, open_scene
from detection.imagery.scene.scene import hash_file, read_scene

FILE: Final = "heights.tif"


class SceneHeights(NamedTuple):
    """Heights below a scene: one raster, name and digest of each tile that it was made of, and what was left out."""

    path: Path
    tiles: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def gather_heights(dem: Path, path: Path, work: Path) -> SceneHeights:
    """Bring the heights below a scene together into one raster.

    Raises:
        HeightsError: no heights can be had there; the message says why.
        ImageryError: the scene cannot be read.
    """
    scene = read_scene(path)
    name = "B4" if "B4" in scene.bands else next(iter(scene.bands), None)
    if name is None:
        raise HeightsError(f"{path}: no band has a known name, so nobody knows which heights lie below it")
    with open_scene(scene, (name,), masks=(), options=ReaderOptions(ungeoreferenced=True, limits=NO_LIMITS)) as reader:
        ground = reader.grid
    if not ground.placed:
        raise HeightsError(f"{path}: has no place on the ground, so no heights lie below it")
    root = dem if dem.is_dir() else dem.parent
    try:
        work.mkdir(parents=True, exist_ok=True)
        joined = join_tiles(dem, ground, work / FILE)
        tiles = sorted((tile.relative_to(root).as_posix(), hash_file(tile)) for tile in joined.tiles)
    except ImageryError as error:
        raise HeightsError(error.explanation) from None
    except (OSError, RasterioError) as error:
        raise HeightsError(f"{dem}: cannot be brought together ({error})") from None
    return SceneHeights(work / FILE, tuple(tiles), joined.notes)
