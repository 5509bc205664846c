"""Weights of the stages of movement."""

import numpy as np
import torch

from slopeward_lab.forecasters.stage_gru import STAGES, find_stages


def test_stages_of_rest_creep_and_acceleration():
    rng = np.random.default_rng(0)
    rows = np.arange(60.0)
    series = [rng.normal(0.0, 0.3, 60), 0.5 * rows + rng.normal(0.0, 0.3, 60), np.exp((rows - 59.0) / 10.0) * 8.0]
    values = torch.from_numpy(np.stack(series))
    weights = find_stages(values, torch.ones_like(values))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert [STAGES[stage] for stage in weights.argmax(dim=1)] == ["rest", "steady", "accelerating"]
    with_gaps = values.clone()
    with_gaps[:, ::5] = 0.0
    observed = torch.ones_like(values)
    observed[:, ::5] = 0.0
    assert find_stages(with_gaps, observed).argmax(dim=1).tolist() == [0, 1, 2]
    assert torch.isfinite(find_stages(values, torch.zeros_like(values))).all()


def test_a_window_without_readings_is_at_rest():
    values = torch.zeros(1, 60)
    assert find_stages(values, torch.zeros(1, 60))[0, 0] > 0.9
