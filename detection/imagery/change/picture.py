"""A picture of what changed: the newer date, its outlines coloured by their change, grey where nothing can be said."""

from pathlib import Path

import numpy as np

from detection.geojson import Geometry
from detection.imagery.footprints.preview import draw_outline, paint_scene
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, shapes_of
from detection.imagery.raster.raster import write_png
from detection.imagery.scene.scene import Scene

FILE = "change.png"
COLOURS = {
    "new": (255, 40, 40),
    "grown": (255, 140, 0),
    "known": (255, 225, 60),
    "single": (255, 255, 255),
    "vanished": (70, 150, 255),
}


def write_change_picture(
    scene: Scene, grid: Grid, change: Path, words: list[tuple[str, Geometry]], path: Path, longest_px: int = 1024
) -> None:
    """Write an RGBA PNG.

    Args:
        change: the change raster, 255 where one of the dates is nodata.
        words: (change, GeoJSON geometry) of all outlines.
    """
    image, small = paint_scene(scene, grid, longest_px)
    with Layer(change, small, nearest=True, nodata=NODATA) as layer:
        _, valid = layer.read(0, 0, small.width, small.height)
    grey = (image[:3].mean(axis=0) * 0.45 + 20).astype(np.uint8)
    image[:3, ~valid] = grey[~valid]
    # what is told last lies on top
    for kind in ("single", "vanished", "known", "grown", "new"):
        for outline in shapes_of([geometry for change_kind, geometry in words if change_kind == kind]):
            draw_outline(image, outline, small, np.array(COLOURS[kind], np.uint8))
    write_png(path, image)
