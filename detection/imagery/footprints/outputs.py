"""The files that a detection leaves: rasters, vectors, a picture and the record, each renamed into place."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError

from detection.imagery.errors import OutputError
from detection.imagery.footprints.geopackage import write_geopackage
from detection.imagery.footprints.polygons import STEPS, threshold_steps
from detection.imagery.footprints.preview import write_preview
from detection.imagery.footprints.quality import EDGE, EMPTY, UNREADABLE, Tally, flag_pixels
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.raster import ByteRaster, write_cog
from detection.imagery.scene.scene import Scene

FILES = {"prob": "prob.tif", "mask": "mask.tif", "qa": "qa.tif", "gpkg": "landslides.gpkg",
         "geojson": "landslides.geojson", "preview": "preview.png"}  # fmt: skip
RUN = "run.json"
FLAGS = {"FLAG_EDGE": str(EDGE), "FLAG_NODATA": str(EMPTY), "FLAG_UNREADABLE": str(UNREADABLE)}
WORK = ".detect.part"
STRIP = 256
SHARED = ("acquired_at", "model", "model_hash", "scene_hash", "threshold")
COLUMNS = {
    "polygon_id": "TEXT", "class": "TEXT", "area_m2": "REAL", "perimeter_m": "REAL", "length_m": "REAL",
    "width_m": "REAL", "azimuth_deg": "REAL", "mean_probability": "REAL", "max_probability": "REAL",
    "mean_slope_deg": "REAL", "min_elevation_m": "REAL", "max_elevation_m": "REAL", "prior": "REAL",
    "shadow_share": "REAL", "centroid_lon": "REAL", "centroid_lat": "REAL", "touches_edge": "BOOLEAN",
    "touches_nodata": "BOOLEAN", "acquired_at": "TEXT", "model": "TEXT", "model_hash": "TEXT", "scene_hash": "TEXT",
    "threshold": "REAL",
}  # fmt: skip


@contextmanager
def open_workplace(out_dir: Path | None) -> Iterator[Path]:
    """A temporary folder, inside of `out_dir` so that renames stay on one disk; removed whatever happens.

    Its name is fixed, so that what a killed run left behind goes with the next one. A folder that was not there before
    is not there after a failure.
    """
    work, made = None, out_dir is not None and not out_dir.exists()
    try:
        if out_dir:
            work = out_dir / WORK
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
        else:
            work = Path(tempfile.mkdtemp(prefix="detect-"))
        yield work
    except (OSError, RasterioError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"{out_dir or work}: cannot write the results ({reason})") from None
    finally:
        if work:
            shutil.rmtree(work, ignore_errors=True)
        if out_dir and made and out_dir.is_dir() and not any(out_dir.iterdir()):
            out_dir.rmdir()


def write_outputs(
    result: dict[str, Any],
    scene: Scene,
    steps: ByteRaster,
    work: Path,
    out_dir: Path,
    formats: tuple[str, ...],
    unreadable: Collection[tuple[int, int]] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write all files of a result into `work` and rename them into `out_dir`, the record last.

    `progress` is told the share of the files that is written; each raster, the vectors, the picture count alike.
    """
    tags = {key.upper(): str(result[key]) for key in ("model", "model_hash", "scene_hash", "threshold", "acquired_at")}
    classes = tuple(result["classes"])
    progress(0.0)
    mask = _write_mask(steps, threshold_steps(result["threshold"]), work)
    tags_of_prob = {**tags, "STEPS_PER_UNIT": str(STEPS)}
    if told := result["passed_over"]:
        tags_of_prob["PASSED_OVER"] = str(told["passed_over"])
    write_cog(steps.path, work / FILES["prob"], overviews="average", tags=tags_of_prob, descriptions=classes, level=1)
    progress(0.2)
    # of 0 and 1 the rounded mean is the commoner one, for half the time; flags are added up and have no mean
    write_cog(mask.path, work / FILES["mask"], overviews="average" if len(classes) == 1 else "mode", tags=tags)
    progress(0.4)
    flags, result["qa"] = _write_flags(steps, unreadable, work)
    write_cog(flags.path, work / FILES["qa"], overviews="nearest", tags={**tags, **FLAGS}, descriptions=("flags",))
    progress(0.6)
    if "geojson" in formats:
        _write_json(work / FILES["geojson"], {"type": "FeatureCollection", "features": _list_features(result)})
    if "gpkg" in formats:
        changed_at = datetime.fromisoformat(result["acquired_at"])
        rows = (_to_row(footprint, result) for footprint in result["polygons"])
        placed = result["crs"] != "pixels"
        write_geopackage(work / FILES["gpkg"], rows, COLUMNS, table="landslides", changed_at=changed_at, placed=placed)
    progress(0.8)
    bounds = write_preview(scene, result["polygons"], work / FILES["preview"], steps.grid)
    written = {key: name for key, name in FILES.items() if (work / name).is_file()}
    result["outputs"] = {**written, "bounds": bounds}
    _write_json(work / RUN, {**result, "polygons": iter(result["polygons"])})
    # The record goes first and comes last: where it is, everything it speaks of is.
    (out_dir / RUN).unlink(missing_ok=True)
    for name in (*written.values(), RUN):
        (work / name).replace(out_dir / name)
    for key, name in FILES.items():
        if key not in written:  # of an older run that wrote more
            (out_dir / name).unlink(missing_ok=True)
    progress(1.0)


def own_class(steps: Any, least: int) -> Any:
    """Number of the class that each pixel belongs to: 0 none, else the likeliest of those at the threshold.

    Args:
        steps: classes x H x W of stored probability steps.
        least: smallest step that counts.
    """
    if len(steps) == 1:
        return np.asarray(steps[0] >= least, np.uint8)
    best = steps.argmax(axis=0)
    return np.where(steps.max(axis=0) >= least, best + 1, 0).astype(np.uint8)


def _write_mask(steps: ByteRaster, least: int, work: Path) -> ByteRaster:
    mask = ByteRaster(work / "mask-steps.tif", steps.grid)
    with steps.reading() as read, mask.writing() as write:
        for row in range(0, steps.grid.height, STRIP):
            window = 0, row, steps.grid.width, min(STRIP, steps.grid.height - row)
            values = np.stack([read(*window, band) for band in range(1, steps.count + 1)])
            write(np.where(values[0] == NODATA, NODATA, own_class(values, least)).astype(np.uint8), 0, row)
    return mask


def _write_flags(
    steps: ByteRaster, unreadable: Collection[tuple[int, int]], work: Path
) -> tuple[ByteRaster, dict[str, Any]]:
    flags, tally = ByteRaster(work / "flags.tif", steps.grid, nodata=None), Tally()
    with steps.reading() as read, flags.writing() as write:
        for row, values in flag_pixels(read, steps.grid, unreadable, tally):
            write(values, 0, row)
    return flags, tally.tell()


def _to_row(footprint: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    lon, lat = footprint["centroid"]
    flags = {key: int(footprint[key]) for key in ("touches_edge", "touches_nodata")}
    return {
        **footprint, **flags, **{key: result[key] for key in SHARED}, "centroid_lon": lon, "centroid_lat": lat,
    }  # fmt: skip


def _list_features(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The footprints of a result as features of GeoJSON (RFC 7946)."""
    shared = {key: result[key] for key in SHARED}
    for footprint in result["polygons"]:
        yield {
            "type": "Feature",
            "id": footprint["polygon_id"],
            "bbox": footprint["bbox"],
            "geometry": footprint["geometry"],
            "properties": {
                **{key: value for key, value in footprint.items() if key not in {"geometry", "bbox"}},
                **shared,
            },
        }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, a line per key; iterators become lists, a line per item, of which one is held at a time."""
    with path.open("w", encoding="utf-8") as file:
        before = "{"
        for key, value in content.items():
            file.write(f"{before}\n {json.dumps(key)}: ")
            before = ","
            if not isinstance(value, Iterator):
                file.write(json.dumps(value, allow_nan=False))
                continue
            separator = "["
            for item in value:
                file.write(f"{separator}\n  {json.dumps(item, allow_nan=False)}")
                separator = ","
            file.write("\n ]" if separator == "," else "[]")
        file.write("\n}\n")


def read_run(out_dir: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored result of the same scene, model and options, if all of its files are there."""
    try:
        stored: dict[str, Any] = json.loads((out_dir / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or any(stored.get(key) != value for key, value in facts.items()):
        return None
    files = [name for key, name in stored.get("outputs", {}).items() if key in FILES]
    whole = bool(files) and all((out_dir / str(name)).is_file() for name in files)
    return with_paths(stored, out_dir) if whole else None


def with_paths(result: dict[str, Any], out_dir: Path | None) -> dict[str, Any]:
    """Return the result with the paths of its files in place of their names."""
    if out_dir is None:
        return result
    outputs = {key: str(out_dir / value) if key in FILES else value for key, value in result["outputs"].items()}
    return {**result, "outputs": {**outputs, "run": str(out_dir / RUN)}}
