"""Bad input ends in one clear line of the right class; good input is read as it is meant."""

import hashlib
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyproj
import pytest
from affine import Affine

from detection.imagery import errors
from detection.imagery.data.generate import write_scene
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.scene import find_missing, read_scene, scene_hash
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import change_raster, write_raster

TAKEN_AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "scene", 11, size_px=96, acquired_at=TAKEN_AT)
    return tmp_path / "scene"


def refused(path: Path, out: Path, cause: type[Exception], *words: str, **payload) -> None:
    """The lane refuses with one line of this class that holds these words, and writes nothing."""
    out.mkdir(exist_ok=True)
    (out / "old.txt").write_text("kept")
    with pytest.raises(cause) as caught:
        detect({"weights": "generated", "scene_path": str(path), "out_dir": str(out), **payload})
    line = str(caught.value)
    assert type(caught.value) is cause
    assert "\n" not in line
    assert [word for word in words if word not in line] == []
    assert [file.name for file in out.iterdir()] == ["old.txt"]


def write_manifest(folder: Path, text: str) -> None:
    (folder / "scene.toml").write_text(text)


BANDS = '[bands]\nB2 = "B2.tif"\nB3 = "B3.tif"\nB4 = "B4.tif"\n'
COMPLETE = "acquired_at = 2024-05-06T07:08:09Z\ncomplete = true\n" + BANDS


def test_a_band_weights_and_a_manifest_that_are_not_there(folder, tmp_path):
    write_manifest(folder, COMPLETE.replace('"B3.tif"', '{ file = "B3.tif", index = 4 }'))
    refused(folder, tmp_path / "out", errors.BandMissingError, "number 4", "has 1")
    known = "shipped: bijie, generated, landslide4sense, landslide4sense-standard, triage"
    refused(folder, tmp_path / "out", errors.ModelError, known, weights="nosuch")
    (folder / "scene.toml").unlink()
    refused(folder, tmp_path / "out", errors.ManifestError, "no scene.toml")


def test_degrees_that_are_not_on_the_globe(folder, tmp_path):
    write_manifest(folder, COMPLETE)
    place = {"crs": "EPSG:4326", "transform": Affine(10, 0, 500_000, 0, -10, 4_700_000), "nodata": 0}
    for name in ("B2", "B3", "B4"):
        write_raster(folder / f"{name}.tif", np.full((1, 96, 96), 700, np.uint16), **place)
    refused(folder, tmp_path / "out", errors.ImpossibleCrsError, "not on the globe")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acquired_at = ", ("not TOML",)),
        (BANDS, ("acquired_at",)),
        ("acquired_at = 2024-05-06T07:08:09\ncomplete = true\n" + BANDS, ("acquired_at", "zone")),
        ("colour = 1\n" + COMPLETE, ("unknown key 'colour'", "expected: acquired_at")),
        ("acquired_at = 2024-05-06T07:08:09Z\ncomplete = true\n", ("[bands] is missing",)),
        ('role = "after"\n' + COMPLETE, ("role 'after'", "single, pre, post")),
        (COMPLETE.replace('"B2.tif"', '"../other/B2.tif"'), ("outside of the scene's folder",)),
        (COMPLETE.replace('"B2.tif"', "3"), ("band B2 must be",)),
        (COMPLETE.replace('"B2.tif"', '"B2\\u0000.tif"'), ("no name of a file",)),
        (COMPLETE.replace("B2.tif", "B" * 300), ("no name of a file",)),
        (COMPLETE + '[files]\n"../secret" = 1\n', ("outside of the scene's folder",)),
        ("acquired_at = 0001-01-01T00:00:00+14:00\ncomplete = true\n" + BANDS, ("acquired_at",)),
        ("a = " + "[" * 20_000, ("nested without end",)),
        ("#" * (1 << 20) + "\n" + COMPLETE, ("larger than 1024 KiB",)),
    ],
    ids=range(14),
)
def test_a_manifest_that_cannot_be_meant(folder, tmp_path, text, words):
    write_manifest(folder, text)
    refused(folder, tmp_path / "out", errors.ManifestError, "scene.toml", *words)


def test_a_folder_named_from_where_one_stands_has_its_elevation_model(folder, monkeypatch):
    write_manifest(folder, 'dem = "B2.tif"\n' + COMPLETE)
    monkeypatch.chdir(folder.parent)
    here = Path(folder.name)
    assert find_missing(here) is None
    assert read_scene(here).dem == here / "B2.tif"
    assert scene_hash(read_scene(here)) == scene_hash(read_scene(folder))


def test_complete_by_manifest(folder):
    assert find_missing(folder) is None
    band, manifest = folder / "B3.tif", (folder / "scene.toml").read_text()
    content = band.read_bytes()
    band.write_bytes(content[:-1])
    assert f"{len(content) - 1} bytes, the manifest says {len(content)}" in find_missing(folder)
    band.write_bytes(content[:-1] + b"\xff")
    assert "sha256 differs" in find_missing(folder)
    band.unlink()
    assert "B3.tif: has not arrived" in find_missing(folder)
    with pytest.raises(errors.IncompleteSceneError, match=r"B3\.tif"):
        read_scene(folder)
    band.write_bytes(content)
    write_manifest(folder, COMPLETE.replace("complete = true\n", ""))
    assert "neither" in find_missing(folder)
    assert read_scene(folder).acquired_at == TAKEN_AT  # named by a person: complete as it lies
    write_manifest(folder, COMPLETE)
    assert find_missing(folder) is None
    (folder / "scene.toml").unlink()
    assert "has not arrived" in find_missing(folder)
    write_manifest(folder, manifest)
    assert find_missing(folder) is None


def test_the_manifest_is_read_as_it_is_meant(folder):
    scene = read_scene(folder)
    assert scene.acquired_at == TAKEN_AT
    assert scene.acquired_at.utcoffset() == timedelta(0)
    assert tuple(scene.bands) == ("B2", "B3", "B4", "B8")
    assert scene.dem == folder / "dem.tif"
    write_manifest(folder, COMPLETE.replace("07:08:09Z", "16:08:09+09:00").replace("B4 =", "red ="))
    scene = read_scene(folder)
    assert scene.acquired_at == TAKEN_AT
    assert tuple(scene.bands) == ("B2", "B3", "B4")
    assert scene.role == "single"


def write_single(path: Path, names: tuple[str, ...]) -> None:
    grid = grid_around(141.95, 42.73, 48, 10.0)
    data = np.random.default_rng(2).integers(300, 1200, (len(names), 48, 48)).astype(np.uint16)
    write_geotiff(path, data, grid, nodata=0, descriptions=names)


def test_a_single_raster_tells_its_bands_and_time(tmp_path):
    path = tmp_path / "S2_20240506T070809.tif"
    write_single(path, ("blue", "B03", "B4"))
    scene = read_scene(path)
    assert scene.acquired_at == TAKEN_AT
    assert {name: band.index for name, band in scene.bands.items()} == {"B2": 1, "B3": 2, "B4": 3}
    given_at = datetime(2020, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    assert read_scene(path, given_at).acquired_at == datetime(2020, 1, 1, tzinfo=UTC)
    change_raster(path, ACQUIRED_AT="2021-02-03T00:00:00+00:00")
    assert read_scene(path).acquired_at == datetime(2021, 2, 3, tzinfo=UTC)
    plain = tmp_path / "plain.tif"
    write_single(plain, ("blue", "green", "red"))
    with pytest.raises(errors.ManifestError, match="acquisition time unknown"):
        read_scene(plain)


@pytest.mark.parametrize(
    "name", ["LE07_L2SP_195028_20210203.tif", "mosaic_Landsat7_20210203.tif", "ASTER_20210203.tif"]
)
def test_numbers_of_another_satellite_are_no_names(tmp_path, name):
    write_single(tmp_path / name, ("B1", "B2", "B3", "B4"))
    with pytest.raises(errors.ManifestError, match="mean something else on each satellite"):
        read_scene(tmp_path / name)
    write_single(tmp_path / name, ("blue", "green", "red", "nir"))
    assert set(read_scene(tmp_path / name).bands) == {"B2", "B3", "B4", "B8"}


def test_bands_without_names_are_not_guessed(tmp_path):
    path = tmp_path / "20240506.tif"
    write_single(path, ("", "", ""))
    refused(path, tmp_path / "out", errors.BandMissingError, "B4, B3, B2 missing", "none with a known name")


def test_the_hash_follows_content_not_place(folder, tmp_path):
    before = scene_hash(read_scene(folder))
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert scene_hash(read_scene(tmp_path / "elsewhere")) == before
    change_raster(folder / "B4.tif", lambda values: values + (np.arange(96) == 5).astype(values.dtype))
    manifest = (folder / "scene.toml").read_text()
    old_line = next(line for line in manifest.splitlines() if line.startswith('"B4.tif"'))
    content = (folder / "B4.tif").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    new_line = f'"B4.tif" = {{ size = {len(content)}, sha256 = "{digest}" }}'
    write_manifest(folder, manifest.replace(old_line, new_line))
    assert scene_hash(read_scene(folder)) != before


def test_coarser_and_shifted_bands_are_warped_not_index_scaled(tmp_path):
    """A ramp in metres keeps its values on a grid three times finer and 1.3 pixels off."""
    fine = grid_around(141.95, 42.73, 90, 10.0)
    a = fine.transform
    coarse = Grid(Affine(30, 0, a.c - 13, 0, -30, a.f + 13), fine.crs_wkt, 31, 31)

    def ramp(grid):
        columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
        x, y = grid.to_crs(columns, rows)
        return (x - a.c + 2 * (a.f - y))[None].astype(np.float32)

    write_geotiff(tmp_path / "fine.tif", ramp(fine), fine)
    write_geotiff(tmp_path / "coarse.tif", ramp(coarse), coarse)
    bands = {"fine": (tmp_path / "fine.tif", 1), "coarse": (tmp_path / "coarse.tif", 1)}
    with BandReader(bands) as reader:
        values, valid = reader.read(8, 8, 64, 64)
        assert reader.warped == ["coarse"]
    assert valid.all()
    assert np.abs(values[0] - values[1]).max() < 0.5


def test_what_a_warped_band_without_nodata_does_not_reach_is_nodata(tmp_path):
    """It ends two pixels before the scene does: there it says nothing, which is not the value 0."""
    scene = grid_around(141.95, 42.73, 60, 10.0)
    short = Grid(scene.transform, scene.crs_wkt, 58, 60)
    write_geotiff(tmp_path / "a.tif", np.full((1, 60, 60), 500, np.uint16), scene)
    write_geotiff(tmp_path / "b.tif", np.full((1, 60, 58), 500, np.uint16), short)
    with BandReader({"B4": (tmp_path / "a.tif", 1), "B3": (tmp_path / "b.tif", 1)}) as reader:
        values, valid = reader.read(0, 0, 60, 60)
    assert valid[:, :57].all()
    assert not valid[:, 58:].any()
    assert (values[:, valid] == 500).all()


def test_a_pixel_is_valid_only_where_every_band_and_the_mask_are(folder):
    lone = np.zeros((96, 96), bool)
    lone[3, 4] = True
    change_raster(folder / "B2.tif", lambda values: np.where(lone, 0, values))
    mask = np.ones((1, 96, 96), np.uint8)
    mask[0, 50:] = 0
    write_geotiff(folder / "mask.tif", mask, grid_around(141.95, 42.73, 96, 10.0))
    bands = {name: (folder / f"{name}.tif", 1) for name in ("B4", "B3", "B2")}
    with BandReader(bands, (Mask(folder / "mask.tif", "mask"),)) as reader:
        values, valid = reader.read(0, 0, 96, 96)
    assert not valid[3, 4]
    assert not valid[50:].any()
    assert np.count_nonzero(~valid) == 46 * 96 + 1
    assert (values[:, ~valid] == 0).all()


def test_infinite_values_are_nodata(tmp_path):
    grid = Grid(Affine(10, 0, 5e5, 0, -10, 4.7e6), pyproj.CRS.from_epsg(32654).to_wkt(), 32, 32)
    data = np.ones((1, 32, 32), np.float32)
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    write_geotiff(tmp_path / "a.tif", data, grid)
    with BandReader({"B4": (tmp_path / "a.tif", 1)}) as reader:
        values, valid = reader.read(0, 0, 32, 32)
    assert np.count_nonzero(~valid) == 3
    assert np.isfinite(values).all()
