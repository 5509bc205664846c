"""Decomposed windows: their sum, no later value, and no influence of other windows."""

import numpy as np
import pytest

from forecasting.data.features import FEATURES, noise_floor, windows
from slopeward_lab.decompositions import ceemdan, emd
from slopeward_lab.decompositions.windows import PARTS, split_windows

METHODS = ("emd", "ceemdan", "vmd")
ORIGINS = np.array([5, 70, 120])


def make_record(rows=160, stations=2, seed=4):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 1.0, (rows, stations)), axis=0) + rng.normal(0, 0.4, (rows, stations))
    values[rng.random(values.shape) < 0.05] = np.nan
    return values


def cut(values, origins=ORIGINS):
    return windows(values, origins, noise_floor(make_record()), window=60, lag=7).inputs


@pytest.mark.parametrize("method", METHODS)
def test_parts_add_up_to_the_displacement_since_the_end_of_the_window(method):
    inputs = cut(make_record())
    parts = split_windows(inputs, method)
    assert parts.shape == (*inputs.shape[:3], PARTS)
    total = parts.sum(axis=-1)
    value = inputs[..., FEATURES.index("value")]
    newest = np.where(inputs[:, :, -1, 2] > 0, value[:, :, -1], np.nan)
    expected = np.where(inputs[..., 2] > 0, value - newest[..., None], np.nan)
    known = np.isfinite(expected)
    assert known.mean() > 0.4
    np.testing.assert_allclose(total[known], expected[known], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_no_value_after_the_origin_changes_a_part(method):
    values = make_record()
    changed = values.copy()
    changed[121:] = np.random.default_rng(9).normal(0, 1e3, changed[121:].shape)
    np.testing.assert_array_equal(split_windows(cut(values), method), split_windows(cut(changed), method))


@pytest.mark.parametrize("method", METHODS)
def test_other_windows_do_not_change_the_parts_of_a_window(method):
    values = make_record()
    alone = split_windows(cut(values, ORIGINS[1:2]), method)
    np.testing.assert_allclose(split_windows(cut(values), method)[1:2], alone, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_window_without_values_has_no_parts(method):
    assert not split_windows(cut(np.full((160, 2), np.nan)), method).any()


@pytest.mark.parametrize("method", [emd, ceemdan])
def test_series_decomposed_together_are_as_decomposed_alone(method):
    series = np.random.default_rng(1).normal(size=(4, 80)).cumsum(axis=1)
    series[1] = np.arange(80.0)  # no mode
    series[2] = 3.0
    together = method.split_together(series)
    for one, parts in zip(series, together, strict=True):
        _, alone = method.split_known(one, 1)
        used = parts[[True, *parts[1:].any(axis=1)]]
        np.testing.assert_allclose(used, alone, atol=1e-12)
