"""Rasters as they really come: each is mapped right, or refused or doubted with one line; none is wrong in silence."""

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from detection.imagery.generate import draw_scene
from monitor.cli.main import run_verb

SIZE = 96
LOCAL = 'LOCAL_CS["mine grid",UNIT["metre",1,AUTHORITY["EPSG","9001"]]]'


@pytest.fixture(scope="module")
def drawn():
    """Counts of three bands, red first, on ground with one scar."""
    scene = draw_scene(5, SIZE, scars=1)
    return np.stack([scene.bands[name] for name in ("B4", "B3", "B2")])


def write(path: Path, bands: np.ndarray, **profile) -> Path:
    """A raster with bands named as a user's tools name them."""
    chosen = {"crs": "EPSG:32654", "transform": Affine(10, 0, 500_000, 0, -10, 4_730_000), "nodata": 0} | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=bands.shape[2], height=bands.shape[1], count=len(bands), dtype=bands.dtype,
        **{key: value for key, value in chosen.items() if value is not None},
    ) as target:  # fmt: skip
        target.write(bands)
        target.update_tags(ACQUIRED_AT="2024-05-06T00:00:00Z")
        for index, name in enumerate(("red", "green", "blue")[: len(bands)], start=1):
            target.set_band_description(index, name)
    return path


def detect(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict], str]:
    """Exit status, answers and what was said on stderr."""
    code = run_verb(["scenes", "detect", str(path), "--json", *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "doubted"),
    [
        ("EPSG:32654", 141.95, 42.73, False),  # within its zone
        ("EPSG:25833", 7.0, 62.2, True),  # western Norway in the zone of its east, as the national mapping does
        ("EPSG:25832", 13.74, 51.05, False),  # Dresden in the zone of the west: within 0.2 %
        ("EPSG:32633", 22.0, 78.2, False),  # Svalbard: degrees are short there
        ("EPSG:32606", -143.0, 74.0, False),
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


def test_a_zone_far_away_and_pixels_posing_as_metres_are_refused_by_corner(tmp_path, capsys, drawn):
    far = write(tmp_path / "far.tif", drawn, transform=Affine(10, 0, 3_000_000, 0, -10, 4_700_000))
    code, _, err = detect(far, capsys)
    assert code == 1
    assert err.count("\n") == 1
    assert "far.tif: upper left corner 3000000.0, 4700000.0 is impossible in EPSG:32654" in err
    pixels = write(tmp_path / "pixels.tif", drawn, transform=Affine(1, 0, 5398.5, 0, -1, -4658.5))
    code, _, err = detect(pixels, capsys)
    assert (code, "these look like pixels" in err) == (1, True)


def test_a_local_system_is_said_for_its_file_and_the_batch_goes_on(tmp_path, capsys, drawn):
    local = write(tmp_path / "local.tif", drawn, crs=LOCAL)
    good = write(tmp_path / "good.tif", drawn)
    code, answers, err = detect(local, capsys, str(good))
    assert code == 1
    assert [one["crs"] for one in answers] == ["EPSG:32654"]
    (line,) = [line for line in err.splitlines() if "local.tif" in line]
    assert "is a local system that is tied to no place on the earth" in line
    code, (answer,), err = detect(local, capsys, "--allow-ungeoreferenced")
    assert (code, answer["crs"]) == (0, "pixels")


def test_a_fault_with_one_file_does_not_drop_the_rest(tmp_path, capsys, drawn, monkeypatch):
    bad, good = write(tmp_path / "bad.tif", drawn), write(tmp_path / "good.tif", drawn)
    from detection.imagery import lane

    measure = lane.measure_stretch
    monkeypatch.setattr(lane, "measure_stretch", lambda *a: measure(*a) if a[0].marks_good else 1 / 0)
    monkeypatch.setattr(
        lane.BandReader, "marks_good", property(lambda self: any("good" in p.name for p in self._files)), raising=False
    )
    code, answers, err = detect(bad, capsys, str(good))
    assert (code, len(answers)) == (1, 1)
    assert "bad.tif: internal error: ZeroDivisionError" in err


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
