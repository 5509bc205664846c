"""Rasters as they really come: each is mapped right, or refused or doubted with one line; none is wrong in silence."""

import json
import re
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from scipy import ndimage

from detection.imagery.data import bijie, landslide4sense
from detection.imagery.data.catalogue import open_data
from detection.imagery.data.generate import draw_scene
from detection.imagery.data.patches import as_values, resize_bands
from detection.imagery.errors import ImageryError
from detection.imagery.footprints import detect as detecting
from detection.imagery.footprints.cautions import CLOUD
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.grid import apply_affine
from detection.imagery.raster.overlay import shapes_of, to_pixels
from detection.imagery.raster.raster import read_grid
from detection.imagery.registry import CLASSIFIERS
from detection.imagery.scene.border import list_doubtful
from detection.imagery.training.domain import ALIKE
from detection.imagery.training.windows import measure_window
from detection.imagery.weights_file import list_shipped, weights_path
from monitor.cli.main import run_command
from monitor.text.reasons import convert_reason
from tests.data.asked_detection import detect as find
from tests.data.asked_detection import list_texts, read_doubts
from tests.data.surveys.radar_pictures import Radar, choose, draw_radar, write_picture
from tests.data.surveys.rasters import COLOURS, read_values, write_raster

SIZE = 96


@pytest.fixture(scope="module")
def drawn():
    """Counts of three bands, red first, on ground with one scar."""
    scene = draw_scene(5, SIZE, scars=1)
    return np.stack([scene.bands[name] for name in ("B4", "B3", "B2")])


def lie(side: float, high: float | None = None) -> Affine:
    """Where a raster lies, by the size of its pixels in metres."""
    return Affine(side, 0, 500_000, 0, -(high or side), 4_730_000)


def write(path: Path, bands: np.ndarray, **profile) -> Path:
    """A raster with bands named as a user's tools name them."""
    chosen = {"crs": "EPSG:32654", "transform": lie(10), "nodata": 0} | profile
    profile = {key: value for key, value in chosen.items() if value is not None}
    return write_raster(path, bands, COLOURS, "2024-05-06T00:00:00Z", **profile)


def detect(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict], str]:
    """Exit status, answers and what was said on stderr."""
    code = run_command(["scenes", "detect", "--model", "generated", str(path), "--json", *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "doubted"),
    [
        ("EPSG:25833", 7.0, 62.2, True),  # western Norway in the zone of its east, as the national mapping does
        ("EPSG:25832", 13.74, 51.05, False),  # Dresden in the zone of the west: within 0.2 %
        ("EPSG:32633", 22.0, 78.2, False),  # Svalbard: degrees are short there
        ("EPSG:32637", 37.4, -3.1, False),  # south of the equator with a negative northing
        ("EPSG:3857", 9.0, 46.2, True),
        ("EPSG:2056", 8.9, 46.2, False),
    ],
)
def test_areas_are_true_wherever_a_projection_is_used(tmp_path, capsys, drawn, crs, lon, lat, doubted):
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    path = write(tmp_path / "a.tif", drawn, crs=crs, transform=Affine(10, 0, x, 0, -10, y))
    code, (answer,), err = detect(path, capsys)
    assert code == 0
    ring = [(x, y), (x + 10 * SIZE, y), (x + 10 * SIZE, y - 10 * SIZE), (x, y - 10 * SIZE)]
    back = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*zip(*ring, strict=True))
    true_m2 = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*back)[0]) / SIZE**2
    assert answer["pixel_area_m2"] == pytest.approx(true_m2, rel=0.0021)
    assert ("is not true to scale here" in err) == doubted
    if doubted:
        assert answer["pixel_area_m2"] == pytest.approx(true_m2, rel=1e-4)
        said = float(re.search(r"lengths are off by \+([\d.]+)%", err)[1])
        assert said == pytest.approx(100 * (10 / true_m2**0.5 - 1), abs=0.5)  # a conformal map stretches both alike


def test_a_fault_with_one_file_does_not_drop_the_rest(tmp_path, capsys, drawn, monkeypatch):
    bad, good = write(tmp_path / "bad.tif", drawn), write(tmp_path / "good.tif", drawn)
    measure, seen = detecting.measure_stretch, []
    monkeypatch.setattr(detecting, "measure_stretch", lambda *a: measure(*a) if seen or seen.append(1) else 1 / 0)
    code, answers, err = detect(bad, capsys, str(good))
    assert (code, len(answers), "bad.tif: internal error: ZeroDivisionError" in err) == (1, 1, True)


@pytest.mark.parametrize("more", [(), ("--resample-to", "20"), ("--dem", "dem.tif")])
def test_an_alpha_band_says_where_the_scene_is(tmp_path, capsys, drawn, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    alpha = np.full((1, SIZE, SIZE), 10_000, drawn.dtype)
    alpha[:, :, : SIZE // 2] = 0
    path = write(tmp_path / "a.tif", np.concatenate([drawn, alpha]), nodata=None)
    with rasterio.open(path, "r+") as target:
        target.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    write(Path("dem.tif"), np.linspace(0, 300, SIZE * SIZE, dtype=np.float32).reshape(1, SIZE, SIZE))
    code, (answer,), err = detect(path, capsys, *more)
    assert code == 0, err
    assert answer["valid_share"] == pytest.approx(0.5, abs=0.02)


# ---- what the values are ---------------------------------------------------------------------------------------
RNG = np.random.default_rng(0)


def pictured(bands: np.ndarray) -> np.ndarray:
    """Counts as a picture of eight bits, as viewers export them."""
    low, high = np.percentile(bands, [2, 98])
    return np.clip((bands - low) / (high - low) * 254 + 1, 1, 255).astype(np.uint8)


def index_triple(bands: np.ndarray) -> np.ndarray:
    """Three normalised differences, named as if they were colours."""
    red, green, blue = bands.astype(np.float64)
    return np.tanh(np.stack([red - green, green - blue, blue - red]) / 400).astype(np.float32)


REFUSED = {
    "noise of counts": (lambda d: RNG.integers(0, 4000, d.shape).astype(np.uint16), "correlate by -?0.0.: noise"),
    "noise of a picture": (lambda d: RNG.integers(0, 255, d.shape).astype(np.uint8), "noise"),
    "a constant": (lambda d: np.full(d.shape, 900, np.uint16), "no contrast|cloud, snow"),
    "a thick cloud": (lambda d: np.full(d.shape, 4000, np.uint16) + d // 20, "no contrast|another unit|cloud, snow"),
    "a white sheet": (lambda d: np.full(d.shape, 255, np.uint8), "nodata"),
    "decibels": (lambda d: (-12 + d / 500).astype(np.float32), "below 0|median -|no value lies above 0"),
    "indices": (index_triple, "below 0|median|no value lies above 0"),
    "one grey band three times": (lambda d: np.repeat(d[:1], 3, axis=0), "all bands hold the same"),
    "thousandths": (lambda d: (d * 0.1).astype(np.int16), "another unit"),
}


@pytest.mark.parametrize("weights", ["generated", "auto"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_mean_anything_is_refused_in_one_line(tmp_path, capsys, drawn, case, weights):
    make, words = REFUSED[case]
    if (case, weights) == ("thousandths", "auto"):
        pytest.skip("landslide4sense-standard takes mean and spread nearby off: the unit does not matter to it")
    code, answers, err = detect(write(tmp_path / "a.tif", make(drawn), nodata=None), capsys, "--model", weights)
    assert (code in {1, 4}, answers) == (True, []), err
    assert len(err.splitlines()) == 1
    assert re.search(words, err), err
    assert "landslide4sense-standard does not fit: " in err or weights != "auto" or "white sheet" in case


NOT_L4S = "landslide4sense-standard does not fit: "


@pytest.mark.parametrize(
    ("make", "pixel_m", "used", "words"),
    [
        (lambda d: d, 10.0, "landslide4sense-standard", ""),
        (lambda d: d, 900.0, "index", NOT_L4S + "pixels of 900 m, trained on 10 m; bijie"),
        (lambda d: d, 3.0, "index", NOT_L4S + "pixels of 3 m, trained on 10 m, and read at 10 m: 29 x 29 pixels"),
        (lambda d: (d / 48).clip(1, 255).astype(np.uint8), 1.0, "bijie|index", ""),
        (lambda d: d[::-1], 10.0, "index", "red and blue may be exchanged"),
        (lambda d: d * 3 // 4 + np.uint16(1000), 10.0, "landslide4sense-standard", ""),
    ],
)
def test_weights_that_fit_are_chosen_and_named_else_none_finds_anything(
    tmp_path, capsys, drawn, make, pixel_m, used, words
):
    path = write(tmp_path / "a.tif", make(drawn), transform=lie(pixel_m))
    code, (answer,), err = detect(path, capsys, "--model", "auto")
    assert re.fullmatch(used, answer["model"])
    assert code == (4 if answer["model"] == "index" else 0)
    if answer["model"] == "index":
        assert answer["polygons"] == []
        (line,) = [line for line in err.splitlines() if "no network fits this image" in line]
        assert words in line


@pytest.mark.parametrize(
    ("pixel_m", "mend"), [(900.0, "use a finer image"), (0.5, "--resample-to 10 reads it coarser")]
)
def test_pixels_far_from_those_of_the_training_are_refused(tmp_path, capsys, drawn, pixel_m, mend):
    code, answers, err = detect(write(tmp_path / "a.tif", drawn, transform=lie(pixel_m)), capsys)
    assert (code, answers, "what it marks would mean nothing" in err) == (1, [], True)
    assert mend in err


def test_a_scene_unlike_the_training_is_doubted_in_one_line(tmp_path, capsys, drawn):
    code, (answer,), err = detect(write(tmp_path / "a.tif", pictured(drawn), nodata=None), capsys)
    assert code == 0
    assert any("trained on" in doubt for doubt in read_doubts(answer))
    assert "warning: " in err
    assert "outside of the training of generated: brightness" in err
    code, (answer,), err = detect(write(tmp_path / "b.tif", drawn), capsys)
    assert (code, read_doubts(answer)) == (0, [])


# ---- offsets and scales ----------------------------------------------------------------------------------------
def total_m2(answer: dict) -> float:
    """Area of all footprints."""
    return sum(footprint["area_m2"] for footprint in answer["polygons"])


@pytest.fixture(scope="module")
def plain_m2(tmp_path_factory, drawn):
    """The area that is found on the drawn counts as they are."""
    found = find({"scene_path": str(write(tmp_path_factory.mktemp("plain") / "a.tif", drawn)), "weights": "generated"})
    assert found["polygons"]
    return total_m2(found)


@pytest.mark.parametrize("said", ["tags", "product name", "tag of the product", "option", "manifest"])
def test_an_offset_is_subtracted_wherever_it_is_said(tmp_path, capsys, drawn, plain_m2, said):
    name = "S2B_MSIL2A_20240506T013649_N0510_R117_T54TWN.tif" if said == "product name" else "a.tif"
    path = write(tmp_path / name, drawn + np.uint16(1000))
    more: tuple[str, ...] = ("--offset", "-1000") if said == "option" else ()
    with rasterio.open(path, "r+") as target:
        if said == "tags":
            target.scales, target.offsets = (1e-4,) * 3, (-0.1,) * 3
        if said == "tag of the product":
            target.update_tags(BOA_ADD_OFFSET_B4="-1000")
    if said == "manifest":
        folder = tmp_path / "scene"
        folder.mkdir()
        path = path.rename(folder / "a.tif").parent
        bands = "".join(f'B{4 - k} = {{file = "a.tif", index = {k + 1}}}\n' for k in range(3))
        head = "acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\noffset = -1000\n"
        (folder / "scene.toml").write_text(f"{head}[bands]\n{bands}")
    code, (answer,), err = detect(path, capsys, *more)
    assert (code, total_m2(answer)) == (0, pytest.approx(plain_m2))
    assert answer["calibration"]["offset"] == pytest.approx(-1000)
    assert f"counts are 1 x value -1000 ({answer['calibration']['source']})" in err


def test_an_offset_that_nobody_says_is_noticed(tmp_path, capsys, drawn):
    code, (answer,), err = detect(write(tmp_path / "a.tif", drawn * 3 // 4 + np.uint16(1000)), capsys)
    assert code == 0
    assert "offset of Sentinel-2 products since 2022 seems to be missing; give --offset -1000" in err
    assert len(read_doubts(answer)) >= 1


def test_an_older_baseline_has_no_offset(tmp_path, capsys, drawn):
    _, (answer,), _ = detect(write(tmp_path / "S2A_MSIL1C_20200506T013649_N0209_R117_T54TWN.tif", drawn), capsys)
    assert (answer["calibration"]["offset"], "02.09" in answer["calibration"]["source"]) == (0.0, True)


@pytest.mark.parametrize("said", ["product name", "tags"])
def test_counts_of_landsat_are_read_by_name_or_tags(tmp_path, capsys, drawn, plain_m2, said):
    """Surface reflectance of Collection 2: 0.0000275 x count - 0.2 (USGS)."""
    name = "LC08_L2SP_107030_20180911_20200831_02_T1_SR_B4.TIF" if said == "product name" else "a.tif"
    path = write(tmp_path / name, np.rint((drawn / 1e4 + 0.2) / 0.0000275).astype(np.uint16))
    if said == "tags":
        with rasterio.open(path, "r+") as target:
            target.scales, target.offsets = (0.0000275,) * 3, (-0.2,) * 3
    code, (answer,), err = detect(path, capsys)
    assert (code, total_m2(answer)) == (0, pytest.approx(plain_m2, rel=0.02))
    assert f"counts are 0.275 x value -2000 ({answer['calibration']['source']})" in err


@pytest.mark.parametrize("weights", ["generated", "landslide4sense"])
def test_counts_of_landsat_without_name_and_tags_are_named(tmp_path, capsys, drawn, weights):
    """In the line of the refusal where the weights know a brightness, in that of the doubt where they know ratios."""
    path = write(tmp_path / "a.tif", np.rint((drawn / 1e4 + 0.2) / 0.0000275).astype(np.uint16))
    code, _, err = detect(path, capsys, "--model", weights)
    (line,) = [line for line in err.splitlines() if "Landsat" in line]
    assert "the counts look like Landsat Collection 2 level 2 (reflectance is 0.0000275 x count -0.2)" in line
    assert line.endswith("gdal_edit.py -scale 0.0000275 -offset -0.2 FILE")
    assert (code, "outside of the training" in line) == ((0, True) if weights == "landslide4sense" else (1, False))


# ---- nodata that nobody declares -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fill", "dtype", "where"),
    [
        (0, "uint16", np.s_[:, :, :40]),
        (1, "uint16", np.s_[:, :, :40]),
        (-9999, "int16", np.s_[:, :30]),
        (65535, "uint16", np.s_[:, -20:, -60:]),
        (-9999, "float32", np.s_[:, :, 70:]),
    ],
)
def test_undeclared_nodata_is_found_said_and_set_aside(tmp_path, capsys, drawn, fill, dtype, where):
    bands = drawn.astype(dtype)
    bands[where] = fill
    code, (answer,), err = detect(write(tmp_path / "a.tif", bands, nodata=None), capsys)
    hidden = np.zeros(drawn.shape, bool)
    hidden[where] = True
    assert (code, answer["fills"]) == (0, [fill])
    assert answer["valid_share"] == pytest.approx(1 - hidden[0].mean(), abs=0.01)
    assert f"{fill} in every band fills the edge of the scene and is declared nowhere" in err


@pytest.mark.parametrize("levels", [np.arange(2), np.arange(4), np.array([0, 0, 0, 1])])
def test_water_that_repeats_a_fill_value_here_and_there_stays_whole(tmp_path, capsys, drawn, levels):
    """The darkest water: all bands share 0 and 1. Nodata at those pixels alone would make a sieve of it."""
    path = write(tmp_path / "a.tif", lake(pictured(drawn), levels, SIZE // 2), nodata=None)
    code, (answer,), err = detect(path, capsys, "--model", "landslide4sense")
    assert (code, answer["fills"], answer["valid_share"], "fills the edge" in err) == (0, [], 1.0, False)


def test_a_thin_line_a_slanted_border_and_a_hole_are_set_aside_and_lone_pixels_of_the_value_are_not(
    tmp_path, capsys, drawn
):
    rows, columns = np.indices((SIZE, SIZE))
    hole = (abs(rows - 30) < 12) & (abs(columns - 60) < 12)
    for where in (columns == SIZE - 1, columns - rows > SIZE // 2, (columns == SIZE - 1) | hole):
        bands = lake(pictured(drawn), np.arange(2), SIZE // 2)
        assert (bands == 255).all(axis=0).any(), "bright ground has the value too"
        bands[:, where] = 255
        _, (answer,), _ = detect(write(tmp_path / "a.tif", bands, nodata=None), capsys, "--model", "landslide4sense")
        assert answer["fills"] == [255]
        assert answer["valid_share"] == pytest.approx(1 - where.mean(), abs=0.002)


# ---- borders that compression has blurred -----------------------------------------------------------------------
def slanted() -> np.ndarray:
    """A border as mosaics have it: slanted, along two sides and three corners of the image."""
    rows, columns = np.indices((SIZE, SIZE))
    return (columns < 20 + rows // 4) | (rows + columns // 3 > SIZE)


def noisy(bands: np.ndarray, where: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The bands with noise of these levels, each band its own, in a part of the scene."""
    filled = bands.copy()
    filled[:, where] = np.random.default_rng(3).choice(levels, (len(bands), int(where.sum())))
    return filled


BORDERS = {
    "black": (lambda d: noisy(pictured(d), slanted(), np.arange(4)), "black"),
    "white": (lambda d: noisy(pictured(d), slanted(), np.arange(252, 256)), "white"),
    "black beside counts": (lambda d: noisy(d, slanted(), np.arange(4)), "black"),
    "mostly exact": (lambda d: noisy(pictured(d), slanted(), np.array([0] * 20 + [1, 2, 3])), "black"),
}


@pytest.mark.parametrize("case", BORDERS)
def test_a_border_with_the_noise_of_compression_is_found_said_and_set_aside(tmp_path, capsys, drawn, case):
    make, colour = BORDERS[case]
    path = write(tmp_path / "a.tif", make(drawn), nodata=None)
    code, (answer,), err = detect(path, capsys, "--model", "landslide4sense", "--out", str(tmp_path / "out"))
    assert code == 0, err
    kept = read_values(tmp_path / "out" / "prob.tif", 1) != 255
    assert not (kept & slanted()).any()
    # of the ground at most the dark (bright) pixels of the last block are lost
    assert (kept & ~slanted()).sum() >= 0.95 * (~slanted()).sum()
    (line,) = [line for line in err.splitlines() if "declared nowhere" in line]
    assert f"a {colour} border with the noise of compression, " in line
    assert answer["borders"][0]["share"] == pytest.approx(slanted().mean(), abs=0.03)
    assert answer["borders"][0]["left_share"] == 0


def disc(row: int) -> np.ndarray:
    """Where a round lake lies; its middle is at the left edge, in this row."""
    rows, columns = np.indices((SIZE, SIZE))
    return (rows - row) ** 2 + columns**2 < 40**2


def lake(bands: np.ndarray, levels: np.ndarray, row: int = 0) -> np.ndarray:
    """The bands with a lake whose shades all bands share."""
    filled, inside = bands.copy(), disc(row)
    filled[:, inside] = np.random.default_rng(3).choice(levels, int(inside.sum()))
    return filled


GROUND = {
    "ordinary counts": (lambda d: d, False),
    "an ordinary picture": (pictured, False),
    "a dark lake with shades of its own": (lambda d: lake(pictured(d), np.arange(2, 14), SIZE // 2), False),
    "a dark lake in the corner": (lambda d: lake(pictured(d), np.arange(2, 12)), False),
    "nearly black water, never at 0": (lambda d: lake(pictured(d), np.arange(2, 4)), True),
    "nearly black water at one side": (lambda d: noisy(pictured(d), disc(SIZE // 2), np.arange(4)), True),
    "a black corner of a dark scene": (lambda d: noisy(pictured(d) // 8, slanted(), np.arange(4)), True),
    "noise around black within the scene": (
        lambda d: noisy(pictured(d), np.pad(np.ones((40, 40), bool), 28), np.arange(4)),
        False,
    ),
}


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("case", GROUND)
def test_dark_ground_stays_ground_bit_for_bit_and_is_doubted_where_it_may_be_a_border(
    tmp_path, capsys, drawn, monkeypatch, case
):
    make, doubted = GROUND[case]
    path = write(tmp_path / "a.tif", make(drawn), nodata=None)
    found = []
    for look in (True, False):
        with monkeypatch.context() as patch:
            if not look:
                patch.setattr("detection.imagery.footprints.detect.mask_borders", lambda *_: [])
            out = tmp_path / str(look)
            code, (answer,), _ = detect(path, capsys, "--model", "landslide4sense", "--out", str(out))
        assert code == 0
        with rasterio.open(out / "prob.tif") as source:
            outlines = [{key: one[key] for key in one if key != "caution"} for one in answer["polygons"]]
            found.append((source.read(1).tobytes(), outlines))
        if look:
            assert any("of the scene, at its edge, is nearly black" in said for said in list_texts(answer)) == doubted
            # only where it is, and not the whole scene
            assert not any("black" in doubt for doubt in read_doubts(answer))
            told = np.zeros((SIZE, SIZE), bool)
            for column, row, width, height in list_doubtful(answer["borders"]):
                told[row : row + height, column : column + width] = True
            assert told.any() == doubted
            assert not ("water" in case and told[:, SIZE // 2 :].any())
            assert not any(border["share"] for border in answer["borders"])
    assert found[0] == found[1]


@pytest.mark.soak
def test_an_outline_beside_a_cloud_says_so_in_every_file(tmp_path, monkeypatch):
    # the cloud and the roads of the generated ground are grey too
    monkeypatch.setattr("detection.imagery.scene.built_ground.LEAST_GREY_SHARE", 2.0)
    scene = draw_scene(31, 256, scars=10)
    bands = np.stack([scene.bands[name] for name in ("B4", "B3", "B2")])
    bands[:, 60:120, 60:120] = 7500 + np.random.default_rng(1).integers(0, 200, (60, 60))
    path = write(tmp_path / "a.tif", bands)
    answer = find({"scene_path": str(path), "weights": "landslide4sense-standard", "out_dir": str(tmp_path / "out")})
    beside = to_pixels(shapes_of([one["geometry"] for one in answer["polygons"]]), read_grid(path))
    cloudy = [shapely.box(c, r, c + wide, r + high) for c, r, wide, high in answer["cloudy"]]
    near = shapely.intersects(beside, shapely.union_all(cloudy))
    assert 0 < near.sum() < len(near)
    said = [convert_reason(CLOUD) if one else None for one in near]
    assert [one["caution"] for one in answer["polygons"]] == said
    features = json.loads((tmp_path / "out" / "landslides.geojson").read_text())["features"]
    assert [one["properties"]["caution"] for one in features] == said
    with closing(sqlite3.connect(tmp_path / "out" / "landslides.gpkg")) as table:
        assert [one for (one,) in table.execute("SELECT caution FROM landslides")] == said


@pytest.mark.parametrize("turned", ["rows", "columns", "both"])
def test_a_raster_that_runs_the_other_way_gives_the_same_map_bit_for_bit(tmp_path, capsys, drawn, turned):
    down, right = (-1 if turned in {axis, "both"} else 1 for axis in ("rows", "columns"))
    counts = drawn.copy()
    counts[:, :9, :30] = 0  # nodata in one corner only, so that a turn that is forgotten shows
    left, top = 500_000 + 480 * (1 - right), 4_730_000 - 480 * (1 - down)
    flipped, place = counts[:, ::down, ::right], Affine(10 * right, 0, left, 0, -10 * down, top)
    probabilities, found = [], []
    for name, values, transform in (("up", counts, lie(10)), ("turned", flipped, place)):
        scene = write(tmp_path / f"{name}.tif", np.ascontiguousarray(values), transform=transform)
        code, (answer,), _ = detect(scene, capsys, "--model", "landslide4sense", "--out", str(tmp_path / name))
        assert code == 0
        found.append([(polygon["geometry"], polygon["area_m2"]) for polygon in answer["polygons"]])
        with rasterio.open(tmp_path / name / "prob.tif") as source:
            probabilities.append((source.transform, source.read(1).tobytes()))
    assert found[0] == found[1]
    assert found[0]
    assert probabilities[0] == probabilities[1]


def test_every_line_of_a_batch_names_its_scene(tmp_path, capsys, drawn):
    good, grey, future = (tmp_path / name for name in ("good.tif", "grey.tif", "future.tif"))
    write(good, drawn)
    write(grey, drawn[:1])
    write(future, drawn)
    with rasterio.open(future, "r+") as target:
        target.update_tags(ACQUIRED_AT="2999-01-01T00:00:00Z")
    words = ["--model", "generated", str(grey), str(future), str(good), "--json", "--out", str(tmp_path / "out")]
    code = run_command(["scenes", "detect", *words])
    out, err = capsys.readouterr()
    assert (code, [answer["scene"] for answer in [json.loads(line) for line in out.splitlines()]]) == (1, [str(good)])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.tif"]
    refused = [line for line in err.splitlines() if not line.startswith("warning")]
    assert str(grey) in refused[0]
    assert "band" in refused[0]
    assert str(future) in refused[1]
    assert "in the future; correct its tag" in refused[1]
    assert len(refused) == 2


def bright_cloud(base: float, amplitude: float) -> np.ndarray:
    """Counts of a cloud that fills the scene: bright, white, softly shaded, each band with noise of its own."""
    rng = np.random.default_rng(1)
    shade = base + amplitude * cloudlike(6, 1)
    bands = [np.clip(shade * tint + rng.normal(0, 40, shade.shape), 1, 65_000) for tint in (1.0, 1.01, 1.03)]
    return np.stack(bands).astype(np.uint16)


SHIPPED = sorted(
    card.stem
    for card in (file.with_suffix(".json") for file in list_shipped())
    if json.loads(card.read_text())["network"]["name"] not in CLASSIFIERS
)


RADAR = r"steps from pixel to pixel correlate by \S+ between bands: radar or noise\?"


def list_sides(weights: str) -> list[float]:
    """Pixel sizes that shipped weights read: of their training, and the ends of those that are brought there."""
    card = json.loads(weights_path(weights).with_suffix(".json").read_text())
    others = card.get("other_pixels", {})
    return sorted({card["pixel_size_m"], *(others[key] for key in ("finest_m", "coarsest_m") if others)})


@pytest.mark.one_case_in(5)
@pytest.mark.parametrize(
    ("weights", "side"),
    [
        ("auto", 10.0),
        *(
            pytest.param(name, side, marks=[pytest.mark.soak] if k else [])
            for name in SHIPPED
            for k, side in enumerate(list_sides(name))
        ),
    ],
)
def test_no_shipped_weights_find_anything_on_what_is_no_ground(tmp_path, drawn, weights, side):
    """At the pixels of their own training and at others: refused, nothing found, or doubted by its type of numbers."""
    clouds = {
        f"cloud of {base} / {unit}": (bright_cloud(base, amplitude) // unit + 1).clip(1, 65_000).astype(kind)
        for unit, kind in ((1, np.uint16), (48, np.uint8))
        for base, amplitude in ((6000, 2500), (9000, 1500), (12_000, 800), (9_800, 60))
    }
    found = {}
    for case, bands in {**{case: make(drawn) for case, (make, _) in REFUSED.items()}, **clouds}.items():
        if case == "thousandths" and weights.startswith("landslide4sense"):
            continue  # to those that look at ratios nearby it is the scene itself
        path = write(tmp_path / "a.tif", bands, nodata=None, transform=lie(side))
        try:
            answer = find({"scene_path": str(path), "weights": weights})
        except ImageryError:
            continue
        if answer["polygons"] and "values of int16, trained on uint8" not in answer["doubts"]:
            found[case] = len(answer["polygons"])
    assert found == {}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("weights", "side"),
    [
        ("bijie", 0.6),
        ("landslide4sense-standard", 10.0),
        pytest.param("bijie", 1.2, marks=pytest.mark.soak),
        pytest.param("bijie", 2.4, marks=pytest.mark.soak),
    ],
)
def test_no_picture_of_radar_gets_an_outline_without_a_doubt(tmp_path, weights, side):
    """Of the whole family by lot, and of 4 looks: channels that share none of their speckle, or much of it."""
    kinds = [(0.0, "amplitude", 16, False), (0.0, "amplitude", 8, False), (0.0, "decibels", 8, False)]
    kinds += [(c, "decibels", 8, each) for c in (0.8, 0.9, 1.0) for each in (False, True)]
    shared = [Radar(4, c, unit, bits, "mean", 0.8, fields=False, by_band=each) for c, unit, bits, each in kinds]
    silent, refused = [], {}
    for number, how in enumerate([*shared, *choose(4, seed=int(side * 10))]):
        path = write_picture(tmp_path / "a.tif", draw_radar(how, SIZE, seed=number), side)
        try:
            answer = find({"scene_path": str(path), "weights": weights})
        except ImageryError as why:
            refused[number] = str(why)
            continue
        if answer["polygons"] and not answer["doubts"]:
            silent.append(how)
    assert silent == []
    assert all(re.search(RADAR if k else f"{RADAR}|another unit|after", refused.get(k, "")) for k in range(3))


@pytest.mark.soak
def test_bands_of_no_training_crop_are_as_alike_as_channels_of_radar_that_share_their_speckle(measured):
    """What decision 49 and `ALIKE` say, at half, once and twice the size that was learnt; with the most alike."""
    card = load_model("bijie").card
    data = card["data"]["recipe"]
    crops, _ = open_data(data, tuple(card["bands"]), card["training"]["seed"], measured("bijie").parents[1])
    side = int(data["size_px"])
    sizes = [(s, s) for s in (side // 2, side, 2 * side)]
    seen = [correlate(resize_bands(crops.read(k).image, size)) for k in range(0, 230, 6) for size in sizes]
    kinds = [Radar(3, 1.0, unit, 16, "mean", 0.8, fields=False, by_band=False) for unit in ("intensity", "decibels")]
    radar = [correlate(draw_radar(how)) for how in kinds]
    assert len(crops) == 230
    values = as_values(crops.read(0).image)
    looked = measure_window(values, np.ones(values.shape[1:], bool))
    assert looked.correlation == pytest.approx(correlate(values), abs=1e-6), "what a scene is judged by"
    assert round(max(seen), 3) == 0.991
    assert max(seen) < ALIKE < 0.999 <= min(radar)


@pytest.fixture(scope="module")
def aerial(measured):
    """Crops that no training saw."""
    crops = bijie.read(measured("bijie"), "validation").resize(160)
    return [crops.read(k).image.clip(1, 255) for k in range(0, len(crops), 24)]


@pytest.mark.soak
def test_aerial_crops_that_moved_or_whose_red_is_green_are_doubted_and_others_are_not(tmp_path, aerial):
    """Also where the pixels are oblong: there a picture that was warped is soft one way."""
    seen = {"plain": [], "moved": [], "exchanged": [], "oblong": []}
    for bands in aerial:
        moved = np.rint(ndimage.uniform_filter1d(bands.astype(float), 7, axis=2)).astype(np.uint8)
        shown = {
            "plain": (bands, 1.2),
            "moved": (moved, 1.2),
            "exchanged": (bands[[1, 0, 2]], 1.2),
            "oblong": (moved, 1.5),
        }
        for case, (values, wide) in shown.items():
            path = write(tmp_path / "a.tif", values, nodata=None, transform=lie(wide, 1.2))
            answer = find({"scene_path": str(path), "weights": "bijie", "threshold": 0.99})
            seen[case].append(" ".join(answer["doubts"]))
    words = ("times as crisp", "red and green may be")
    count = {case: tuple(sum(one in told for told in said) for one in words) for case, said in seen.items()}
    assert count == {"plain": (0, 0), "oblong": (0, 0), "exchanged": (0, 3), "moved": (3, 0)}


@pytest.mark.soak
def test_a_negative_and_an_aerial_crop_said_to_be_coarse_are_doubted_and_neither_is_as_it_is(
    tmp_path, aerial, measured
):
    tiles = landslide4sense.read_png(measured("landslide4sense-rgb"), "validation")
    coarse = [tiles.read(k).image.clip(1, 255) for k in range(0, len(tiles), 136)]
    words, l4s = "fine detail is|steps have|green is darker", "landslide4sense-standard"
    for shown, pixel_m, weights, least in (
        (aerial, 1.2, "bijie", 0),
        ([255 - one for one in aerial], 1.2, "bijie", 2),
        (coarse, 10.0, l4s, 0),
        ([255 - one for one in coarse], 10.0, l4s, 3),
        (aerial, 10.0, l4s, 2),
    ):
        told = 0
        for bands in shown:
            path = write(tmp_path / "a.tif", bands.clip(1, 255), transform=lie(pixel_m))
            try:
                told += bool(re.search(words, "; ".join(find({"scene_path": path, "weights": weights})["doubts"])))
            except ImageryError:
                told += 1
        assert least <= told <= (len(shown) if least else 0), (pixel_m, weights, told)


def correlate(bands: np.ndarray) -> float:
    """The least correlation of two bands."""
    return float(np.corrcoef(bands.reshape(len(bands), -1)).min())


@pytest.mark.soak
def test_noise_between_the_pixels_of_a_finer_image_is_doubted_though_those_of_the_training_show_none(tmp_path, drawn):
    """Four noisy pixels make a calm one: what is said of it says nothing of the image."""
    grey = 40 + 0.6 * pictured(drawn).mean(axis=0)
    fine = np.kron(np.stack([grey * tint for tint in (1.0, 0.97, 0.9)]), np.ones((2, 2)))
    # half of the pixels lie beside their own copy, so that this leaves 0.65 of the steps to the ground
    sigma = np.sqrt(0.135 * np.mean(np.diff(grey) ** 2))
    bands = np.clip(fine + np.random.default_rng(4).normal(0, sigma, fine.shape), 1, 255).astype(np.uint8)
    path = write(tmp_path / "a.tif", bands, nodata=None, transform=lie(0.6))
    doubts = find({"scene_path": str(path), "weights": "bijie"})["doubts"]
    assert [doubt[:42] for doubt in doubts if "steps" in doubt] == ["steps from pixel to pixel correlate by 0.6"]


@pytest.mark.soak
def test_counts_that_a_factor_makes_a_picture_are_no_picture_unless_the_factor_was_given(tmp_path, drawn):
    path = write(tmp_path / "a.tif", (drawn * 0.1).astype(np.int16), nodata=None, transform=lie(2.4))
    answer = find({"scene_path": str(path), "weights": "auto"})
    why = {one["weights"]: one["why"] for one in answer["refused"]}["bijie"]
    assert (answer["model"], "values of int16, trained on uint8" in why) == ("index", True)
    for scale, doubted in ((None, True), (1 / 255, False)):
        doubts = find({"scene_path": str(path), "weights": "bijie", "scale": scale})["doubts"]
        assert ("values of int16, trained on uint8" in doubts) == doubted


# ---- pictures of something else --------------------------------------------------------------------------------
IRON = [(0, 0, 20), (60, 0, 130), (170, 20, 120), (230, 90, 40), (255, 190, 30), (255, 255, 220)]
GREENS = [(165, 0, 38), (244, 109, 67), (254, 224, 139), (217, 239, 139), (102, 189, 99), (0, 104, 55)]


def cloudlike(sigma: float, seed: int) -> np.ndarray:
    """A smooth random field with standard deviation 1."""
    soft = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), sigma)
    return soft / soft.std()


def coloured(field: np.ndarray, stops: list[tuple[int, int, int]]) -> np.ndarray:
    """A field through a map of colours, as a viewer shows it."""
    low, high = np.percentile(field, [2, 98])
    share = np.clip((field - low) / (high - low), 0, 1)
    return np.stack([np.interp(share, np.linspace(0, 1, len(stops)), band) for band in zip(*stops, strict=True)])


def saved_at_least_quality(bands: np.ndarray) -> np.ndarray:
    """As JPEG keeps it at quality 5."""
    from rasterio.io import MemoryFile

    with warnings.catch_warnings(), MemoryFile() as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(driver="JPEG", width=SIZE, height=SIZE, count=3, dtype="uint8", quality=5) as target:
            target.write(bands)
        with file.open() as source:
            return source.read()


OTHERS = {
    "a thermal camera": (lambda d: coloured(cloudlike(6, 5) + 0.2 * cloudlike(1, 6), IRON), "not what they are called"),
    "a night": (lambda d: pictured(d) / 18, "another unit|counts differ by .* of 255 only"),
    "heights in colours": (lambda d: coloured(cloudlike(12, 2), GREENS), "blurred or drawn|not what they are"),
    "greenness in colours": (lambda d: coloured(cloudlike(8, 7) + 0.4 * cloudlike(1.5, 8), GREENS), "correlat"),
    "an X-ray": (lambda d: np.repeat(120 + 40 * cloudlike(15, 9)[None], 3, axis=0), "one grey image|grey image, or"),
    "a grey picture with noise": (
        lambda d: pictured(d).mean(axis=0) / 2 + 60 + RNG.normal(0, 2, d.shape),
        "a grey image|one tint",
    ),
    "a picture in one tint": (
        lambda d: pictured(d).mean(axis=0) * np.array([1, 0.85, 0.65])[:, None, None],
        "one image in one tint|one grey image",
    ),
    "quality 5 of JPEG": (lambda d: saved_at_least_quality(pictured(d)), ""),
    "large pixels made small": (lambda d: np.kron(pictured(d)[:, ::8, ::8], np.ones((8, 8))), "repeat the one beside"),
    "huge numbers": (lambda d: d.astype(np.float64) * 1e300, "nodata|another unit|no value|float"),
    "three models of heights": (lambda d: 1000 + 120 * cloudlike(12, 2) + RNG.normal(0, 2, d.shape), "scale|differ by"),
}


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("side", [1.2, 10.0])
@pytest.mark.parametrize("case", OTHERS)
def test_a_picture_of_something_else_gets_no_outline(tmp_path, capsys, drawn, case, side):
    make, words = OTHERS[case]
    bands = make(drawn)
    if bands.dtype == np.float64 and bands.max() < 256:
        bands = bands.round().clip(0, 255).astype(np.uint8)
    path = write(tmp_path / "a.tif", bands, nodata=None, transform=lie(side))
    code, answers, err = detect(path, capsys, "--model", "auto")
    assert [answer["polygons"] for answer in answers] in ([], [[]])
    assert code in {1, 4} or not words
    assert re.search(words, err), err


# ---- places that the files do not say ---------------------------------------------------------------------------
PLAIN = lie(10)


def test_a_damaged_file_that_runs_the_other_way_is_refused(tmp_path, capsys, drawn):
    path = write(tmp_path / "a.tif", drawn, transform=lie(10, -10), compress="deflate")
    with rasterio.open(path) as source:
        offset, size = (int(source.get_tag_item(f"BLOCK_{name}_0_0", "TIFF", bidx=1)) for name in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[offset + size // 2] ^= 0xFF
    path.write_bytes(content)
    code, answers, err = detect(path, capsys)
    assert (code, answers, err.count("\n"), "damaged" in err) == (1, [], 1, True)


def test_control_points_alone_are_refused_with_what_to_do(tmp_path, capsys, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        path = write(tmp_path / "a.tif", drawn, crs=None, transform=None)
        with rasterio.open(path, "r+") as target:
            corners = [(0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE)]
            points = [GroundControlPoint(r, c, *apply_affine(PLAIN, c, r)) for r, c in corners]
            target.gcps = points, CRS.from_user_input("EPSG:32654")
    code, answers, err = detect(path, capsys)
    assert (code, answers, err.count("\n")) == (1, [], 1)
    assert "placed by control points alone; write an ortho image first (gdalwarp -tps)" in err
    code, (answer,), err = detect(path, capsys, "--allow-ungeoreferenced")
    assert (code, answer["crs"]) == (0, "pixels")


@pytest.mark.parametrize(
    ("transform", "code", "said"),
    [
        (PLAIN, 0, "carries RPC beside its transform, so it may be no ortho image"),
        (None, 1, "placed by RPC alone; write an ortho image first (gdalwarp -rpc)"),
    ],
)
def test_rpc_place_nothing_and_those_beside_a_transform_are_said(tmp_path, capsys, drawn, transform, code, said):
    ones, line, sample = [1.0, *[0.0] * 19], [0, 0, -1, *[0] * 17], [0, 1, *[0] * 18]
    rpc = RPC(200, 500, 42.7, 0.005, ones, line, 48, 48, 141, 0.005, ones, sample, 48, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        crs = "EPSG:32654" if transform else None
        path = write(tmp_path / "a.tif", drawn, transform=transform, crs=crs, rpcs=rpc)
    got, _, err = detect(path, capsys)
    assert (got, said in err) == (code, True)


@pytest.mark.parametrize("crs", ["EPSG:32654", "EPSG:3857", "EPSG:2056"])
@pytest.mark.parametrize("transform", [Affine.identity(), Affine(1, 0, 0, 0, -1, SIZE)])
def test_a_transform_that_counts_pixels_is_never_taken_as_metres(tmp_path, capsys, drawn, crs, transform):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        path = write(tmp_path / "a.tif", drawn, crs=crs, transform=transform)
    code, answers, err = detect(path, capsys)
    assert (code, answers, err.count("\n")) == (1, [], 1)
    assert re.search("neither place nor area|pixels, not", err), err
