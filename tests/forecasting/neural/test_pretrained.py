"""Test shipped networks and networks that start from the weights of another record."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import ForecastingError, NotEnoughDataError
from forecasting.neural.checkpoint import to_bytes
from forecasting.neural.learner import Settings
from forecasting.neural.pretrained import PLACE, STEPS, adapt, read_shipped, settle
from forecasting.neural.training import train_network
from forecasting.neural.tuning import fine_tune
from forecasting.reasons import reason_from_json
from forecasting.registry import PRETRAINED, list_networks, load, reads_stations_together
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Checkpoint, TrainingRequest
from forecasting.serving.training import train
from monitor.text.reasons import convert_reason

STEP_S = 11 * DAY_S
H = (STEP_S, 3 * STEP_S)


@pytest.fixture(scope="module")
def shipped():
    return read_shipped("pretrained-lstm")[0]


def creeping(rows, seed=0, step_s=STEP_S, stations=2):
    rng = np.random.default_rng(seed)
    moved = np.cumsum(rng.gamma(0.5, 2.0, (rows, 1)), axis=0) + rng.normal(0, 0.5, (rows, stations))
    return Panel(1.6e9, step_s, tuple("ABCDEF"[:stations]), moved)


@pytest.mark.parametrize("model", PRETRAINED)
def test_what_is_shipped_is_small_and_says_what_it_learnt(model):
    assert sum(path.stat().st_size for path in PLACE.iterdir()) <= 2_000_000
    _, card = read_shipped(model)
    assert set(card["data"]) == {"japan", "cascadia", "egms", "houston"}
    open_words = ("CC BY 4.0", "MIT", "free and open", "public domain")
    assert all(any(word in text for word in open_words) for text in card["data"].values())
    told = " ".join(card["not_shown"])
    assert all(name in told for name in ("lamosano", "outang", "baijiabao", "bowdoin"))
    assert card["training"]["seed"] == card["config"]["seed"]


def test_the_head_stands_between_the_steps_it_knows(shipped):
    panel, rows = creeping(200), np.array([150])
    known = settle(shipped, panel, split(200), [STEP_S * h for h in STEPS])
    weights = [one.network.state_dict()["head.linear.weight"] for one in (known, shipped)]
    torch.testing.assert_close(*weights)
    raw = known.network.state_dict()["head.linear.bias"].reshape(len(STEPS), -1)
    between = settle(shipped, panel, split(200), [STEP_S * 4, STEP_S * 60])
    bias = between.network.state_dict()["head.linear.bias"].reshape(2, -1)
    share = np.log(4 / 3) / np.log(5 / 3)
    torch.testing.assert_close(bias[0], (1 - share) * raw[2] + share * raw[3])
    torch.testing.assert_close(bias[1], raw[-1])
    assert np.isfinite(between.quantiles(panel.values, rows)).all()


@pytest.mark.parametrize("step_s", [3600.0, DAY_S, 30 * DAY_S])
def test_forty_rows_are_enough_whatever_their_interval_and_the_future_changes_nothing(shipped, step_s):
    parts = split(40)
    panel = creeping(48, step_s=step_s)
    later = replace(panel, values=np.where(np.arange(48)[:, None] >= 40, -1e5, panel.values))
    one, two = (adapt(shipped, p, parts, (step_s, 3 * step_s)).forecaster for p in (panel, later))
    assert to_bytes(one, "") == to_bytes(two, "")
    origins = np.arange(8, 40)
    found = one.quantiles(panel.values, origins)
    np.testing.assert_array_equal(found, one.quantiles(later.values, origins))
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()
    # twice the millimetres, twice the forecast: nothing of the records it learnt from remains in the units
    double = adapt(shipped, replace(panel, values=2 * panel.values), parts, (step_s, 3 * step_s)).forecaster
    np.testing.assert_allclose(double.quantiles(2 * panel.values, origins), 2 * found, rtol=1e-4, atol=1e-3)


@pytest.mark.soak
def test_shipped_weights_serve_forty_rows_and_others_name_the_way(tmp_path):
    request = TrainingRequest("pretrained-lstm", (*H, 30 * STEP_S), tmp_path)
    trained = train(creeping(40), request)
    assert trained.card["training"]["begun_from"] == "shipped weights"
    assert list(trained.card["dropped_horizons"]) == [f"{30 * STEP_S:.0f}"]
    assert train(creeping(40), replace(request, folder=tmp_path / "again")).model_hash == trained.model_hash
    beside = [replace(creeping(50, seed=3, step_s=30 * DAY_S), start_s=-1500 * DAY_S), creeping(8)]
    assert train(creeping(60), replace(request, horizons_s=H), replay=beside).card["training"]["replayed"] == 1
    checkpoint = Checkpoint("pretrained-lstm", trained.model_hash, trained.path)
    issue = issue_forecasts(creeping(60), H, checkpoints=[checkpoint])
    rows = [row for row in issue.rows if row.model == "pretrained-lstm"]
    assert {(row.station, row.horizon_s, row.shown) for row in rows} == {(s, h, False) for s in "AB" for h in H}
    assert {row.model for row in issue.rows if row.shown} == {"combined"}
    with pytest.raises(NotEnoughDataError, match=r"39 observations at most, 40 are needed: no network can be trained$"):
        train(creeping(39), request)
    with pytest.raises(NotEnoughDataError, match=r"161 .* 200 are needed: .* or pretrained-lstm from 40 on"):
        train(creeping(161), replace(request, model="lstm"))


def test_a_network_with_too_few_own_errors_has_no_row_and_says_why(tmp_path):
    """A training on 40 rows leaves 24 unseen. From the 35th row on 18 errors are known, and 20 are needed."""
    trained = train(creeping(40), TrainingRequest("pretrained-lstm", H, tmp_path))
    checkpoint = Checkpoint("pretrained-lstm", trained.model_hash, trained.path)
    early, late = (issue_forecasts(creeping(40).head(n), H[:1], checkpoints=[checkpoint]) for n in (35, 40))
    assert {row.model for row in early.rows} == {"combined", "persistence", "line"}
    assert {(one.model, one.station, convert_reason(one.reason)) for one in early.withheld} == {
        ("pretrained-lstm", name, "an interval at 11 d needs 20 past errors, and there are fewer") for name in "AB"
    }
    assert {row.model for row in late.rows} == {"combined", "persistence", "line", "pretrained-lstm"}
    assert not late.withheld


def test_a_network_may_begin_with_the_weights_of_another_site(tmp_path):
    days, near = (DAY_S, 7 * DAY_S), creeping(300, seed=1, step_s=DAY_S)
    asked = TrainingRequest("gru", days, tmp_path, epochs=1, stride=8)
    first = train(near, asked)
    other = creeping(260, seed=2, step_s=DAY_S, stations=3)
    earlier = replace(near, start_s=-300 * DAY_S)
    short, slow = creeping(8, step_s=DAY_S), creeping(300, step_s=30 * DAY_S)  # neither can teach these horizons
    tuned = train(other, replace(asked, start=first.path), replay=[earlier, near, short, slow])
    assert (tuned.card["training"]["begun_from"], tuned.card["training"]["replayed"]) == (first.model_hash, 1)
    alone = train(other, replace(asked, start=first.path))
    assert len({first.model_hash, tuned.model_hash, alone.model_hash}) == 3
    # rows of the time that judges the network here teach it nothing
    later = replace(near, start_s=near.start_s - 40 * DAY_S)
    ends = 40 + split(260).fit.end
    cut = replace(later, values=np.where(np.arange(300)[:, None] < ends, later.values, -1e4))
    one, two = (train(other, replace(asked, start=first.path), replay=[each]) for each in (later, cut))
    assert (one.card["training"]["replayed"], one.model_hash) == (1, two.model_hash)
    with pytest.raises(ForecastingError, match="lstm cannot start from the weights of gru"):
        train(other, replace(asked, model="lstm", start=first.path))
    with pytest.raises(ForecastingError, match="replay is for networks without drivers"):
        rain = DriverRows(("R1.rain",), ("rain",), np.ones((300, 1)))
        wet = train(replace(near, drivers=rain), replace(asked, folder=tmp_path / "wet"))
        train(other, replace(asked, start=wet.path), replay=[earlier])
    with pytest.raises(ForecastingError, match="has the horizons 1 d, 7 d"):
        train(other, replace(asked, horizons_s=days[:1], start=first.path))


@pytest.mark.soak
def test_a_network_that_goes_on_from_itself_begins_anew_where_it_no_more_fits(tmp_path):
    days, record = (DAY_S, 7 * DAY_S), creeping(240, seed=1, step_s=DAY_S)
    asked = TrainingRequest("gru", days, tmp_path, epochs=1, stride=8)
    narrow = train(record, replace(asked, horizons_s=days[:1]))
    on = replace(asked, start=narrow.path, own_start=True)
    wider = train(record, on).card
    assert (
        convert_reason(reason_from_json(wider["training"]["begun_from"]))
        == "with random weights: the gru to start from has the horizons 1 d, here they are 1 d, 7 d"
    )
    assert wider["config"]["horizons_s"] == [DAY_S, 7 * DAY_S]
    other = train(record, replace(on, own_start=False)).card
    assert other["training"]["begun_from"] == narrow.model_hash
    assert other["dropped_horizons"] == {"604800": "the network to begin with was not trained for it"}
    wet = replace(record, drivers=DriverRows(("R1.rain",), ("rain",), np.ones((240, 1))))
    on = replace(on, horizons_s=days[:1])
    rained = train(wet, on)
    assert (
        convert_reason(reason_from_json(rained.card["training"]["begun_from"]))
        == "with random weights: the gru to start from was trained with other drivers"
    )
    assert train(wet, replace(on, start=rained.path)).card["training"]["begun_from"] == rained.model_hash
    dry = train(record, replace(on, start=rained.path)).card["training"]["begun_from"]
    assert (
        convert_reason(reason_from_json(dry))
        == "with random weights: the gru to start from was trained with other drivers"
    )
    coarse = creeping(240, seed=1, step_s=DAY_S / 2)
    with pytest.raises(ForecastingError, match=r"reads a row every 1 d, this record has one every 12 h"):
        train(coarse, replace(on, own_start=False))


def test_networks_that_read_stations_together_are_listed():
    for name in list_networks():
        assert reads_stations_together(name) == load(name).needs_graph, name


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
def trained():
    panel = pulsing(20, seed=1)
    return train_network("gru", panel, split(panel.values.shape[0]), HORIZON, QUICK).forecaster


@pytest.mark.soak
def test_tuning_makes_a_new_candidate_and_leaves_the_old_one(trained):
    panel = pulsing(26, scale=5.0, seed=4)
    parts = split(panel.values.shape[0])
    old = trained
    before = {k: v.clone() for k, v in old.network.state_dict().items()}
    known = pulsing(20, seed=1)
    replay = [(known, split(known.values.shape[0]))]
    tuned = fine_tune(old, panel, parts, replace(QUICK, epochs=5), replay=replay).forecaster
    assert errors(tuned, panel, parts)[0] < 0.8 * errors(old, panel, parts)[0]
    assert all(torch.equal(v, before[k]) for k, v in old.network.state_dict().items())
    assert any(not torch.equal(v, before[k]) for k, v in tuned.network.state_dict().items())


@pytest.mark.soak
def test_replay_keeps_what_was_learnt_before(trained):
    known, fresh = pulsing(20, seed=1), pulsing(13, seed=3)
    parts, blocks = split(known.values.shape[0]), split(fresh.values.shape[0])
    settings = replace(QUICK, epochs=6)
    forgot = fine_tune(trained, fresh, blocks, settings).forecaster
    kept = fine_tune(trained, fresh, blocks, settings, replay=[(known, parts)]).forecaster

    def error_on_known(forecaster):
        return errors(replace(forecaster, recipe=trained.recipe), known, parts)[0]

    assert error_on_known(kept) < error_on_known(forgot)


@pytest.mark.soak
def test_a_record_too_short_to_tune_to_is_refused(trained):
    short = pulsing(20).head(40)
    with pytest.raises(NotEnoughDataError):
        fine_tune(trained, short, split(40), QUICK)
