"""Waves of several series at once are those of each alone, to the bit."""

import numpy as np

from forecasting.decomposition.emd import first_mode, first_modes


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
