"""A scene read in rows has the map of one pass, whatever its columns and parts, and empty ground costs nothing."""

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
def looked_at_once(monkeypatch):
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


def draw(reader, segmenter, plan=PLAN, stretch=PLAIN):
    out, shares = np.full((reader.grid.height, reader.grid.width), 7, np.uint8), []

    def write(steps, column, row):
        target = out[row : row + steps.shape[1], column : column + steps.shape[2]]
        assert (target == 7).all(), "each pixel is written once"
        target[...] = steps[0]

    pixels = map_scene(MappingRun(reader, segmenter, stretch, plan, 1), write, shares.append)
    assert (shares, shares[-1]) == (sorted(shares), 1)
    return out, pixels


def draw_whole(reader, segmenter):
    found = segmenter.classify(segmenter.prepare(reader.values, reader.valid))[0]
    return np.where(reader.valid, np.rint(found * np.float32(STEPS)), NODATA).astype(np.uint8)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (30, 700), (256, 20), (513, 33), (780, 415)])
@pytest.mark.parametrize("columns", [64, 4096])
def test_rows_have_the_map_of_one_pass(height, width, columns, segmenter):
    reader = make_reader(height, width)
    found, pixels = draw(reader, segmenter, replace(PLAN, tile=columns))
    wanted = draw_whole(reader, segmenter)
    assert np.abs(found.astype(int) - wanted).max() <= 1  # a value half-way between two steps may fall to either
    assert np.count_nonzero(found != wanted) <= 1 + found.size / 2000
    assert pixels == np.count_nonzero(reader.valid)


def test_ground_without_a_valid_pixel_does_not_reach_the_network(segmenter):
    reader, seen = make_reader(8 * PART_ROWS, 64), []

    class Watched:
        def stream(self, parts, again=False):
            def note():
                for values, valid in parts:
                    seen.append(len(valid))
                    yield values, valid

            return segmenter.stream(note(), again=again)

    reader.valid[3 * PART_ROWS :] = False
    found, pixels = draw(reader, Watched())
    assert seen == [PART_ROWS] * 4, "three parts, and what the last of them sees below"
    assert pixels == np.count_nonzero(found != NODATA) == np.count_nonzero(reader.valid)
    assert np.abs(found.astype(int) - draw_whole(reader, segmenter)).max() <= 1
    reader.valid[:] = False
    seen.clear()
    assert draw(reader, Watched())[1] == 0
    assert not seen


def make_cloudy():
    """A scene with white spots of all sizes, also where one part ends and the next begins, and its stretch."""
    reader, rng = make_reader(3 * PART_ROWS, 90), np.random.default_rng(6)
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


def test_a_cloud_across_two_parts_is_the_cloud_of_the_whole(segmenter, monkeypatch):
    reader, stretch = make_cloudy()
    wanted = stretch.find_clouds(reader.values, reader.values, 0, 0)
    found, _ = draw(reader, segmenter, stretch=stretch)
    assert np.array_equal(found == NODATA, ~reader.valid | wanted)
    assert wanted.any()
    monkeypatch.setattr(RadiometricStretch, "cloud_margin_px", 0)
    assert not np.array_equal(draw(reader, segmenter, stretch=stretch)[0] == NODATA, ~reader.valid | wanted)


def test_memory_follows_no_scene(segmenter):
    reader = make_reader(2 * PART_ROWS, 1000)
    draw(reader, segmenter, TilingPlan("rows", 256, 112, 16))
    assert max(wide * high for _, _, wide, high in reader.read_at) <= (256 + 2 * 112) * PART_ROWS
    assert probabilities.COLUMNS % 512 == 0, "whole blocks of most files"
