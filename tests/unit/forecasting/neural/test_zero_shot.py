"""A pretrained forecaster from the disk is judged and served like a network, and a wrong file is one clear line."""

import pickle
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.zero_shot import UNREAD, examine_zero_shot
from forecasting.errors import CheckpointError, ForecastingError
from forecasting.neural.checkpoint import read
from forecasting.serving import jobs
from forecasting.serving.records import TrainingRequest
from monitor.domain.extras import find_zero_shot_fault
from monitor.jobs.forecasts import tasks, worker
from tests.data.forecasts.zero_shot_files import CONFIG, write_files, write_package

H = (DAY_S, 7 * DAY_S, 30 * DAY_S)
OWN = find_spec("fracast") is not None


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package that runs it, put in the place of one that may be installed."""
    monkeypatch.syspath_prepend(str(write_package(tmp_path / "site")))
    for name in [name for name in sys.modules if name.partition(".")[0] == "fracast"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "fracast"]:
        del sys.modules[name]


def creeping(rows=160, seed=0):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.gamma(0.5, 1.0, (rows, 2)), axis=0) + rng.normal(0, 0.5, (rows, 2))
    return Panel(1.6e9, DAY_S, ("A", "B"), values)


def ask(folder, place, **more):
    return TrainingRequest(examine_zero_shot(place)[0], H, folder / "models", start=place, **more)


def test_it_is_judged_like_a_network_and_named_by_its_weights(package, tmp_path):
    place = write_files(tmp_path / "weights")
    made = jobs.train(creeping(), ask(tmp_path, place))
    name = made.model
    assert name == examine_zero_shot(place / "model.safetensors")[0] == made.card["training"]["begun_from"]
    assert (name.partition(":")[0], len(name)) == ("fracast", 20)
    assert name != examine_zero_shot(write_files(tmp_path / "other", seed=1))[0]
    assert set(made.card["gates"]) == {"86400", "604800"}
    assert list(made.card["dropped_horizons"]) == ["2592000"], "it looks 12 rows ahead"
    assert all(gate["origins"] >= 10 and gate["reason"] for gate in made.card["gates"].values())
    assert made.card["parameters"] == 4 * 32 + 4 + 12 * 4 + 12
    assert jobs.train(creeping(), ask(tmp_path, place)).model_hash == made.model_hash
    (place / "model.safetensors").unlink()  # what was judged is kept beside its verdict
    out = jobs.forecast(creeping(), name, H, checkpoint=made.path)
    rows = {(r.station, r.horizon_s, r.model, r.model_hash, r.shown) for r in out.rows}
    assert rows == {(s, h, name, made.model_hash, False) for s in "AB" for h in H[:2]}
    assert {(w.horizon_s, str(w.reason)) for w in out.withheld} == {(H[2], f"{name} was not trained for 30 d")}


def test_it_knows_no_future_and_no_level_and_bridges_the_newest_gap(package, tmp_path):
    made = jobs.train(creeping(), ask(tmp_path, write_files(tmp_path / "weights")))
    forecaster, _ = read(made.path)
    values, origins = creeping().values, np.array([3, 60, 120, 140])
    found = forecaster.quantiles(values, origins)
    assert np.isnan(found[0]).all(), "four rows are too few"
    assert np.isfinite(found[1:]).all()
    assert (np.diff(found[1:], axis=-1) > 0).all()
    later = np.where(np.arange(160)[:, None] > 140, -1e6, values)
    np.testing.assert_array_equal(forecaster.quantiles(later, origins), found)
    np.testing.assert_allclose(forecaster.quantiles(values + 1e6, origins) - 1e6, found, atol=1e-3)
    values[139:141] = np.nan
    bridged = forecaster.quantiles(values, origins)[3]
    np.testing.assert_array_equal(forecaster.quantiles(values, origins)[:3], found[:3])
    assert np.isfinite(bridged).all()
    # the outermost quantiles widen as those of a normal distribution
    ratio = (found[1:, ..., 4] - found[1:, ..., 2]) / (found[1:, ..., 3] - found[1:, ..., 2])
    np.testing.assert_allclose(ratio, 1.959964 / 1.281552, rtol=1e-4)


def spoil(place, kind):
    weights = place / "model.safetensors"
    if kind == "torn":
        weights.write_bytes(weights.read_bytes()[:-40])
    elif kind == "pickle":
        weights.write_bytes(pickle.dumps({"core.weight": [1.0]}))
    elif kind == "no config":
        (place / "config.json").unlink()
    elif kind == "no JSON":
        (place / "config.json").write_text("{")
    elif kind == "a list":
        (place / "config.json").write_text("[]")
    elif kind == "other family":
        write_files(place, {"model": {"family": "chronos"}})
    elif kind == "other tensors":
        write_files(place, **{"encoder.weight": (3,)})
    elif kind == "nowhere":
        return place / "nowhere"
    return place


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("torn", "no whole safetensors file"),
        ("pickle", "no whole safetensors file"),
        ("no config", "config.json: No such file"),
        ("no JSON", "config.json: no JSON"),
        ("a list", "of another layout; known: fracast"),
        ("other family", "of another layout; known: fracast"),
        ("other tensors", "of another layout; known: fracast"),
        ("nowhere", "nowhere: No such file"),
    ],
)
def test_a_wrong_file_is_one_line_and_has_no_name(package, tmp_path, kind, line):
    place = spoil(write_files(tmp_path / "weights"), kind)
    name, fault = examine_zero_shot(place)
    assert line in fault
    assert "\n" not in fault
    assert find_zero_shot_fault(str(place)) == fault
    assert name == UNREAD
    asked = tasks.NetworkTrainingRequest(record(), ask(tmp_path, place))
    assert worker.train_forecaster(asked).refused == fault


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"head.bias": (5,)}, "its weights are not those that config.json describes"),
        ({"head.bias": ()}, "its weights are not those that config.json describes"),
    ],
)
def test_weights_that_the_package_would_not_take_are_one_line_too(package, tmp_path, change, line):
    place = write_files(tmp_path / "weights", **change)
    with pytest.raises(CheckpointError, match=line) as raised:
        jobs.train(creeping(), ask(tmp_path, place))
    assert "\n" not in str(raised.value)
    short = write_files(tmp_path / "short", {**CONFIG, "model": {**CONFIG["model"], "horizon": 0}})
    with pytest.raises(ForecastingError, match="looks 0 rows ahead"):
        jobs.train(creeping(), ask(tmp_path, short))


def test_more_series_than_it_forecasts_in_time_are_refused(package, tmp_path):
    panel = Panel(0.0, DAY_S, tuple(f"S{i:02}" for i in range(17)), np.zeros((160, 17)))
    with pytest.raises(ForecastingError, match="forecasts 16 series in time, here are 17"):
        jobs.train(panel, ask(tmp_path, write_files(tmp_path / "weights")))


def test_files_that_changed_since_the_site_file_was_read_are_refused(package, tmp_path):
    place = write_files(tmp_path / "weights")
    asked = ask(tmp_path, place)
    now = examine_zero_shot(write_files(place, seed=3))[0]
    with pytest.raises(CheckpointError, match=f"now holds {now}, not {asked.model}"):
        jobs.train(creeping(), asked)


def record():
    panel = creeping()
    times = [panel.start_s + DAY_S * row for row in range(panel.values.shape[0])]
    samples = {name: (times, panel.values[:, i].tolist()) for i, name in enumerate(panel.stations)}
    return tasks.SiteRecord(samples, DAY_S, times[-1])


def test_without_its_package_the_line_says_what_to_install(tmp_path, monkeypatch):
    place, install = write_files(tmp_path / "weights"), "pip install 'slopeward[zero-shot]'"
    asked = tasks.NetworkTrainingRequest(record(), ask(tmp_path, place))
    for name in ["fracast", *(name for name in sys.modules if name.partition(".")[0] == "fracast")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert install in worker.train_forecaster(asked).refused
    monkeypatch.setattr("monitor.domain.extras.is_installed", lambda _: False)
    assert install in (find_zero_shot_fault(str(place)) or "")


@pytest.mark.skipif(not OWN, reason="the package is not installed")
def test_the_package_itself_runs_random_weights_of_its_layout(tmp_path):
    import json

    from fracast._core.model import build_from_cfg
    from safetensors.torch import save_file

    sizes = {"d_model": 8, "W": 64, "horizon": 8, "level_widths": [64], "n_stages": 3, "head_d_ff": 8}
    head = {"head_kind": "gather", "head_future_conv": True, "future_queries": 1, "future_patch": 8}
    model = {"family": "fracast", "quantiles": [0.1, 0.5, 0.9], "head_output_mode": "direct", **sizes, **head}
    config = {"model": model, "pyramid": {"ratios": []}}
    core, head = build_from_cfg(config)
    tensors = {
        f"{name}.{key}": v for name, part in (("core", core), ("head", head)) for key, v in part.state_dict().items()
    }
    (place := tmp_path / "weights").mkdir()
    save_file(tensors, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(config))
    asked = ask(tmp_path, place)
    made = jobs.train(creeping(), replace(asked, horizons_s=H[:2]))
    out = jobs.forecast(creeping(), made.model, H[:2], checkpoint=made.path)
    assert len([r for r in out.rows if r.model == made.model]) == 4
