"""Write the files of a detection: rasters, vectors, a picture and the record. Each is renamed into place.

The probabilities and the outlines are enough to store the rows of a scene. The other files are made from these, either
at once or later. Until they are made, `making.json` takes the place of the record `run.json`.
"""

import fcntl
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from scipy import ndimage

from detection.geojson import Feature
from detection.imagery.errors import ImageryError, OutputError
from detection.imagery.footprints.geopackage import write_geopackage
from detection.imagery.footprints.polygons import STEPS, threshold_steps
from detection.imagery.footprints.preview import find_bounds, write_preview
from detection.imagery.footprints.records import (
    MAKING,
    NOT_MADE,
    FootprintJson,
    SceneDetection,
    SceneFilesRequest,
    SceneFilesResult,
)
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.local_grid import placing
from detection.imagery.raster.raster import ByteRaster, is_cog, label_geotiff, pack_cog, write_cog
from detection.imagery.scene.reader import CELL_PX
from detection.imagery.scene.scene import Scene, read_scene
from detection.reasons import Describe, explain_error, explanation_to_json, reasons_from_json, reasons_to_json
from detection.whole_file import flush_file

log = logging.getLogger(__name__)

# Flags of a pixel. The value of a pixel is the sum of its flags.
EDGE, EMPTY, UNREADABLE = 1, 2, 4
FLAG_TAGS = {"FLAG_EDGE": str(EDGE), "FLAG_NODATA": str(EMPTY), "FLAG_UNREADABLE": str(UNREADABLE)}
# Within this distance of nodata, or of the edge of the scene, a network sees half of the ground that it needs.
EDGE_PX = 8
STRIP_ROWS = 256  # rows that are read at once
# Names of the files in the folder of a result. The keys are those of `outputs` in the record.
FILES = {
    "prob": "prob.tif",
    "mask": "mask.tif",
    "qa": "qa.tif",
    "gpkg": "landslides.gpkg",
    "geojson": "landslides.geojson",
    "preview": "preview.png",
}
RECORD_FILE = "run.json"
WORK_FOLDER = ".detect.part"
# Keys of a result that are repeated at each of its footprints in vector files.
SHARED_KEYS: Final[tuple[Literal["acquired_at", "model", "model_hash", "scene_hash", "threshold"], ...]] = (
    "acquired_at",
    "model",
    "model_hash",
    "scene_hash",
    "threshold",
)
# Columns of the layer of footprints, with their SQL types.
GEOPACKAGE_COLUMNS = {
    "polygon_id": "TEXT",
    "class": "TEXT",
    "area_m2": "REAL",
    "perimeter_m": "REAL",
    "length_m": "REAL",
    "width_m": "REAL",
    "azimuth_deg": "REAL",
    "mean_probability": "REAL",
    "max_probability": "REAL",
    "mean_slope_deg": "REAL",
    "min_elevation_m": "REAL",
    "max_elevation_m": "REAL",
    "prior": "REAL",
    "shadow_share": "REAL",
    "centroid_lon": "REAL",
    "centroid_lat": "REAL",
    "touches_edge": "BOOLEAN",
    "touches_nodata": "BOOLEAN",
    "caution": "TEXT",
    "acquired_at": "TEXT",
    "model": "TEXT",
    "model_hash": "TEXT",
    "scene_hash": "TEXT",
    "threshold": "REAL",
}


def flag_pixels(
    read: Callable[[int, int, int, int], NDArray[np.uint8]],
    grid: Grid,
    unreadable: Collection[tuple[int, int]],
    counts: Counter[str],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Flag the pixels of a scene strip by strip. Yield the first row of each strip and its flags, rows x width.

    Args:
        read: reads the stored probability steps: column, row, width, height.
        grid: grid of the scene.
        unreadable: column and row of the first pixel of each cell (`CELL_PX`) of the scene that cannot be read.
        counts: its entry `valid` is increased by the number of valid pixels, and `edge` by that of valid pixels near
            nodata or the edge of the scene.
    """
    for row in range(0, grid.height, STRIP_ROWS):
        rows = min(STRIP_ROWS, grid.height - row)
        read_top, read_bottom = max(0, row - EDGE_PX), min(grid.height, row + rows + EDGE_PX)
        strip = slice(row - read_top, row - read_top + rows)  # without the rows around it
        is_nodata = read(0, read_top, grid.width, read_bottom - read_top) == NODATA
        near_nodata = is_nodata.view(np.uint8)
        for axis in (0, 1):
            near_nodata = ndimage.maximum_filter1d(near_nodata, 2 * EDGE_PX + 1, axis=axis, mode="constant")
        is_nodata = is_nodata[strip]
        is_edge = near_nodata[strip].astype(bool)
        is_edge[:, :EDGE_PX] = True
        is_edge[:, -EDGE_PX:] = True
        is_edge[: max(0, EDGE_PX - row)] = True
        is_edge[max(0, grid.height - EDGE_PX - row) :] = True
        is_edge &= ~is_nodata
        counts["valid"] += is_nodata.size - int(np.count_nonzero(is_nodata))
        counts["edge"] += int(np.count_nonzero(is_edge))
        flags = is_edge * np.uint8(EDGE) + is_nodata * np.uint8(EMPTY)
        for left, top in unreadable:
            if top < row + rows and top + CELL_PX > row:
                flags[max(0, top - row) : top + CELL_PX - row, left : left + CELL_PX] |= UNREADABLE
        yield row, flags


@contextmanager
def open_workplace(out_dir: Path | None) -> Iterator[Path]:
    """Create a temporary folder, lock `out_dir`, and remove the folder at the end.

    The folder is inside `out_dir`, so that files are renamed on one disk. Its name is fixed, so that the next run
    removes the files of a killed one. A second process waits for the first. If `out_dir` did not exist before, it does
    not exist after a failure. Without `out_dir` the folder is created where the system keeps temporary files.

    Raises OutputError: a file cannot be written.
    """
    work: Path | None = None
    lock: int | None = None
    is_new = out_dir is not None and not out_dir.exists()
    try:
        if out_dir:
            out_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(out_dir, os.O_RDONLY)
            with suppress(OSError):  # network file systems may not support locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            work = out_dir / WORK_FOLDER
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
        else:
            work = Path(tempfile.mkdtemp(prefix="detect-"))
        yield work
    except (OSError, RasterioError, sqlite3.Error) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = getattr(error, "strerror", None) or lines[0]
        raise OutputError(f"{out_dir or work}: cannot write the results ({reason})") from None
    finally:
        if work:
            shutil.rmtree(work, ignore_errors=True)
        if out_dir and is_new and out_dir.is_dir() and not any(out_dir.iterdir()):
            out_dir.rmdir()
        if lock is not None:
            # Closing is not enough: a child process that was forked meanwhile still has the file open.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)


def write_outputs(
    result: SceneDetection,
    scene: Scene,
    steps: ByteRaster,
    work: Path,
    out_dir: Path,
    unreadable: Collection[tuple[int, int]] = (),
    progress: Callable[[float], None] = lambda _: None,
    describe: Describe = str,
) -> None:
    """Write all files of a result into `work` and rename them into `out_dir`, the record last.

    Args:
        result: the result. Its `qa` and `outputs` are set.
        progress: called with the share of the files that are written. Each raster, the vectors and the picture have
            the same share.
        describe: returns the text of a warning or caution.
    """
    progress(0.0)
    _label_prob(result, steps)
    _pack_prob(steps.path, work)
    progress(0.2)
    stored = _describe_result(result, describe)
    _write_other_files(stored, steps, work, unreadable, progress)
    write_preview(scene, stored["polygons"], work / FILES["preview"], steps.grid)
    _move_all_into_place(stored, steps.grid, work, out_dir)
    result["qa"], result["outputs"] = stored["qa"], stored["outputs"]
    progress(1.0)


def write_first(
    result: SceneDetection,
    steps: ByteRaster,
    work: Path,
    out_dir: Path,
    unreadable: Collection[tuple[int, int]],
    describe: Describe = str,
) -> None:
    """Write the files that the rows of a scene need: the probabilities and `making.json`.

    `making.json` contains the facts from which `make_files` makes the other files. Files of an older result are
    removed. The probabilities are a plain GeoTIFF with every value and tag, which `make_files` packs.
    """
    _label_prob(result, steps)
    steps.path.replace(work / FILES["prob"])
    grid, wanted = steps.grid, {"prob", "mask", "qa", "preview", *result["formats"]}
    result["outputs"] = {key: name for key, name in FILES.items() if key in wanted} | {"bounds": find_bounds(grid)}
    place = {"transform": grid.transform[:6], "crs": grid.crs_wkt, "width": grid.width, "height": grid.height}
    making = {"grid": place, "unreadable": sorted(unreadable)}
    _write_record(work / MAKING, {"making": making, **_describe_result(result, describe)})
    for name in (RECORD_FILE, NOT_MADE, MAKING, *(name for key, name in FILES.items() if key != "prob")):
        (out_dir / name).unlink(missing_ok=True)
    _move_into_place((FILES["prob"], MAKING), work, out_dir)


def make_files(request: SceneFilesRequest) -> SceneFilesResult:
    """Make the files that `write_first` left for later; a worker calls this after the rows are stored.

    The files have the same bytes as those of `write_outputs`. If all files exist, none is made again. If the image
    cannot be read, no picture is made.

    Returns:
        The result. Its error is the reason why the files were not made.
    """
    try:
        with placing({"into": request.into, "affine": request.affine} if request.into else None):
            return _make_files(request)
    except (ImageryError, OSError) as error:
        return SceneFilesResult(error=explain_error(error))


def _make_files(request: SceneFilesRequest) -> SceneFilesResult:
    out_dir = request.out_dir
    if not (out_dir / MAKING).exists():
        return SceneFilesResult()
    with open_workplace(out_dir) as work:
        stored = _read_stored(out_dir / MAKING, "making")
        if stored is None:
            if (out_dir / MAKING).exists():
                raise OutputError(f"{out_dir / MAKING}: cannot be read; read the scene again")
            return SceneFilesResult()  # another process made the files meanwhile
        making, result = stored.pop("making"), cast("SceneDetection", stored)
        if read_stored_result(out_dir, {key: result[key] for key in SHARED_KEYS}) is not None:
            _remove_making_notes(out_dir)  # a run that was killed had made all files
            return SceneFilesResult()
        if not is_cog(prob := out_dir / FILES["prob"]):
            _pack_prob(prob, work)
            _move_into_place((FILES["prob"],), work, out_dir)
        place = making["grid"]
        grid = Grid(Affine(*place["transform"]), place["crs"], place["width"], place["height"])
        steps = ByteRaster(prob, grid, len(result["classes"]))
        _write_other_files(result, steps, work, [(left, top) for left, top in making["unreadable"]])
        if request.scene is not None:
            try:
                scene = read_scene(request.scene, request.acquired_at)
                write_preview(scene, result["polygons"], work / FILES["preview"], grid)
            except ImageryError as error:
                log.warning("%s: no picture: %s", out_dir, error)
                (work / FILES["preview"]).unlink(missing_ok=True)
        _move_all_into_place(result, grid, work, out_dir)
    return SceneFilesResult()


def _describe_result(result: SceneDetection, describe: Describe) -> SceneDetection:
    """Return a result in the form of the record: each warning as an object, other reasons with their text."""
    stored: SceneDetection = reasons_to_json(result, describe)
    warnings: Any = [explanation_to_json(warning, describe) for warning in result["warnings"]]
    return {**stored, "warnings": warnings}


def _label_prob(result: SceneDetection, steps: ByteRaster) -> None:
    tags = {**_list_tags(result), "STEPS_PER_UNIT": str(STEPS)}
    label_geotiff(steps.path, tags, tuple(result["classes"]))


def _pack_prob(path: Path, work: Path) -> None:
    pack_cog(path, work / FILES["prob"], overviews="average", level=1)


def _list_tags(result: SceneDetection) -> dict[str, str]:
    return {key.upper(): str(result[key]) for key in ("model", "model_hash", "scene_hash", "threshold", "acquired_at")}


def _write_other_files(
    result: SceneDetection,
    steps: ByteRaster,
    work: Path,
    unreadable: Collection[tuple[int, int]],
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the mask, the flags and the vectors into `work`, and set `qa` of the result."""
    tags = _list_tags(result)
    mask, flags = (
        ByteRaster(work / "mask-steps.tif", steps.grid),
        ByteRaster(work / "flags.tif", steps.grid, nodata=None),
    )
    least, counts = threshold_steps(result["threshold"]), Counter[str]()
    with steps.reading() as read, mask.writing() as write, flags.writing() as write_flags:
        for row, flagged in flag_pixels(read, steps.grid, unreadable, counts):
            window = 0, row, steps.grid.width, len(flagged)
            values = np.stack([read(*window, band) for band in range(1, steps.count + 1)])
            write(np.where(values[0] == NODATA, NODATA, classify_steps(values, least)).astype(np.uint8), 0, row)
            write_flags(flagged, 0, row)
    result["qa"] = {"edge_px": EDGE_PX, "edge_share": round(counts["edge"] / max(1, counts["valid"]), 6)}
    # The rounded mean of 0 and 1 is their mode and takes half of the time. Flags are sums and have no mean.
    write_cog(mask.path, work / FILES["mask"], overviews="average" if steps.count == 1 else "mode", tags=tags)
    progress(0.4)
    write_cog(flags.path, work / FILES["qa"], overviews="nearest", tags={**tags, **FLAG_TAGS}, descriptions=("flags",))
    progress(0.6)
    if "geojson" in result["formats"]:
        content = {"type": "FeatureCollection", "features": list(_list_features(result))}
        (work / FILES["geojson"]).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    if "gpkg" in result["formats"]:
        changed_at = datetime.fromisoformat(result["acquired_at"])
        shared = {key: result[key] for key in SHARED_KEYS}
        rows = (
            {
                **footprint,
                "caution": _caution_text(footprint),
                "touches_edge": int(footprint["touches_edge"]),
                "touches_nodata": int(footprint["touches_nodata"]),
                **shared,
                "centroid_lon": footprint["centroid"][0],
                "centroid_lat": footprint["centroid"][1],
            }
            for footprint in result["polygons"]
        )
        placed = result["crs"] != "pixels"
        write_geopackage(
            work / FILES["gpkg"], rows, GEOPACKAGE_COLUMNS, table="landslides", changed_at=changed_at, placed=placed
        )
    progress(0.8)


def _move_all_into_place(result: SceneDetection, grid: Grid, work: Path, out_dir: Path) -> None:
    """Write the record, and rename all files into their folder. The probabilities may be there already.

    Raises OutputError: a file other than the picture is missing.
    """
    in_work = {key: name for key, name in FILES.items() if (work / name).is_file()}
    has_prob_in_place = "prob" not in in_work and (out_dir / FILES["prob"]).is_file()
    written = {key: name for key, name in FILES.items() if key in in_work or (key == "prob" and has_prob_in_place)}
    if missing := {"prob", "mask", "qa", *result["formats"]} - set(written):
        raise OutputError(f"{out_dir}: cannot write the results ({FILES[min(missing)]} is gone)")
    result["outputs"] = {**written, "bounds": find_bounds(grid)}
    _write_record(work / RECORD_FILE, {**result})
    # The record is removed first and written last, so that all files exist if the record exists.
    (out_dir / RECORD_FILE).unlink(missing_ok=True)
    if not has_prob_in_place:  # `making.json`, if there is one, is of an older result
        _remove_making_notes(out_dir)
    for key, name in FILES.items():
        if key not in written:  # an older run wrote more files
            (out_dir / name).unlink(missing_ok=True)
    _move_into_place((*in_work.values(), RECORD_FILE), work, out_dir)
    _remove_making_notes(out_dir)


def _move_into_place(names: Iterable[str], work: Path, out_dir: Path) -> None:
    """Flush files and rename them into their folder, in this order. A power cut leaves no empty file."""
    for name in names:
        flush_file(work / name)
        (work / name).replace(out_dir / name)


def _remove_making_notes(out_dir: Path) -> None:
    for name in (NOT_MADE, MAKING):  # in this order, so that `NOT_MADE` never remains without `MAKING`
        (out_dir / name).unlink(missing_ok=True)


def classify_steps(steps: Any, least: int) -> Any:
    """Return the number of the class of each pixel: the likeliest class, or 0 if it is below the threshold.

    Args:
        steps: stored probability steps, classes x H x W.
        least: smallest step at or above the threshold.
    """
    if len(steps) == 1:
        return np.asarray(steps[0] >= least, np.uint8)
    likeliest = steps.argmax(axis=0)
    return np.where(steps.max(axis=0) >= least, likeliest + 1, 0).astype(np.uint8)


def _list_features(result: SceneDetection) -> Iterator[Feature]:
    shared: dict[str, Any] = {key: result[key] for key in SHARED_KEYS}
    for footprint in result["polygons"]:
        yield {
            "type": "Feature",
            "id": footprint["polygon_id"],
            "bbox": footprint["bbox"],
            "geometry": footprint["geometry"],
            "properties": {
                **{key: value for key, value in footprint.items() if key not in {"geometry", "bbox"}},
                "caution": _caution_text(footprint),
                **shared,
            },
        }


def _caution_text(footprint: FootprintJson) -> str | None:
    """Return the text of the caution of a footprint. A stored result contains it as an object."""
    caution: Any = footprint.get("caution")
    return None if caution is None else str(caution["text"] if isinstance(caution, dict) else caution)


def _write_record(path: Path, record: Mapping[str, object]) -> None:
    path.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")


def read_stored_result(out_dir: Path, facts: Mapping[str, object], *, later: bool = False) -> SceneDetection | None:
    """Return the stored result of the same scene, model and options, if all of its files exist.

    Args:
        out_dir: folder of the result.
        facts: keys and values that the stored result must have.
        later: accept also a result of which only the files that its rows need exist.
    """
    stored = _read_record(out_dir / RECORD_FILE)
    if stored is None and later:
        stored = _read_record(out_dir / MAKING, "making")
        if stored is not None:
            del stored["making"]
    if stored is None or any(stored.get(key) != value for key, value in facts.items()):
        return None
    is_making = later and not (out_dir / RECORD_FILE).exists()
    names = {key: str(name) for key, name in stored.get("outputs", {}).items() if key in FILES}
    needed = [FILES["prob"]] if is_making else list(names.values())
    is_complete = bool(names) and all((out_dir / name).is_file() for name in needed)
    return add_folder_to_outputs(cast("SceneDetection", stored), out_dir) if is_complete else None


def _read_record(path: Path, key: str = "") -> dict[str, Any] | None:
    """Read a record like `_read_stored`, and convert its stored reasons to `Reason`."""
    stored = _read_stored(path, key)
    return None if stored is None else reasons_from_json(stored)


def _read_stored(path: Path, key: str = "") -> dict[str, Any] | None:
    """Read a record as it was stored. Return None if the file is missing or incomplete, or has no such key."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and (not key or key in stored) else None


def add_folder_to_outputs(result: SceneDetection, out_dir: Path | None) -> SceneDetection:
    """Return the result with paths of its files instead of their names. Without a folder return it unchanged."""
    if out_dir is None:
        return result
    outputs = {key: str(out_dir / value) if key in FILES else value for key, value in result["outputs"].items()}
    return {**result, "outputs": {**outputs, "run": str(out_dir / RECORD_FILE)}}
