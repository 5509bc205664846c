"""A scene that is mapped in parts has the same map as a scene that is mapped as a whole."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from detection.imagery.footprints import probabilities
from detection.imagery.footprints.polygons import STEPS
from detection.imagery.footprints.probabilities import PART_ROWS, MappingRun, TilingPlan, map_scene
from detection.imagery.neural.inference import Segmenter
from detection.imagery.raster.components import NODATA
from detection.imagery.registry import build
from detection.imagery.scene.moments import Moments
from detection.imagery.scene.radiometry import RadiometricStretch, sum_blocks

pytestmark = pytest.mark.usefixtures("one_torch_thread")
BANDS = 3
PLAIN = RadiometricStretch(np.ones(BANDS, np.float32))
PLAN = TilingPlan("rows", 4096, 112, 16)


@pytest.fixture(autouse=True)
def map_each_scene_once(monkeypatch):
    """Disable the second pass over small scenes."""
    monkeypatch.setattr(probabilities, "MAPPED_TWICE_PX", 0)


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(2)
    network = build("unet", BANDS, 2, 0.0625).eval()
    network.head.weight.data *= 6
    card = {"normalisation": {"mean": [0.5] * BANDS, "std": [0.3] * BANDS}}
    return Segmenter(SimpleNamespace(network=network, card=card))


def make_reader(height, width, seed=1):
    rng = np.random.default_rng(seed)
    values, valid = rng.random((BANDS, height, width)).astype(np.float32), rng.random((height, width)) < 0.98
    read_at = []

    def read(column, row, wide, high):
        assert 0 <= column < column + wide <= width
        assert 0 <= row < row + high <= height
        read_at.append((column, row, wide, high))
        part = np.s_[row : row + high, column : column + wide]
        return values[(slice(None), *part)].copy(), valid[part].copy()

    grid = SimpleNamespace(width=width, height=height)
    return SimpleNamespace(grid=grid, read=read, values=values, valid=valid, read_at=read_at)


def map_in_parts(reader, segmenter, plan=PLAN, stretch=PLAIN):
    """Return the map of a scene in steps of probability, and the number of mapped pixels."""
    result = np.full((reader.grid.height, reader.grid.width), 7, np.uint8)
    shares = []

    def write(steps, column, row):
        target = result[row : row + steps.shape[1], column : column + steps.shape[2]]
        assert (target == 7).all(), "each pixel is written once"
        target[...] = steps[0]

    pixels = map_scene(MappingRun(reader, segmenter, stretch, plan, 1), write, shares.append)
    assert (shares, shares[-1]) == (sorted(shares), 1)
    return result, pixels


def map_as_a_whole(reader, segmenter):
    probabilities_of_class = segmenter.classify(segmenter.prepare(reader.values, reader.valid))[0]
    return np.where(reader.valid, np.rint(probabilities_of_class * np.float32(STEPS)), NODATA).astype(np.uint8)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (30, 700), (256, 20), (513, 33), (780, 415)])
@pytest.mark.parametrize("columns", [64, 4096])
def test_map_in_parts_equals_map_as_a_whole(height, width, columns, segmenter):
    reader = make_reader(height, width)
    mapped, pixels = map_in_parts(reader, segmenter, replace(PLAN, tile=columns))
    expected = map_as_a_whole(reader, segmenter)
    # A probability halfway between two steps may be rounded to either of them.
    assert np.abs(mapped.astype(int) - expected).max() <= 1
    assert np.count_nonzero(mapped != expected) <= 1 + mapped.size / 2000
    assert pixels == np.count_nonzero(reader.valid)


def test_parts_without_valid_pixels_are_not_passed_to_the_network(segmenter):
    reader = make_reader(8 * PART_ROWS, 64)
    part_heights = []

    class RecordingSegmenter:
        def stream(self, parts, again=False):
            def record():
                for values, valid in parts:
                    part_heights.append(len(valid))
                    yield values, valid

            return segmenter.stream(record(), again=again)

    reader.valid[3 * PART_ROWS :] = False
    mapped, pixels = map_in_parts(reader, RecordingSegmenter())
    assert part_heights == [PART_ROWS] * 4, "three parts with valid pixels, and the part below as their context"
    assert pixels == np.count_nonzero(mapped != NODATA) == np.count_nonzero(reader.valid)
    assert np.abs(mapped.astype(int) - map_as_a_whole(reader, segmenter)).max() <= 1
    reader.valid[:] = False
    part_heights.clear()
    assert map_in_parts(reader, RecordingSegmenter())[1] == 0
    assert not part_heights


def make_cloudy():
    """Return a scene with white spots of several sizes, some across the border of two parts, and its stretch."""
    reader = make_reader(3 * PART_ROWS, 90)
    rng = np.random.default_rng(6)
    reader.values[...] = 0.2 + 0.1 * reader.values
    for row in (*rng.integers(0, 3 * PART_ROWS, 30), *range(PART_ROWS - 12, PART_ROWS + 12, 3), 2 * PART_ROWS - 3):
        column, (high, wide) = rng.integers(0, 80), rng.integers(3, 9, 2)
        reader.values[:, row : row + high, column : column + wide] = 0.9
    shape, block = (6, 1), 128
    count = sum_blocks(reader.valid.astype(float), block)
    total = sum_blocks(reader.values.astype(float), block)
    moments = Moments(count, total, sum_blocks(reader.values.astype(float) ** 2, block), block)
    maxima = np.full(shape, 0.9, np.float32)
    return reader, RadiometricStretch(np.ones(BANDS, np.float32), maxima, block, colours=(0, 1, 2), moments=moments)


def test_cloud_across_two_parts_is_masked_as_in_the_whole_scene(segmenter, monkeypatch):
    reader, stretch = make_cloudy()
    clouds = stretch.find_clouds(reader.values, reader.values, 0, 0)
    mapped, _ = map_in_parts(reader, segmenter, stretch=stretch)
    assert np.array_equal(mapped == NODATA, ~reader.valid | clouds)
    assert clouds.any()
    monkeypatch.setattr(RadiometricStretch, "cloud_margin_px", 0)
    mapped, _ = map_in_parts(reader, segmenter, stretch=stretch)
    assert not np.array_equal(mapped == NODATA, ~reader.valid | clouds), "the test depends on the margin"


def test_size_of_a_read_window_does_not_depend_on_the_scene(segmenter):
    reader = make_reader(2 * PART_ROWS, 1000)
    map_in_parts(reader, segmenter, TilingPlan("rows", 256, 112, 16))
    assert max(wide * high for _, _, wide, high in reader.read_at) <= (256 + 2 * 112) * PART_ROWS
    assert probabilities.COLUMNS % 512 == 0, "a multiple of the blocks of most files"
