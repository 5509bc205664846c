"""Counts with an offset (Sentinel-2 from processing baseline 04.00 on) beside counts without: the same ground."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from detection.imagery.change.compare import compare
from detection.imagery.change.guards import Image, lay_together
from detection.imagery.change.histogram_match import match_scene
from detection.imagery.change.records import StoredDate
from detection.imagery.data.generate import write_scene
from detection.imagery.footprints.places import measure_places
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import MANIFEST, read_scene

AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """One image, and the same with 1000 added to its counts, as its manifest says; clouds over the first."""
    folder = tmp_path_factory.mktemp("pair")
    write_scene(folder / "plain", 5, with_scar=False, size_px=64, acquired_at=AT)
    shutil.copytree(folder / "plain", folder / "lifted")
    for name, more in (("plain", 'clouds = "hidden.tif"\n'), ("lifted", "offset = -1000\n")):
        manifest = folder / name / MANIFEST
        manifest.write_text("complete = true\n" + more + manifest.read_text().split("[files]")[0])
    for file in sorted((folder / "lifted").glob("B*.tif")):
        with rasterio.open(file, "r+") as target:
            values = target.read()
            target.write(np.where(values > 0, values + 1000, 0).astype(values.dtype))
    clouds = np.zeros((1, 64, 64), np.uint8)
    clouds[:, :, :16] = 1
    write_geotiff(folder / "plain" / "hidden.tif", clouds, read_grid(folder / "plain" / "B4.tif"))
    return folder / "plain", folder / "lifted"


def test_season_and_vegetation_index_are_of_what_the_counts_mean(pair, tmp_path):
    plain, lifted = (
        StoredDate(scene_hash="", acquired_at=AT, prob="", scene_path=str(path), threshold=0.5, minimum_area_m2=0.0)
        for path in pair
    )
    grid = read_grid(pair[0] / "B4.tif")
    with Image(lifted, grid) as newer, Image(plain, grid) as older:
        _, ratios = lay_together(newer, older)
    assert ratios == (1.0, 1.0, 1.0, 1.0)
    grid = read_grid(pair[0] / "B4.tif")
    write_geotiff(tmp_path / "prob.tif", np.zeros((1, 64, 64), np.uint8), grid, nodata=255)
    lon, lat = (float(v[0]) for v in grid.to_lonlat(*grid.to_crs(np.array([32.0]), np.array([32.0]))))
    place = MeasuredPlace("G1", Circle(lon, lat, 200.0))
    one, other = (measure_places(tmp_path / "prob.tif", read_scene(path), [place])["G1"]["ndvi"] for path in pair)
    assert one == other
    assert one > 0.2


def test_a_matched_copy_means_the_same_and_hides_the_same(pair, tmp_path):
    plain, lifted = (read_scene(path) for path in pair)
    copy, _ = match_scene(plain, lifted, tmp_path / "matched")
    window = 0, 0, 64, 64
    with open_scene(plain, ("B4", "B3")) as one, open_scene(read_scene(copy), ("B4", "B3")) as other:
        (values, valid), (matched, still) = one.read(*window), other.read(*window)
    assert not valid[:, :16].any()
    assert valid[:, 16:].all()
    assert (still == valid).all()
    assert np.abs(values - matched).max() <= 1


def test_a_season_that_cannot_be_compared_is_a_caution(tmp_path):
    """Bands in decibels have negative medians: no ratio says whether two dates are of one season."""
    dates = []
    for name, day in (("a", 1), ("b", 2)):
        folder = tmp_path / name
        write_scene(folder, 5, with_scar=False, size_px=64, acquired_at=datetime(2026, 5, day, tzinfo=UTC))
        manifest = folder / MANIFEST
        manifest.write_text("complete = true\n" + manifest.read_text().split("[files]")[0])
        for file in sorted(folder.glob("B*.tif")):
            with rasterio.open(file) as source:
                values = source.read().astype(np.float32)
            write_geotiff(file, -values, read_grid(file), nodata=0)
        steps = np.zeros((1, 64, 64), np.uint8)
        write_geotiff(tmp_path / f"{name}.tif", steps, read_grid(folder / "B4.tif"), nodata=255)
        facts = {"scene_hash": name, "acquired_at": AT.replace(day=day), "prob": str(tmp_path / f"{name}.tif")}
        dates.append(StoredDate(**facts, threshold=0.5, minimum_area_m2=900.0, polygons=(), scene_path=str(folder)))
    (told,) = compare(dates[1], dates[:1]).compared
    assert "the season of the images could not be compared" in told.cautions
