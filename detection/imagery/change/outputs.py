"""Write the outlines and the picture of a comparison."""

import json
from pathlib import Path

import numpy as np

from detection.imagery.change.images import open_scene
from detection.imagery.change.records import (
    ComparisonResult,
    FootprintChange,
    PlacedOutline,
    StoredDate,
    record_to_json,
)
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.preview import LONGEST_PX, draw_outline, paint_scene
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, shapes_of
from detection.imagery.raster.raster import write_png
from detection.reasons import Describe
from detection.whole_file import replacing

RASTER_FILE = "change.tif"
OUTLINES_FILE = "change.geojson"
PICTURE_FILE = "change.png"
# Keys of `FootprintChange` in the properties of an outline.
PROPERTIES = ("change", "parent_id", "grown_m2", "since_at", "first_seen_at", "root_id", "caution")
# Colours of outlines by change, in the order in which they are drawn: changed outlines cover unchanged ones.
COLOURS = {
    "single": (255, 255, 255),
    "vanished": (70, 150, 255),
    "known": (255, 225, 60),
    "grown": (255, 140, 0),
    "new": (255, 40, 40),
}


def write_outlines(date: StoredDate, result: ComparisonResult, path: Path, describe: Describe = str) -> None:
    """Write outlines with their changes as a FeatureCollection (RFC 7946), by temporary name and rename.

    Args:
        date: the newer date, whose outlines are written with those that vanished.
        describe: returns the text of a caution.
    """
    features = []
    for outline, change in _list_changes(date, result):
        properties = record_to_json(change)
        properties["caution"] = None if change.caution is None else describe(change.caution)
        features.append(
            {
                "type": "Feature",
                "id": outline.polygon_id,
                "geometry": outline.geometry,
                "properties": {
                    "class": outline.kind,
                    "area_m2": outline.area_m2,
                    **{key: properties[key] for key in PROPERTIES},
                    "scene_hash": date.scene_hash,
                    "acquired_at": date.acquired_at.isoformat(),
                },
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_picture(date: StoredDate, grid: Grid, result: ComparisonResult, folder: Path) -> bool:
    """Write a picture of a date with its outlines by change; return False if the image of the date is missing.

    Ground without a comparison in `RASTER_FILE` of the folder is grey.
    """
    try:
        image, picture_grid = paint_scene(open_scene(date), grid, LONGEST_PX)
        with Layer(folder / RASTER_FILE, picture_grid, nearest=True, nodata=NODATA) as layer:
            _, valid = layer.read(0, 0, picture_grid.width, picture_grid.height)
        grey = (image[:3].mean(axis=0) * 0.45 + 20).astype(np.uint8)
        image[:3, ~valid] = grey[~valid]
        changes = _list_changes(date, result)
        for name, colour in COLOURS.items():
            geometries = [outline.geometry for outline, change in changes if change.change == name]
            for shape in shapes_of(geometries):
                draw_outline(image, shape, picture_grid, np.array(colour, np.uint8))
        write_png(folder / PICTURE_FILE, image)
    except ImageryError:
        return False
    return True


def _list_changes(date: StoredDate, result: ComparisonResult) -> list[tuple[PlacedOutline, FootprintChange]]:
    changes: list[tuple[PlacedOutline, FootprintChange]] = [
        (outline, result.changes[outline.polygon_id]) for outline in date.outlines
    ]
    return changes + [(footprint.outline, footprint.change) for footprint in result.vanished]
