"""Read scenes: manifests, bands, masks and offsets; resample to another grid; standardise bands; find clouds.

Invalid input is refused with one clear line and the right class of error.
"""

import hashlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from detection.imagery import errors
from detection.imagery.change.alignment import measure_alignment
from detection.imagery.change.compare import compare
from detection.imagery.change.images import DateImage
from detection.imagery.change.records import StoredDate
from detection.imagery.data.generate import draw_scene, write_scene
from detection.imagery.data.patches import IGNORED, make_patches
from detection.imagery.footprints.places import measure_places
from detection.imagery.footprints.records import Circle, MeasuredPlace
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.masks import Mask
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.scene.radiometry import measure_stretch
from detection.imagery.scene.reader import BandReader, open_scene
from detection.imagery.scene.resized import resample
from detection.imagery.scene.scene import MANIFEST, find_missing, read_scene, scene_hash
from detection.imagery.scene.white_ground import open_white_ground, select_colours
from detection.imagery.training.domain import find_doubts
from monitor.text.reasons import convert_reason
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import change_raster, write_folder, write_raster

TAKEN_AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "scene", 11, size_px=96, acquired_at=TAKEN_AT)
    return tmp_path / "scene"


def check_refusal(path: Path, out: Path, error_type: type[Exception], *words: str, **payload) -> None:
    """Check that a detection fails with one line that contains the words, and writes nothing."""
    out.mkdir(exist_ok=True)
    (out / "old.txt").write_text("a file that must remain")
    with pytest.raises(error_type) as caught:
        detect({"weights": "generated", "scene_path": str(path), "out_dir": str(out), **payload})
    line = str(caught.value)
    assert type(caught.value) is error_type
    assert "\n" not in line
    assert [word for word in words if word not in line] == []
    assert [file.name for file in out.iterdir()] == ["old.txt"]


def write_manifest(folder: Path, text: str) -> None:
    (folder / "scene.toml").write_text(text)


BANDS = '[bands]\nB2 = "B2.tif"\nB3 = "B3.tif"\nB4 = "B4.tif"\n'
COMPLETE = "acquired_at = 2024-05-06T07:08:09Z\ncomplete = true\n" + BANDS


def test_missing_band_weights_or_manifest_is_check_refusal(folder, tmp_path):
    write_manifest(folder, COMPLETE.replace('"B3.tif"', '{ file = "B3.tif", index = 4 }'))
    check_refusal(folder, tmp_path / "out", errors.BandMissingError, "number 4", "has 1")
    shipped = "shipped: bijie, generated, landslide4sense, landslide4sense-standard, triage"
    check_refusal(folder, tmp_path / "out", errors.ModelError, shipped, weights="nosuch")
    (folder / "scene.toml").unlink()
    check_refusal(folder, tmp_path / "out", errors.ManifestError, "no scene.toml")


def test_coordinates_outside_the_globe_are_check_refusal(folder, tmp_path):
    write_manifest(folder, COMPLETE)
    place = {"crs": "EPSG:4326", "transform": Affine(10, 0, 500_000, 0, -10, 4_700_000), "nodata": 0}
    for name in ("B2", "B3", "B4"):
        write_raster(folder / f"{name}.tif", np.full((1, 96, 96), 700, np.uint16), **place)
    check_refusal(folder, tmp_path / "out", errors.ImpossibleCrsError, "not on the globe")


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
def test_invalid_manifest_is_check_refusal(folder, tmp_path, text, words):
    write_manifest(folder, text)
    check_refusal(folder, tmp_path / "out", errors.ManifestError, "scene.toml", *words)


def test_elevation_model_is_found_with_a_relative_folder(folder, monkeypatch):
    write_manifest(folder, 'dem = "B2.tif"\n' + COMPLETE)
    monkeypatch.chdir(folder.parent)
    relative = Path(folder.name)
    assert find_missing(relative) is None
    assert read_scene(relative).dem == relative / "B2.tif"
    assert scene_hash(read_scene(relative)) == scene_hash(read_scene(folder))


def test_scene_is_complete_if_its_files_match_the_manifest(folder):
    assert find_missing(folder) is None
    band = folder / "B3.tif"
    manifest = (folder / "scene.toml").read_text()
    content = band.read_bytes()
    band.write_bytes(content[:-1])
    assert f"{len(content) - 1} bytes, the manifest states {len(content)}" in find_missing(folder)
    band.write_bytes(content[:-1] + b"\xff")
    assert "sha256 differs" in find_missing(folder)
    band.unlink()
    assert "B3.tif: has not arrived" in find_missing(folder)
    with pytest.raises(errors.IncompleteSceneError, match=r"B3\.tif"):
        read_scene(folder)
    band.write_bytes(content)
    write_manifest(folder, COMPLETE.replace("complete = true\n", ""))
    assert "neither" in find_missing(folder)
    # A scene that a person names is read without the statement that it is complete.
    assert read_scene(folder).acquired_at == TAKEN_AT
    write_manifest(folder, COMPLETE)
    assert find_missing(folder) is None
    (folder / "scene.toml").unlink()
    assert "has not arrived" in find_missing(folder)
    write_manifest(folder, manifest)
    assert find_missing(folder) is None


def test_manifest_states_time_bands_and_role(folder):
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


def test_bands_and_time_of_a_single_raster(tmp_path):
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
def test_band_numbers_of_another_satellite_are_refused(tmp_path, name):
    write_single(tmp_path / name, ("B1", "B2", "B3", "B4"))
    with pytest.raises(errors.ManifestError, match="mean something else on each satellite"):
        read_scene(tmp_path / name)
    write_single(tmp_path / name, ("blue", "green", "red", "nir"))
    assert set(read_scene(tmp_path / name).bands) == {"B2", "B3", "B4", "B8"}


@pytest.mark.parametrize("count", [3, 4, 5, 7, 8])
@pytest.mark.parametrize("spelling", ["B{}", "b{:02d}", "SR_B{}"])
def test_consecutive_band_numbers_from_one_are_refused(tmp_path, count, spelling):
    names = tuple(spelling.format(number) for number in range(1, count + 1))
    write_single(tmp_path / "site_20210203.tif", names)
    with pytest.raises(errors.ManifestError, match="mean something else on each satellite"):
        read_scene(tmp_path / "site_20210203.tif")
    for name, band_names in (
        ("S2A_20210203.tif", names),
        ("a_20210203.tif", (*names, "B12")),
        ("b_20210203.tif", names[1:]),
    ):
        write_single(tmp_path / name, band_names)
        assert len(read_scene(tmp_path / name).bands) == len(band_names)


@pytest.mark.parametrize(
    ("name", "usable", "not_usable"),
    [("SCL", 4, 9), ("scl", 5, 3), ("QA60", 0, 1024), ("qa60", 0, 2048), ("QA_PIXEL", 64, 8), ("dataMask", 1, 0)],
)
def test_mask_band_of_a_raster_is_applied(tmp_path, name, usable, not_usable):
    path = tmp_path / "a_20210203.tif"
    write_single(path, ("red", "green", "blue", name))

    def change(values):
        values[:] = 7
        values[3] = usable
        values[3, :20] = not_usable
        return values

    change_raster(path, change)
    with open_scene(read_scene(path), ("B4", "B3", "B2")) as reader:
        grid = reader.grid
        _, valid = reader.read(0, 0, grid.width, grid.height)
    assert valid[20:].all()
    assert not valid[:20].any()


def test_unnamed_bands_are_refused(tmp_path):
    path = tmp_path / "20240506.tif"
    write_single(path, ("", "", ""))
    check_refusal(path, tmp_path / "out", errors.BandMissingError, "B4, B3, B2 missing", "none with a known name")


def test_hash_depends_on_the_content_and_not_on_the_folder(folder, tmp_path):
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


def test_coarser_and_shifted_bands_are_warped(tmp_path):
    """A ramp in metres keeps its values on a grid that is three times finer and shifted by 1.3 pixels."""
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


def test_pixels_outside_a_smaller_band_are_nodata(tmp_path):
    """The band ends two pixels before the scene. The pixels beyond its end are unknown and not 0."""
    scene = grid_around(141.95, 42.73, 60, 10.0)
    short = Grid(scene.transform, scene.crs_wkt, 58, 60)
    write_geotiff(tmp_path / "a.tif", np.full((1, 60, 60), 500, np.uint16), scene)
    write_geotiff(tmp_path / "b.tif", np.full((1, 60, 58), 500, np.uint16), short)
    with BandReader({"B4": (tmp_path / "a.tif", 1), "B3": (tmp_path / "b.tif", 1)}) as reader:
        values, valid = reader.read(0, 0, 60, 60)
    assert valid[:, :57].all()
    assert not valid[:, 58:].any()
    assert (values[:, valid] == 500).all()


def test_pixel_is_valid_if_all_bands_and_the_mask_are_valid(folder):
    is_nodata = np.zeros((96, 96), bool)
    is_nodata[3, 4] = True
    change_raster(folder / "B2.tif", lambda values: np.where(is_nodata, 0, values))
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


AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Return two scenes with equal reflectance. The second has counts that are larger by its offset of 1000.

    A mask declares clouds over the first scene.
    """
    folder = tmp_path_factory.mktemp("pair")
    write_scene(folder / "plain", 5, with_scar=False, size_px=64, acquired_at=AT)
    shutil.copytree(folder / "plain", folder / "lifted")
    for name, lines in (("plain", 'clouds = "hidden.tif"\n'), ("lifted", "offset = -1000\n")):
        manifest = folder / name / MANIFEST
        manifest.write_text("complete = true\n" + lines + manifest.read_text().split("[files]")[0])
    for file in sorted((folder / "lifted").glob("B*.tif")):
        with rasterio.open(file, "r+") as target:
            values = target.read()
            target.write(np.where(values > 0, values + 1000, 0).astype(values.dtype))
    clouds = np.zeros((1, 64, 64), np.uint8)
    clouds[:, :, :16] = 1
    write_geotiff(folder / "plain" / "hidden.tif", clouds, read_grid(folder / "plain" / "B4.tif"))
    return folder / "plain", folder / "lifted"


def test_offset_changes_neither_season_nor_vegetation_index(pair, tmp_path):
    plain, lifted = (
        StoredDate(
            scene_hash="", acquired_at=AT, probability_path="", scene_path=str(path), threshold=0.5, minimum_area_m2=0.0
        )
        for path in pair
    )
    grid = read_grid(pair[0] / "B4.tif")
    with DateImage(lifted, grid) as newer, DateImage(plain, grid) as older:
        alignment = measure_alignment(newer, older)
    assert alignment.median_ratios == (1.0, 1.0, 1.0, 1.0)
    write_geotiff(tmp_path / "prob.tif", np.zeros((1, 64, 64), np.uint8), grid, nodata=255)
    lon, lat = (float(v[0]) for v in grid.to_lonlat(*grid.to_crs(np.array([32.0]), np.array([32.0]))))
    place = MeasuredPlace("G1", Circle(lon, lat, 200.0))
    plain_ndvi, lifted_ndvi = (
        measure_places(tmp_path / "prob.tif", read_scene(path), [place])["G1"]["ndvi"] for path in pair
    )
    assert plain_ndvi == lifted_ndvi
    assert plain_ndvi > 0.2


def test_season_that_cannot_be_compared_gives_a_caution(tmp_path):
    """Bands in decibels have negative medians, so their ratio cannot show whether two dates are of one season."""
    dates = []
    grid = grid_around(141.95, 42.73, 64, 10.0)
    values = -np.random.default_rng(1).uniform(100, 900, (64, 64)) * np.array([1.0, 0.5, 0.2])[:, None, None]
    bands = dict(zip(("B4", "B3", "B2"), values.astype(np.float32), strict=True))
    for name, day in (("a", 1), ("b", 2)):
        at = AT.replace(day=day)
        folder = write_folder(tmp_path / name, bands, grid, at=at.isoformat())
        write_geotiff(tmp_path / f"{name}.tif", np.zeros((1, 64, 64), np.uint8), grid, nodata=255)
        facts = {"scene_hash": name, "acquired_at": at, "probability_path": str(tmp_path / f"{name}.tif")}
        dates.append(StoredDate(**facts, threshold=0.5, minimum_area_m2=900.0, polygons=(), scene_path=str(folder)))
    (comparison,) = compare(dates[1], dates[:1]).compared
    assert "the season of the images could not be compared" in comparison.cautions


RNG = np.random.default_rng(3)
GROUND = RNG.random((3, 61, 47), np.float32)
ALL_VALID = np.ones(GROUND.shape[1:], bool)


def resample_by(values, valid, right, down, window=None):
    """Resample to pixels that are `right` times as wide and `down` times as high.

    Without a window the whole raster is resampled.
    """
    height, width = valid.shape
    a, b, d, e = 1.8, 0.6, 0.6, -1.8  # rotated by 18 degrees
    source = Grid(Affine(a, b, 500, d, e, 900), "", width, height)
    moved = Affine(a * right, b * down, 500, d * right, e * down, 900)
    target = Grid(moved, "", int(-(-width // right)), int(-(-height // down)))

    def read(column, row, wide, high):
        assert min(column, row) >= 0 and column + wide <= width and row + high <= height  # noqa: PT018
        rows, columns = slice(row, row + high), slice(column, column + wide)
        return values[:, rows, columns], valid[rows, columns]

    return resample(read, source, target, window or (0, 0, target.width, target.height))


@pytest.mark.parametrize("step", [2, 3])
def test_larger_pixels_are_means_of_the_pixels_that_they_cover(step):
    resampled, valid = resample_by(GROUND[:, : 15 * step, : 10 * step], ALL_VALID[: 15 * step, : 10 * step], step, step)
    blocks = GROUND[:, : 15 * step, : 10 * step].reshape(3, 15, step, 10, step)
    np.testing.assert_allclose(resampled, blocks.mean(axis=(2, 4)), atol=1e-6)
    assert valid.all()


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.5), (0.41, 0.8), (1.5, 1.5), (1.7, 0.6), (2.4, 2.4)])
def test_plane_stays_a_plane(right, down):
    slope = np.add.outer(np.arange(61) * 0.25, np.arange(47) * 0.5)[None].astype(np.float32)
    resampled, valid = resample_by(slope, ALL_VALID, right, down)
    rows, columns = (
        ((np.arange(side) + 0.5) * step - 0.5) for side, step in zip(resampled.shape[1:], (down, right), strict=True)
    )
    inner = np.ix_(*((2 < place) & (place < side - 4) for place, side in ((rows, 61), (columns, 47))))
    np.testing.assert_allclose(
        resampled[0][inner], np.add.outer(rows * 0.25, columns * 0.5)[inner], atol=0.02 + right / 4
    )
    if max(right, down) <= 2:
        np.testing.assert_allclose(resampled[0][inner], np.add.outer(rows * 0.25, columns * 0.5)[inner], atol=1e-4)
    assert valid.all()


@pytest.mark.parametrize(
    ("step", "method"), [(0.5, "bilinear"), (1.5, "bilinear"), (2.0, "bilinear"), (3.0, "average")]
)
def test_resampled_values_equal_those_of_gdal(tmp_path, step, method):
    place = grid_around(141.95, 42.73, 96, 10.0)
    a, b, c, d, e, f = place.transform[:6]
    size = int(96 / step)
    target = Grid(Affine(a * step, b, c, d, e * step, f), place.crs_wkt, size, size)
    values = RNG.random((1, 96, 96), np.float32)
    write_geotiff(tmp_path / "a.tif", values, place)

    def read(column, row, wide, high):
        part = values[:, row : row + high, column : column + wide]
        return part, np.ones(part.shape[1:], bool)

    resampled, valid = resample(read, place, target, (0, 0, size, size))
    scales = {"XSCALE": 1, "YSCALE": 1} if method == "bilinear" else {}
    with (
        rasterio.open(tmp_path / "a.tif") as source,
        WarpedVRT(
            source,
            crs=target.crs_wkt,
            transform=target.transform,
            width=size,
            height=size,
            resampling=Resampling[method],
            **scales,
        ) as warped,
    ):
        expected = warped.read()
    np.testing.assert_allclose(resampled, expected, atol=1e-5)
    assert valid.all()


@pytest.mark.parametrize("step", [0.4167, 0.5, 1.5, 2.0, 2.6])
def test_windows_equal_the_whole_raster_bit_for_bit(step):
    valid = RNG.random(ALL_VALID.shape) > 0.3
    whole, whole_valid = resample_by(GROUND, valid, step, step)
    height, width = whole_valid.shape
    for column, row, wide, high in ((0, 0, 7, 5), (3, 4, width - 5, 9), (width - 6, height - 3, 6, 3)):
        resampled, window_valid = resample_by(GROUND, valid, step, step, (column, row, wide, high))
        rows, columns = slice(row, row + high), slice(column, column + wide)
        np.testing.assert_array_equal(resampled, whole[:, rows, columns])
        np.testing.assert_array_equal(window_valid, whole_valid[rows, columns])


@pytest.mark.parametrize("step", [0.4167, 0.5, 1.5, 2.0, 2.6])
def test_nodata_changes_no_value_and_no_other_pixel(step):
    valid = ALL_VALID.copy()
    valid[:, :20] = False
    valid[40:] = False
    values = np.where(valid, np.float32(0.5), np.float32(-9999))
    resampled, resampled_valid = resample_by(np.stack([values]), valid, step, step)
    np.testing.assert_allclose(resampled[0][resampled_valid], 0.5, atol=1e-6)
    assert not resampled[0][~resampled_valid].any()
    valid_share, _ = resample_by(valid[None].astype(np.float32), ALL_VALID, step, step)
    assert resampled_valid[valid_share[0] > 0.99].all()
    assert not resampled_valid[valid_share[0] == 0].any()


COLOURS = ("B4", "B3", "B2")
PLACE = grid_around(141.95, 42.73, 8, 10.0)
WATER = np.array([400.0, 450.0, 500.0])[:, None, None]
CARD = {"name": "own", "bands": list(COLOURS), "radiometry": {"stretch": LOCAL_STANDARD, "block_px": 32}, "tile_px": 64}
DOMAIN = {"bands": list(COLOURS), "pixel_size_m": 10.0, "median": [[9.0, 9.1]] * 3, "spread": [[0.1, 0.2]] * 3}
DOMAIN |= {"correlation_least": 0.5, "smoothness_least": 0.5}


class Field:
    in_tiles = False
    spectral_types = frozenset({"float32"})

    def __init__(self, values: np.ndarray, valid: np.ndarray | None = None, names=COLOURS, pixel_m=10.0) -> None:
        self.values, self.names = values.astype(np.float32), names
        self.valid = np.ones(values.shape[1:], bool) if valid is None else valid
        place = grid_around(141.95, 42.73, 8, pixel_m) if pixel_m else Grid(PLACE.transform, "", 8, 8)
        self.grid = Grid(place.transform, place.crs_wkt, values.shape[2], values.shape[1])

    def read(self, column, row, width, height):
        window = slice(row, row + height), slice(column, column + width)
        return self.values[(slice(None), *window)], self.valid[window]

    def stretched(self):
        return measure_stretch(self, CARD).apply(self.values, 0, 0)


@pytest.fixture(scope="module")
def ground():
    scene = draw_scene(5, 96, scars=1)
    return np.stack([scene.bands[name] for name in COLOURS]).astype(np.float32)


@pytest.mark.soak
@settings(max_examples=4, deadline=None)
@example(factors=(30.0, 25.0, 30.0), offsets=(0, 0, 0))
@given(factors=st.tuples(*[st.floats(0.01, 50)] * 3), offsets=st.tuples(*[st.integers(0, 5000)] * 3))
def test_standardised_bands_do_not_depend_on_factor_and_offset(ground, factors, offsets):
    scaled = ground * np.array(factors)[:, None, None] + np.array(offsets)[:, None, None]
    # Factors can make bright ground white. Such examples are left out, because white ground counts as cloud.
    assume(measure_stretch(Field(scaled), CARD).cloud_share == measure_stretch(Field(ground), CARD).cloud_share)
    assert Field(scaled).stretched() == pytest.approx(Field(ground).stretched(), abs=2e-2)
    whole = np.ones((1, *ground.shape[1:]), np.uint8)
    plain, changed = (make_patches(image[None].astype(np.float32), whole, COLOURS) for image in (ground, scaled))
    assert changed.standardise(()).read(0).image == pytest.approx(plain.standardise(()).read(0).image, abs=2e-2)


def test_scene_of_one_block_equals_a_training_patch_and_tiles_have_no_seams(ground):
    part = ground[:, :32, :32]
    patch = make_patches(part[None], np.zeros((1, 32, 32), np.uint8), COLOURS).standardise(()).read(0).image
    assert Field(part).stretched() == pytest.approx(patch, abs=1e-4)
    assert patch.std(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    again = make_patches(patch[None], np.zeros((1, 32, 32), np.uint8), COLOURS).standardise(()).read(0).image
    assert again == pytest.approx(patch, abs=1e-5)
    field = Field(ground)
    stretch = measure_stretch(field, CARD)
    whole = field.stretched()
    assert stretch.apply(ground[:, 17:60, 30:95], 30, 17) == pytest.approx(whole[:, 17:60, 30:95], abs=1e-6)
    valid = np.ones(ground.shape[1:], bool)
    valid[:, :20] = valid[70:] = False
    zero_filled, large_filled = (Field(np.where(valid, ground, fill), valid).stretched() for fill in (0, 60_000))
    assert np.array_equal(zero_filled[:, valid], large_filled[:, valid])
    assert np.isfinite(zero_filled).all()


def test_water_has_low_contrast_also_if_it_covers_most_of_a_scene(ground):
    calm = np.tile(ground, (1, 2, 2))
    calm[:, :96, :96] = WATER + np.random.default_rng(0).normal(0, 1, (3, 96, 96))
    assert np.abs(Field(calm).stretched()[:, 16:48, 16:48]).max() < 1
    coast = np.tile(ground, (1, 3, 3))
    coast[:, :, 64:] = WATER + np.random.default_rng(0).normal(0, 1, (3, 288, 224))
    assert np.abs(Field(coast).stretched()[:, :, 96:]).max() < 1


def test_terrain_is_not_standardised_and_unknown_pixels_are_the_mean(ground):
    named = ("B4", "B3", "slope")
    field = Field(ground, names=named)
    stretched = measure_stretch(field, {**CARD, "bands": list(named)}).apply(ground, 0, 0)
    assert np.array_equal(stretched[2], ground[2])
    image, mask = ground.copy(), np.zeros(ground.shape[1:], np.uint8)
    image[:, :10], mask[:10] = 0, IGNORED
    mask[40] = IGNORED  # the image is valid there, only the mask is unknown
    shown = make_patches(image[None], mask[None], named).standardise(("slope",)).read(0).image
    assert not shown[:2, :10].any()
    assert shown[:2, 40].any()
    assert np.array_equal(shown[2], image[2])


def test_clouds_do_not_change_the_ground_beside_them(ground):
    cloudy = ground.copy()
    cloudy[:, 40:80, 40:80] = 9000
    clear = np.ones(ground.shape[1:], bool)
    clear[40:80, 40:80] = False
    stretch = measure_stretch(Field(cloudy), CARD)
    assert stretch.cloud_share == pytest.approx(1600 / 96**2)
    beside = np.zeros((96, 96), bool)
    for column, row, width, height in stretch.cloudy:
        beside[row : row + height, column : column + width] = True
    assert beside[16:96, 16:96].all(), "the cells of the cloud, from 32 to 80, and one cell around them"
    assert not beside[:16].any()
    assert measure_stretch(Field(ground), CARD).cloudy == ()
    masked = measure_stretch(Field(cloudy, clear), CARD)
    assert masked.cloud_share == 0
    with_clouds, without_clouds = (each.apply(cloudy, 0, 0)[:, clear] for each in (stretch, masked))
    assert np.array_equal(with_clouds, without_clouds)
    overcast = np.full_like(ground, 9000) + ground / 100
    assert measure_stretch(Field(overcast), CARD).cloud_share == 1


@pytest.mark.soak
def test_brightness_and_offset_cause_no_warning_and_clouds_are_found_with_an_offset(ground):
    card = {**CARD, "domain": DOMAIN}
    low = ground - ground.min() + 20  # with dark water
    cloudy = low.copy()
    cloudy[:, 60:90, 60:90] = 9000
    results = []
    for counts in (low * 0.5, low + 1000, cloudy, cloudy + 1000):
        field = Field(counts)
        stretch = measure_stretch(field, card)
        doubts = find_doubts(field, stretch, card)
        # If clouds cover more than 2 % of the scene, its brightness is doubtful.
        assert any("brightness" in doubt for doubt in doubts) == (counts.max() >= 9000), doubts
        results.append((stretch.offset, stretch.find_clouds(stretch.apply(counts, 0, 0), counts, 0, 0)))
    assert [offset for offset, _ in results] == [0, 1000, 0, 1000]
    assert [clouds is not None for _, clouds in results] == [False, False, True, True]
    assert np.array_equal(results[2][1], results[3][1])
    reflectance_card = {**card, "normalisation": {"value_range": [[0, 1]] * 3}}
    reflectance_card |= {"radiometry": {"stretch": "reflectance", "scale": 1e-4}}
    field = Field(ground + 1000)
    stretch = measure_stretch(field, reflectance_card, 1e-4)
    assert find_doubts(field, stretch, {**reflectance_card, "domain": {**DOMAIN, "median": [[0, 1]] * 3}})


@pytest.mark.parametrize("stretch", ["local-max", LOCAL_STANDARD])
@pytest.mark.parametrize("pixel_m", [0.05, 3.0, 8.6, 30.0, 100.0, None])
def test_clouds_are_searched_only_at_the_pixel_sizes_of_the_measurement(ground, stretch, pixel_m):
    """In finer pixels, bright and white ground is pale debris and not a cloud."""
    pale = ground.copy()
    pale[:, 40:70, 20:60] = np.array([0.62, 0.60, 0.58])[:, None, None] * 1e4
    field = Field(pale, pixel_m=pixel_m)
    measured = measure_stretch(field, {**CARD, "radiometry": {"stretch": stretch, "block_px": 32}})
    clouds = measured.find_clouds(measured.apply(pale, 0, 0), pale, 0, 0)
    if pixel_m in {8.6, 30.0}:
        assert clouds[45:65, 25:55].all()
    else:
        assert clouds is None
        assert (measured.cloud_share, measured.cloudy) == (0, ())


@pytest.mark.parametrize(
    ("names", "pixel_m", "code"),
    [
        (("B4", "B3", "B8"), 10.0, "change.white_bands"),
        (COLOURS, 3.0, "change.white_pixels"),
        (COLOURS, 100.0, "change.white_pixels"),
        (COLOURS, None, "change.white_unknown"),
    ],
)
def test_reason_is_reported_if_white_ground_cannot_be_searched(ground, names, pixel_m, code):
    field = Field(ground, names=names, pixel_m=pixel_m)
    white, (reason,) = open_white_ground(select_colours(field, 1.0), "2024-05-06")
    assert white is None
    assert reason.code == code
    assert "on the image of 2024-05-06" in convert_reason(reason)


def test_white_ground_is_found_with_bands_in_any_order(ground):
    snowy = ground.copy()
    snowy[:, :48] = 9000
    shares = []
    for order in ((0, 1, 2), (2, 0, 1)):
        field = Field(snowy[list(order)], names=tuple(COLOURS[k] for k in order))
        white, reasons = open_white_ground(select_colours(field, 1.0), "2024-05-06")
        assert reasons == []
        shares.append(white.share)
    assert shares == [pytest.approx(0.5, abs=0.01)] * 2


@pytest.mark.parametrize(("pixel_m", "reported"), [(10.0, False), (3.0, True)])
def test_detection_reports_that_white_ground_was_not_searched(tmp_path, pixel_m, reported):
    scene = draw_scene(5, 96, scars=1)
    grid = grid_around(141.95, 42.73, 96, pixel_m)
    path = write_folder(tmp_path / "scene", {name: scene.bands[name] for name in COLOURS}, grid, "offset = 0\n")
    result = detect({"weights": "generated", "scene_path": str(path)})
    expected = "snow, cloud and towns were not looked for on the image of 2024-05-06: it has pixels of 3 m"
    assert any(str(warning).startswith(expected) for warning in result["warnings"]) == reported


def test_bands_are_read_by_name_in_the_order_of_the_model(tmp_path):
    counts = np.random.default_rng(5).integers(1200, 4000, (2, 20, 24)).astype(np.int16)
    counts[1] //= 400  # plausible heights
    grid = replace(grid_around(141.95, 42.73, 24, 10.0), height=20)
    write_folder(tmp_path, {"B4": counts[0]}, grid, "offset = -1000\n")
    write_geotiff(tmp_path / "heights.tif", counts[1:], grid)
    with (tmp_path / "scene.toml").open("a") as manifest:
        manifest.write('dem = "heights.tif"\n')
    names = ("dem", "B4")
    with open_scene(read_scene(tmp_path), names) as reader:
        values, valid = reader.read(0, 0, 24, 20)
    assert reader.names == names
    assert valid.all()
    expected = np.stack([counts[1], counts[0] - 1000.0])
    assert np.array_equal(values, expected)
    patches = make_patches(expected[None, ::-1], np.zeros((1, 20, 24), np.uint8), ("B4", "dem"))
    assert np.array_equal(patches.select_bands(names).read(0).image, expected)
    with pytest.raises(errors.DataError, match="bands B8 are not in the data, which have B4"):
        patches.select_bands(("B4",)).select_bands(("B8",))
