"""Weights by stage: each stage follows the expert that is right in it, and no later value is known."""

import numpy as np

from forecasting.data.features import noise_floor
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.simple.averaging import Ewa, fit_ewa
from forecasting.simple.baselines import fit_drift, fit_persistence
from forecasting.simple.staged_averaging import QUIET, RUSHING, STEADY, by_stage, find_stages


def turning(rows=800):
    """Quiet and moving in turns of 100 days, with noise."""
    rng = np.random.default_rng(4)
    rate = np.where((np.arange(rows) // 100) % 2 == 1, 2.0, 0.0)
    return Panel(0.0, DAY_S, ("A", "B"), np.cumsum(rate)[:, None] + rng.normal(0, 0.5, (rows, 2)))


PANEL = turning()


def staged(members=None):
    block = Block(150, 300)
    ewa = fit_ewa(PANEL, block, (7,))
    if members is not None:
        ewa = Ewa("ewa", (7,), members, 100)
    return ewa, by_stage(ewa, PANEL, noise_floor(PANEL.values[:150]))


def test_stages_are_what_they_say():
    t = np.arange(200.0)
    values = np.column_stack([np.zeros(200), 2.0 * t, np.where(t < 185, 0.1 * t, 0.1 * t + 3.0 * (t - 185))])
    found = find_stages(values, np.array([199]), np.full(3, 0.2), (14, 60))
    assert found.tolist() == [[QUIET, STEADY, RUSHING]]


def test_each_stage_follows_the_expert_that_is_right_in_it():
    block = Block(150, 300)
    stays, runs = fit_persistence(PANEL, block, (7,)), fit_drift(PANEL, Block(100, 200), (7,))
    plain, apart = staged((stays, runs))
    origins = np.arange(400, 790)
    came = np.full((origins.size, 2), np.nan)
    came[:] = PANEL.values[origins + 7]
    errors = [np.abs(m.predict(PANEL.values, origins)[:, :, 0] - came) for m in (plain, apart)]
    turned = (origins % 100 > 15) & (origins % 100 < 40)  # soon after the slope began to move, or came to rest
    assert errors[1][turned].mean() < errors[0][turned].mean()


def test_nothing_after_the_origin_counts():
    _, apart = staged()
    before = apart.predict(PANEL.values, np.array([300, 500]))
    changed = PANEL.values.copy()
    changed[501:] = -1e4
    np.testing.assert_array_equal(before, apart.predict(changed, np.array([300, 500])))
    np.testing.assert_array_equal(before[0], apart.predict(PANEL.values[:301], np.array([300]))[0])
    gaps = PANEL.values.copy()
    gaps[450:490, 0] = np.nan
    assert np.isfinite(apart.predict(gaps, np.array([500]))[0, 1]).all()
    assert apart.predict(PANEL.values, np.array([], dtype=np.int64)).shape == (0, 2, 1)
    assert apart.to_json()["name"] == "ewa-by-stage"
