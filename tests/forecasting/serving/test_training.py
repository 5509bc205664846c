"""Training of networks as a job calls it: records in, checkpoints in a folder, and rows of the trained network."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import count_rows, split
from forecasting.errors import ForecastingError, HorizonError, NotEnoughDataError, UnknownModelError
from forecasting.neural.checkpoint import read
from forecasting.serving.hindcast import forecast_past
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Checkpoint, Trained, TrainingRequest
from forecasting.serving.training import drop_horizons, train
from monitor.text.reasons import convert_reason

HORIZONS_S = (DAY_S, 7 * DAY_S)
Progress = list[tuple[int, int, float]]


def draw(rows: int = 420, stations: Sequence[str] = ("A", "B", "C"), seed: int = 0) -> Panel:
    """Draw stations that follow one motion, with noise and gaps; the newest row is complete."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.gamma(0.5, 1.0, (rows, 1)), axis=0)
    values = common + rng.normal(0, 0.4, (rows, len(stations)))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[-1] = common[-1]
    return Panel(1.6e9, DAY_S, tuple(stations), values)


def train_quickly(
    folder: Path,
    model: str = "gru",
    horizons_s: Sequence[float] = HORIZONS_S,
    panel: Panel | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Trained:
    request = TrainingRequest(model, tuple(horizons_s), folder, **({"epochs": 1, "stride": 8} | settings))
    told = None if progress is None else lambda *epoch: progress.append(epoch)
    return train(draw() if panel is None else panel, request, told)


def make_checkpoint(trained: Trained) -> Checkpoint:
    return Checkpoint(trained.model, trained.model_hash, trained.path)


@pytest.fixture(scope="module")
def train_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Trained, Path, Progress]]:
    @cache
    def make(model: str) -> tuple[Trained, Path, Progress]:
        folder, progress = tmp_path_factory.mktemp("models"), Progress()
        return train_quickly(folder, model, progress=progress, seed=7, epochs=2), folder, progress

    return make


@pytest.fixture(params=("gru", "graph-gru"))
def model(request, train_once) -> tuple[Trained, Path, Progress]:
    return train_once(request.param)


@pytest.mark.soak
def test_training_writes_a_checkpoint_that_describes_itself(model) -> None:
    trained, folder, progress = model
    card = json.loads((folder / f"{trained.model_hash}.json").read_text())
    assert card == json.loads(json.dumps(trained.card))
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{trained.model_hash}.json",
        f"{trained.model_hash}.safetensors",
    ]
    assert card["config"]["horizons_s"] == list(HORIZONS_S)
    assert card["config"]["stations"] == ["A", "B", "C"]
    assert len(progress) == card["training"]["epochs"] == 2
    assert set(card["explanation"]["forecast"]["stations"]) == {"A", "B", "C"}
    assert "not a cause" in card["explanation"]["note"]


def read_own(checkpoint: str, panel: Panel) -> dict[tuple[str, float], Any]:
    """Return a forward pass of a checkpoint by its public loading function: five quantiles by station and horizon."""
    forecaster, _ = read(checkpoint)
    readable, floors = forecaster.on_panel(panel)
    origin = np.array([panel.values.shape[0] - 1])
    quantiles = forecaster.quantiles(readable.values, origin, floors, readable.drivers)[0]
    columns = {name: column for column, name in enumerate(readable.stations)}
    return {
        (name, horizon_s): quantiles[column, index]
        for name, column in columns.items()
        for index, horizon_s in enumerate(forecaster.recipe.horizons_s)
    }


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize("surge_mm", [0.0, 400.0], ids=["steady", "leap"])
def test_the_row_of_a_network_is_a_forward_pass_of_its_checkpoint_with_its_interval(model, surge_mm: float) -> None:
    trained, _, _ = model
    panel = draw()
    panel.values[-3:] += surge_mm
    own = read_own(trained.path, panel)
    issue = issue_forecasts(panel, HORIZONS_S, checkpoints=[make_checkpoint(trained)])
    rows = [row for row in issue.rows if row.model == trained.model]
    assert {(row.station, row.horizon_s) for row in rows} == set(own)
    for row in rows:
        # many past issues at once and one alone are summed in another order
        assert row.q50 == pytest.approx(own[row.station, row.horizon_s][2], rel=1e-7)
        assert list(row.quantiles) == sorted(row.quantiles)
        assert not row.shown
        assert row.weight is not None
        assert 0.0 <= row.weight <= 0.5
    # the test could fail: the network is not one of the other forecasts
    others = {(r.station, r.horizon_s, r.q50) for r in issue.rows if r.model != trained.model}
    assert any((row.station, row.horizon_s, row.q50) not in others for row in rows)


def test_rows_of_the_past_read_nothing_after_their_issue(tmp_path: Path) -> None:
    """The forecasts are the same bit for bit, and the checkpoint of the network ends before the first of them."""
    panel, cut, last = draw(), 315, 370
    trained = train_quickly(tmp_path, panel=panel.head(cut))
    assert trained.card["data"]["end_s"] < panel.start_s + cut * panel.step_s
    changed = draw()
    changed.values[last + 1 :] = np.random.default_rng(5).normal(0.0, 1e4, changed.values[last + 1 :].shape)
    origins = np.arange(cut, 400, 5)
    one, two = (forecast_past(p, HORIZONS_S, origins, [make_checkpoint(trained)]) for p in (panel, changed))
    until_s = panel.start_s + last * panel.step_s
    before = [[row for row in rows if row.issued_s <= until_s] for rows in (one, two)]
    assert before[0] == before[1]
    assert {row.model for row in before[0]} == {"combined", "persistence", "line", "gru"}
    assert one != two, "later issues read what was changed"
    assert not any(row.shown for row in one)
    head = panel.head(351)
    networks = {(r.station, r.horizon_s, r.issued_s): r.q50 for r in one if r.model == "gru"}
    for (station, horizon_s), quantiles in read_own(trained.path, head).items():
        assert networks[station, horizon_s, head.end_s] == pytest.approx(quantiles[2], rel=1e-7)


@pytest.mark.soak
def test_a_station_that_the_network_never_saw_is_withheld_where_stations_are_read_together(model) -> None:
    trained, _, _ = model
    panel = draw(stations=("A", "B", "C", "Z"))
    issue = issue_forecasts(panel, (DAY_S,), checkpoints=[make_checkpoint(trained)])
    forecast = {row.station for row in issue.rows if row.model == trained.model}
    withheld = {(one.model, one.station, convert_reason(one.reason)) for one in issue.withheld}
    if trained.model == "graph-gru":
        assert forecast == set("ABC")
        assert withheld == {("graph-gru", "Z", "graph-gru was trained without this station")}
    else:
        assert forecast == set("ABCZ")
        assert withheld == set()
    assert {row.station for row in issue.rows if row.shown} == set("ABCZ")


@pytest.mark.soak
def test_a_window_with_gaps_withholds_the_network_alone(train_once) -> None:
    trained, _, _ = train_once("gru")
    panel = draw()
    panel.values[-45:-15, 1] = np.nan
    issue = issue_forecasts(panel, (DAY_S,), checkpoints=[make_checkpoint(trained)])
    count = int(np.isfinite(panel.values[-60:, 1]).sum())
    assert [(one.model, one.station, convert_reason(one.reason)) for one in issue.withheld] == [
        ("gru", "B", f"gaps: {count} of the last 60 rows of 1 d observed, not 42")
    ]
    assert {row.station for row in issue.rows if row.shown} == set("ABC")
    assert {row.station for row in issue.rows if row.model == "gru"} == set("AC")


def test_settings_of_a_request_replace_the_usual_ones_and_are_in_the_card(tmp_path: Path) -> None:
    trained = train_quickly(tmp_path, settings={"hidden": 8, "dropout": 0.2})
    assert (trained.card["config"]["hidden"], trained.card["config"]["dropout"]) == (8, 0.2)
    assert trained.card["training"]["settings"] == {"hidden": 8, "dropout": 0.2}
    assert "settings" not in train_quickly(tmp_path).card["training"]
    with pytest.raises(ForecastingError, match="hidden: expected a whole number"):
        train_quickly(tmp_path, settings={"hidden": 0.5})


def test_a_wrong_request_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="'line' is always forecast"):
        train_quickly(tmp_path, "line")
    with pytest.raises(UnknownModelError, match="no network is called 'oracle'"):
        train_quickly(tmp_path, "oracle")
    with pytest.raises(NotEnoughDataError, match=r"143 rows of 1 d, 200 rows are needed .*; pretrained-lstm needs 40"):
        train_quickly(tmp_path, panel=draw(rows=150))
    with pytest.raises(HorizonError):
        train_quickly(tmp_path, horizons_s=[])
    with pytest.raises(NotEnoughDataError, match="no horizon can be learnt"):
        train_quickly(tmp_path, horizons_s=[60.0, 300 * DAY_S])
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
def test_a_horizon_that_the_record_cannot_teach_does_not_stop_the_others(tmp_path: Path) -> None:
    trained = train_quickly(tmp_path, horizons_s=[3600.0, DAY_S, 60 * DAY_S])
    assert trained.card["config"]["horizons_s"] == [DAY_S]
    assert trained.card["dropped_horizons"] == {
        "3600": "the horizon is shorter than the sampling interval",
        "5184000": "a part of the record of 63 d contains 3 targets 60 d ahead, 10 are needed",
    }

    def issue(horizons_s: Sequence[float]) -> dict[float, Any]:
        made = issue_forecasts(draw(), horizons_s, checkpoints=[make_checkpoint(trained)])
        assert {row.horizon_s for row in made.rows if row.model == "gru"} == {DAY_S}
        return {one.horizon_s: one for one in made.withheld if one.model == "gru"}

    withheld = issue([DAY_S, 60 * DAY_S, 300 * DAY_S])
    longer, never = withheld[60 * DAY_S], withheld[300 * DAY_S]
    assert convert_reason(longer.reason) == "gru was not trained for 60 d"
    assert convert_reason(longer.lack.reason) == "420 intervals of 1 d in its record; 464 are needed"
    assert longer.lack.earliest_s == draw().end_s + 44 * DAY_S
    assert convert_reason(never.reason) == "gru learns from 2000 intervals of 1 d at most: too few for 300 d ahead"
    assert never.lack is None
    # the record is long enough, so that gaps excluded the horizon: a longer record does not help
    card = trained.card | {"data": trained.card["data"] | {"rows": 2000}}
    Path(trained.path).with_suffix(".json").write_text(json.dumps(card))
    assert issue([DAY_S, 60 * DAY_S])[60 * DAY_S].lack is None


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 7, 30, 72, 290])
def test_a_record_of_the_needed_rows_teaches_a_horizon_and_one_row_less_does_not(steps: int, short: bool) -> None:
    rows = count_rows(steps, short=short)
    for count, dropped in ((rows, set()), (rows - 1, {steps * DAY_S})):
        panel = Panel(0.0, DAY_S, ("A",), np.zeros((count, 1)))
        assert set(drop_horizons(panel, split(count), [steps * DAY_S], short=short)) == dropped


@pytest.mark.soak
def test_a_checkpoint_with_another_network_than_registered_fails_alone(train_once) -> None:
    trained, _, _ = train_once("gru")
    mislabelled = replace(make_checkpoint(trained), model="lstm")
    issue = issue_forecasts(draw(), (DAY_S,), checkpoints=[mislabelled])
    assert "holds gru, not lstm" in str(issue.failed[trained.model_hash])
    assert {row.station for row in issue.rows if row.shown} == set("ABC")


@pytest.mark.soak
def test_forecasts_without_networks_load_no_heavy_library() -> None:
    code = (
        "import sys, numpy as np; from forecasting import registry; "
        "from forecasting.evaluation import backtest, screening; "
        "from forecasting.serving import hindcast, issue; "
        "v = np.cumsum(np.ones((300, 2)), axis=0); "
        "from forecasting.data.series import Panel; p = Panel(0.0, 86400.0, ('A', 'B'), v); "
        "assert issue.issue_forecasts(p, [86400.0]).rows; "
        "print(sorted({'torch', 'pandas', 'statsmodels', 'scipy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
