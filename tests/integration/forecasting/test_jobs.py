"""The lane as a job process calls it: plain data in, plain data out, through a folder."""

import json
import subprocess
import sys

import numpy as np
import pytest

from forecasting.data.series import DAY_S
from forecasting.errors import CheckpointError, ForecastingError, HorizonError, NotEnoughDataError, UnknownModelError
from forecasting.registry import BASELINES
from forecasting.serving import jobs
from forecasting.serving.gate import choose_shown

H = [DAY_S, 7 * DAY_S]


def payload(rows=420, stations=("A", "B", "C"), seed=0):
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.gamma(0.5, 1.0, (rows, 1)), axis=0)
    values = common + rng.normal(0, 0.4, (rows, len(stations)))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[-1] = common[-1]
    lists = [[None if np.isnan(v) else float(v) for v in row] for row in values]
    return {"start_s": 1.6e9, "step_s": DAY_S, "stations": list(stations), "values": lists, "xy_m": None}


@pytest.fixture(scope="module", params=("gru", "lstm", "graph-gru"))
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    told = []
    made = jobs.train(
        {
            "panel": payload(),
            "model": request.param,
            "horizons_s": H,
            "seed": 7,
            "epochs": 2,
            "stride": 4,
            "folder": str(folder),
        },
        progress=lambda *a: told.append(a),
    )
    return made, folder, told


def test_training_writes_a_checkpoint_that_describes_itself(model):
    made, folder, told = model
    card = json.loads((folder / f"{made['model_hash']}.json").read_text())
    assert card == json.loads(json.dumps(made["card"]))
    assert (folder / f"{made['model_hash']}.safetensors").exists()
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    assert set(card["gates"]) == {"86400", "604800"}
    for gate in card["gates"].values():
        assert gate["reason"]
        assert gate["weight"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert card["config"]["stations"] == ["A", "B", "C"]
    assert set(card["baselines"]["calibration_mae_mm"]) == set(BASELINES) - {"auto"}
    assert len(told) == card["training"]["epochs"] == 2
    assert set(card["explanation"]["forecast"]["stations"]) == {"A", "B", "C"}
    assert "not a cause" in card["explanation"]["note"]


@pytest.mark.parametrize("model", ["gru"], indirect=True)  # of every network: test_forecasting_networks
def test_training_again_gives_the_same_hash(model, tmp_path):
    made, _, _ = model
    again = jobs.train(
        {"panel": payload(), "model": made["model"], "horizons_s": H, "epochs": 2, "stride": 4, "folder": tmp_path}
    )
    assert again["model_hash"] == made["model_hash"]


def test_a_network_forecasts_every_station(model):
    made, _, _ = model
    panel = payload()
    out = jobs.forecast({"panel": panel, "model": made["model"], "checkpoint": made["path"], "horizons_s": H})
    json.dumps(out, allow_nan=False)
    assert not out["withheld"]
    assert {(r["station"], r["horizon_s"]) for r in out["rows"]} == {(s, h) for s in "ABC" for h in H}
    for row in out["rows"]:
        assert row["q025"] <= row["q10"] <= row["q50"] <= row["q90"] <= row["q975"]
        assert row["target_s"] == 1.6e9 + 419 * DAY_S + row["horizon_s"]
        assert row["data_until_s"] == 1.6e9 + 419 * DAY_S
        gate = made["card"]["gates"][str(int(row["horizon_s"]))]
        assert (row["shown"], row["reason"]) == (gate["shown"], gate["reason"])
    # with the states at hand nothing is replayed and the answer is the same
    again = jobs.forecast(
        {
            "panel": panel,
            "model": made["model"],
            "checkpoint": made["path"],
            "horizons_s": H,
            "conformal": out["conformal"],
        }
    )
    for a, b in zip(out["rows"], again["rows"], strict=True):
        assert a["margins"] == b["margins"]
        for name in ("q025", "q10", "q50", "q90", "q975"):
            assert a[name] == pytest.approx(b[name], abs=1e-4)


def test_an_ungated_forecast_is_the_networks_own(model):
    made, _, _ = model
    ask = {"panel": payload(), "model": made["model"], "checkpoint": made["path"], "horizons_s": H}
    own = jobs.forecast(ask | {"ungated": True})["rows"]
    gated = jobs.forecast(ask)["rows"]
    weights = {float(h): g["weight"] for h, g in made["card"]["gates"].items()}
    assert any(a["q50"] != b["q50"] for a, b in zip(own, gated, strict=True)) == any(w < 1 for w in weights.values())


@pytest.mark.parametrize("name", ["persistence", "auto"])
def test_simple_forecasts_need_no_checkpoint(name):
    out = jobs.forecast({"panel": payload(), "model": name, "checkpoint": None, "horizons_s": H, "conformal": {}})
    assert len(out["rows"]) == 6
    for row in out["rows"]:
        assert row["q025"] < row["q10"] < row["q50"] < row["q90"] < row["q975"]
        assert row["model_hash"] is None
        assert row["shown"]
    if name == "persistence":
        assert out["rows"][0]["q50"] == payload()["values"][-1][0]


def test_one_forecast_is_shown_per_station_and_horizon(model):
    made, _, _ = model
    rows = []
    for name in ("persistence", "lld", "auto"):
        rows += jobs.forecast({"panel": payload(), "model": name, "horizons_s": H})["rows"]
    rows += jobs.forecast({"panel": payload(), "model": made["model"], "checkpoint": made["path"], "horizons_s": H})[
        "rows"
    ]
    out = choose_shown(rows, {made["model"]: made["card"]["gates"]})
    keys = [(r["station"], r["horizon_s"]) for r in out if r["shown"]]
    assert len(keys) == len(set(keys)) == 6


def test_a_stale_station_is_withheld_with_its_reason():
    panel = payload(stations=("A", "B", "C", "D"))
    values = panel["values"]
    for row in values[-4:]:
        row[0] = None
    values[-4][1] = 3.0
    for row in values[-3:]:
        row[1] = None
    for row in values[-60:-10:2]:
        row[2] = None
    for row in values:
        row[3] = None
    out = jobs.forecast({"panel": panel, "model": "lld", "horizons_s": H})
    assert {r["station"] for r in out["rows"]} == {"B"}
    assert out["rows"][0]["data_until_s"] == 1.6e9 + 416 * DAY_S
    reasons = {w["station"]: w["reason"] for w in out["withheld"]}
    assert reasons["A"] == "stale: newest observation is older than 3 intervals"
    assert reasons["C"].startswith("gaps: ")
    assert reasons["D"] == "stale: no observation at all"
    assert len(out["withheld"]) == 6


def test_too_short_a_record_gets_no_invented_interval():
    panel = payload(rows=62)
    out = jobs.forecast({"panel": panel, "model": "lld", "horizons_s": [60 * DAY_S]})
    assert not out["rows"]
    assert {w["reason"] for w in out["withheld"]} == {"fewer than 20 past errors at 60 d: no interval"}
    short = jobs.forecast({"panel": payload(rows=20), "model": "lld", "horizons_s": [DAY_S]})
    assert all(w["reason"].startswith("record too short: ") for w in short["withheld"])
    assert any(w["reason"] == "record too short: 20 of 42 rows of 1 d" for w in short["withheld"])
    assert len(short["withheld"]) == 3


def test_horizons_that_do_not_fit_are_withheld(model):
    made, _, _ = model
    out = jobs.forecast(
        {
            "panel": payload(),
            "model": made["model"],
            "checkpoint": made["path"],
            "horizons_s": [3600.0, DAY_S, 30 * DAY_S],
        }
    )
    assert {r["horizon_s"] for r in out["rows"]} == {DAY_S}
    assert {w["reason"] for w in out["withheld"]} == {
        "the horizon is shorter than the sampling interval",
        f"{made['model']} was not trained for 30 d",
    }


def test_a_station_the_network_never_saw(model):
    made, _, _ = model
    panel = payload(stations=("A", "B", "C", "Z"))
    out = jobs.forecast({"panel": panel, "model": made["model"], "checkpoint": made["path"], "horizons_s": [DAY_S]})
    served = {r["station"] for r in out["rows"]}
    if made["model"] == "graph-gru":
        assert served == {"A", "B", "C"}
        assert out["withheld"][0]["reason"] == "graph-gru was trained without this station"
    else:
        assert served == {"A", "B", "C", "Z"}


def test_feedback_moves_the_state():
    out = jobs.forecast({"panel": payload(), "model": "lld", "horizons_s": [DAY_S]})
    row = out["rows"][0]
    hit = jobs.feedback(row, row["q50"], out["conformal"])
    miss = jobs.feedback(row, row["q975"] + 50.0, out["conformal"])
    key = "A|86400|0.8"
    assert set(hit) == {key, "A|86400|0.95"}
    assert hit[key]["alpha"] > out["conformal"][key]["alpha"] > miss[key]["alpha"]
    assert miss[key]["scores"][-1] == pytest.approx(row["q975"] + 50.0 - row["q50"])
    assert hit[key]["scores"][-1] == pytest.approx(0.0)
    again = jobs.forecast(
        {"panel": payload(), "model": "lld", "horizons_s": [DAY_S], "conformal": out["conformal"] | miss}
    )
    assert again["rows"][0]["q975"] >= row["q975"]


def test_wrong_requests_are_one_clear_error(tmp_path):
    ask = {"panel": payload(), "horizons_s": H, "folder": tmp_path}
    with pytest.raises(UnknownModelError):
        jobs.train(ask | {"model": "lld"})
    with pytest.raises(UnknownModelError):
        jobs.forecast(ask | {"model": "oracle"})
    with pytest.raises(CheckpointError, match="needs a checkpoint"):
        jobs.forecast(ask | {"model": "gru"})
    with pytest.raises(NotEnoughDataError, match="200 are needed: simple forecasts only"):
        jobs.train(ask | {"model": "gru", "panel": payload(rows=150)})
    with pytest.raises(HorizonError):
        jobs.train(ask | {"model": "gru", "horizons_s": []})
    with pytest.raises(NotEnoughDataError, match="no horizon can be learnt"):
        jobs.train(ask | {"model": "gru", "horizons_s": [60.0, 300 * DAY_S]})
    with pytest.raises(ForecastingError):
        jobs.forecast({"panel": {}, "model": "lld", "horizons_s": H})
    assert not list(tmp_path.iterdir())


def test_a_young_state_gives_way_to_the_past_of_the_panel():
    """The first issue of a new station borrows its interval; later issues must not lose it."""
    panel = payload()
    for row in panel["values"][:-62]:
        row[1] = None
    ask = {"panel": panel, "model": "lld", "horizons_s": [50 * DAY_S]}
    first = jobs.forecast(ask)
    row = next(r for r in first["rows"] if r["station"] == "B")
    assert "interval from the errors of all stations" in row["reason"]
    again = jobs.forecast(ask | {"conformal": first["conformal"]})
    assert [r["q975"] for r in again["rows"]] == [r["q975"] for r in first["rows"]]


def test_a_horizon_the_record_cannot_teach_does_not_stop_the_others(tmp_path):
    made = jobs.train(
        {
            "panel": payload(),
            "model": "gru",
            "horizons_s": [3600.0, DAY_S, 60 * DAY_S],
            "epochs": 1,
            "stride": 4,
            "folder": tmp_path,
        }
    )
    assert set(made["card"]["gates"]) == {"86400"}
    assert made["card"]["dropped_horizons"] == {
        "3600": "the horizon is shorter than the sampling interval",
        "5184000": "a block of 63 d holds 3 targets 60 d ahead",
    }
    out = jobs.forecast(
        {"panel": payload(), "model": "gru", "checkpoint": made["path"], "horizons_s": [DAY_S, 60 * DAY_S]}
    )
    assert {r["horizon_s"] for r in out["rows"]} == {DAY_S}


def test_simple_forecasts_load_no_heavy_library():
    """Names of networks are known, models compared and baselines made without torch, pandas or statsmodels."""
    code = (
        "import sys, numpy as np; from forecasting import registry; "
        "from forecasting.evaluation import backtest, screening; "
        "from forecasting.serving import gate, jobs; "
        "v = np.cumsum(np.ones((300, 2)), axis=0); "
        "p = {'start_s': 0, 'step_s': 86400, 'stations': ['A', 'B'], 'values': v}; "
        "assert jobs.forecast({'panel': p, 'model': 'auto', 'horizons_s': [86400]})['rows']; "
        "print(sorted({'torch', 'pandas', 'statsmodels', 'scipy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
