"""Networks that learn from some points and forecast others: nothing of the others, and nothing later, is learnt."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import NotEnoughDataError
from forecasting.evaluation import holdout
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.holdout import hold_out, train_elsewhere
from monitor.cli.main import run_verb

QUICK = {"seed": 7, "epochs": 6, "window": 20, "learning_rate": 8e-3}


def pulsing(points=60, rows=200):
    """Pulses with phases of their own: which rate follows is learnt from any of them."""
    rng = np.random.default_rng(2)
    t = np.arange(rows)[:, None]
    rate = 1.0 + np.sin(2 * np.pi * (t + rng.integers(0, 16, points)) / 16)
    values = rng.uniform(1, 5, points) * np.cumsum(rate, axis=0) + rng.normal(0, 0.1, (rows, points))
    return Panel(0.0, DAY_S, tuple(f"P{i:02}" for i in range(points)), values)


def weights(made):
    return {name: tensor.clone() for name, tensor in made.forecaster.network.state_dict().items()}


def test_points_are_parted_by_seed():
    panel = pulsing()
    learn, held = hold_out(panel, 7)
    assert set(learn.stations) | set(held.stations) == set(panel.stations)
    assert not set(learn.stations) & set(held.stations)
    assert len(learn.stations) == 30
    assert np.array_equal(held.values[:, 0], panel.values[:, panel.stations.index(held.stations[0])])
    assert hold_out(panel, 7)[0].stations == learn.stations
    assert hold_out(panel, 8)[0].stations != learn.stations
    with pytest.raises(NotEnoughDataError, match="40 are needed"):
        hold_out(pulsing(points=30), 7)


def test_no_weight_sees_the_other_points_nor_the_test():
    learn, held = hold_out(pulsing(), 7)
    parts = split(200, 160)
    first = weights(train_elsewhere("mlp", learn, held, parts, (DAY_S,), QUICK))
    changed = learn.values.copy()
    changed[160:] += 1000.0
    learn, held = replace(learn, values=changed), replace(held, values=held.values * 2)
    again = train_elsewhere("mlp", learn, held, parts, (DAY_S,), QUICK)
    assert all((tensor == first[name]).all() for name, tensor in weights(again).items())


def test_what_was_learnt_elsewhere_serves(monkeypatch):
    monkeypatch.setattr(holdout, "COLUMNS", 16)  # two pieces
    learn, held = hold_out(pulsing(), 7)
    trials = list(run_trials(held, ["mlp"], [4 * DAY_S], folds=1, training=QUICK, learn=learn))
    by = {(a.model, a.variant): np.nanmean(np.abs(a.point - trials[0].observed)) for a in trials[0].answers}
    assert by["mlp", "ungated"] < 0.7 * by["lld", "plain"]


def test_by_the_command(tmp_path, capsys):
    panel = pulsing(points=44, rows=150)
    lines = ["time,station,quantity,value"]
    for row in range(150):
        day = np.datetime64("2024-01-01") + row
        values = zip(panel.stations, panel.values[row], strict=True)
        lines += [f"{day}T00:00:00Z,{name},displacement,{value:.4f}" for name, value in values]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines) + "\n")
    config = tmp_path / "points.toml"
    config.write_text('[backtest]\nmodels = ["mlp"]\nhorizons = ["1d"]\nfolds = 1\nwindow = 20\n')
    words = ["forecast", "backtest", "--data", str(path), "--config", str(config)]
    assert run_verb([*words, "--by", "all", "--holdout", "points+time", "--json"]) == 0
    said = capsys.readouterr()
    assert "22 points to learn from, 22 others are forecast" in said.err
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert {"persistence", "drift", "lld", "mlp", "gated"} <= {r["model"] for r in rows}
    assert run_verb([*words, "--holdout", "points"]) == 2
