"""Strips of a scene hold what the whole map holds there, bit for bit, however tiles reach over their edges."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from detection.imagery.errors import SceneError
from detection.imagery.footprints.probabilities import MappingRun, TilingPlan, map_scene
from detection.imagery.raster.components import NODATA
from detection.imagery.scene.moments import Moments
from detection.imagery.scene.radiometry import RadiometricStretch
from detection.imagery.scene.strips import (
    StripTask,
    are_whole,
    cut_strips,
    join_strips,
    name_strip,
    read_task,
    same_facts,
    write_task,
    writing_strip,
)

WIDTH, BANDS = 70, 2
PLANS = [TilingPlan("crop", 32, 16, 16), TilingPlan("hann", 32, 0, 8)]


class Blur:
    """In place of a network: what it says of a pixel depends on those around it and on the edge of its tile."""

    def class_probabilities(self, tile, valid, own=np.s_[:, :], again=False):
        blurred = ndimage.uniform_filter(np.where(valid, tile, 0).sum(axis=0), 9)
        return (np.sin(9 * blurred) ** 2).astype(np.float32)[None][(slice(None), *own)]


def make_reader(height):
    values = np.random.default_rng(5).random((BANDS, height, WIDTH)).astype(np.float32)
    valid = np.ones((height, WIDTH), bool)
    valid[height // 3 : height // 3 + 9, 20:60] = False

    def read(column, row, width, high):
        part = np.s_[row : row + high, column : column + width]
        return values[(slice(None), *part)].copy(), valid[part]

    return SimpleNamespace(grid=SimpleNamespace(width=WIDTH, height=height), read=read)


def draw(reader, plan, write, **more):
    stretch = RadiometricStretch(np.ones(BANDS, np.float32))
    return map_scene(MappingRun(reader, Blur(), stretch, plan, 1), write, lambda _: None, **more)


@pytest.mark.parametrize("plan", PLANS, ids=["crop", "hann"])
@pytest.mark.parametrize("height", [128, 135, 150, 161, 170])
@pytest.mark.parametrize("strip_px", [1, WIDTH * 64])
def test_strips_make_the_whole_to_the_last_bit(plan, height, strip_px, tmp_path):
    reader, whole = make_reader(height), np.full((1, height, WIDTH), 7, np.uint8)

    def into(target):
        def write(steps, column, row):
            target[:, row : row + steps.shape[1], column : column + steps.shape[2]] = steps

        return write

    valid = draw(reader, plan, into(whole))
    high = max(1, strip_px // WIDTH // plan.step) * plan.step
    strips = [(top, min(height, top + high)) for top in range(0, height, high)]
    assert cut_strips(plan.step, WIDTH, height, strip_px, 64) in (strips, [(0, height)])
    digests = []
    for number, rows in enumerate(strips):
        with writing_strip(tmp_path / name_strip(number), digests) as write:
            draw(reader, plan, write, rows=rows)
    joined, told = np.full_like(whole, 9), []
    assert are_whole(tmp_path, digests)
    assert join_strips(tmp_path, len(strips), whole.shape, NODATA, into(joined), told.append) == valid
    assert np.array_equal(joined, whole)
    assert told[-1] == 1.0
    assert len(np.unique(whole)) > 50, "a map that says something"


def test_a_torn_or_exchanged_strip_is_seen_and_one_that_lacks_pixels_is_refused(tmp_path):
    digests = []
    with writing_strip(tmp_path / name_strip(0), digests) as write:
        write(np.zeros((1, 4, 6), np.uint8), 0, 0)
    assert are_whole(tmp_path, digests)
    assert not are_whole(tmp_path, [*digests, *digests]), "one is missing"
    for size in ((1, 8, 6), (1, 4, 5), (2, 4, 6)):
        with pytest.raises(SceneError):
            join_strips(tmp_path, 1, size, NODATA, lambda *_: None, lambda _: None)
    content = (tmp_path / name_strip(0)).read_bytes()
    for broken in (content[:-9], content[:20], content[:48] + bytes(len(content) - 48)):
        (tmp_path / name_strip(0)).write_bytes(broken)
        assert not are_whole(tmp_path, digests)
        with pytest.raises(SceneError):
            join_strips(tmp_path, 1, (1, 4, 6), NODATA, lambda *_: None, lambda _: None)


def test_what_strips_are_drawn_by_comes_back_as_it_was(tmp_path):
    rng = np.random.default_rng(1)
    moments = Moments(rng.random((2, 3)), rng.random((4, 2, 3)), rng.random((4, 2, 3)), 128)
    ones, maxima, beside = np.ones(4, np.float32), rng.random((2, 3)).astype(np.float32), ((0, 16, 32, 16),)
    full = RadiometricStretch(ones, maxima, 128, None, None, (2, 1, 0), moments, 0.1, 0.25, beside)
    plain = RadiometricStretch(ones[:2], ceilings=np.full(2, np.inf, np.float32), clouds=ones[:2])
    for stretch in (full, plain):
        facts = {"scale": 0.1 + 0.2, "classes": ["landslide"], "dem": None}
        (tmp_path / "strip-00.bin").write_bytes(b"of an earlier try")
        write_task(tmp_path, StripTask(facts, "generated", stretch))
        assert not (tmp_path / "strip-00.bin").exists()
        found = read_task(tmp_path)
        assert found.weights == "generated"
        assert same_facts(found.facts, facts)
        assert not same_facts(found.facts, facts | {"scale": 0.3})
        values = rng.random((len(stretch.factors), 40, 50)).astype(np.float32)
        assert found.stretch.apply(values, 100, 60).tobytes() == stretch.apply(values, 100, 60).tobytes()
        assert (found.stretch.cloudy, found.stretch.colours) == (stretch.cloudy, stretch.colours)
    (tmp_path / "task.json").write_text("{}")
    with pytest.raises(SceneError, match="cannot be read"):
        read_task(tmp_path)
