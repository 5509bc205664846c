"""Change pixel by pixel: a raster with a band per class, and the areas of what is new, on both dates, and gone."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from detection.imagery.change.dates import Date, classes_of, ground_m2, lay_before
from detection.imagery.change.rules import NOTHING, change_of
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import ByteRaster, write_cog

FILE = "change.tif"


def write_change(own: Date, dates: Sequence[Date], grid: Grid, out_dir: Path | None) -> dict[str, Any]:
    """Count the pixels of change, and write them as a cloud-optimised GeoTIFF where a folder is given.

    Returns:
        new_m2, known_m2, gone_m2 and joint_share of the first class; where the model knows more than one, `classes`
        with the same of each.
    """
    kinds = classes_of(own.facts)
    least = threshold_steps(float(own.facts["threshold"]))
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
        tags = {"SCENE_HASH": str(own.facts["scene_hash"]), "BEFORE": ",".join(d.day for d in dates),
                "CLASSES": "0 none, 1 new, 2 on both dates, 3 gone"}  # fmt: skip
        write_cog(part / "pixels.tif", part / FILE, overviews="mode", tags=tags, descriptions=kinds)
        (part / FILE).replace(out_dir / FILE)
        shutil.rmtree(part, ignore_errors=True)
    pixel_m2 = ground_m2(grid, grid.width / 2, grid.height / 2)
    told = [_sum_up(one, pixel_m2, grid.width * grid.height) for one in counts]
    more = {"classes": dict(zip(kinds, told, strict=True))} if len(kinds) > 1 else {}
    return {**told[0], **more}


def _sum_up(counts: Any, pixel_m2: float, total: int) -> dict[str, float]:
    return {
        "new_m2": round(int(counts[1]) * pixel_m2, 1), "known_m2": round(int(counts[2]) * pixel_m2, 1),
        "gone_m2": round(int(counts[3]) * pixel_m2, 1),
        "joint_share": round(float(counts[NOTHING:NODATA].sum()) / total, 6),
    }  # fmt: skip
