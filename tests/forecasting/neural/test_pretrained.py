"""Shipped networks, and networks whose training starts from the weights of another network."""

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
HORIZONS_S = (STEP_S, 3 * STEP_S)


@pytest.fixture(scope="module")
def shipped():
    return read_shipped("pretrained-lstm")[0]


def make_creeping_panel(rows, seed=0, step_s=STEP_S, stations=2):
    """Return a panel whose stations creep together, with noise of 0.5 mm."""
    rng = np.random.default_rng(seed)
    displacement_mm = np.cumsum(rng.gamma(0.5, 2.0, (rows, 1)), axis=0) + rng.normal(0, 0.5, (rows, stations))
    return Panel(1.6e9, step_s, tuple("ABCDEF"[:stations]), displacement_mm)


@pytest.mark.parametrize("model", PRETRAINED)
def test_shipped_weights_are_small_and_name_their_training_data(model):
    assert sum(path.stat().st_size for path in PLACE.iterdir()) <= 2_000_000
    _, card = read_shipped(model)
    assert set(card["data"]) == {"japan", "cascadia", "egms", "houston"}
    open_licences = ("CC BY 4.0", "MIT", "free and open", "public domain")
    assert all(any(licence in text for licence in open_licences) for text in card["data"].values())
    excluded_records = " ".join(card["not_shown"])
    assert all(name in excluded_records for name in ("lamosano", "outang", "baijiabao", "bowdoin"))
    assert card["training"]["seed"] == card["config"]["seed"]


def test_head_is_interpolated_between_trained_lead_times(shipped):
    panel = make_creeping_panel(200)
    trained = settle(shipped, panel, split(200), [STEP_S * h for h in STEPS])
    weights = [forecaster.network.state_dict()["head.linear.weight"] for forecaster in (trained, shipped)]
    torch.testing.assert_close(*weights)
    trained_bias = trained.network.state_dict()["head.linear.bias"].reshape(len(STEPS), -1)
    between = settle(shipped, panel, split(200), [STEP_S * 4, STEP_S * 60])
    bias = between.network.state_dict()["head.linear.bias"].reshape(2, -1)
    # A lead time of 4 rows is between those of 3 and 5 rows. The interpolation is linear in the logarithm.
    lower = STEPS.index(3)
    upper = STEPS.index(5)
    share = np.log(4 / 3) / np.log(5 / 3)
    torch.testing.assert_close(bias[0], (1 - share) * trained_bias[lower] + share * trained_bias[upper])
    torch.testing.assert_close(bias[1], trained_bias[-1])
    assert np.isfinite(between.quantiles(panel.values, np.array([150]))).all()


@pytest.mark.parametrize("step_s", [3600.0, DAY_S, 30 * DAY_S])
def test_forty_rows_are_enough_to_adapt_and_later_rows_are_ignored(shipped, step_s):
    parts = split(40)
    panel = make_creeping_panel(48, step_s=step_s)
    changed_later = replace(panel, values=np.where(np.arange(48)[:, None] >= 40, -1e5, panel.values))
    horizons_s = (step_s, 3 * step_s)
    forecaster = adapt(shipped, panel, parts, horizons_s).forecaster
    assert to_bytes(forecaster, "") == to_bytes(adapt(shipped, changed_later, parts, horizons_s).forecaster, "")
    origins = np.arange(8, 40)
    quantiles = forecaster.quantiles(panel.values, origins)
    np.testing.assert_array_equal(quantiles, forecaster.quantiles(changed_later.values, origins))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    # A record with twice the displacement has twice the forecast: the weights do not depend on the size of motion.
    double = adapt(shipped, replace(panel, values=2 * panel.values), parts, horizons_s).forecaster
    np.testing.assert_allclose(double.quantiles(2 * panel.values, origins), 2 * quantiles, rtol=1e-4, atol=1e-3)


@pytest.mark.soak
def test_pretrained_network_trains_on_forty_rows_and_errors_name_the_minimum(tmp_path):
    request = TrainingRequest("pretrained-lstm", (*HORIZONS_S, 30 * STEP_S), tmp_path)
    trained = train(make_creeping_panel(40), request)
    assert trained.card["training"]["begun_from"] == "shipped weights"
    assert list(trained.card["dropped_horizons"]) == [f"{30 * STEP_S:.0f}"]
    assert train(make_creeping_panel(40), replace(request, folder=tmp_path / "again")).model_hash == trained.model_hash
    other_records = [
        replace(make_creeping_panel(50, seed=3, step_s=30 * DAY_S), start_s=-1500 * DAY_S),
        make_creeping_panel(8),
    ]
    # Only the first record is replayed: eight rows are too few to learn these horizons.
    card = train(make_creeping_panel(60), replace(request, horizons_s=HORIZONS_S), replay=other_records).card
    assert card["training"]["replayed"] == 1
    checkpoint = Checkpoint("pretrained-lstm", trained.model_hash, trained.path)
    issue = issue_forecasts(make_creeping_panel(60), HORIZONS_S, checkpoints=[checkpoint])
    rows = [row for row in issue.rows if row.model == "pretrained-lstm"]
    assert {(row.station, row.horizon_s, row.shown) for row in rows} == {
        (s, h, False) for s in "AB" for h in HORIZONS_S
    }
    assert {row.model for row in issue.rows if row.shown} == {"combined"}
    few = r"no station has readings in more than 39 rows of 11 d, 40 rows are needed \(440 d without gaps\)$"
    with pytest.raises(NotEnoughDataError, match=few):
        train(make_creeping_panel(39), request)
    with pytest.raises(
        NotEnoughDataError, match=r"161 rows .* 200 rows are needed .*; pretrained-lstm needs 40 rows of 11 d"
    ):
        train(make_creeping_panel(161), replace(request, model="lstm"))


def test_network_with_too_few_errors_is_withheld_with_a_reason(tmp_path):
    """The training leaves 24 of 40 rows for errors. At the 35th row 18 errors are known, and an interval needs 20."""
    trained = train(make_creeping_panel(40), TrainingRequest("pretrained-lstm", HORIZONS_S, tmp_path))
    checkpoint = Checkpoint("pretrained-lstm", trained.model_hash, trained.path)
    early, late = (
        issue_forecasts(make_creeping_panel(40).head(n), HORIZONS_S[:1], checkpoints=[checkpoint]) for n in (35, 40)
    )
    assert {row.model for row in early.rows} == {"combined", "persistence", "line"}
    assert {(row.model, row.station, convert_reason(row.reason)) for row in early.withheld} == {
        ("pretrained-lstm", name, "an interval at 11 d needs 20 past errors, and there are fewer") for name in "AB"
    }
    assert {row.model for row in late.rows} == {"combined", "persistence", "line", "pretrained-lstm"}
    assert not late.withheld


def test_training_starts_from_the_weights_of_another_site(tmp_path):
    horizons_s = (DAY_S, 7 * DAY_S)
    near = make_creeping_panel(300, seed=1, step_s=DAY_S)
    request = TrainingRequest("gru", horizons_s, tmp_path, epochs=1, stride=8)
    first = train(near, request)
    other = make_creeping_panel(260, seed=2, step_s=DAY_S, stations=3)
    earlier = replace(near, start_s=-300 * DAY_S)
    # The horizons cannot be learned from these two records.
    short = make_creeping_panel(8, step_s=DAY_S)
    slow = make_creeping_panel(300, step_s=30 * DAY_S)
    tuned = train(other, replace(request, start=first.path), replay=[earlier, near, short, slow])
    assert (tuned.card["training"]["begun_from"], tuned.card["training"]["replayed"]) == (first.model_hash, 1)
    without_replay = train(other, replace(request, start=first.path))
    assert len({first.model_hash, tuned.model_hash, without_replay.model_hash}) == 3
    # Replayed rows of the time in which the network is scored are not used for training.
    later = replace(near, start_s=near.start_s - 40 * DAY_S)
    ends = 40 + split(260).fit.end
    cut = replace(later, values=np.where(np.arange(300)[:, None] < ends, later.values, -1e4))
    with_later = train(other, replace(request, start=first.path), replay=[later])
    with_cut = train(other, replace(request, start=first.path), replay=[cut])
    assert with_later.card["training"]["replayed"] == 1
    assert with_later.model_hash == with_cut.model_hash
    with pytest.raises(ForecastingError, match="lstm cannot start from the weights of gru"):
        train(other, replace(request, model="lstm", start=first.path))
    rain = DriverRows(("R1.rain",), ("rain",), np.ones((300, 1)))
    wet = train(replace(near, drivers=rain), replace(request, folder=tmp_path / "wet"))
    with pytest.raises(ForecastingError, match="replay is for networks without drivers"):
        train(other, replace(request, start=wet.path), replay=[earlier])
    with pytest.raises(ForecastingError, match="has the horizons 1 d, 7 d"):
        train(other, replace(request, horizons_s=horizons_s[:1], start=first.path))


@pytest.mark.soak
def test_retraining_starts_from_random_weights_if_the_network_does_not_fit(tmp_path):
    horizons_s = (DAY_S, 7 * DAY_S)
    record = make_creeping_panel(240, seed=1, step_s=DAY_S)
    request = TrainingRequest("gru", horizons_s, tmp_path, epochs=1, stride=8)
    narrow = train(record, replace(request, horizons_s=horizons_s[:1]))
    retraining = replace(request, start=narrow.path, own_start=True)
    wider = train(record, retraining).card
    assert (
        convert_reason(reason_from_json(wider["training"]["begun_from"]))
        == "with random weights: the gru to start from has the horizons 1 d, here they are 1 d, 7 d"
    )
    assert wider["config"]["horizons_s"] == [DAY_S, 7 * DAY_S]
    other = train(record, replace(retraining, own_start=False)).card
    assert other["training"]["begun_from"] == narrow.model_hash
    assert other["dropped_horizons"] == {"604800": "the network to begin with was not trained for it"}
    wet = replace(record, drivers=DriverRows(("R1.rain",), ("rain",), np.ones((240, 1))))
    retraining = replace(retraining, horizons_s=horizons_s[:1])
    trained_with_rain = train(wet, retraining)
    assert (
        convert_reason(reason_from_json(trained_with_rain.card["training"]["begun_from"]))
        == "with random weights: the gru to start from was trained with other drivers"
    )
    assert (
        train(wet, replace(retraining, start=trained_with_rain.path)).card["training"]["begun_from"]
        == trained_with_rain.model_hash
    )
    dry = train(record, replace(retraining, start=trained_with_rain.path)).card["training"]["begun_from"]
    assert (
        convert_reason(reason_from_json(dry))
        == "with random weights: the gru to start from was trained with other drivers"
    )
    coarse = make_creeping_panel(240, seed=1, step_s=DAY_S / 2)
    with pytest.raises(ForecastingError, match=r"reads a row every 1 d, this record has one every 12 h"):
        train(coarse, replace(retraining, own_start=False))


def test_registry_states_which_networks_read_stations_together():
    for name in list_networks():
        assert reads_stations_together(name) == load(name).needs_graph, name


WEEK_HORIZONS_S = (7 * DAY_S,)
QUICK_SETTINGS = Settings(epochs=8, learning_rate=8e-3, batch=8, dropout=0.0, patience=14, window=26)


def make_pulsing_panel(period, rows=420, scale=1.0, seed=5):
    """Return a panel of three stations whose velocity rises and falls with a period in rows."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    velocity = 1.0 + np.sin(2 * np.pi * (t + np.arange(3) * 4) / period)
    values = scale * (np.cumsum(velocity, axis=0) + rng.normal(0, 0.1, (rows, 3)))
    return Panel(0.0, DAY_S, ("A", "B", "C"), values)


def measure_errors(forecaster, panel, parts):
    """Return the mean errors of the network and of its simple forecast on the calibration block."""
    origins = parts.calibration.origins
    observed = parts.calibration.targets(panel.values, origins, 7)
    network = np.abs(forecaster.quantiles(panel.values, origins)[:, :, 0, 2] - observed)
    simple = np.abs(forecaster.recipe.base.predict(panel.values, origins)[:, :, 0] - observed)
    return np.nanmean(network), np.nanmean(simple)


@pytest.fixture(scope="module")
def pulsing_gru():
    panel = make_pulsing_panel(20, seed=1)
    return train_network("gru", panel, split(panel.values.shape[0]), WEEK_HORIZONS_S, QUICK_SETTINGS).forecaster


@pytest.mark.soak
def test_tuning_returns_a_better_network_and_does_not_change_the_old_one(pulsing_gru):
    panel = make_pulsing_panel(26, scale=5.0, seed=4)
    parts = split(panel.values.shape[0])
    weights_before = {name: values.clone() for name, values in pulsing_gru.network.state_dict().items()}
    earlier_record = make_pulsing_panel(20, seed=1)
    replay = [(earlier_record, split(earlier_record.values.shape[0]))]
    tuned = fine_tune(pulsing_gru, panel, parts, replace(QUICK_SETTINGS, epochs=5), replay=replay).forecaster
    assert measure_errors(tuned, panel, parts)[0] < 0.8 * measure_errors(pulsing_gru, panel, parts)[0]
    assert all(torch.equal(values, weights_before[name]) for name, values in pulsing_gru.network.state_dict().items())
    assert any(not torch.equal(values, weights_before[name]) for name, values in tuned.network.state_dict().items())


@pytest.mark.soak
def test_replay_limits_the_error_on_the_earlier_record(pulsing_gru):
    earlier = make_pulsing_panel(20, seed=1)
    newer = make_pulsing_panel(13, seed=3)
    earlier_parts = split(earlier.values.shape[0])
    newer_parts = split(newer.values.shape[0])
    settings = replace(QUICK_SETTINGS, epochs=6)
    without_replay = fine_tune(pulsing_gru, newer, newer_parts, settings).forecaster
    with_replay = fine_tune(pulsing_gru, newer, newer_parts, settings, replay=[(earlier, earlier_parts)]).forecaster

    def measure_earlier_error(forecaster):
        # Tuning fits the simple forecast to the newer record. Only the networks are compared here, so both use the
        # simple forecast of the earlier record.
        return measure_errors(replace(forecaster, recipe=pulsing_gru.recipe), earlier, earlier_parts)[0]

    assert measure_earlier_error(with_replay) < measure_earlier_error(without_replay)


@pytest.mark.soak
def test_tuning_to_a_short_record_is_rejected(pulsing_gru):
    short = make_pulsing_panel(20).head(40)
    with pytest.raises(NotEnoughDataError):
        fine_tune(pulsing_gru, short, split(40), QUICK_SETTINGS)
