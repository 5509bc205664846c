"""TrainingRequest and forecasts as a job process calls them: records in and out, checkpoints in a folder."""

import json
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from forecasting.serving.jobs import forecast_past

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import count_rows, split
from forecasting.errors import CheckpointError, HorizonError, NotEnoughDataError, UnknownModelError
from forecasting.neural.checkpoint import read
from forecasting.serving import jobs
from forecasting.serving.issue import OWN
from forecasting.serving.records import TrainingRequest
from monitor.text.reasons import convert_reason

H = [DAY_S, 7 * DAY_S]


def draw(rows=420, stations=("A", "B", "C"), seed=0):
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.gamma(0.5, 1.0, (rows, 1)), axis=0)
    values = common + rng.normal(0, 0.4, (rows, len(stations)))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[-1] = common[-1]
    return Panel(1.6e9, DAY_S, tuple(stations), values)


def train(folder, model="gru", horizons_s=H, panel=None, **more):
    asked = TrainingRequest(model, tuple(horizons_s), Path(folder), **more)
    return jobs.train(draw() if panel is None else panel, asked)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Trained once each, in whatever order the tests come."""

    @cache
    def make(kind):
        folder, told = tmp_path_factory.mktemp("models"), []
        asked = TrainingRequest(kind, tuple(H), folder, seed=7, epochs=2, stride=4)
        return jobs.train(draw(), asked, progress=lambda *a: told.append(a)), folder, told

    return make


@pytest.fixture(params=("gru", "graph-gru"))
def model(request, models):
    return models(request.param)


def test_training_writes_a_checkpoint_that_describes_itself(model):
    made, folder, told = model
    card = json.loads((folder / f"{made.model_hash}.json").read_text())
    assert card == json.loads(json.dumps(made.card))
    assert (folder / f"{made.model_hash}.safetensors").exists()
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    assert card["config"]["horizons_s"] == H
    assert card["config"]["stations"] == ["A", "B", "C"]
    assert len(told) == card["training"]["epochs"] == 2
    assert set(card["explanation"]["forecast"]["stations"]) == {"A", "B", "C"}
    assert "not a cause" in card["explanation"]["note"]


def test_a_network_forecasts_every_station(model):
    made, _, _ = model
    panel = draw()
    out = jobs.forecast(panel, made.model, H, checkpoint=made.path)
    json.dumps(out, allow_nan=False, default=asdict)
    assert not out.withheld
    assert {(r.station, r.horizon_s) for r in out.rows} == {(s, h) for s in "ABC" for h in H}
    for row in out.rows:
        assert row.q025 <= row.q10 <= row.q50 <= row.q90 <= row.q975
        assert (row.target_s, row.data_until_s) == (1.6e9 + 419 * DAY_S + row.horizon_s, 1.6e9 + 419 * DAY_S)
        assert (row.shown, row.reason) == (False, OWN), "the network alone is never what is served"
    # with the states at hand nothing is replayed and the answer is the same
    again = jobs.forecast(panel, made.model, H, checkpoint=made.path, conformal=out.conformal)
    for a, b in zip(out.rows, again.rows, strict=True):
        assert a.margins == b.margins
        for name in ("q025", "q10", "q50", "q90", "q975"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-4)


def read_own(checkpoint, panel, horizons_s):
    """A forward pass of a checkpoint by its public loading function: station and horizon to five quantiles."""
    forecaster, _ = read(checkpoint)
    seen, floors = forecaster.on_panel(panel)
    made = forecaster.quantiles(seen.values, np.array([panel.values.shape[0] - 1]), floors, seen.drivers)[0]
    at = forecaster.recipe.horizons_s
    return {(name, h): made[s, at.index(h)] for s, name in enumerate(seen.stations) for h in horizons_s}


@pytest.mark.parametrize("surge", [0.0, 400.0], ids=["steady", "a leap that no path allows"])
def test_the_row_of_a_network_is_a_forward_pass_of_its_checkpoint_with_its_interval(model, surge):
    made, _, _ = model
    panel = draw()
    panel.values[-3:] += surge
    own = read_own(made.path, panel, H)
    rows = jobs.forecast(panel, made.model, H, checkpoint=made.path).rows
    rows = [r for r in rows if r.model == made.model]
    assert {(r.station, r.horizon_s) for r in rows} == set(own)
    for row in rows:
        q025, q10, q50, q90, q975 = own[row.station, row.horizon_s]
        # margins added outwards; one that is taken away turns no interval inside out
        near, far = row.margins["0.8"], row.margins["0.95"]
        low, high = min(q10 - near, q50), max(q90 + near, q50)
        fan = min(q025 - far, low), low, q50, high, max(q975 + far, high)
        # many past issues at once and one alone are summed in another order
        assert (row.q025, row.q10, row.q50, row.q90, row.q975) == pytest.approx(fan, rel=1e-7)
        assert row.weight is None
    # it could fail: a network is not the simple forecast
    simple = {(r.station, r.horizon_s): r.q50 for r in jobs.forecast(panel, "auto", H).rows}
    assert any(simple[r.station, r.horizon_s] != r.q50 for r in rows)


def test_a_past_made_afterwards_reads_nothing_that_came_after_its_issue(tmp_path):
    """Bit for bit, of `auto` and a network; the checkpoint ends before the first issue."""
    panel, cut, last = draw(), 315, 370
    trained = train(tmp_path / "past", panel=panel.head(cut), epochs=1, stride=8)
    assert trained.card["data"]["end_s"] < panel.start_s + cut * panel.step_s
    path, other = trained.path, draw()
    other.values[last + 1 :] = np.random.default_rng(5).normal(0.0, 1e4, other.values[last + 1 :].shape)
    origins = np.arange(cut, 400, 5)
    for name in ("gru", "auto"):
        one, two = (forecast_past(p, name, H, cut, origins, path) for p in (panel, other))
        until_s = panel.start_s + last * panel.step_s
        before = [[r for r in rows if r.issued_s <= until_s] for rows in (one, two)]
        assert before[0] == before[1]
        assert len(before[0]) > 50
        assert one != two, "what is changed is read by later issues"
        assert not any(r.shown for r in one)
    own = {(r.station, r.horizon_s, r.issued_s): r.q50 for r in forecast_past(panel, "gru", H, cut, origins, path)}
    at = panel.head(351)
    for (station, horizon_s), fan in read_own(path, at, H).items():
        assert own[station, horizon_s, at.end_s] == pytest.approx(fan[2], rel=1e-7)


def test_a_stale_station_is_withheld_with_its_reason():
    panel = draw(stations=("A", "B", "C", "D"))
    values = panel.values
    values[-4:, 0] = np.nan
    values[-4, 1] = 3.0
    values[-3:, 1] = np.nan
    values[-60:-10:2, 2] = np.nan
    values[:, 3] = np.nan
    out = jobs.forecast(panel, "lld", H)
    assert ({r.station for r in out.rows}, out.rows[0].data_until_s) == ({"B", "C"}, 1.6e9 + 416 * DAY_S)
    assert all("record with gaps" in convert_reason(r.reason) for r in out.rows if r.station == "C")
    reasons = {w.station: convert_reason(w.reason) for w in out.withheld}
    assert reasons["A"] == "stale: newest observation is older than 3 intervals"
    assert (reasons["D"], len(out.withheld)) == ("stale: no observation at all", 4)


def test_too_short_a_record_gets_no_invented_interval():
    out = jobs.forecast(draw(rows=62), "lld", [60 * DAY_S])
    assert not out.rows
    assert {convert_reason(w.reason) for w in out.withheld} == {"fewer than 20 past errors at 60 d: no interval"}
    short = jobs.forecast(draw(rows=20), "lld", [DAY_S])
    assert all(convert_reason(w.reason).startswith("record too short: ") for w in short.withheld)
    assert any(convert_reason(w.reason) == "record too short: 20 of 21 rows of 1 d" for w in short.withheld)
    assert len(short.withheld) == 3


def test_a_station_that_the_network_never_saw_and_horizons_that_do_not_fit(model):
    made, _, _ = model
    horizons_s = [3600.0, DAY_S, 30 * DAY_S]
    out = jobs.forecast(draw(stations=("A", "B", "C", "Z")), made.model, horizons_s, checkpoint=made.path)
    without = {"graph-gru was trained without this station"} if made.model == "graph-gru" else set()
    assert {(r.station, r.horizon_s) for r in out.rows} == {(s, DAY_S) for s in ("ABC" if without else "ABCZ")}
    unfit = {"the horizon is shorter than the sampling interval", f"{made.model} was not trained for 30 d"}
    assert {convert_reason(w.reason) for w in out.withheld} == without | unfit


def test_wrong_requests_are_one_clear_error(tmp_path):
    with pytest.raises(UnknownModelError):
        train(tmp_path, "lld")
    with pytest.raises(UnknownModelError):
        jobs.forecast(draw(), "oracle", H)
    with pytest.raises(CheckpointError, match="needs a checkpoint"):
        jobs.forecast(draw(), "gru", H)
    with pytest.raises(NotEnoughDataError, match="200 are needed: simple forecasts only"):
        train(tmp_path, panel=draw(rows=150))
    with pytest.raises(HorizonError):
        train(tmp_path, horizons_s=[])
    with pytest.raises(NotEnoughDataError, match="no horizon can be learnt"):
        train(tmp_path, horizons_s=[60.0, 300 * DAY_S])
    assert not list(tmp_path.iterdir())


def test_a_young_state_gives_way_to_the_past_of_the_panel():
    """The first issue of a new station borrows its interval; later issues must not lose it."""
    panel = draw()
    panel.values[:-62, 1] = np.nan
    first = jobs.forecast(panel, "lld", [50 * DAY_S])
    assert "interval from the errors of all stations" in convert_reason(
        next(r for r in first.rows if r.station == "B").reason
    )
    again = jobs.forecast(panel, "lld", [50 * DAY_S], conformal=first.conformal)
    assert [r.q975 for r in again.rows] == [r.q975 for r in first.rows]


def test_a_horizon_the_record_cannot_teach_does_not_stop_the_others(tmp_path):
    made = train(tmp_path, horizons_s=[3600.0, DAY_S, 60 * DAY_S], epochs=1, stride=4)
    assert made.card["config"]["horizons_s"] == [DAY_S]
    assert made.card["dropped_horizons"] == {
        "3600": "the horizon is shorter than the sampling interval",
        "5184000": "a block of 63 d holds 3 targets 60 d ahead",
    }
    out = jobs.forecast(draw(), "gru", [DAY_S, 60 * DAY_S, 300 * DAY_S], checkpoint=made.path)
    assert {r.horizon_s for r in out.rows} == {DAY_S}
    longer, never = [next(w for w in out.withheld if w.horizon_s == days * DAY_S) for days in (60, 300)]
    assert longer.lack is not None
    assert convert_reason(longer.lack.reason) == "420 intervals of 1 d in its record; 464 are needed"
    assert longer.lack.earliest_s == draw().end_s + 44 * DAY_S
    assert convert_reason(never.reason) == "gru learns from 2000 intervals of 1 d at most: too few for 300 d ahead"
    assert never.lack is None
    card = made.card | {"data": made.card["data"] | {"rows": 2000}}  # long enough: it was kept from it by gaps
    Path(made.path).with_suffix(".json").write_text(json.dumps(card))
    out = jobs.forecast(draw(), "gru", [DAY_S, 60 * DAY_S], checkpoint=made.path)
    assert [w.lack for w in out.withheld if w.horizon_s == 60 * DAY_S] == [None] * 3


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 72, 290])
def test_a_record_of_the_rows_that_are_needed_teaches_a_horizon_and_one_row_less_does_not(steps, short):
    rows = count_rows(steps, short=short)
    for count, wanted in ((rows, set()), (rows - 1, {steps * DAY_S})):
        panel = Panel(0.0, DAY_S, ("A",), np.zeros((count, 1)))
        assert set(jobs.drop_horizons(panel, split(count), [steps * DAY_S], short=short)) == wanted


def test_simple_forecasts_load_no_heavy_library():
    """Names of networks are known, models compared and baselines made without torch, pandas or statsmodels."""
    code = (
        "import sys, numpy as np; from forecasting import registry; "
        "from forecasting.evaluation import backtest, screening; "
        "from forecasting.serving import jobs, shown; "
        "v = np.cumsum(np.ones((300, 2)), axis=0); "
        "from forecasting.data.series import Panel; p = Panel(0.0, 86400.0, ('A', 'B'), v); "
        "assert jobs.forecast(p, 'auto', [86400.0]).rows; "
        "print(sorted({'torch', 'pandas', 'statsmodels', 'scipy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
