"""Empirical mode decomposition: sifting, and the fastest mode of EMD-signal."""

import numpy as np
import pytest

from forecasting.metrics import rmse
from slopeward_lab.decompositions.emd import first_mode, first_modes


def test_series_sifted_together_are_as_sifted_alone():
    rng = np.random.default_rng(1)
    series = rng.normal(size=(9, 60)).cumsum(axis=1)
    series[2] = np.arange(60)  # no wave
    series[4] = np.where(np.arange(60) == 7, 1.0, 0.0)  # one maximum
    series[6] = np.round(series[6])  # flat tops
    modes, found = first_modes(series)
    assert found.tolist() == [i not in {2, 4} for i in range(9)]
    for one, mode, there in zip(series, modes, found, strict=True):
        alone = first_mode(one)
        assert (alone is not None) == there
        np.testing.assert_array_equal(mode, np.zeros(60) if alone is None else alone)
    assert first_modes(series[[2, 4]])[0].tolist() == np.zeros((2, 60)).tolist()


@pytest.mark.parametrize("name", ["two waves", "creep with seasons", "beats", "noise"])
def test_the_fastest_mode_is_that_of_emd_signal(name):
    decomposition = pytest.importorskip("PyEMD")
    rng, rows = np.random.default_rng(0), np.arange(1000.0)

    def wave(period):
        return np.sin(2 * np.pi * rows / period)

    values = {
        "two waves": wave(17) + 3 * wave(120) + 0.01 * rows,
        "creep with seasons": 0.02 * rows + np.cumsum(rng.normal(0, 0.2, 1000)) + 4 * wave(365),
        "beats": (1 + 0.5 * wave(300)) * wave(11) + 2 * wave(150),
        "noise": rng.normal(size=1000),
    }[name]
    theirs = decomposition.EMD(spline_kind="cubic", nbsym=2, FIXE=10).emd(values, rows, max_imf=1)[0]
    ours = first_mode(values)
    assert ours is not None
    inside = slice(50, -50)  # at the ends both mirror, by other rules
    assert rmse((ours - theirs)[inside]) < 0.001 * rmse(theirs[inside])
