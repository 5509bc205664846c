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


def score(panel, models, **options):
    """Scores over all stations by rolling origin."""
    return [one for trial in run_trials(panel, models, HORIZONS, **options) for one in score_all(trial)]


@pytest.mark.parametrize("name", ["SK", "K"])
def test_the_benchmarks_are_read_as_they_are(measured, name):
    panel = read_long_csv(measured(f"benchmarks/{name}.csv"))
    assert panel.step_s == DAY_S
    assert (panel.times_s.size, len(panel.stations)) == {"SK": (1461, 8), "K": (1826, 24)}[name]
    frame = pd.read_csv(measured(f"benchmarks/{name}.csv"))
    assert np.isfinite(panel.values).sum() == frame["quantity"].str.startswith("displacement").sum()
    assert not find_interpolated(panel)


def test_outang_is_seen_as_interpolated(measured):
    frame = pd.read_csv(measured("outang/monitoring_data.csv"))
    columns = [name for name in frame.columns if name.endswith("/mm") and not name.startswith("Rain")]
    panel = Panel(0.0, DAY_S, tuple(sorted(columns)), frame[sorted(columns)].to_numpy(float))
    found = find_interpolated(panel)
    assert len(found) >= 7
    print("\n".join(item.text for item in found))


# Least skill of SK against persistence, mean of three folds (bars F2, F3), by model and days ahead. Bars of the other
# records and of networks on them are measured by `make bench-forecast`.
SKILL = {("lld", 7): 0.15, ("lld", 30): 0.18, ("ewa", 1): 0.07, ("ewa", 7): 0.20}


@pytest.mark.slow
def test_what_serves_without_a_network_beats_persistence_and_its_intervals_hold(measured):
    """Bars F2, F3, C1, C2 in short, by rolling origin; skill and the folds' worst stations are printed."""
    scores = score(read_long_csv(measured("benchmarks/SK.csv")), ["lld", "ewa"])
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
