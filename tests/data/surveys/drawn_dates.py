"""Dates of one ground whose probabilities are drawn by hand, through the watched folder without a network."""

import hashlib
import json
import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.neural import model_file
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from monitor.features.scenes import worker
from tests.data.drawn_scenes import make_config, work_here

SIZE, PLACE = 64, (141.951, 42.7305)
MODEL_HASH = "d" * 64


def draw_steps(boxes, nodata=()):
    """Probability steps with boxes (left, top, right, bottom) of landslide."""
    out = np.zeros((SIZE, SIZE), np.uint8)
    for left, top, right, bottom in boxes:
        out[top:bottom, left:right] = 180
    for left, top, right, bottom in nodata:
        out[top:bottom, left:right] = 255
    return out


def write_date(folder: Path, at: datetime, boxes, nodata=()) -> Path:
    """A scene that says what a network would find on it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "drawn.json").write_text(json.dumps({"boxes": boxes, "nodata": nodata}))
    (folder / "scene.toml").write_text(f"complete = true\nacquired_at = {at.isoformat()}\n")
    return folder


def detect(options):
    """What `lane.detect` would answer, from the drawing in the scene's folder."""
    folder, out = options.scene_path, options.out_dir
    text = (folder / "drawn.json").read_text() + (folder / "scene.toml").read_text()
    drawn, taken = json.loads((folder / "drawn.json").read_text()), (folder / "scene.toml").read_text()
    scene_hash = hashlib.sha256(f"{options.owner}{text}".encode()).hexdigest()
    values, grid = draw_steps(drawn["boxes"], drawn["nodata"]), grid_around(*PLACE, SIZE, 10.0)
    out.mkdir(parents=True, exist_ok=True)
    write_geotiff(out / "prob.tif", values[None], grid, nodata=255)

    def read(column, row, width, height):
        return values[row : row + height, column : column + width]

    polygons = list(find_footprints(read, grid, OutlineRule(0.5, 900.0, 900.0, scene_hash)))
    answer = {"scene_hash": scene_hash, "model": "drawn", "model_hash": MODEL_HASH, "role": "single", "prior": None}
    answer |= {"crs": grid.crs_name, "acquired_at": taken.rpartition(" = ")[2].strip(), "width": SIZE, "height": SIZE}
    answer |= {"pixel_area_m2": 100.0, "valid_share": float((values != 255).mean()), "classes": ["landslide"]}
    answer |= {"threshold": 0.5, "minimum_area_m2": 900.0, "polygons": [one.to_json() for one in polygons]}
    return answer | {"outputs": {"prob": str(out / "prob.tif")}, "warnings": [], "dem": None}


def read_drawn(path, acquired_at=None):
    """A drawing is no scene of radar, and has no bands to measure."""
    if acquired_at is not None:
        raise ImageryError(f"{path}: drawn by hand")
    return SimpleNamespace(sar={}, bands={}, dem=None)


def detect_by_hand(monkeypatch) -> None:
    """Let the worker read drawings; there are no images, so the guards on them are off."""
    monkeypatch.setattr(worker, "detect", detect)
    monkeypatch.setattr(worker, "read_scene", read_drawn)
    monkeypatch.setattr(model_file, "load_model", lambda _: SimpleNamespace(card={"name": "drawn"}))
    monkeypatch.setattr("detection.imagery.change.compare._align_date", lambda date, *_: date)


def watch_by_hand(monkeypatch, tmp_path: Path, database_url: str):
    """A service that watches `tmp_path/inbox` and reads drawn dates in this process."""
    work_here(monkeypatch)
    detect_by_hand(monkeypatch)
    return make_config(tmp_path, database_url)
