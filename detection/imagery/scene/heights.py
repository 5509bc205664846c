"""Join the elevation model of a scene from a file or from tiles in a folder."""

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
    """Heights below a scene."""

    path: Path  # the joined raster
    tiles: tuple[tuple[str, str], ...]  # name and sha256 of each tile
    notes: tuple[str, ...]  # a sentence for each file or kind of values that was left out


def gather_heights(dem: Path, path: Path, work: Path) -> SceneHeights:
    """Join the heights below a scene into one raster.

    Args:
        dem: a file, or a folder of tiles.
        path: the scene.
        work: folder for the joined raster. It is created.

    Raises:
        HeightsError: the heights cannot be joined; the message contains the reason.
        ImageryError: the scene cannot be read.
    """
    scene = read_scene(path)
    name = "B4" if "B4" in scene.bands else next(iter(scene.bands), None)
    if name is None:
        raise HeightsError(f"{path}: no band has a known name, so the heights below it are not known")
    with open_scene(
        scene, (name,), masks=(), options=ReaderOptions(allow_ungeoreferenced=True, limits=NO_LIMITS)
    ) as reader:
        ground = reader.grid
    if not ground.placed:
        raise HeightsError(f"{path}: has no place on the ground, so the heights below it are not known")
    root = dem if dem.is_dir() else dem.parent
    try:
        work.mkdir(parents=True, exist_ok=True)
        joined = join_tiles(dem, ground, work / FILE)
        tiles = sorted((tile.relative_to(root).as_posix(), hash_file(tile)) for tile in joined.tiles)
    except ImageryError as error:
        raise HeightsError(error.explanation) from None
    except (OSError, RasterioError) as error:
        raise HeightsError(f"{dem}: cannot be joined ({error})") from None
    return SceneHeights(work / FILE, tuple(tiles), joined.notes)
