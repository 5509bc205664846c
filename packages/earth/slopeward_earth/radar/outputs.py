"""What a comparison of radar images leaves behind: rasters, outlines, a picture, a record."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from detection.imagery.footprints.preview import bounds_of, paint_signed
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid, lonlat_frame
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.raster.raster import write_png, writing_geotiff
from detection.whole_file import write_json
from slopeward_earth.radar.records import RadarChange, RadarRequest

FILES: Final = {
    "change": "change_db.tif",
    "prob": "changed.tif",
    "geojson": "radar_change.geojson",
    "preview": "radar_change.png",
    "run": "radar_change.json",
}
PICTURE_PX: Final = 1024
FULL_DB: Final = 6.0  # full colour of the picture


def write_radar(found: RadarChange, grid: Grid, marks: Path, request: RadarRequest) -> RadarChange:
    """The same with the paths of the files that were written; `change_db.tif` lies there already."""
    assert request.out_dir is not None
    out = request.out_dir
    with Layer(marks, grid) as layer, writing_geotiff(out / FILES["prob"], grid, "uint8", nodata=NODATA) as write:
        for box in strips(grid):
            write(layer.read_steps(*box), *box[:2])
    bounds = _draw(found, grid, out)
    found = replace(found, outputs={**{name: str(out / file) for name, file in FILES.items()}, "bounds": bounds})
    features = [{"type": "Feature", "geometry": one.geometry, "properties": one.to_json()} for one in found.outlines]
    write_json(out / FILES["geojson"], {"type": "FeatureCollection", "features": features})
    write_json(out / FILES["run"], found.to_json())
    return found


def _draw(found: RadarChange, grid: Grid, out: Path) -> list[float]:
    """Change from red (darker) over white to blue (brighter); outlines black; coherence that fell in red alone."""
    small = lonlat_frame(grid, PICTURE_PX)
    layers = []
    for index in (1, 2, 3):
        with Layer(out / FILES["change"], small, index) as layer:
            layers.append(layer.read(0, 0, small.width, small.height))
    (ratio, seen), (was, one), (crossed, other) = layers
    coherent = one & other
    values = np.where(seen, ratio, FULL_DB * np.clip(crossed - was, -1, 0))
    outlines = [one.geometry for one in found.outlines]
    write_png(out / FILES["preview"], paint_signed(values, seen | coherent, outlines, small, FULL_DB))
    return bounds_of(small)
