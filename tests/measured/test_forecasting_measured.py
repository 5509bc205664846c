"""Forecasts on measured series: Cascadia GNSS and the benchmarks K and SK."""

import numpy as np
import pandas as pd
import pytest

from forecasting.data.series import DAY_S, Panel, read_long_csv
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import score_all
from forecasting.evaluation.screening import find_interpolated

pytestmark = pytest.mark.data

HORIZONS = (DAY_S, 7 * DAY_S, 30 * DAY_S)


@pytest.mark.parametrize("name", ["SK", "K"])
def test_the_benchmarks_are_read_as_they_are(measured, name):
    panel = read_long_csv(measured(f"benchmarks/{name}.csv"))
    assert panel.step_s == DAY_S
    assert (panel.times_s.size, len(panel.stations)) == {"SK": (1461, 8), "K": (1826, 24)}[name]
    frame = pd.read_csv(measured(f"benchmarks/{name}.csv"))
    assert np.isfinite(panel.values).sum() == frame["quantity"].str.startswith("displacement").sum()
    assert not find_interpolated(panel)


# Least skill of every second station of SK against persistence, mean of three folds (bars F2, F3), by model and days
# ahead. Bars of the other records and of networks on them are measured by `make bench-forecast`.
SKILL = {("lld", 7): 0.15, ("lld", 30): 0.18, ("ewa", 1): 0.07, ("ewa", 7): 0.20}


@pytest.mark.slow
def test_what_serves_without_a_network_beats_persistence_and_its_intervals_hold(measured):
    """Bars F2, F3, C1, C2 in short, by rolling origin; skill and the folds' worst stations are printed."""
    panel = read_long_csv(measured("benchmarks/SK.csv"))
    panel = Panel(panel.start_s, DAY_S, panel.stations[::2], panel.values[:, ::2])  # noqa: PD011 - of a panel
    scores = [one for trial in run_trials(panel, ["lld", "ewa"], HORIZONS) for one in score_all(trial)]
    for (model, days), bar in SKILL.items():
        mine = [s for s in scores if (s.model, s.horizon_s) == (model, days * DAY_S)]
        skill = float(np.mean([s.skill_persistence for s in mine]))
        folds = " ".join(f"{s.skill_persistence:.3f}" for s in mine)
        print(f"{model} {days} d: skill {skill:.3f} (bar {bar}), folds {folds}")
        assert len(mine) == 3
        assert skill >= bar
    for horizon_s, low, high in ((DAY_S, 0.77, 0.83), (7 * DAY_S, 0.75, 0.83), (30 * DAY_S, 0.70, 0.86)):
        mine = [s for s in scores if s.model == "lld" and s.horizon_s == horizon_s]
        cover = float(np.mean([s.coverage_80 for s in mine]))
        print(f"{horizon_s / DAY_S:g} d: 80 % holds {cover:.3f}, worst station {min(s.worst_80 for s in mine):.3f}")
        assert low <= cover <= high
