"""Drawn radar images with known change: what is found, how often nothing is called change, and what is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from detection.imagery.errors import ImageryError, NoValidPixelsError, RadiometryError, SceneError
from detection.imagery.scene.radar_bands import is_radar
from detection.imagery.scene.scene import Band, Scene
from slopeward_earth.radar.change import find_radar_change
from slopeward_earth.radar.dates import find_difference, read_radar
from slopeward_earth.radar.records import RadarRequest
from slopeward_earth.radar.speckle import fit_law
from tests.data.surveys.radar import Ground

SLIDE = (200.0, 150.0, 20.0, 5.0)
DARK = (90.0, 220.0, 20.0, -5.0)
ORBIT = {"ORBIT_DIRECTION": "DESCENDING", "POLARISATION": "VV"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radar")
    ground = Ground(300)
    names = {"before": (), "again": (), "after": (SLIDE, DARK)}
    return ground, {
        name: ground.write(folder / f"{name}_20260{k}01T051200.tif", ground.draw(discs), **ORBIT)
        for k, (name, discs) in enumerate(names.items(), start=1)
    }


def test_outlines_lie_where_the_ground_changed(images, tmp_path):
    ground, paths = images
    found = find_radar_change(RadarRequest(before=(paths["before"],), after=(paths["after"],), out_dir=tmp_path))
    assert found.warnings == ()
    assert [at.month for at in (*found.before_at, *found.after_at) if at] == [1, 3]
    assert (found.looks[0], len(found.outlines)) == (pytest.approx(9 * ground.looks, rel=0.2), 2)
    for one in found.outlines:
        assert (one.by, one.area_m2) == ("amplitude", pytest.approx(np.pi * 200**2, rel=0.2))
        assert abs(one.change_db) == pytest.approx(5, abs=1.2)
    assert {one.brighter_share for one in found.outlines} == {0.0, 1.0}
    west, south, east, north = found.outlines[0].bbox
    column, row = ground.grid.pixel_of((west + east) / 2, (south + north) / 2)
    assert min(np.hypot(column - x, row - y) for x, y, *_ in (SLIDE, DARK)) < 4
    told = json.loads((tmp_path / "radar_change.json").read_text())
    assert told["method"] == "sar"
    assert told["units"][str(paths["after"])].startswith("power (found")
    assert (tmp_path / "radar_change.png").stat().st_size > 1000
    assert len(json.loads((tmp_path / "radar_change.geojson").read_text())["features"]) == 2


def test_nothing_is_called_change_more_often_than_asked(images):
    _, paths = images
    how = {"false_alarms": 0.01, "minimum_area_m2": 0.0}
    found = find_radar_change(RadarRequest(before=(paths["before"],), after=(paths["again"],), **how))
    # the nine cells hang together, so fewer than asked may come; more must not
    assert 0.004 < found.changed_share < 0.013


def test_dates_in_db_and_stacks_see_more(images, tmp_path):
    ground, _ = images
    weak = (200.0, 150.0, 20.0, 3.0)
    before = [ground.write(tmp_path / f"b{k}.tif", 10 * np.log10(ground.draw()), UNITS="dB") for k in range(2)]
    after = [ground.write(tmp_path / f"a{k}.tif", 10 * np.log10(ground.draw([weak]))) for k in range(2)]
    one = find_radar_change(RadarRequest(before=tuple(before[:1]), after=tuple(after[:1])))
    all_ = find_radar_change(RadarRequest(before=tuple(before), after=tuple(after)))
    assert all_.units[str(before[0])] == "db (as said)"
    assert all_.units[str(after[0])].startswith("db (found")
    assert "one orbit" in all_.warnings[0]
    assert sum(o.area_m2 for o in all_.outlines) > sum(o.area_m2 for o in one.outlines)
    assert all_.outlines[0].area_m2 == pytest.approx(np.pi * 200**2, rel=0.3)


def test_coherence_alone_and_joined(images, tmp_path):
    ground, paths = images
    rng = np.random.default_rng(3)
    was = np.clip(0.7 + 0.05 * rng.normal(size=(300, 300)), 0, 1).astype(np.float32)
    across = np.clip(was - 0.05 + 0.05 * rng.normal(size=was.shape), 0, 1).astype(np.float32)
    across[ground.truth([SLIDE]) != 0] = 0.2
    pair = tuple(ground.write(tmp_path / f"{k}.tif", v) for k, v in enumerate((was, across)))
    alone = find_radar_change(RadarRequest(coherence=pair))
    (outline,) = alone.outlines
    assert (outline.by, outline.change_db) == ("coherence", None)
    assert outline.coherence_was == pytest.approx(0.7, abs=0.05)
    assert outline.coherence_is == pytest.approx(0.25, abs=0.1)
    joined = find_radar_change(RadarRequest(before=(paths["before"],), after=(paths["after"],), coherence=pair))
    assert sorted(one.by for one in joined.outlines) == ["amplitude", "both"]


def test_low_coherence_leaves_the_backscatter_and_values_beyond_1_are_refused(images, tmp_path):
    ground, paths = images
    low = ground.write(tmp_path / "low.tif", np.full((300, 300), 0.2, np.float32))
    asked = RadarRequest(before=(paths["before"],), after=(paths["after"],), coherence=(low, low))
    found = find_radar_change(asked)
    assert len(found.outlines) == 2
    assert "coherence is not compared: 0 cells" in found.warnings[0]
    with pytest.raises(NoValidPixelsError, match="0 cells had a coherence"):
        find_radar_change(RadarRequest(coherence=(low, low)))
    high = ground.write(tmp_path / "high.tif", np.full((300, 300), 70.0, np.float32))
    with pytest.raises(RadiometryError, match="coherences from 70"):
        find_radar_change(replace(asked, coherence=(high, high)))


def test_an_optical_scene_with_a_band_of_radar_is_no_radar_scene():
    def scene(*names):
        return Scene(Path("x"), {name: Band(Path("x")) for name in names}, datetime(2026, 6, 1, tzinfo=UTC))

    assert is_radar(scene("VV", "vh", "coherence"))
    assert is_radar(replace(scene("gamma"), sar={"orbit": "ascending"}))
    assert not is_radar(scene("B4", "B8", "VV"))
    assert not is_radar(scene("coherence"))


def test_layover_says_nothing_and_another_incidence_is_doubted(images, tmp_path):
    ground, paths = images
    mask = (np.arange(300)[None, :] > 180).repeat(300, axis=0).astype(np.float32)
    angles = [ground.write(tmp_path / f"i{k}.tif", np.full((300, 300), 35.0 + 5 * k, np.float32)) for k in range(2)]
    beside = {"incidence": tuple(angles), "mask": ground.write(tmp_path / "layover.tif", mask)}
    found = find_radar_change(RadarRequest(before=(paths["before"],), after=(paths["after"],), **beside))
    (outline,) = found.outlines
    assert outline.uncertain
    assert found.valid_share == pytest.approx(0.6, abs=0.02)


def test_the_law_of_speckle_gives_back_the_looks_that_were_drawn():
    from scipy import stats  # half a second: not for every worker

    rng = np.random.default_rng(5)
    for looks, before, after in ((1.0, 1, 1), (20.0, 3, 1)):
        sums = [rng.gamma(looks * n, 1 / (looks * n), 200_000) for n in (before, after)]
        law = fit_law(np.log(sums[1] / sums[0]) + 0.3, before, after)
        assert (law.looks, law.centre) == (pytest.approx(looks, rel=0.03), pytest.approx(0.3, abs=0.02))
        low, high = law.bounds(0.01)
        ratio = np.log(sums[1] / sums[0]) + 0.3
        assert stats.binomtest(int(((ratio < low) | (ratio > high)).sum()), 200_000, 0.01).pvalue > 1e-4


@pytest.mark.parametrize(
    ("tags", "name", "why"),
    [
        ({"ORBIT_DIRECTION": "ASCENDING"}, "a_20260601T170400.tif", "orbit descending and ascending"),
        ({"POLARISATION": "VH"}, "b.tif", "polarisation VV and VH"),
        ({}, "c_20260601T170400.tif", "taken at 05:12 and 17:04 UTC"),
    ],
)
def test_other_geometries_are_refused(images, tmp_path, tags, name, why):
    ground, paths = images
    other = ground.write(tmp_path / name, ground.draw(), **tags)
    with pytest.raises(SceneError, match=why):
        find_radar_change(RadarRequest(before=(paths["before"],), after=(other,)))


def test_before_lies_before(images):
    _, paths = images
    with pytest.raises(SceneError, match="exchange before and after"):
        find_radar_change(RadarRequest(before=(paths["after"],), after=(paths["before"],)))


def test_the_track_is_read_from_the_name_of_a_product(tmp_path):
    ground = Ground(30)
    names = (
        "S1A_IW_GRDH_1SDV_20240501T051230_20240501T051255_053673_068550_AAAA.tif",
        "S1A_IW_GRDH_1SDV_20240513T051230_20240513T051255_053848_068B5A_BBBB.tif",
        "S1A_IW_GRDH_1SDV_20240514T050412_20240514T050437_053862_068BDB_CCCC.tif",
    )
    dates = [read_radar(ground.write(tmp_path / name, ground.draw())) for name in names]
    assert find_difference(dates[0], dates[1]) is None
    assert "track" in find_difference(dates[0], dates[2])
    tracks = {"S1C": (8018, 147), "S1D": (2389, 73)}
    for unit, (orbit, track) in {**tracks, "S1C_": (8019, 46)}.items():
        name = f"{unit[:3]}_IW_GRDH_1SDV_20260501T051230_20260501T051255_{orbit:06}_00E6A1_1234.tif"
        assert read_radar(ground.write(tmp_path / name, ground.draw())).metadata["track"] == track


@pytest.mark.parametrize(
    ("values", "error", "why"),
    [
        (np.full((90, 90), 4000.0), RadiometryError, "neither calibrated power"),
        (np.full((90, 90), np.nan), RadiometryError, "no valid value"),
        (np.full((2, 2), 0.1), SceneError, "fewer than one cell"),
        (np.full((30, 30), 0.1), NoValidPixelsError, "100 cells are shown"),
    ],
)
def test_what_is_no_backscatter_is_refused_in_one_line(tmp_path, values, error, why):
    ground = Ground(values.shape[0])
    path = ground.write(tmp_path / "a.tif", values.astype(np.float32), **ORBIT)
    with pytest.raises(error, match=why) as told:
        find_radar_change(RadarRequest(before=(path,), after=(path,)))
    assert isinstance(told.value, ImageryError)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("torn", ["before", "after"])
def test_an_error_says_by_value_which_file_it_is_about(images, tmp_path, torn):
    _, paths = images
    own = {name: tmp_path / path.name for name, path in paths.items()}
    for name, path in own.items():
        path.write_bytes(paths[name].read_bytes())
    for damage in (b"", b"no raster", own[torn].read_bytes()[:20_000]):
        own[torn].write_bytes(damage)
        with pytest.raises(ImageryError) as told:
            find_radar_change(RadarRequest(before=(own["before"],), after=(own["after"],)))
        assert told.value.path == own[torn]
