"""What is measured of a window of a scene is what its plain formula says, with pixels that are not valid too."""

import json

import numpy as np
import pytest
from scipy import ndimage

from detection.imagery.data.patches import Patches, hold_arrays
from detection.imagery.errors import ModelError
from detection.imagery.training.domain import describe, measure_window
from detection.imagery.training.seen import count_seen, write_seen


def correlate(one, other):
    return np.corrcoef(one, other)[0, 1]


@pytest.mark.parametrize("valid_share", [1.0, 0.8])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_look_measures_bands_neighbours_and_steps(valid_share, offset):
    rng = np.random.default_rng(3)
    ground = ndimage.gaussian_filter(rng.normal(0, 1, (90, 70)), 1.5)
    noise = rng.normal(0, 0.05, (3, 90, 70))
    values = (offset + ground * np.array([1, 2, -1])[:, None, None] + noise).astype(np.float32)
    valid = rng.random((90, 70)) < valid_share
    look, exact = measure_window(values, valid), values.astype(np.float64)
    kept = exact[:, valid]
    low, middle, high = np.quantile(kept, [0.05, 0.5, 0.95], axis=1)
    assert (look.median, look.spread) == (pytest.approx(middle), pytest.approx(high - low))
    assert look.correlation == pytest.approx(min(correlate(kept[i], kept[j]) for i in range(3) for j in range(i)))
    down, right = valid[1:] & valid[:-1], valid[:, 1:] & valid[:, :-1]
    along = [(correlate(b[1:][down], b[:-1][down]) + correlate(b[:, 1:][right], b[:, :-1][right])) / 2 for b in exact]
    assert look.smoothness == pytest.approx(min(along))
    steps = [np.diff(exact, axis=1)[:, down], np.diff(exact, axis=2)[:, right]]
    assert look.steps == pytest.approx(sum(one @ one.T for one in steps))


def test_a_band_that_does_not_vary_correlates_with_nothing():
    values = np.full((2, 32, 32), 0.1, np.float32)
    values[1] = np.linspace(0, 1, 32)
    look = measure_window(values, np.ones((32, 32), bool))
    assert (look.correlation, look.smoothness, look.spread[0]) == (0.0, 0.0, 0.0)
    assert measure_window(values[:1], np.eye(32, dtype=bool)).smoothness == 0.0  # no pixel has a neighbour


def test_what_pictures_without_colour_say_nothing_of_is_no_limit_of_a_card():
    rng = np.random.default_rng(1)

    def load(_):
        grey = ndimage.gaussian_filter(rng.random((64, 64)), 1).astype(np.float32) + 1.0
        return np.stack([grey, grey, grey]), np.zeros((64, 64), np.uint8)

    told = describe(Patches(tuple(map(str, range(100))), ("B4", "B3", "B2"), load), 1.0, "")
    assert "colour_least" not in told
    json.dumps(told, allow_nan=False)


def test_a_copy_of_a_picture_is_known_whatever_its_file_and_name(tmp_path):
    images = np.random.default_rng(0).random((6, 3, 8, 8)).astype(np.float32)
    patches = hold_arrays(images, np.zeros((6, 8, 8), np.uint8))
    weights, following = tmp_path / "tiny.safetensors", tmp_path / "next.safetensors"
    write_seen(weights, patches.take([3, 1]))
    copies = hold_arrays(images[::-1].copy(), np.ones((6, 8, 8), np.uint8))
    assert count_seen(weights, copies) == 2
    write_seen(following, patches.take([0]), weights)
    assert count_seen(following, copies) == 3, "and what those saw that they began from"
    (tmp_path / "next.seen.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="no digests of pictures"):
        count_seen(following, copies)
    (tmp_path / "next.seen.npy").unlink()
    assert count_seen(following, copies) is None
