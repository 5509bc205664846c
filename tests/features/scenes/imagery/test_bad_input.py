"""Every kind of bad input ends in its exit status and one clear line, and the output folder stays as it was."""

import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from detection.imagery.data.generate import draw_scene
from detection.imagery.errors import TooLargeError, TruncatedRasterError
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.overlay import strips
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.untrusted import RasterLimits, open_raster
from detection.imagery.scene.reader import BandReader
from monitor.cli.main import run_verb
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
    code = run_verb(["scenes", "detect", "--model", "generated", str(scene), "--out", str(out), "--json", *more])
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
    refused(folder, tmp_path / "out", capsys, 1, "used as B3, its description says B2", "--strict")
    code, _, answer = run_detect(folder, tmp_path / "loose", capsys)
    assert code == 0
    assert any("used as B3, its description says B2" in warning for warning in answer["warnings"])


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
    assert (code, "warped onto the grid of the reference band: B2" in answer["warnings"]) == (0, True)
    write_geotiff(folder / "B2.tif", drawn.bands["B2"][None], grid_around(141.96, 42.73, SIZE, 10.0), nodata=0)
    refused(folder, tmp_path / "far", capsys, 1, "px apart")


def test_an_elevation_model_that_does_not_cover_the_scene(folder, tmp_path, capsys, drawn):
    half = Grid(PLACE.transform, PLACE.crs_wkt, SIZE, SIZE * 3 // 4)
    write_geotiff(tmp_path / "most.tif", drawn.dem_m[None, : SIZE * 3 // 4], half)
    code, _, answer = run_detect(folder, tmp_path / "out", capsys, "--dem", str(tmp_path / "most.tif"))
    assert (code, answer["terrain"]["covered_share"]) == (0, pytest.approx(0.75, abs=0.02))
    assert any("the elevation model covers 7" in warning for warning in answer["warnings"])
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


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "Point", "coordinates": [1, 2]}'])
def test_an_area_of_interest_that_is_none(folder, tmp_path, capsys, content):
    aoi = tmp_path / "aoi.json"
    aoi.write_text(content)
    refused(folder, tmp_path / "out", capsys, 1, "aoi.json: no", "--aoi", str(aoi))


def test_a_rotated_grid_is_taken_with_its_areas(tmp_path, capsys, drawn):
    cos, sin = math.cos(math.radians(15)), math.sin(math.radians(15))
    a = PLACE.transform
    turned = Grid(Affine(10 * cos, 10 * sin, a.c, 10 * sin, -10 * cos, a.f), PLACE.crs_wkt, SIZE, SIZE)
    code, _, answer = run_detect(write_folder(tmp_path / "scene", drawn, turned), tmp_path / "out", capsys)
    assert (code, answer["pixel_area_m2"]) == (0, pytest.approx(100.0, abs=1e-3))
    assert any("rotated or sheared" in warning for warning in answer["warnings"])
    with rasterio.open(tmp_path / "out" / "prob.tif") as source:
        assert source.transform.almost_equals(turned.transform)
    _, _, same = run_detect(write_folder(tmp_path / "straight", drawn, PLACE), tmp_path / "other", capsys)
    assert answer["polygons"]
    assert [p["area_m2"] for p in answer["polygons"]] == pytest.approx([p["area_m2"] for p in same["polygons"]])


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
    assert any("25.0% of the scene cannot be read" in warning for warning in answer["warnings"])
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


def test_a_header_that_claims_what_nobody_can_hold(folder, tmp_path, capsys):
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
        assert run_verb(words if "--pre" in more else [*words, "--out", str(out)]) == 2
    assert not out.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_dry_run_says_the_plan_and_writes_nothing(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("detection.imagery.footprints.detect.map_scene", lambda *_: pytest.fail("the work was done"))
    code, _, plan = run_detect(folder, tmp_path / "out", capsys, "--dry-run")
    assert (code, plan["tiles"], plan["width"], plan["crs"]) == (0, 1, SIZE, "EPSG:32654")
    assert plan["estimated_cpu_s"] > 0
    assert plan["estimated_memory_mib"] > 100
    assert not (tmp_path / "out").exists()


VRT = """<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32654</SRS>
<GeoTransform>{place}</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"{more}><NoDataValue>0</NoDataValue><ColorInterp>Gray</ColorInterp>{inside}
</VRTRasterBand></VRTDataset>"""
SOURCE = '<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'  # noqa: E501


def write_vrt(path: Path, inside: str, more: str = "") -> None:
    a = PLACE.transform
    path.write_text(VRT.format(place=f"{a.c}, {a.a}, 0, {a.f}, 0, {a.e}", inside=inside, more=more))


@pytest.mark.parametrize("name", ["B4.vrt", "red.tif"])
def test_a_vrt_of_files_in_its_folder_is_read(folder, tmp_path, capsys, name):
    """It is one by its content; what it is made of counts in the hash, whatever its name."""
    manifest = folder / "scene.toml"
    _, _, plain = run_detect(folder, tmp_path / "plain", capsys)
    write_vrt(folder / name, SOURCE.format(relative=1, name="B4.tif"))
    manifest.write_text(manifest.read_text().replace('"B4.tif"', f'"{name}"'))
    code, _, answer = run_detect(folder, tmp_path / "out", capsys)
    assert (code, [p["area_m2"] for p in answer["polygons"]]) == (0, [p["area_m2"] for p in plain["polygons"]])
    before = answer["scene_hash"]
    with rasterio.open(folder / "B4.tif", "r+") as target:
        target.write(target.read() + np.uint16(1))
    assert run_detect(folder, tmp_path / "out", capsys)[2]["scene_hash"] != before


@pytest.mark.parametrize("name", ["GTIFF_DIR:1:B4.tif", "&lt;VRTDataset/>", "../outside.tif"])
def test_a_vrt_opens_nothing_outside_of_its_folder(folder, tmp_path, capsys, name):
    """A thousand other ways: tests/property/imagery."""
    shutil.copy(folder / "B4.tif", tmp_path / "outside.tif")
    write_vrt(folder / "B4.tif", SOURCE.format(relative=1, name=name))
    refused(folder, tmp_path / "out", capsys, 1, "B4.tif: ")


@pytest.mark.parametrize(
    ("inside", "more", "words"),
    [
        ("<PixelFunctionType>f</PixelFunctionType>", ' subClass="VRTDerivedRasterBand"', "VRTDerivedRasterBand"),
        ('<SourceFilename relativeToVRT="1">B3.tif</SourceFilename>', ' subClass="VRTRawRasterBand"', "VRTRawRaster"),
        ("<Overview><SourceFilename>/etc/passwd</SourceFilename></Overview>", "", "Overview is not allowed"),
        (SOURCE.format(relative=1, name="B4.vrt").replace("Simple", "Kernel"), "", "KernelSource"),
        ('<SimpleSource><OpenOptions><OOI key="X">1</OOI></OpenOptions></SimpleSource>', "", "OpenOptions"),
    ],
)
def test_a_vrt_only_puts_files_together(folder, tmp_path, capsys, inside, more, words):
    write_vrt(folder / "B4.tif", inside, more)
    refused(folder, tmp_path / "out", capsys, 1, words)


def test_a_vrt_is_not_followed_for_ever(folder, tmp_path, capsys):
    write_vrt(folder / "B4.tif", SOURCE.format(relative=1, name="B4.tif"))
    refused(folder, tmp_path / "out", capsys, 1, "nested more than 3 deep")
    (folder / "B4.tif").write_text('<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset/>')
    refused(folder, tmp_path / "entity", capsys, 1, "B4.tif: ")


def test_overviews_and_masks_in_other_files_are_refused(folder, tmp_path, capsys):
    with rasterio.open(folder / "B4.tif", "r+") as target:
        target.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://127.0.0.1:9/a.tif")
    refused(folder, tmp_path / "out", capsys, 1, "OVERVIEW_FILE")
    write_vrt(folder / "B4.vrt", SOURCE.format(relative=1, name="B4.tif"))
    manifest = folder / "scene.toml"
    manifest.write_text(manifest.read_text().replace('"B4.tif"', '"B4.vrt"'))
    refused(folder, tmp_path / "mosaic", capsys, 1, "B4.tif: the tag OVERVIEW_FILE")


def test_what_a_vrt_is_made_of_keeps_the_limits_too(folder):
    write_vrt(folder / "B4.vrt", SOURCE.format(relative=1, name="B4.tif"))
    block = 512 * 512 * 2
    with open_raster(folder / "B4.vrt", RasterLimits(block_bytes=block)) as source:
        assert source.count == 1
    with (
        pytest.raises(TooLargeError, match=r"B4\.tif: blocks of"),
        open_raster(folder / "B4.vrt", RasterLimits(block_bytes=block - 1)),
    ):
        pass


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


HALF = 48
MOSAIC = """<VRTDataset rasterXSize="{w}" rasterYSize="96"><SRS>EPSG:32654</SRS>
<GeoTransform>{x}, 10, 0, {y}, 0, -10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><NoDataValue>0</NoDataValue>{parts}</VRTRasterBand></VRTDataset>"""
PART = """<SimpleSource><SourceFilename relativeToVRT="1">{file}</SourceFilename><SourceBand>1</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="48" ySize="96"/><DstRect xOff="{at}" yOff="0" xSize="48" ySize="96"/>
</SimpleSource>"""


def write_half(path, array, column: int) -> None:
    """A deflated half of the scene in blocks of 16 px."""
    place = Grid(PLACE.moved(column, 0), PLACE.crs_wkt, HALF, SIZE)
    half = array[None, :, column : column + HALF].astype(np.uint16)
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    write_raster(path, half, crs=place.crs_wkt, transform=place.transform, nodata=0, **blocks)


def write_mosaic(path, name: str, *, nested: bool = False) -> None:
    """The two halves beside each other; the right one by a VRT of its own where that is wanted."""
    a = PLACE.transform
    right = f"{name}-right.tif"
    if nested:
        inner = MOSAIC.format(w=HALF, x=a.c + HALF * 10, y=a.f, parts=PART.format(file=right, at=0))
        (path.parent / "inner.vrt").write_text(inner)
        right = "inner.vrt"
    parts = PART.format(file=f"{name}-left.tif", at=0) + PART.format(file=right, at=HALF)
    path.write_text(MOSAIC.format(w=SIZE, x=a.c, y=a.f, parts=parts))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic") / "scene"
    folder.mkdir()
    drawn = draw_scene(5, SIZE, scars=1)
    for name in NAMES:
        write_half(folder / f"{name}-left.tif", drawn.bands[name], 0)
        write_half(folder / f"{name}-right.tif", drawn.bands[name], HALF)
        write_mosaic(folder / f"{name}.vrt", name)
    bands = "".join(f'{name} = "{name}.vrt"\n' for name in NAMES)
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\n[bands]\n{bands}")
    return folder


@pytest.fixture
def scene(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "scene")


def spoil(path, column: int, row: int) -> None:
    """Flip bits in the middle of one block: GDAL reads it without complaint, its checksum differs."""
    with rasterio.open(path) as source:
        start, size = (
            int(source.get_tag_item(f"BLOCK_{key}_{column}_{row}", "TIFF", bidx=1)) for key in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[start + size // 2] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize("nested", [False, True])
def test_a_damaged_block_is_known_where_the_mosaic_shows_it(scene, nested):
    write_mosaic(scene / "B3.vrt", "B3", nested=nested)
    spoil(scene / "B3-right.tif", 1, 2)
    bands = {"B4": (scene / "B4.vrt", 1), "B3": (scene / "B3.vrt", 1)}
    with BandReader(bands) as reader:
        for beside in ((0, 0, 64, 96), (80, 0, 16, 96), (48, 0, 48, 32), (48, 48, 48, 48)):
            assert reader.read(*beside)[1].all()
        with pytest.raises(TruncatedRasterError, match=r"B3\.vrt: a block of B3-right\.tif over row 32 is damaged"):
            reader.read(63, 31, 2, 2)
        with pytest.raises(TruncatedRasterError):
            reader.read(0, 0, SIZE, SIZE)


def test_a_scene_of_a_damaged_mosaic(scene, tmp_path, capsys):
    """Refused in one line; with --partial the ground of the block is nodata, is said to be, and the exit is 3."""
    spoil(scene / "B3-right.tif", 1, 2)
    words = ["scenes", "detect", "--model", "generated", str(scene), "--out", str(tmp_path / "out"), "--json"]
    assert run_verb(words) == 1
    assert "B3.vrt: a block of B3-right.tif over row 32 is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run_verb([*words, "--partial"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["unreadable_share"] > 0
    mask = read_values(tmp_path / "out" / "mask.tif", 1)
    assert (mask[32:48, 64:80] == 255).all()
    assert np.count_nonzero(mask == 255) == round(answer["unreadable_share"] * SIZE * SIZE)
