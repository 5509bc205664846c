"""Every kind of bad input ends in its exit status and one clear line, and the output folder stays as it was."""

import json
import math
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from detection.imagery.data.generate import draw_scene
from detection.imagery.errors import ForbiddenSourceError, NotARasterError, TooLargeError, TruncatedRasterError
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.untrusted import open_raster
from detection.imagery.scene.reader import BandReader
from monitor.cli.main import run_command
from tests.data.asked_detection import list_texts
from tests.data.surveys import rasters
from tests.data.surveys.rasters import read_values, write_raster

SIZE = 96
PLACE = grid_around(141.95, 42.73, SIZE, 10.0)
NAMES = ("B4", "B3", "B2")


@pytest.fixture(scope="module")
def drawn():
    return draw_scene(5, SIZE, scars=1)


@pytest.fixture
def folder(tmp_path, drawn):
    return write_folder(tmp_path / "scene", drawn, PLACE)


def write_folder(folder: Path, drawn, grid: Grid, **changes) -> Path:
    """A scene folder; `changes` may give another array of a band."""
    return rasters.write_folder(folder, {name: drawn.bands[name] for name in NAMES} | changes, grid, 'role = "post"\n')


def rewrite(path: Path, **changes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            data, profile = source.read(), source.profile | changes
        path.unlink()
        with rasterio.open(path, "w", **{key: value for key, value in profile.items() if value is not None}) as target:
            target.write(data)


def run_detect(scene: Path, out: Path, capsys, *more: str) -> tuple[int, str, dict | None]:
    """Exit status, lines of the error, and the answer where there is one."""
    capsys.readouterr()
    code = run_command(["scenes", "detect", "--model", "generated", str(scene), "--out", str(out), "--json", *more])
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("warning:")]
    assert "Traceback" not in said.err
    return code, "\n".join(lines), json.loads(said.out) if said.out else None


def refused(scene: Path, out: Path, capsys, status: int, words: str, *more: str) -> None:
    out.mkdir(exist_ok=True)
    (out / "old.txt").write_text("kept")
    code, line, answer = run_detect(scene, out, capsys, *more)
    assert (code, answer) == (status, None)
    assert words in line
    assert "\n" not in line
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("old.txt", "kept")]


def test_a_missing_band(folder, tmp_path, capsys):
    manifest = folder / "scene.toml"
    manifest.write_text(manifest.read_text().replace('B3 = "B3.tif"\n', ""))
    refused(folder, tmp_path / "out", capsys, 1, "band B3 missing; found: B4, B2")
    assert run_detect(folder, tmp_path / "fresh", capsys)[0] == 1
    assert not (tmp_path / "fresh").exists()


def test_descriptions_that_contradict_the_order(folder, tmp_path, capsys):
    with rasterio.open(folder / "B3.tif", "r+") as target:
        target.set_band_description(1, "blue")
    refused(folder, tmp_path / "out", capsys, 1, "used as B3, its description states B2", "--strict")
    code, _, answer = run_detect(folder, tmp_path / "loose", capsys)
    assert code == 0
    assert any("used as B3, its description states B2" in warning for warning in list_texts(answer))


@pytest.mark.parametrize("kind", ["none", "impossible"])
def test_no_place_on_the_ground(folder, tmp_path, capsys, kind):
    for name in NAMES:
        if kind == "none":
            rewrite(folder / f"{name}.tif", crs=None, transform=Affine.identity())
        else:
            rewrite(folder / f"{name}.tif", transform=Affine(1, 0, 5398.5, 0, -1, -4658.5))
    words = "no coordinate reference system" if kind == "none" else "these look like pixels"
    refused(folder, tmp_path / "out", capsys, 1, words)
    code, _, answer = run_detect(folder, tmp_path / "pixels", capsys, "--allow-ungeoreferenced")
    assert (code, answer["crs"], answer["pixel_area_m2"]) == (0, "pixels", None)
    found = json.loads((tmp_path / "pixels" / "landslides.geojson").read_text())["features"]
    assert found
    for feature in found:
        assert feature["properties"]["area_m2"] is None
        assert 0 <= feature["bbox"][0] <= feature["bbox"][2] <= SIZE


@pytest.mark.parametrize(("east", "north"), [(2.6e6, 4.7e6), (5e5, 2e8)])
def test_coordinates_that_the_zone_cannot_have(folder, tmp_path, capsys, east, north):
    for name in NAMES:
        rewrite(folder / f"{name}.tif", transform=Affine(10, 0, east, 0, -10, north))
    words = f"upper left corner {east:.1f}, {north:.1f} is impossible in EPSG:32654"
    refused(folder, tmp_path / "out", capsys, 1, words)


def test_another_crs_of_one_band_is_warped_and_said(folder, tmp_path, capsys, drawn):
    lon, lat = PLACE.to_lonlat(*PLACE.to_crs(np.array([0.0, SIZE]), np.array([0.0, SIZE])))
    step = (lon[1] - lon[0]) / SIZE, (lat[1] - lat[0]) / SIZE
    degrees = Grid(
        Affine(step[0], 0, lon[0], 0, step[1], lat[0]), grid_around(0, 0, 2, 1, geographic=True).crs_wkt, SIZE, SIZE
    )
    write_geotiff(folder / "B2.tif", drawn.bands["B2"][None], degrees, nodata=0)
    code, _, answer = run_detect(folder, tmp_path / "out", capsys)
    assert (code, "warped onto the grid of the reference band: B2" in list_texts(answer)) == (0, True)
    write_geotiff(folder / "B2.tif", drawn.bands["B2"][None], grid_around(141.96, 42.73, SIZE, 10.0), nodata=0)
    refused(folder, tmp_path / "far", capsys, 1, "px apart")


def test_an_elevation_model_that_does_not_cover_the_scene(folder, tmp_path, capsys, drawn):
    half = Grid(PLACE.transform, PLACE.crs_wkt, SIZE, SIZE * 3 // 4)
    write_geotiff(tmp_path / "most.tif", drawn.dem_m[None, : SIZE * 3 // 4], half)
    code, _, answer = run_detect(folder, tmp_path / "out", capsys, "--dem", str(tmp_path / "most.tif"))
    assert (code, answer["terrain"]["covered_share"]) == (0, pytest.approx(0.75, abs=0.02))
    assert any("the elevation model covers 7" in warning for warning in list_texts(answer))
    few = Grid(PLACE.transform, PLACE.crs_wkt, SIZE, SIZE // 3)
    write_geotiff(tmp_path / "few.tif", drawn.dem_m[None, : SIZE // 3], few)
    refused(folder, tmp_path / "few", capsys, 1, "at least 50% are needed", "--dem", str(tmp_path / "few.tif"))
    write_geotiff(tmp_path / "away.tif", drawn.dem_m[None], grid_around(143.0, 42.73, SIZE, 10.0))
    refused(folder, tmp_path / "away", capsys, 1, "covers 0.0% of the ground", "--dem", str(tmp_path / "away.tif"))


def test_nothing_but_nodata(tmp_path, capsys, drawn):
    empty = write_folder(tmp_path / "empty", drawn, PLACE, B4=np.zeros((SIZE, SIZE), np.uint16))
    refused(empty, tmp_path / "out", capsys, 4, "all pixels of the scene are nodata")


@pytest.mark.parametrize(
    ("key", "dtype", "clear", "hidden"),
    [
        ("clouds", np.uint8, 7, 95),  # a probability in per cent
        ("clouds", np.uint8, 64, 66),  # bits of HLS
        ("qa_pixel", np.uint16, 322, 480),  # Landsat Collection 1
        ("mask", np.uint8, 0, 0),
    ],
)
def test_mask_in_another_code_is_named(tmp_path, capsys, drawn, key, dtype, clear, hidden):
    scene = write_folder(tmp_path / "scene", drawn, PLACE)
    values = np.full((1, SIZE, SIZE), clear, dtype)
    values[:, :8, :8] = hidden
    write_geotiff(scene / "codes.tif", values, PLACE)
    manifest = scene / "scene.toml"
    manifest.write_text(f'{key} = "codes.tif"\n' + (manifest.read_text() if manifest.exists() else ""))
    refused(scene, tmp_path / "out", capsys, 4, f"the mask codes.tif ({key}: ")


@pytest.mark.parametrize("suffix", [".geojson", ".tif"])
def test_an_area_of_interest_elsewhere(folder, tmp_path, capsys, suffix):
    aoi = tmp_path / f"aoi{suffix}"
    if suffix == ".tif":
        write_geotiff(aoi, np.ones((1, 20, 20), np.uint8), grid_around(142.5, 42.73, 20, 10.0))
    else:
        ring = [[142.5, 42.7], [142.6, 42.7], [142.6, 42.8], [142.5, 42.7]]
        aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    refused(folder, tmp_path / "out", capsys, 4, "does not meet the scene", "--aoi", str(aoi))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "aoi.json: no"),
        ("[]", "aoi.json: neither GeoJSON, GeoPackage"),
        ('{"type": "Point", "coordinates": [1, 2]}', "aoi.json: no"),
    ],
)
def test_an_area_of_interest_that_is_none(folder, tmp_path, capsys, content, message):
    aoi = tmp_path / "aoi.json"
    aoi.write_text(content)
    refused(folder, tmp_path / "out", capsys, 1, message, "--aoi", str(aoi))


def test_a_rotated_grid_is_taken_with_its_areas(tmp_path, capsys, drawn):
    cos, sin = math.cos(math.radians(15)), math.sin(math.radians(15))
    a = PLACE.transform
    turned = Grid(Affine(10 * cos, 10 * sin, a.c, 10 * sin, -10 * cos, a.f), PLACE.crs_wkt, SIZE, SIZE)
    code, _, answer = run_detect(write_folder(tmp_path / "scene", drawn, turned), tmp_path / "out", capsys)
    assert (code, answer["pixel_area_m2"]) == (0, pytest.approx(100.0, abs=1e-3))
    assert any("rotated or sheared" in warning for warning in list_texts(answer))
    with rasterio.open(tmp_path / "out" / "prob.tif") as source:
        assert source.transform.almost_equals(turned.transform)
    _, _, same = run_detect(write_folder(tmp_path / "straight", drawn, PLACE), tmp_path / "other", capsys)
    assert answer["polygons"]
    assert [p["area_m2"] for p in answer["polygons"]] == pytest.approx([p["area_m2"] for p in same["polygons"]])


@pytest.mark.soak
@pytest.mark.parametrize("share", [0.999, 0.5])
def test_a_truncated_file(tmp_path, capsys, share):
    """The header opens without complaint; only a later block is missing."""
    size = 256
    grid = grid_around(141.95, 42.73, size, 10.0)
    scene = write_folder(tmp_path / "scene", draw_scene(5, size, scars=0), grid)
    for name in NAMES:
        rewrite(scene / f"{name}.tif", blockxsize=128, blockysize=128, tiled=True)
    content = (scene / "B3.tif").read_bytes()
    (scene / "B3.tif").write_bytes(content[: int(len(content) * share)])
    refused(scene, tmp_path / "out", capsys, 1, "B3.tif: a block from row", "--threshold", "0.99")
    assert run_detect(scene, tmp_path / "fresh", capsys)[0] == 1
    assert not (tmp_path / "fresh").exists()
    if share == 0.5:
        return
    code, _, answer = run_detect(scene, tmp_path / "part", capsys, "--partial", "--threshold", "0.99")
    assert (code, answer["unreadable_share"]) == (3, pytest.approx(0.25))
    assert any("25.0% of the scene cannot be read" in warning for warning in list_texts(answer))
    mask = read_values(tmp_path / "part" / "mask.tif", 1)
    assert (mask[128:, 128:] == 255).all()
    assert (mask[:128] != 255).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><p>404", "an HTML page"),
        (b"  <html>", "an HTML page"),
        (b"\x89PNG\r\n\x1a\n", "a PNG"),
        (b"PK\3\4", "a ZIP archive"),
        (b"II*\0junk", "not a raster"),
        (b"hello", "something else"),
    ],
)
def test_what_is_no_raster(folder, tmp_path, capsys, content, words):
    (folder / "B4.tif").write_bytes(content)
    refused(folder, tmp_path / "out", capsys, 1, words)
    refused(tmp_path / "nowhere.tif", tmp_path / "none", capsys, 1, "nowhere.tif: no such file")


@pytest.mark.parametrize("kind", ["complex_int16", "complex64"])
def test_complex_values_are_no_brightness(folder, tmp_path, capsys, kind):
    with rasterio.open(folder / "B4.tif") as source:
        profile = source.profile | {"dtype": kind, "nodata": None}
    with rasterio.open(folder / "B4.tif", "w", **profile):
        pass
    refused(folder, tmp_path / "out", capsys, 1, "B4.tif: band 1 holds complex values")


@pytest.mark.parametrize("factor", [1e-4, 50.0, -1.0])
def test_values_of_another_unit(tmp_path, capsys, drawn, factor):
    """Reflectance as 0 to 1, bytes, and negative values where the model wants counts of 1/10 000."""
    spoiled = {name: (drawn.bands[name] * factor).astype(np.float32) for name in NAMES}
    scene = write_folder(tmp_path / "scene", drawn, PLACE, **spoiled)
    refused(scene, tmp_path / "out", capsys, 1, "give `scale` if the values have another unit")
    if factor > 0:
        code, _, answer = run_detect(scene, tmp_path / "scaled", capsys, "--scale", str(1e-4 / factor))
        assert (code, len(answer["polygons"]) > 0) == (0, True)


@pytest.mark.parametrize(("width", "height"), [(1, 90), (33, 17)])
def test_a_scene_smaller_than_a_tile(tmp_path, capsys, drawn, width, height):
    small = Grid(PLACE.transform, PLACE.crs_wkt, width, height)
    cut = {name: drawn.bands[name][:height, :width] for name in NAMES}
    code, _, answer = run_detect(write_folder(tmp_path / "scene", drawn, small, **cut), tmp_path / "out", capsys)
    assert (code, answer["width"], answer["height"]) == (0, width, height)


def test_a_place_that_is_no_folder(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    code, line, _ = run_detect(folder, tmp_path / "file" / "out", capsys)
    assert (code, "\n" in line, "cannot write the results (Not a directory)" in line) == (1, False, True)


def test_more_than_the_limits(folder, tmp_path, capsys):
    refused(folder, tmp_path / "out", capsys, 1, "= 9,216 pixels, the limit is 9,000", "--max-pixels", "9000")
    stack = tmp_path / "20240506.tif"
    names = ("red", "green", "blue")
    data = np.full((3, 48, 48), 500, np.uint16)
    write_geotiff(stack, data, grid_around(141.95, 42.73, 48, 10.0), nodata=0, descriptions=names)
    refused(stack, tmp_path / "bands", capsys, 1, "3 bands, the limit is 2", "--max-bands", "2")


def test_image_with_too_large_blocks_is_refused(folder, tmp_path, capsys):
    """A file of a few hundred bytes that says it is one block of 10,000 x 10,000 pixels."""
    sides = dict.fromkeys(("width", "height", "blockxsize", "blockysize"), 10_000)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float64", "crs": "EPSG:32654", "transform": PLACE.transform}
    with rasterio.open(folder / "B4.tif", "w", **profile, **sides, tiled=True, SPARSE_OK=True):
        pass
    refused(folder, tmp_path / "out", capsys, 1, "B4.tif: blocks of 10000 x 10000 pixels take 762 MiB")


def test_wrong_usage(folder, tmp_path, capsys):
    out = tmp_path / "out"
    for more in (["--tile", "100"], ["--format", "shp"], ["--threshold", "2"], ["--scale", "-1"], ["--pre", "x"] * 1):
        words = ["scenes", "detect", "--model", "generated", str(folder), *more]
        assert run_command(words if "--pre" in more else [*words, "--out", str(out)]) == 2
    assert not out.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_dry_run_says_the_plan_and_writes_nothing(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("detection.imagery.footprints.detect.map_scene", lambda *_: pytest.fail("the work was done"))
    code, _, plan = run_detect(folder, tmp_path / "out", capsys, "--dry-run")
    assert (code, plan["tiles"], plan["width"], plan["crs"]) == (0, 1, SIZE, "EPSG:32654")
    assert plan["estimated_cpu_s"] > 0
    assert plan["estimated_memory_mib"] > 100
    assert not (tmp_path / "out").exists()


VRT = '<VRTDataset rasterXSize="96" rasterYSize="96"><VRTRasterBand dataType="UInt16" band="1"/></VRTDataset>'


@pytest.mark.parametrize(
    ("name", "start", "converted"),
    [
        ("B4.vrt", "", "B4-cog.tif"),
        ("B4.VRT", "", "B4-cog.tif"),
        ("B4.tif", "", "B4-cog.tif"),
        ("B4.jp2", "\ufeff<?xml version='1.0'?>\n", "B4-cog.tif"),
        ("red band.vrt", f"<!-- {'x' * 2000} -->", "red band-cog.tif"),
    ],
)
def test_a_vrt_is_refused_with_the_command_that_converts_it(folder, tmp_path, capsys, name, start, converted):
    (folder / "B4.tif").unlink()
    (folder / name).write_text(start + VRT)
    manifest = folder / "scene.toml"
    manifest.write_text(manifest.read_text().replace('"B4.tif"', f'"{name}"'))
    command = shlex.join(["gdal_translate", "-of", "COG", str(folder / name), str(folder / converted)])
    line = f"a VRT is not read, because it can name any other file or address; convert it: {command}"
    refused(folder, tmp_path / "out", capsys, 1, line)


def test_a_vrt_in_an_archive_is_refused(folder, tmp_path, capsys):
    (folder / "B4.tif").write_text(VRT)
    archive = shutil.make_archive(str(tmp_path / "scene"), "zip", folder.parent, folder.name)
    assert run_command(["scenes", "detect", "--model", "generated", archive, "--out", str(tmp_path / "out")]) == 1
    assert "B4.tif: a VRT is not read" in capsys.readouterr().err
    with pytest.raises(NotARasterError, match="a ZIP archive"), open_raster(Path(archive)):
        pass


@pytest.mark.parametrize("name", ["/vsizip/a.zip/B4.vrt", "/vsicurl/http://127.0.0.1:9/B4.tif", "/vsimem/B4.tif"])
def test_a_virtual_path_is_refused(name):
    with pytest.raises(ForbiddenSourceError, match="a virtual path of GDAL is not read"), open_raster(Path(name)):
        pass


@pytest.mark.parametrize("name", ["vrt://B4.tif", "https://127.0.0.1/B4.vrt", "GTIFF_DIR:1:B4.tif"])
def test_an_address_is_no_file(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    with pytest.raises(NotARasterError, match="no such file"), open_raster(Path(name)):
        pass


def test_overviews_in_other_files_are_refused(folder, tmp_path, capsys):
    with rasterio.open(folder / "B4.tif", "r+") as target:
        target.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://127.0.0.1:9/a.tif")
    refused(folder, tmp_path / "out", capsys, 1, "OVERVIEW_FILE")


def test_xml_that_is_no_vrt_is_no_raster(folder, tmp_path, capsys):
    (folder / "B4.tif").write_text("<?xml version='1.0'?><gml/>")
    refused(folder, tmp_path / "out", capsys, 1, "not a raster in GeoTIFF or JPEG 2000 (an XML file)")


def test_a_mask_beside_a_raster_is_not_passed_over(folder, tmp_path, capsys):
    (folder / "B3.tif.msk").write_bytes(b"")
    refused(folder, tmp_path / "mask", capsys, 1, ".msk")


def test_a_strip_of_land_round_the_earth(tmp_path):
    """Few pixels in all, but no strip of full width could be held."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        options = {"driver": "GTiff", "width": 500_001, "height": 2, "count": 1, "dtype": "uint8"}
        with rasterio.open(tmp_path / "wide.tif", "w", sparse_ok=True, **options):
            pass
    with (
        pytest.raises(TooLargeError, match="500001 x 2 pixels, the longest side is 500,000"),
        open_raster(tmp_path / "wide.tif"),
    ):
        pass
    wide = Grid(PLACE.transform, PLACE.crs_wkt, 400_000, 1000)
    assert max(width * height for _, _, width, height in strips(wide)) <= 1 << 23
    assert sum(height for *_, height in strips(wide)) == 1000


BLOCKS = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}


@pytest.fixture
def scene(tmp_path):
    """A scene whose bands are deflated in blocks of 16 pixels."""
    folder = tmp_path / "scene"
    folder.mkdir()
    drawn = draw_scene(5, SIZE, scars=1)
    for name in NAMES:
        values = drawn.bands[name][None].astype(np.uint16)
        place = {"crs": PLACE.crs_wkt, "transform": PLACE.transform}
        write_raster(folder / f"{name}.tif", values, nodata=0, **place, **BLOCKS)
    bands = "".join(f'{name} = "{name}.tif"\n' for name in NAMES)
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\n[bands]\n{bands}")
    return folder


def spoil(path, column: int, row: int) -> None:
    """Flip bits in the middle of one block: GDAL reads it without complaint, its checksum differs."""
    with rasterio.open(path) as source:
        start, size = (
            int(source.get_tag_item(f"BLOCK_{key}_{column}_{row}", "TIFF", bidx=1)) for key in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[start + size // 2] ^= 0x55
    path.write_bytes(content)


def test_a_damaged_block_fails_only_the_windows_that_touch_it(scene):
    spoil(scene / "B3.tif", 4, 2)
    bands = {"B4": (scene / "B4.tif", 1), "B3": (scene / "B3.tif", 1)}
    with BandReader(bands) as reader:
        for beside in ((0, 0, 64, 96), (80, 0, 16, 96), (48, 0, 48, 32), (48, 48, 48, 48)):
            assert reader.read(*beside)[1].all()
        with pytest.raises(TruncatedRasterError, match=r"B3\.tif: a block from row 32 on is damaged"):
            reader.read(63, 31, 2, 2)
        with pytest.raises(TruncatedRasterError):
            reader.read(0, 0, SIZE, SIZE)


def test_a_damaged_block_of_a_rewritten_raster_is_found(tmp_path):
    """Heights in feet are read through a description in memory, whose blocks are not those of the file."""
    heights = np.add.outer(np.arange(96.0), np.arange(96.0))[None].astype(np.float32)
    path = write_raster(tmp_path / "dem.tif", heights, crs=PLACE.crs_wkt, transform=PLACE.transform, **BLOCKS)
    with rasterio.open(path, "r+") as target:
        target.set_band_unit(1, "ft")
    bands = {"dem": (path, 1)}
    with BandReader(bands) as reader:
        assert reader.read(0, 0, 96, 96)[0].max() == pytest.approx(190 * 0.3048)
        reader_of_good = reader.read(64, 32, 16, 16)[0]
    assert reader_of_good.shape == (1, 16, 16)
    spoil(path, 4, 2)
    with pytest.raises(TruncatedRasterError, match=r"dem\.tif: a block from row 32 on is damaged"), BandReader(bands):
        pass


def test_a_scene_with_a_damaged_block(scene, tmp_path, capsys):
    """Refused in one line; with --partial the ground of the block is nodata, is said to be, and the exit is 3."""
    spoil(scene / "B3.tif", 4, 2)
    words = ["scenes", "detect", "--model", "generated", str(scene), "--out", str(tmp_path / "out"), "--json"]
    assert run_command(words) == 1
    assert "B3.tif: a block from row 32 on is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run_command([*words, "--partial"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["unreadable_share"] > 0
    mask = read_values(tmp_path / "out" / "mask.tif", 1)
    assert (mask[32:48, 64:80] == 255).all()
    assert np.count_nonzero(mask == 255) == round(answer["unreadable_share"] * SIZE * SIZE)
