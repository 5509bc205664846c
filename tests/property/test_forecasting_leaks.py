"""No forecast knows the future, none is shown that does not beat the simple one, and no score rests on the level."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forecasting
from forecasting.data.series import DAY_S, Panel
from forecasting.decomposition.components import METHODS
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.leakage import run_decomposition_test, run_leak_test
from forecasting.evaluation.scoring import score_all
from forecasting.registry import BASELINES, NETWORKS
from forecasting.serving.gate import blend_weight, choose_shown, decide
from forecasting.serving.quantiles import NORMAL, quantile_loss
from tests.data.forecast_rows import row

SOAK = bool(os.environ.get("SLOPEWARD_SOAK"))
HORIZONS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
DEAR, YEARLY = {"auto", "ewa", "local-trend", "trend"}, {"seasonal", "climatology"}


def slopes(rows=250, stations=20, seed=3):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 0.8, (rows, stations)), axis=0) + rng.normal(0, 0.8, (rows, stations))
    values[rng.random(values.shape) < 0.05] = np.nan
    return Panel(0.0, DAY_S, tuple(f"S{i:02}" for i in range(stations)), values)


@pytest.mark.parametrize("name", sorted({*BASELINES, *(NETWORKS if SOAK else ())}))
def test_a_thousand_forecasts_do_not_move_with_their_future(name):
    count = 1000 if SOAK or name not in DEAR else 250
    panel = slopes(rows=900 if name in YEARLY else 250, stations=6 if name in NETWORKS else 20)
    (result,) = run_leak_test(panel, [name], HORIZONS[:2] if name in NETWORKS else HORIZONS, count=count)
    assert (result.forecasts >= count, result.changed, result.refits_changed) == (True, 0, 0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_forecasts_from_components_do_not_move(method):
    dear = method in {"ceemdan", "emd"}
    rows = (450 if dear else 1500) if SOAK else 60
    steps = tuple(range(1, 9 if dear else 4)) if SOAK else (1,)
    rng = np.random.default_rng(1)
    months = np.arange(rows)
    series = 8.0 * months + 30 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 10, rows)
    count = 1000 if SOAK else 5
    ((result, worth),) = run_decomposition_test(series, steps, period=12, count=count, methods=[method], seed=2)
    assert result.changed == 0
    assert result.forecasts == worth["issues"] * len(steps) >= (1000 if SOAK else 5)
    if method != "trailing":  # a trailing mean is the same whenever it is taken
        assert worth["differ"] > 0


def test_a_whole_series_decomposition_cannot_be_reached_from_a_forecast():
    """Only the leak test and pictures may ask for it."""
    root = Path(forecasting.__file__).parent
    paths = [p for p in root.rglob("*.py") if "display_whole" in p.read_text() and p.name != "components.py"]
    users = {str(path.relative_to(root)) for path in paths}
    assert users == {"evaluation/leakage.py"}


NUMBERS = st.integers(0, 10_000)


@given(seed=NUMBERS, network=st.floats(0.2, 2.0), wide=st.floats(0.3, 3.0), rows=st.integers(5, 200))
@settings(max_examples=200 if SOAK else 60, deadline=None)
def test_what_is_shown_beats_the_best_simple_forecast_and_covers(seed, network, wide, rows):
    """Rule 12: else the simple forecast is shown, and the record says why."""
    rng = np.random.default_rng(seed)
    observed = rng.normal(0, 5, (rows, 3))
    made = observed + network * rng.normal(0, 1, (rows, 3))
    best = observed + rng.normal(0, 1, (rows, 3))
    weight = blend_weight(observed, best, made)
    blend = weight * made + (1.0 - weight) * best
    own, simple = blend[..., None] + wide * network * NORMAL, best[..., None] + NORMAL
    gate = decide(observed, own, simple, weight=weight, baseline="lld", horizon="1 d")
    assert gate.reason
    if gate.shown:
        assert quantile_loss(own, observed).mean() < quantile_loss(simple, observed).mean()
        assert rows >= 30
        assert gate.coverage_80 >= 0.74
        assert gate.coverage_95 >= 0.9
    else:
        assert not gate.reason.startswith("shown")


@given(
    seed=NUMBERS,
    shown=st.lists(st.booleans(), min_size=1, max_size=4),
    simple=st.sets(st.sampled_from(sorted(BASELINES))),
)
@settings(max_examples=200 if SOAK else 60, deadline=None)
def test_a_closed_network_is_never_the_forecast(seed, shown, simple):
    """Rule 12, of what a site sees: one forecast at most, a closed network never, a simple one where there is one."""
    rng = np.random.default_rng(seed)
    rows = [row(f"n{i}", shown=s, skill=float(rng.normal()), baseline="ewa") for i, s in enumerate(shown)]
    rows += [row(name, baseline="ewa") for name in sorted(simple)]
    out = [r for r in choose_shown(rows) if r.shown]
    assert len(out) == (1 if any(shown) or simple else 0)
    for one in out:
        if one.model.startswith("n"):
            assert shown[int(one.model[1:])]
        elif "auto" in simple:
            assert one.model == "auto"
        elif "ewa" in simple:
            assert one.model == "ewa"


@given(seed=NUMBERS, shift=st.integers(-10_000, 10_000))
@settings(max_examples=10 if SOAK else 3, deadline=None)
def test_scores_rest_on_movement_not_on_the_level(seed, shift):
    """Rule 13: where the zero of a series lies changes no score."""
    panel = slopes(rows=160, stations=2, seed=seed)
    moved = Panel(0.0, DAY_S, panel.stations, panel.values + float(shift))
    one, two = (
        [s.to_json() for t in run_trials(p, ["persistence"], [DAY_S], folds=1) for s in score_all(t)]
        for p in (panel, moved)
    )
    for a, b in zip(one, two, strict=True):
        assert a["n"] == b["n"] > 0
        assert "r2" not in a
        for key in ("mae", "rmse", "skill_persistence", "coverage_80", "winkler_80"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=2e-3)
