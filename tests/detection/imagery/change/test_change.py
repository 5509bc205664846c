"""Rules of change on drawn outlines: what is new, grown, known, vanished, and where nothing can be said."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry import mapping

from detection.imagery.change.by_index import compare_by_index
from detection.imagery.change.cautions import list_pixel_size_cautions
from detection.imagery.change.classification import (
    choose_parent,
    has_grown,
    has_vanished,
    is_new,
    measure_evidence,
)
from detection.imagery.change.compare import as_date, classify_steps, compare
from detection.imagery.change.records import StoredDate, apply_changes, read_outlines
from detection.imagery.data.generate import draw_scene, write_scene
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import OutlineRule, find_footprints
from detection.imagery.raster import overlay
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.overlay import Layer, burn, shapes_of, window_around
from detection.imagery.raster.raster import read_grid, write_geotiff
from detection.imagery.scene.registration import measure_distortion, measure_shift
from monitor.text.reasons import convert_reason
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import change_raster
from tests.tables import tabulated

LEAST, PIXEL_M2, MINIMUM_M2 = 100, 100.0, 900.0
SIZE = 64


def steps(*boxes, value=180, nodata=()):
    """A window of probability steps with boxes (left, top, right, bottom) of landslide."""
    out = np.zeros((SIZE, SIZE), np.uint8)
    for left, top, right, bottom in boxes:
        out[top:bottom, left:right] = value
    for left, top, right, bottom in nodata:
        out[top:bottom, left:right] = 255
    return out


def weighed(body, older, tolerance_px=1):
    return measure_evidence(steps(body) > 0, older, LEAST, tolerance_px)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.37]))
def test_sampling_and_drawing_an_outline_give_the_same_pixels(seed, apart):
    rng = np.random.default_rng(seed)
    grid = grid_around(141.95, 42.73, 40, 10.0)
    drawn = np.where(rng.random((40, 40)) < 0.55, 200, 0).astype(np.uint8)
    rule = OutlineRule(0.5, 900.0, 200.0, "x")
    found = find_footprints(lambda c, r, w, h: drawn[r : r + h, c : c + w], grid, rule)
    for outline in overlay.to_pixels(shapes_of([f.geometry for f in found]), grid):
        moved = shapely.transform(outline, lambda points: points + apart)
        box = window_around(moved, grid, 3)
        asked = burn(moved, box)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(overlay, "SAMPLED_PX", 0)
            assert (asked == burn(moved, box)).all()


def test_pixels_without_data_on_either_date_are_not_compared():
    newer, older = (part.ravel().astype(np.uint8) for part in np.meshgrid(*[[0, 80, 99, 100, 200, 255]] * 2))
    words = {(True, False): 1, (True, True): 2, (False, True): 3, (False, False): 0}
    for now, then, word in zip(newer, older, classify_steps(newer, older, LEAST), strict=True):
        assert word == (255 if 255 in (now, then) else words[now >= LEAST, then >= LEAST])


def test_an_outline_without_a_parent_is_new_only_where_the_older_date_shows_it():
    body = (10, 10, 20, 20)
    assert is_new(weighed(body, steps()), PIXEL_M2, MINIMUM_M2) is True
    assert is_new(weighed(body, steps(nodata=[(0, 0, SIZE, SIZE)])), PIXEL_M2, MINIMUM_M2) is None
    assert is_new(weighed(body, steps(nodata=[(0, 0, 18, SIZE)])), PIXEL_M2, MINIMUM_M2) is True, "2,000 m² are shown"
    assert is_new(weighed(body, steps(nodata=[(0, 0, 20, 14), (0, 14, 19, 20)])), PIXEL_M2, MINIMUM_M2) is None
    nearly = steps(body, value=LEAST - 5)
    assert is_new(weighed(body, nearly), PIXEL_M2, MINIMUM_M2) is False, "it was just below the threshold"


@tabulated(
    ("body", "tolerance_px", "grown"),
    [
        ((10, 10, 30, 30), 1, False),
        ((9, 9, 31, 31), 1, False),  # a wobble of a pixel all around is 8,400 m² of ring
        ((8, 8, 32, 32), 2, False),  # of two pixels, where the images lie a pixel apart
        ((8, 8, 32, 32), 1, True),
        ((10, 10, 38, 30), 1, True),
        ((10, 10, 33, 12), 1, False),  # a spur of 600 m² is below the minimum mapping unit
    ],
)
def test_difference_within_the_tolerance_is_not_growth(body, tolerance_px, grown):
    evidence = weighed(body, steps((10, 10, 30, 30)), tolerance_px)
    assert has_grown(evidence, PIXEL_M2, MINIMUM_M2) is grown
    if body == (10, 10, 38, 30):
        assert evidence.grown * PIXEL_M2 == 8 * 20 * 100


def test_growth_and_loss_are_claimed_only_where_both_dates_show_it():
    older = steps((10, 10, 30, 30), nodata=[(30, 0, SIZE, SIZE)])
    assert not has_grown(weighed((10, 10, 40, 30), older), PIXEL_M2, MINIMUM_M2)
    body = steps((10, 10, 30, 30)) > 0
    assert has_vanished(body, steps(), LEAST, 1)
    assert not has_vanished(body, steps(nodata=[(10, 10, 30, 16)]), LEAST, 1), "70 % are shown"
    assert not has_vanished(body, steps((12, 12, 14, 14), value=LEAST - 10), LEAST, 1), "nearly a landslide there"
    assert not has_vanished(body, steps((30, 30, 33, 33)), LEAST, 2), "displaced, not gone"


def test_the_parent_is_the_largest_overlap_then_the_nearest_in_reach():
    small, large, beside = shapely.box(0, 0, 4, 4), shapely.box(4, 0, 20, 10), shapely.box(21, 0, 30, 10)
    assert choose_parent(shapely.box(2, 0, 18, 10), [small, large, beside], 2) == 1
    assert choose_parent(shapely.box(31, 0, 40, 9), [small, large, beside], 2) == 2
    assert choose_parent(shapely.box(40, 40, 50, 50), [small, large, beside], 2) is None


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -1.3), (3.0, 2.0)])
def test_the_shift_between_two_images_of_one_ground(shift):
    image = draw_scene(5, 160, scars=1).bands["B4"].astype(float)
    moved = ndimage.shift(image, (shift[1], shift[0]), order=3, mode="nearest") * 1.4 + 50

    def pair(one, other):
        return lambda c, r, w, h: (one[r : r + h, c : c + w], other[r : r + h, c : c + w], np.ones((h, w), bool))

    found = measure_shift(pair(moved, image), 160, 160)
    assert (found.columns, found.rows) == pytest.approx(shift, abs=0.2)
    other = draw_scene(6, 160, scars=1).bands["B4"].astype(float)
    assert measure_shift(pair(other, image), 160, 160) is None, "another ground: not measured, not made up"


def turn(image, degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Rotate and scale an image about its middle, and shift it (rows, columns)."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = np.array(image.shape) / 2
    return ndimage.affine_transform(image, matrix, middle - matrix @ (middle + shift), order=3, mode="nearest")


@pytest.mark.soak
@tabulated(
    ("degrees", "scale", "shift", "corners_px"),
    [
        (0.0, 1.0, (0.0, 0.0), 0.0),
        (0.0, 1.0, (4.2, -3.1), 0.0),  # a shift alone is no distortion
        (0.6, 1.0, (0.0, 0.0), 1.8),
        (-1.0, 1.0, (2.0, 1.0), 3.0),
        (0.0, 1.012, (0.0, 0.0), 2.0),
    ],
)
def test_rotation_and_scale_show_at_the_corners(degrees, scale, shift, corners_px):
    image = draw_scene(5, 240, scars=1).bands["B4"].astype(float)
    moved = turn(image, degrees, scale, shift)

    def read(c, r, w, h):
        return moved[r : r + h, c : c + w], image[r : r + h, c : c + w], np.ones((h, w), bool)

    assert measure_distortion(read, 240, 240) == pytest.approx(corners_px, abs=0.5)


def test_distortion_of_another_ground_is_not_measured():
    one, other = (draw_scene(seed, 240, scars=1).bands["B4"].astype(float) for seed in (5, 6))

    def read(c, r, w, h):
        return one[r : r + h, c : c + w], other[r : r + h, c : c + w], np.ones((h, w), bool)

    assert measure_distortion(read, 240, 240) is None


def test_dates_of_different_resolution_are_doubted():
    fine, equal, coarse = (grid_around(141.95, 42.73, 40, side) for side in (10.0, 10.5, 12.0))
    assert list_pixel_size_cautions(fine, equal, "2026-05-01") == []
    (caution,) = list_pixel_size_cautions(fine, coarse, "2026-05-01")
    assert convert_reason(caution) == "the images have pixels of different size: 10 m, and 12 m on 2026-05-01"


def make_date(folder, name, day, boxes, nodata=(), size=SIZE, geographic=False):
    """A date as the lane keeps it, with probabilities drawn by hand; no images, so guards are off."""
    grid = grid_around(141.95, 42.73, size, 10.0, geographic=geographic)
    values = steps(*boxes, nodata=nodata)
    path = folder / f"{name}.tif"
    write_geotiff(path, values[None], grid, nodata=255)

    def read(column, row, width, height):
        return values[row : row + height, column : column + width]

    polygons = find_footprints(read, grid, OutlineRule(0.5, 900.0, 900.0, name))
    facts = {"scene_hash": name, "acquired_at": datetime(2026, 5, day, tzinfo=UTC), "probability_path": str(path)}
    facts |= {"polygons": read_outlines([one.to_json() for one in polygons]), "scene_path": str(folder)}
    return StoredDate(threshold=0.5, minimum_area_m2=900.0, **facts)


def judged(date, earlier):
    found = compare(date, earlier, guards=False)
    return apply_changes(date, found.changes), found


def place(outline):
    return shapely.geometry.shape(outline.geometry).centroid.x


def test_slow_growth_is_found_against_the_anchor(tmp_path):
    dates = []
    words = []
    for k in range(5):  # a pixel to the right each date: never more than the tolerance from date to date
        date = make_date(tmp_path, f"s{k}", 1 + k, [(10, 10, 30 + k, 30)])
        date, found = judged(date, dates)
        words += found.changes.values()
        roots = {w.root_id for w in words}
        dates.append(date)
    assert [w.change for w in words] == ["single", "known", "known", "grown", "known"]
    assert words[3].since_at == datetime(2026, 5, 1, tzinfo=UTC)
    assert words[3].grown_m2 == pytest.approx(3 * 20 * 100, rel=0.01)
    assert roots == {dates[0].polygons[0].polygon_id}
    assert {w.first_seen_at for w in words} == {datetime(2026, 5, 1, tzinfo=UTC)}


def test_each_pixel_is_compared_with_the_newest_date_that_shows_it(tmp_path):
    first, _ = judged(make_date(tmp_path, "a", 1, [(40, 40, 50, 50)]), [])
    clouded, _ = judged(make_date(tmp_path, "b", 2, [], nodata=[(32, 0, SIZE, SIZE)]), [first])
    last = make_date(tmp_path, "c", 3, [(40, 40, 50, 50), (10, 10, 20, 20)])
    found = compare(last, [clouded, first], guards=False)
    left, right = (found.changes[p.polygon_id] for p in sorted(last.polygons, key=place))
    assert (left.change, left.since_at.day) == ("new", 2)
    assert (right.change, right.since_at.day) == ("known", 1)
    assert (right.parent_id, found.joint_share) == (first.polygons[0].polygon_id, 1.0)
    assert found.vanished == ()


def test_footprint_that_returns_continues_its_line(tmp_path):
    first, _ = judged(make_date(tmp_path, "a", 1, [(10, 10, 30, 30)]), [])
    bare, found = judged(make_date(tmp_path, "b", 2, []), [first])
    assert len(found.vanished) == 1
    again = compare(make_date(tmp_path, "c", 3, [(10, 10, 30, 30)]), [bare, first], guards=False)
    (word,) = again.changes.values()
    assert (word.change, word.parent_id) == ("known", first.polygons[0].polygon_id)
    assert "not on 2026-05-02" in convert_reason(word.caution)


def test_footprint_on_ground_without_earlier_data_is_single(tmp_path):
    before = make_date(tmp_path, "a", 1, [], nodata=[(0, 0, 32, SIZE)])
    after = make_date(tmp_path, "b", 2, [(5, 5, 20, 20), (40, 40, 50, 50)])
    found = compare(after, [before], tmp_path, guards=False)
    assert sorted(w.change for w in found.changes.values()) == ["new", "single"]
    told = {"new_m2": pytest.approx(10_000, rel=0.002), "known_m2": 0.0, "gone_m2": 0.0, "joint_share": 0.5}
    assert found.to_json()["pixels"] == told
    with Layer(tmp_path / "change.tif", read_grid(tmp_path / "change.tif"), nodata=255.0) as layer:
        values, valid = layer.read(0, 0, SIZE, SIZE)
    assert not valid[:, :32].any()
    assert valid[:, 32:].all()
    assert int((values[:, 32:] == 1).sum()) == 100


def test_earlier_dates_are_read_on_the_grid_of_the_newer_one(tmp_path):
    before = make_date(tmp_path, "a", 1, [(10, 10, 30, 30)])
    after = make_date(tmp_path, "b", 2, [(10, 10, 30, 30)], geographic=True)
    # one degree grid, one metric grid: of other pixels, yet the same ground
    shown = mapping(shapely.geometry.shape(before.polygons[0].geometry))
    after = replace(after, polygons=(replace(after.polygons[0], geometry=shown),))
    (word,) = compare(after, [before], guards=False).changes.values()
    assert word.change == "known"


def make_classes(folder, name, day, landslides, cracks, nodata=()):
    """A date of a model of two classes: a band each."""
    parts = [
        make_date(folder, f"{name}-{kind}", day, boxes, nodata) for kind, boxes in (("l", landslides), ("c", cracks))
    ]
    values = np.stack([steps(*boxes, nodata=nodata) for boxes in (landslides, cracks)])
    write_geotiff(folder / f"{name}.tif", values, read_grid(folder / f"{name}-l.tif"), nodata=255)
    kinds = ("landslide", "crack")
    polygons = tuple(replace(p, kind=kind) for part, kind in zip(parts, kinds, strict=True) for p in part.polygons)
    return replace(
        parts[0], scene_hash=name, probability_path=str(folder / f"{name}.tif"), polygons=polygons, classes=kinds
    )


def test_each_class_is_compared_with_its_own_band(tmp_path):
    """A crack is not the parent of a landslide, and a landslide does not hide that a crack is new."""
    old, fresh = (10, 10, 30, 30), (40, 40, 50, 50)
    before = make_classes(tmp_path, "a", 1, [old], [(10, 44, 16, 52)])
    before, _ = judged(before, [])
    after = make_classes(tmp_path, "b", 2, [fresh], [old, (10, 44, 16, 52)])
    found = compare(after, [before], tmp_path, guards=False)
    words = {(p.kind, place(p) > 141.95): found.changes[p.polygon_id] for p in after.polygons}
    landslide, crack = before.polygons
    assert words["landslide", True].change == "new"
    by_change = {found.changes[p.polygon_id].change: p for p in after.polygons if p.kind == "crack"}
    assert set(by_change) == {"new", "known"}, "one lies where a landslide was, one where it was itself"
    assert found.changes[by_change["known"].polygon_id].parent_id == crack.polygon_id
    flipped = found.changes[by_change["new"].polygon_id]
    assert (flipped.parent_id, convert_reason(flipped.caution)) == (None, "lies where landslide was seen before")
    assert words["landslide", True].caution is None
    assert [(v.outline.kind, v.change.parent_id) for v in found.vanished] == [("landslide", landslide.polygon_id)]
    told = found.to_json()["pixels"]["classes"]
    assert [told["landslide"]["gone_m2"], told["crack"]["new_m2"]] == pytest.approx([40_000] * 2, rel=0.002)
    assert found.to_json()["pixels"]["new_m2"] == told["landslide"]["new_m2"] == pytest.approx(10_000, rel=0.002)
    with rasterio.open(tmp_path / "change.tif") as file:
        assert file.descriptions == ("landslide", "crack")
        assert [int((file.read(band) == 1).sum()) for band in (1, 2)] == [100, 400]


def test_footprint_of_a_class_that_earlier_dates_lack_is_single(tmp_path):
    before = make_date(tmp_path, "a", 1, [])
    after = make_classes(tmp_path, "b", 2, [(10, 10, 30, 30)], [(40, 40, 50, 50)])
    found = compare(after, [before], guards=False).changes
    assert [found[p.polygon_id].change for p in after.polygons] == ["new", "single"]


def test_stored_file_of_another_scene_is_not_compared(tmp_path):
    before = make_date(tmp_path, "a", 1, [])
    change_raster(before.probability_path, SCENE_HASH="another")
    after = make_date(tmp_path, "b", 2, [(10, 10, 30, 30)])
    found = compare(after, [before], guards=False)
    assert [w.change for w in found.changes.values()] == ["single"]
    assert "another scene now" in convert_reason(found.warnings[0])
    (tmp_path / "a.tif").unlink()
    assert "no such file" in convert_reason(compare(after, [before], guards=False).warnings[0])
    change_raster(after.probability_path, SCENE_HASH="another")
    with pytest.raises(ImageryError, match="another scene now"):
        compare(after, [before], guards=False)


def test_fringe_beside_earlier_nodata_is_not_new(tmp_path):
    """An old landslide beneath nodata whose outline now reaches one pixel farther."""
    after = make_date(tmp_path, "b", 2, [(10, 10, 30, 30)])
    for name, hidden in (("columns", (11, 0, SIZE, SIZE)), ("rows", (0, 11, SIZE, SIZE))):
        (word,) = compare(after, [make_date(tmp_path, name, 1, [], nodata=[hidden])], guards=False).changes.values()
        assert word.change == "single"
    specks = [(k, j, k + 1, j + 1) for k in range(11, 30, 4) for j in range(11, 30, 4)]
    (word,) = compare(after, [make_date(tmp_path, "specks", 1, [], nodata=specks)], guards=False).changes.values()
    assert word.change == "new"


@pytest.mark.parametrize(
    ("hidden_from", "doubtful", "expected"), [(20, True, "another season"), (20, False, None), (28, True, None)]
)
def test_growth_that_only_a_doubtful_date_shows_is_advice_only(tmp_path, monkeypatch, hidden_from, doubtful, expected):
    """The later of two dates shows the body down to a row, of which all from row 20 on is fresh; the older one all."""

    def align_date(date, *_):
        if date.record.scene_hash == "a" and doubtful:
            date.cautions.append("another season")
        return date

    monkeypatch.setattr("detection.imagery.change.compare._align_date", align_date)
    first = make_date(tmp_path, "a", 1, [])
    second = make_date(tmp_path, "b", 2, [(10, 10, 30, 20)], nodata=[(0, hidden_from, SIZE, SIZE)])
    last = make_date(tmp_path, "c", 3, [(10, 10, 30, 30)])
    (word,) = compare(last, [second, first]).changes.values()
    assert (word.change, word.caution and convert_reason(word.caution)) == ("grown", expected)


@pytest.fixture
def no_built_ground(monkeypatch):
    """The generated ground has roads beside its scars, which would make every outline advice."""
    monkeypatch.setattr("detection.imagery.scene.built_ground.LEAST_GREY_SHARE", 2.0)
    monkeypatch.setattr("detection.imagery.scene.built_ground.REPORTED_SHARE", 2.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    dates = []
    for name, day, scar in (("before", 1, False), ("after", 9, True)):
        write_scene(folder / name, 5, with_scar=scar, size_px=128, acquired_at=datetime(2026, 5, day, tzinfo=UTC))
        asked = {"weights": "generated", "scene_path": str(folder / name), "out_dir": str(folder / f"{name}-out")}
        dates.append(as_date(detect(asked), folder / name))
    return folder, dates


def shift_date(folder, before, columns, rows, name="shifted"):
    """The date before with its image and its kept probabilities moved by whole or half pixels."""
    moved = shutil.copytree(folder / "before", folder / name)
    manifest = (moved / "scene.toml").read_text().split("[files]")[0]
    (moved / "scene.toml").write_text("complete = true\n" + manifest)

    def move(values):
        moved_values = ndimage.shift(values.astype(float), (0, rows, columns), order=1, mode="nearest")
        return np.rint(moved_values).astype(values.dtype)

    for file in sorted(moved.glob("B*.tif")):
        change_raster(file, move)
    prob = shutil.copy(before.probability_path, folder / f"{name}.tif")
    with rasterio.open(before.probability_path) as source:
        values, profile, tags = source.read(), source.profile, source.tags()
    profile = {
        "driver": "GTiff",
        **{key: profile[key] for key in ("dtype", "count", "width", "height", "crs", "transform", "nodata")},
    }
    with rasterio.open(prob, "w", **profile) as target:
        target.write(move(values))
        target.update_tags(**tags)
    return replace(before, scene_path=str(moved), probability_path=str(prob))


@pytest.mark.one_case_in(5)
@pytest.mark.usefixtures("no_built_ground")
@pytest.mark.parametrize(
    ("columns", "rows"),
    [(0.5, -0.5), (-9, 6), *(pytest.param(*shift, marks=pytest.mark.soak) for shift in ((0, 1), (1.6, 0), (3, 2.5)))],
)
def test_shifted_image_is_registered_and_compared(drawn, tmp_path, columns, rows):
    folder, (before, after) = drawn
    expected = compare(after, [before])
    assert [w.change for w in expected.changes.values()] == ["new"]
    assert expected.warnings == ()
    shifted = shift_date(folder, before, columns, rows, f"shifted {columns} {rows}")
    (tmp_path / "change").mkdir()
    found = compare(after, [shifted], tmp_path / "change")
    assert [w.change for w in found.changes.values()] == ["new"]
    assert [w.caution for w in found.changes.values()] == [w.caution for w in expected.changes.values()]
    assert "was moved onto the newer image" in convert_reason(found.warnings[0])
    (measured,) = found.compared
    assert measured.claimed
    assert (measured.registered_px["columns"], measured.registered_px["rows"]) == pytest.approx(
        (-columns, -rows), abs=0.25
    )
    assert np.hypot(measured.shift_px["columns"], measured.shift_px["rows"]) < 0.25
    with rasterio.open(tmp_path / "change" / "change.tif") as source:
        assert not (source.read(1) == 3).any(), "no ground without landslides was there before"
    _, by_index = compare_by_index(after, [shifted])
    _, by_index_expected = compare_by_index(after, [before])
    assert len(by_index.changes) == len(by_index_expected.changes)
    assert by_index.compared[0].claimed


@pytest.mark.usefixtures("no_built_ground")
def test_image_that_cannot_be_registered_gives_the_reason_as_caution(drawn):
    folder, (before, after) = drawn
    found = compare(after, [shift_date(folder, before, 33, 0)])
    assert [w.change for w in found.changes.values()] == ["single"]
    assert "33.0 px off" in convert_reason(found.warnings[0])
    assert [w.caution for w in found.changes.values()] == [found.warnings[0]]
    assert found.compared[0].claimed is False
    assert found.compared[0].registered_px is None
    assert found.outputs == {}


def test_new_outline_on_built_ground_is_advice(drawn):
    _, (before, after) = drawn
    found = compare(after, [before])
    (change,) = found.changes.values()
    assert (change.change, change.caution.code) == ("new", "caution.built")
    assert [(reason.code, reason.values["outlines"]) for reason in found.warnings] == [("change.built", 1)]


def test_pair_that_cannot_be_registered_is_reported(drawn):
    folder, (before, after) = drawn
    noisy = shift_date(folder, before, 0, 0, "noisy")
    for file in sorted(Path(noisy.scene_path).glob("B*.tif")):
        noise = np.random.default_rng(7).integers(300, 900, (128, 128))
        change_raster(file, lambda values, noise=noise: noise.astype(values.dtype)[None])
    for found in (compare(after, [noisy]), compare_by_index(after, [noisy])[1]):
        assert found.compared[0].shift_px is None
        assert any("the shift between the images could not be measured" in convert_reason(w) for w in found.warnings)
        assert all(
            "the shift between the images could not be measured" in convert_reason(change.caution)
            for change in found.changes.values()
        )


def test_missing_images_make_change_advice_only(drawn):
    _, (before, after) = drawn
    (word,) = compare(after, [replace(before, scene_path="/nowhere/before")]).changes.values()
    assert word.change == "new"
    assert "cannot be laid on each other" in convert_reason(word.caution)
