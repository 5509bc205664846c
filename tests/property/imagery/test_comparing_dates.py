"""Comparison of two dates: cautions, snow, limits of detection, and an area that does not depend on the position."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from detection.imagery.change.by_index import RISE_MOST, add_index_comparison, compare_by_index
from detection.imagery.change.compare import compare
from detection.imagery.change.records import StoredDate, read_outlines
from detection.imagery.data.generate import draw_scene
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.footprints.probabilities import TilingPlan
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.overlay import burn, shapes_of, to_pixels
from detection.imagery.raster.raster import read_grid, write_geotiff
from monitor.text.reasons import convert_reason
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import write_folder
from tests.fixtures.soak import in_soak

SIDE = 128
COLOURS = ("B4", "B3", "B2")
SNOW = "lies on or beside white ground"
SEASON = "season or radiometry differs"
WORST = 1.3  # of a factor of the light, from which on two dates are of another season


def draw(seed: int, scars: int = 1):
    """Return the reflectance of red, green and blue, and the positions of scars."""
    scene = draw_scene(seed, SIDE, scars=scars)
    return np.stack([scene.bands[name] for name in COLOURS]).astype(float), scene.truth.astype(bool)


def keep(folder: Path, day: int, bands, marked, *, pixel_m: float = 10.0) -> StoredDate:
    """Store a date: its image and the pixels that a network would mark."""
    grid, at = grid_around(141.95, 42.73, SIDE, pixel_m), datetime(2026, 5, day, tzinfo=UTC)
    counts = np.clip(np.rint(bands), 1, 20_000).astype(np.uint16)
    write_folder(folder, dict(zip(COLOURS, counts, strict=True)), grid, at=at.isoformat())
    steps = np.where(marked, 180, 0).astype(np.uint8)
    write_geotiff(folder / "prob.tif", steps[None], grid, nodata=255)

    def read(column, row, width, height):
        return steps[row : row + height, column : column + width]

    least = 9 * pixel_m**2
    found = find_footprints(read, grid, OutlineRule(0.5, least, least, str(day)))
    facts = {
        "scene_hash": str(day),
        "acquired_at": at,
        "probability_path": str(folder / "prob.tif"),
        "scene_path": str(folder),
    }
    outlines = read_outlines([one.to_json() for one in found])
    return StoredDate(threshold=0.5, minimum_area_m2=least, polygons=outlines, **facts)


def put_snow(rng, bands, keep_off):
    """Cover parts of an image with snow, except for some ground. Return the image and the snow."""
    away = ndimage.distance_transform_edt(~keep_off)
    patches = np.zeros((SIDE, SIDE), bool)
    for _ in range(200):
        row, column = rng.integers(12, SIDE - 12, 2)
        if away[row, column] > 20 and not patches[row - 10 : row + 10, column - 10 : column + 10].any():
            patches[row - 4 : row + 4, column - 5 : column + 5] = True
        if patches.sum() >= 5 * 80:
            break
    assert patches.any()
    colour = rng.uniform(0.35, 0.9) * 1e4 * np.array([1.0, 1.0, rng.uniform(0.97, 1.05)])
    cover = rng.uniform(0.7, 1.0)
    return np.where(patches, bands * (1 - cover) + cover * colour[:, None, None], bands), patches


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("seed", [0, *in_soak(1, 2, 3)])
def test_a_season_that_differs_is_a_caution_of_every_new_outline(tmp_path, seed):
    rng = np.random.default_rng(seed)
    bands, scar = draw(seed + 20)
    factors = rng.uniform(WORST, 2.5, 3) ** rng.choice([-1, 1])
    newer = keep(tmp_path / "new", 12, bands, scar)
    same_season = draw(seed + 20, scars=0)[0]
    other_season = same_season * factors[:, None, None] + rng.uniform(0, 40, 3)[:, None, None]
    for name, image, differs in (("same", same_season, False), ("other", other_season, True)):
        older = keep(tmp_path / name, 2, image, np.zeros_like(scar))
        found = compare(newer, [older])
        outlines = [outline for outline in found.changes.values() if outline.change == "new"]
        assert outlines
        assert all((SEASON in convert_reason(outline.caution or "")) is differs for outline in outlines)
        by_index = compare_by_index(newer, [older], with_network=True)[1]
        assert by_index.compared[0].median_ratios == found.compared[0].median_ratios


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("seed", [0, 1, *in_soak(2, 3, 4, 5)])
@pytest.mark.parametrize("when", ["older", "newer"])
def test_only_outlines_on_snow_are_advice(tmp_path, seed, when):
    rng = np.random.default_rng(seed)
    bands, scar = draw(seed + 40)
    bare = draw(seed + 40, scars=0)[0]
    nothing = np.zeros_like(scar)
    older, newer = (bare, nothing), (bands, scar)
    if when == "older":
        snowy, patches = put_snow(rng, bare, scar)
        older = snowy, patches
    else:
        snowy, patches = put_snow(rng, bands, scar)
        newer = snowy, scar | patches
    dates = keep(tmp_path / "old", 2, *older), keep(tmp_path / "new", 12, *newer)
    found = compare(dates[1], dates[:1])
    day = "2026-05-02" if when == "older" else "2026-05-12"
    on_snow = [one.change for one in found.vanished]
    scars = [word for name, word in found.changes.items() if _is_on(dates[1], name, scar)]
    if when == "newer":
        assert not on_snow
        on_snow = [word for word in found.changes.values() if word.change == "new" and word not in scars]
    assert len(on_snow) >= 2
    assert all(f"{SNOW} of {day}" in convert_reason(word.caution or "") for word in on_snow)
    assert scars
    assert not any(SNOW in convert_reason(word.caution or "") for word in scars)
    line = next(one for one in map(convert_reason, found.warnings) if f"of the image of {day} is white" in one)
    area_km2 = float(line.split(" km²")[0])
    assert area_km2 == pytest.approx(patches.sum() * 1e-4, rel=0.3, abs=0.1)  # includes pale roads
    # the first of two dates is doubted by itself
    if when == "older":
        first = compare(dates[0], [])
        assert all(SNOW in convert_reason(word.caution or "") for word in first.changes.values())


def _is_on(date: StoredDate, name: str, scar) -> bool:
    """Return whether an outline of a date is on the generated scar."""
    (one,) = [outline for outline in date.outlines if outline.polygon_id == name]
    (shape,) = to_pixels(shapes_of([one.geometry]), read_grid(Path(date.probability_path)))
    return bool((burn(shape, (0, 0, SIDE, SIDE)) & scar).any())


@pytest.mark.parametrize("pixel_m", [0.1, 1.2, 4.0, 60.0])
def test_white_is_looked_for_at_the_pixel_sizes_it_was_measured_at(tmp_path, pixel_m):
    bands, scar = draw(40)
    snowy = put_snow(np.random.default_rng(0), draw(40, scars=0)[0], scar)
    older = keep(tmp_path / "old", 2, *snowy, pixel_m=pixel_m)
    newer = keep(tmp_path / "new", 12, bands, scar, pixel_m=pixel_m)
    found = compare(newer, [older])
    assert found.vanished
    assert not any(SNOW in convert_reason(one.change.caution or "") for one in found.vanished)
    said = [str(one) for one in map(convert_reason, found.warnings) if "were not looked for" in one]
    assert len(said) == 2
    assert all(f"pixels of {pixel_m:.3g} m" in one for one in said)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("seed", [0, 1, *in_soak(2, 3, 4)])
def test_index_reports_only_the_area_that_it_can_compare(tmp_path, seed):
    """The more two images differ from pixel to pixel, the higher its limit, and the less it compares."""
    rng = np.random.default_rng(seed)
    bands, scar = draw(seed + 60)
    bare = draw(seed + 60, scars=0)[0]
    noise = rng.normal(0, 1, (3, SIDE, SIDE))
    newer = keep(tmp_path / "new", 12, bands, scar)
    limits, shares = [], []
    for number, spread in enumerate((0.0, 0.05, 0.12, 0.25, 0.5, 1.0)):
        date = keep(tmp_path / f"old{number}", 2, bare * np.exp(spread * noise), np.zeros_like(scar))
        kept, found = compare_by_index(newer, [date], with_network=True)
        shares.append(found.joint_share)
        if found.limit is None:
            assert (found.joint_share, kept.outlines) == (0.0, ())
            (line,) = map(convert_reason, found.warnings)
            assert "not compared with 2026-05-02: the index would have to rise by" in str(line)
            continue
        assert found.limit <= RISE_MOST
        limits.append(found.limit)
        hit = any(_is_on(replace(newer, polygons=kept.outlines), one.polygon_id, scar) for one in kept.outlines)
        assert hit or found.limit > 0.15, "a scar raises the index by so much"
        assert all("as advice" in convert_reason(word.caution or "") for word in found.changes.values())
    assert shares[0] > 0.9
    assert limits == sorted(limits)
    assert len(limits) < len(shares), "none was out of reach: the test says nothing"
    assert shares == sorted(shares, reverse=True)


def test_index_and_network_have_the_same_cautions_on_images(tmp_path):
    """With pixels of another size, every change is advice for both methods."""
    bands, scar = draw(80)
    newer = keep(tmp_path / "new", 12, bands, scar)
    older = keep(tmp_path / "old", 2, draw(80, scars=0)[0], np.zeros_like(scar), pixel_m=12.0)
    by_network = compare(newer, [older]).compared[0].cautions
    by_index = compare_by_index(newer, [older])[1].compared[0].cautions
    assert any("pixels of different size" in convert_reason(caution) for caution in by_index)
    assert [caution for caution in by_network if "landslide share" not in str(caution)] == list(by_index)


def test_network_and_index_are_reported_side_by_side(tmp_path):
    bands, scar = draw(80, scars=3)
    labels, count = ndimage.label(scar)
    assert count >= 2
    seen, missed = labels == 1, scar & (labels != 1)
    elsewhere = np.zeros_like(scar)
    elsewhere[4:9, 4:9] = True
    newer = keep(tmp_path / "new", 12, bands, seen | elsewhere)
    older = keep(tmp_path / "old", 2, draw(80, scars=0)[0], np.zeros_like(scar))
    found = compare(newer, [older])
    beside = add_index_comparison(newer, found, [older], tmp_path)
    told = beside.to_json()
    by_ground = {
        ground: {one["also_by_network"] for one in told["footprints"] if _is_on(beside.date, one["polygon_id"], where)}
        for ground, where in (("seen", seen), ("missed", missed))
    }
    assert by_ground == {"seen": {True}, "missed": {False}}
    (alone,) = told["network_alone"]
    assert _is_on(newer, alone, elsewhere)
    assert (tmp_path / "change-index.geojson").is_file()
    assert {word.change for word in found.changes.values()} == {"new"}


def test_ground_that_is_bare_already_is_not_compared_and_hides_no_growth_beside_it(tmp_path):
    """A slide that grows lies beside ground that cannot become redder: it is no edge of the image."""
    green, _ = draw(91, scars=0)
    red = np.array([2600.0, 1000.0, 800.0])[:, None, None]
    first, grown, nothing = (np.zeros((SIDE, SIDE), bool) for _ in range(3))
    first[20:60, 40:60] = grown[20:90, 40:60] = True
    older = keep(tmp_path / "old", 2, np.where(first, red, green), nothing)
    newer = keep(tmp_path / "new", 12, np.where(grown, red, green), nothing)
    kept, found = compare_by_index(newer, [older])
    (one,) = kept.outlines
    assert one.area_m2 == pytest.approx(30 * 20 * 100, rel=0.05)
    assert found.joint_share == pytest.approx(1 - first.sum() / SIDE**2, abs=1e-3)


@pytest.mark.parametrize(("pixel_m", "looked"), [(0.1, False), (10.0, True)])
def test_pale_debris_of_a_drone_picture_stays_ground_and_one_line_says_why(tmp_path, pixel_m, looked):
    bands, _ = draw(95)
    pale = bands.copy()
    pale[:, 30:80, 40:90] = np.array([7000.0, 6900.0, 6800.0])[:, None, None]
    keep(tmp_path / "scene", 2, pale, np.zeros((SIDE, SIDE), bool), pixel_m=pixel_m)
    found = detect({"scene_path": str(tmp_path / "scene"), "weights": "index"})
    said = [one for one in found["warnings"] if "white clouds were not looked for in pixels of 0.1 m" in one]
    assert len(said) == (not looked)
    assert found["valid_share"] == (pytest.approx(1 - 2500 / SIDE**2, abs=0.01) if looked else 1.0)


WEIGHTS = "landslide4sense-standard"
PIXEL_M = 10.0


def test_a_small_scene_is_the_mean_of_two_looks_and_a_large_one_is_looked_at_once():
    segmenter = Segmenter(load_model(WEIGHTS))
    rng = np.random.default_rng(4)
    values, valid = rng.normal(size=(3, 70, 52)).astype(np.float32), rng.random((70, 52)) < 0.97
    looks = segmenter._network.stride // 2
    around = [(looks, 0), (looks, 0)]
    moved = segmenter.class_probabilities(np.pad(values, [(0, 0), *around]), np.pad(valid, around))[:, looks:, looks:]
    once = segmenter.class_probabilities(values, valid)
    assert np.abs(once - moved).max() > 0.01
    parts = [(values[:, :33], valid[:33]), (values[:, 33:], valid[33:])]
    for answer in ([segmenter.class_probabilities(values, valid, again=True)], segmenter.stream(parts, again=True)):
        assert np.abs(np.concatenate(list(answer), axis=1) - (once + moved) / 2).max() < 1e-5
    grids = [grid_around(8.0, 46.0, side, PIXEL_M) for side in (512, 513)]
    assert [TilingPlan("rows", 2048, 112, 16).maps_twice(grid) for grid in grids] == [True, False]
    assert not TilingPlan("hann", 128, 0, 16).maps_twice(grids[0])
