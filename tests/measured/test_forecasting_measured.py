"""Forecasts on measured series: Cascadia GNSS and the benchmarks K and SK."""

import numpy as np
import pandas as pd
import pytest

from forecasting.data.series import DAY_S, Panel, panel_from_samples, read_long_csv
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import score_all
from forecasting.evaluation.screening import find_interpolated

pytestmark = pytest.mark.data

HORIZONS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
QUICK = {"epochs": 4, "stride": 4}
CASCADIA = ("ALBH", "BLYN", "KTBW", "P402", "P426", "SEAT")


def read_cascadia(measured, first: str, last: str) -> Panel:
    """East of six stations between two days, with plan coordinates."""
    samples, places = {}, {}
    for name in CASCADIA:
        path = measured(f"gnss-cascadia-pbo-csv/{name}.pbo.nam08.csv")
        lines = path.read_text().splitlines()
        header = next(i for i, line in enumerate(lines) if line.startswith("Date,"))
        place = next(line for line in lines if line.startswith("Reference position"))
        latitude, longitude = (float(part.split()[0]) for part in place.split(",")[1:3])
        places[name] = (111_320.0 * np.cos(np.radians(47.5)) * longitude, 110_540.0 * latitude)
        frame = pd.read_csv(path, skiprows=header, index_col=False, skipinitialspace=True)
        frame = frame[(frame["Date"] >= first) & (frame["Date"] <= last)]
        days = (pd.to_datetime(frame["Date"], utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        samples[name] = (days.to_numpy(float) + DAY_S / 2, frame["East (mm)"].to_numpy(float))
    return panel_from_samples(samples, DAY_S, xy_m=places)


def score(panel, models, **options):
    """Scores over all stations by rolling origin."""
    return [one for trial in run_trials(panel, models, HORIZONS, **options) for one in score_all(trial)]


def errors(scores, horizon_s):
    """MAE in mm by (model, variant), mean over folds."""
    keys = dict.fromkeys((s.model, s.variant) for s in scores)
    return {
        k: float(np.mean([s.mae_mm for s in scores if (s.model, s.variant) == k and s.horizon_s == horizon_s]))
        for k in keys
    }


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


@pytest.mark.slow
def test_every_network_ungated_is_no_worse_than_persistence_at_7_d(measured):
    panel = read_cascadia(measured, "2011-01-01", "2012-12-31")
    assert (panel.times_s.size, len(panel.stations)) == (731, len(CASCADIA))
    assert {"BLYN", "KTBW", "P426"} <= set(panel.stations)
    assert panel.xy_m is not None
    scores = score(panel, ["gru", "lstm", "graph-gru"], folds=1, training=QUICK)
    by_model = errors(scores, 7 * DAY_S)
    persistence = by_model["persistence", "plain"]
    for key, value in by_model.items():
        print(f"7 d {key[0]} {key[1]}: MAE {value:.3f} mm, skill {1 - value / persistence:+.3f}")
    for name in ("gru", "lstm", "graph-gru"):
        assert by_model[name, "ungated"] <= persistence
        moved = [s for s in scores if s.model == name and s.variant == "ungated"]
        assert any(s.mae_mm != t.mae_mm for s, t in zip(moved, [s for s in scores if s.model == "lld"], strict=True))
