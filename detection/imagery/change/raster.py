"""Change pixel by pixel: a raster with a band per class, and the areas of what is new, on both dates, and gone."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.dates import Date, ground_m2, lay_before
from detection.imagery.change.records import ChangedAreas
from detection.imagery.change.rules import NOTHING, change_of
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import ByteRaster, write_cog

FILE = "change.tif"


def write_change(own: Date, dates: Sequence[Date], grid: Grid, out_dir: Path | None) -> dict[str, ChangedAreas]:
    """Count the pixels of change, and write them as a cloud-optimised GeoTIFF where a folder is given.

    Returns the areas by class, the first class first.
    """
    kinds = own.facts.classes
    least = threshold_steps(own.facts.threshold)
    counts = np.zeros((len(kinds), 256), np.int64)
    part = None if out_dir is None or not dates else out_dir / f".{FILE}.part"
    with ExitStack() as stack:
        write = None
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            write = stack.enter_context(ByteRaster(part / "pixels.tif", grid, len(kinds)).writing())
        for box in strips(grid):
            bands = [change_of(own.steps(box, kind), lay_before(dates, box, kind)[0], least) for kind in kinds]
            for number, values in enumerate(bands):
                counts[number] += np.bincount(values.ravel(), minlength=256)
            if write is not None:
                write(np.stack(bands), box[0], box[1])
    if part is not None and out_dir is not None:
        tags = {
            "SCENE_HASH": own.facts.scene_hash,
            "BEFORE": ",".join(d.day for d in dates),
            "CLASSES": "0 none, 1 new, 2 on both dates, 3 gone",
        }
        write_cog(part / "pixels.tif", part / FILE, overviews="mode", tags=tags, descriptions=kinds)
        (part / FILE).replace(out_dir / FILE)
        shutil.rmtree(part, ignore_errors=True)
    pixel_m2 = ground_m2(grid, grid.width / 2, grid.height / 2)
    return {kind: _sum_up(one, pixel_m2, grid.width * grid.height) for kind, one in zip(kinds, counts, strict=True)}


def _sum_up(counts: NDArray[np.int64], pixel_m2: float, total: int) -> ChangedAreas:
    new, known, gone = (round(int(counts[code]) * pixel_m2, 1) for code in (1, 2, 3))
    return ChangedAreas(new, known, gone, round(float(counts[NOTHING:NODATA].sum()) / total, 6))
