"""The words for how a station moved say what they name."""

import numpy as np

from forecasting.evaluation.distribution import QUIET, RUSHING, STEADY, find_stages


def test_stages_are_what_they_say():
    t = np.arange(200.0)
    values = np.column_stack([np.zeros(200), 2.0 * t, np.where(t < 185, 0.1 * t, 0.1 * t + 3.0 * (t - 185))])
    found = find_stages(values, np.array([199]), np.full(3, 0.2), 86_400.0)
    assert found.tolist() == [[QUIET, STEADY, RUSHING]]
