"""One network for many records: it serves a record it never saw, tuning makes a new candidate, the old one stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import ForecastingError, NotEnoughDataError
from forecasting.neural.learner import Settings
from forecasting.neural.pooled import adopt, fine_tune, train_pooled

HORIZON = (7 * DAY_S,)
QUICK = Settings(epochs=8, learning_rate=8e-3, batch=8, dropout=0.0, patience=14, window=26)


def pulsing(period, rows=420, scale=1.0, seed=5):
    """Pulses of one period at any size: what is learnt at one size serves another."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    rate = 1.0 + np.sin(2 * np.pi * (t + np.arange(3) * 4) / period)
    values = scale * (np.cumsum(rate, axis=0) + rng.normal(0, 0.1, (rows, 3)))
    return Panel(0.0, DAY_S, ("A", "B", "C"), values)


def errors(forecaster, panel, parts):
    origins = parts.calibration.origins
    came = parts.calibration.targets(panel.values, origins, 7)
    network = np.abs(forecaster.quantiles(panel.values, origins)[:, :, 0, 2] - came)
    simple = np.abs(forecaster.recipe.base.predict(panel.values, origins)[:, :, 0] - came)
    return np.nanmean(network), np.nanmean(simple)


@pytest.fixture(scope="module")
def pooled():
    panels = [pulsing(20, seed=1), pulsing(20, scale=30.0, seed=2)]
    return train_pooled("mlp", [(p, split(p.values.shape[0])) for p in panels], HORIZON, QUICK)


def test_a_record_it_never_saw_is_served_at_its_own_scale(pooled):
    panel = pulsing(20, scale=400.0, seed=9)
    parts = split(panel.values.shape[0])
    network, simple = errors(adopt(pooled, panel, parts), panel, parts)
    assert network < 0.6 * simple


def test_tuning_makes_a_new_candidate_and_leaves_the_old_one(pooled):
    panel = pulsing(26, scale=5.0, seed=4)
    parts = split(panel.values.shape[0])
    old = adopt(pooled, panel, parts)
    before = {k: v.clone() for k, v in old.network.state_dict().items()}
    known = pulsing(20, seed=1)
    tuned = fine_tune(
        old, panel, parts, replace(QUICK, epochs=5), replay=[(known, split(known.values.shape[0]))]
    ).forecaster
    assert errors(tuned, panel, parts)[0] < 0.8 * errors(old, panel, parts)[0]
    assert all(torch.equal(v, before[k]) for k, v in old.network.state_dict().items())
    assert any(not torch.equal(v, before[k]) for k, v in tuned.network.state_dict().items())


def test_replay_keeps_what_was_learnt_before(pooled):
    known, fresh = pulsing(20, seed=1), pulsing(13, seed=3)
    parts, blocks = split(known.values.shape[0]), split(fresh.values.shape[0])
    old = adopt(pooled, fresh, blocks)
    settings = replace(QUICK, epochs=6)
    forgot = fine_tune(old, fresh, blocks, settings).forecaster
    kept = fine_tune(old, fresh, blocks, settings, replay=[(known, parts)]).forecaster
    on_known = lambda one: errors(replace(one, recipe=adopt(pooled, known, parts).recipe), known, parts)[0]  # noqa: E731
    assert on_known(kept) < on_known(forgot)


def test_what_cannot_be_pooled_is_said():
    panel = pulsing(20)
    with pytest.raises(ForecastingError, match="one site"):
        train_pooled("graph-gru", [(panel, split(420))], HORIZON, QUICK)
    with pytest.raises(NotEnoughDataError):
        train_pooled("mlp", [], HORIZON, QUICK)
    with pytest.raises(NotEnoughDataError):
        train_pooled("mlp", [(panel.head(40), split(40))], HORIZON, QUICK)
