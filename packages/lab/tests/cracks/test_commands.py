"""`scenes train --recipe cracks` on pictures at hand, then `scenes detect --cracks` on two flights."""

import json

import numpy as np
import pytest
from scipy import ndimage

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_png
from monitor.cli.main import run_command
from packages.lab.benchmarks.imagery.drawn_cracks import draw_cracks
from slopeward_lab.recipes.recipe_file import find_recipe
from tests.data.surveys.rasters import write_folder

SIDE, PIXEL_M = 160, 0.05
ROW, WIDE = 90, 4


def draw_ground(rng, side):
    ground = sum(ndimage.gaussian_filter(rng.standard_normal((side, side)), s) * s for s in (1, 3, 8))
    colours = np.array([150, 140, 120])[:, None, None] * (1 + 0.25 * ground) + rng.normal(0, 2, (3, side, side))
    return colours.clip(1, 255)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("cracks"), np.random.default_rng(0)
    for part, count in (("train", 40), ("validation", 8)):
        for number in range(count):
            drawn = draw_cracks(draw_ground(rng, 96).astype(np.uint8), 64, rng)
            for kind, picture in (("images", drawn.image * 255), ("masks", drawn.truth[None] * 255)):
                (folder / "cracks" / part / kind).mkdir(parents=True, exist_ok=True)
                write_png(folder / "cracks" / part / kind / f"{number}.png", picture.astype(np.uint8))
    text = find_recipe("cracks").read_text()
    changes = {"[radiometry]": f"pixel_size_m = {PIXEL_M}\nlandslide = 255\n\n[radiometry]"}
    changes |= {"width = 0.125": "width = 0.0625\nepochs = 25\nbatch = 4\nwarmup_steps = 10"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "own.toml").write_text(text)
    out = folder / "own.safetensors"
    assert run_command(f"scenes train --recipe {folder / 'own.toml'} --data {folder} --out {out}".split()) == 0
    return out


@pytest.fixture
def flights(tmp_path):
    """Two flights over one crack that became longer by 40 pixels; the earlier picture lies 2 pixels to the left."""
    grid, ground = grid_around(8.9, 46.2, SIDE, PIXEL_M), draw_ground(np.random.default_rng(99), SIDE + 8)
    for month, end, off in ((6, 130, 4), (3, 90, 6)):
        picture = ground[:, 4:-4, off : off + SIDE].copy()
        picture[:, ROW : ROW + WIDE, 20 + 4 - off : end + 4 - off] *= 0.3
        names = dict(zip(("B4", "B3", "B2"), picture.astype(np.uint16), strict=True))
        write_folder(tmp_path / str(month), names, grid, at=f"2026-0{month}-01T10:00:00Z")
    return tmp_path / "6", tmp_path / "3"


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_cracks_of_two_flights_are_lines_with_what_became_of_them(weights, flights, tmp_path, capsys):
    capsys.readouterr()
    words = (
        f"scenes detect {flights[0]} --model {weights} --pre {flights[1]} --out {tmp_path}/o --cracks --json".split()
    )
    assert run_command(words) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["classes"], answer["crack_change"]["shift_px"]) == (["crack"], pytest.approx([2, 0], abs=0.3))
    crack = max(answer["cracks"], key=lambda one: one["length_m"])
    assert crack["length_m"] == pytest.approx(110 * PIXEL_M, abs=0.5)
    assert crack["width_m"] == pytest.approx(WIDE * PIXEL_M, abs=2 * PIXEL_M)
    assert crack["azimuth_deg"] == pytest.approx(90, abs=3)
    assert crack["change"] == "grown"
    assert crack["grown_m"] == pytest.approx(40 * PIXEL_M, abs=crack["grown_error_m"])
    kept = json.loads((tmp_path / "o" / "cracks.geojson").read_text())
    assert [one["id"] for one in kept["features"]] == [one["crack_id"] for one in answer["cracks"]]
    pyogrio = pytest.importorskip("pyogrio")
    table = pyogrio.read_info(tmp_path / "o" / "cracks.gpkg")
    assert (table["geometry_type"], table["features"]) == ("LineString", len(answer["cracks"]))
    assert (
        run_command([word for word in words if word not in {"--out", f"{tmp_path}/o", "--pre", str(flights[1])}]) == 2
    )


def test_without_a_network_there_are_no_cracks(flights, tmp_path, capsys):
    words = f"scenes detect {flights[0]} --model index --out {tmp_path}/o --cracks".split()
    assert run_command(words) == 1
    assert "--cracks needs weights that find cracks" in capsys.readouterr().err
