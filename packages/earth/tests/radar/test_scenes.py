"""Radar scenes of a site through the watched folder."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from detection.imagery.errors import RadiometryError
from detection.imagery.raster.grid import grid_around
from detection.imagery.scene.scene import read_scene
from monitor.api.scenes import KnownDate
from monitor.features.scenes import inbox
from monitor.features.scenes.queries.arrivals import load_scenes, save_scene
from slopeward_earth.radar.scenes import ADVICE, MODEL_HASH, read_radar_scene
from tests.data.drawn_scenes import SITE, add_site, may, polygons, request_scene
from tests.data.feature_rows import scene_row
from tests.data.store_rows import ask, tell
from tests.data.surveys.radar import Ground

SLIDE = (80.0, 70.0, 14.0, 6.0)
PLACED = SITE.replace("42.7285", "46.0").replace("141.9525", "11.0")


def put(config, ground, day, discs, orbit="descending"):
    """A folder of one radar image with its manifest."""
    folder = Path(config.paths.inbox) / "bench" / f"sar-{day:02d}-{orbit}"
    folder.mkdir(parents=True)
    ground.write(folder / "VV.tif", 10 * np.log10(ground.draw(discs)))
    (folder / "scene.toml").write_text(
        f'acquired_at = {may(day).isoformat()}\ncomplete = true\n[bands]\nVV = "VV.tif"\n[sar]\norbit = "{orbit}"\n'
    )
    return folder


def test_earlier_dates_that_cannot_be_compared_are_left_out_and_said(tmp_path):
    config = SimpleNamespace(paths=SimpleNamespace(inbox=tmp_path))
    ground, elsewhere = Ground(120), Ground(120)
    elsewhere.grid = grid_around(11.5, 46.0, 120, 10.0)
    slide = (60.0, 60.0, 14.0, 6.0)
    paths = {day: put(config, elsewhere if day == 7 else ground, day, ()) for day in (1, 4, 7, 10)}
    paths[13] = put(config, ground, 13, (slide,))
    ground.write(paths[4] / "VV.tif", 1e6 * ground.draw())
    (paths[10] / "scene.toml").unlink()
    facts = {
        "model": "sar",
        "model_hash": MODEL_HASH,
        "out_dir": "",
        "probability_path": "",
        "threshold": 0.5,
        "minimum_area_m2": 5000.0,
    }
    facts |= dict.fromkeys(("doubtful", "doubts", "prints", "polygons"), ())
    facts |= {"classes": ("disturbance",), "valid_share": 1.0}
    dates = tuple(
        KnownDate(scene_hash=str(day), name=path.name, acquired_at=may(day), scene_path=str(path), **facts)
        for day, path in paths.items()
    )
    asked = replace(request_scene(paths[13], tmp_path / "out"), weights="auto", dates=dates[:4])
    found = read_radar_scene(asked, read_scene(paths[13]))
    assert len(found.polygons) == 1
    assert [(said[:28], str(tmp_path) in said) for said in found.warnings[:3]] == [
        (f"not compared with 2026-05-{day}", False) for day in ("10", "07", "04")
    ]
    assert "less than half" in found.warnings[1]
    with pytest.raises(RadiometryError, match="neither calibrated power"):
        read_radar_scene(asked, read_scene(paths[4]))


@pytest.mark.soak
def test_change_since_the_last_image_of_the_orbit_is_advice(database, config, tmp_path):
    ground, site = Ground(180), add_site(database, PLACED)
    run = {"model_hash": "m" * 64, "outputs": {"prob": "p"}, "threshold": 0.5, "minimum_area_m2": 900.0}
    facts = {"valid_share": 0.2, "crs": "EPSG:32632", "pixel_area_m2": 100.0, "out_dir": str(tmp_path), "run": run}
    tell(database, save_scene, scene_row("c" * 64, may(14), name="optical", path="optical", **facts), [], may(14))
    said = inbox.detect_scene(database, config, site, put(config, ground, 1, ()), may(2))
    assert said == "0 footprints, 0 new or grown, 0 values of places"
    put(config, ground, 7, (), "ascending")
    assert "0 footprints" in inbox.run(database, config, site, may(8))
    second = put(config, ground, 13, (SLIDE,))
    assert inbox.detect_scene(database, config, site, second, may(14)).startswith("1 footprints, 1 new")
    (row,) = polygons(database)
    assert (row["model"], row["method"], row["class"], row["change"]) == ("sar", "sar", "disturbance", "new")
    assert row["since_at"] in {may(1), "2026-05-01T10:00:00.000000Z"}
    assert row["caution"] == (
        f"{ADVICE}; optical scene of 2026-05-14 is 80 % cloud or without data, so radar of the same week is used"
    )
    assert (row["area_m2"], row["nearest_station"]) == (pytest.approx(np.pi * 140**2, rel=0.3), "G1")
    # on the next image it is the same one
    put(config, ground, 25, (SLIDE,))
    inbox.run(database, config, site, may(26))
    later = [one for one in polygons(database) if one["scene"] == "sar-25-descending"]
    assert {one["change"] for one in later} <= {"known"}
    rows = {one.name: one for one in ask(database, load_scenes, "bench")}
    assert "no earlier radar scene of this orbit" in rows["sar-07-ascending"].run["warnings"][0]
    assert rows["sar-13-descending"].run["change"]["method"] == "sar"
    assert rows["sar-13-descending"].run["outputs"]["bounds"]
