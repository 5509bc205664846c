"""A crack that grows by a known length and width is found to, within the stated error; one that does not is known."""

from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from scipy import ndimage

from detection.imagery.change.records import StoredDate
from detection.imagery.errors import ImageryError
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn
from detection.imagery.raster.raster import write_geotiff
from slopeward_lab.cracks.change import compare_cracks
from slopeward_lab.cracks.lines import find_cracks

SIDE, PIXEL_M = 320, 0.05
GRID = Grid(Affine(PIXEL_M, 0, 5e5, 0, -PIXEL_M, 5.1e6), pyproj.CRS.from_epsg(32632).to_wkt(), SIDE, SIDE)
BANDS = ("B4", "B3", "B2")


def lay_date(folder, month, image, steps):
    """A flight: its picture (H x W) and its map."""
    place = folder / str(month)
    place.mkdir()
    write_geotiff(place / "bands.tif", np.stack([image] * 3).astype(np.uint16), GRID, nodata=0, descriptions=BANDS)
    write_geotiff(place / "prob.tif", steps[None].astype(np.uint8), GRID, nodata=255)
    at = datetime(2026, month, 1, tzinfo=UTC)
    bands = [f'{band} = {{ file = "bands.tif", index = {number} }}' for number, band in enumerate(BANDS, 1)]
    (place / "scene.toml").write_text("\n".join([f"acquired_at = {at.isoformat()}", "[bands]", *bands, ""]))
    return StoredDate(
        scene_hash=f"s{month}",
        acquired_at=at,
        probability_path=str(place / "prob.tif"),
        scene_path=str(place),
        threshold=0.5,
        minimum_area_m2=0.01,
        classes=("crack",),
    )


def draw(line, width_px, shift=(0.0, 0.0)):
    outline = shapely.affinity.translate(shapely.LineString(line).buffer(width_px / 2, cap_style="flat"), *shift)
    return np.where(burn(outline, (0, 0, SIDE, SIDE)), 180, 0)


def compare(folder, newer, older, shift=(0.0, 0.0), seed=0, unseen=None, shown=None):
    """`newer`, `older`: steps; the older picture lies left and above by `shift`, and shows `shown`, else its steps."""
    rng = np.random.default_rng(seed)
    ground = 1000 + 300 * sum(ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), s) * s for s in (1, 3, 9))
    then = ndimage.shift(ground, (-shift[1], -shift[0]), order=3, mode="mirror") * 0.8 + rng.normal(0, 10, ground.shape)
    pictures = ground * darken(newer), then * darken(older if shown is None else shown)
    if unseen is not None:
        older = np.where(unseen, 255, older)
    dates = lay_date(folder, 6, pictures[0].clip(1), newer), lay_date(folder, 3, pictures[1].clip(1), older)
    cracks = find_cracks(lambda c, r, w, h: newer[r : r + h, c : c + w], GRID, 100, "s6")
    return cracks, compare_cracks(cracks, *dates)


def darken(steps):
    return 1 - 0.5 * ndimage.gaussian_filter((steps > 0) * 1.0, 0.6)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("seed", range(3))
def test_growth_is_found_within_its_error_and_nothing_else_is_called_growth(tmp_path, seed):
    rng = np.random.default_rng(seed)
    shift, angle = rng.uniform(-4, 4, 2), rng.uniform(0, np.pi)
    way = np.array([np.cos(angle), np.sin(angle)])
    bend = rng.uniform(-12, 12) * np.array([-way[1], way[0]])
    ends = [160 - 80 * way, 160 + bend, 160 + 80 * way]
    width, grown, wider = rng.uniform(3, 6), rng.uniform(10, 40), rng.uniform(3, 6)
    longer = [*ends, ends[2] + grown * way]
    for number, (line, wide) in enumerate(
        [(longer, width), (ends, width + wider), (longer, width + wider), (ends, width)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        older = draw(ends, width, -shift)
        (crack,), found = compare(folder, draw(line, wide), older, shift, seed)
        assert found.shift_px == pytest.approx(shift, abs=0.3)
        change = found.changes[crack.crack_id]
        assert abs(change.grown_m - PIXEL_M * grown * (line is longer)) < change.grown_error_m
        assert abs(change.wider_m - PIXEL_M * wider * (wide > width)) < change.wider_error_m
        assert change.grown_error_m < 7 * PIXEL_M
        assert change.wider_error_m < 2 * PIXEL_M
        assert change.change == ["grown", "wider", "grown", "known"][number]


def test_a_crack_is_new_beside_an_old_one_and_none_is_where_the_older_date_shows_nothing(tmp_path):
    old, other = [(60, 60), (250, 80)], [(60, 200), (250, 220)]
    both = np.maximum(draw(old, 4), draw(other, 4))
    unseen = np.zeros((SIDE, SIDE), bool)
    for number, (blind, expected) in enumerate([(False, {"known", "new"}), (True, {"known", "single"})]):
        folder = tmp_path / str(number)
        folder.mkdir()
        unseen[150:] = blind
        cracks, found = compare(folder, both, draw(old, 4), unseen=unseen)
        assert {found.changes[one.crack_id].change for one in cracks} == expected
        new = [found.changes[one.crack_id] for one in cracks if found.changes[one.crack_id].change == "new"]
        assert [one.grown_m for one in new] == [pytest.approx(191 * PIXEL_M, abs=0.2)] * (not blind)


@pytest.mark.soak
def test_what_a_network_nearly_found_or_the_earlier_picture_shows_has_not_grown(tmp_path):
    line = draw([(60, 60), (250, 80)], 4)
    half = np.where(np.arange(SIDE) > 150, 0, line)
    cases = {"nearly": (np.maximum(half, line // 3), half), "shown": (half, line), "grown": (half, half)}
    for name, (older, shown) in cases.items():
        (tmp_path / name).mkdir()
        (crack,), found = compare(tmp_path / name, line, older, shown=shown)
        assert found.changes[crack.crack_id].change == ("grown" if name == "grown" else "known"), name


def test_nothing_is_claimed_where_the_images_do_not_lie_on_each_other(tmp_path):
    steps = draw([(60, 60), (250, 80)], 4)
    rng = np.random.default_rng(0)
    dates = [lay_date(tmp_path, month, rng.uniform(500, 1500, steps.shape), steps) for month in (6, 3)]
    with pytest.raises(ImageryError, match="could not be laid on each other"):
        compare_cracks([], *dates)
