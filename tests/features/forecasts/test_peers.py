"""Our models beside those of another library: same origins, nothing of the future, and a line where it is missing."""

import json
import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import Block
from forecasting.evaluation import peers
from monitor import extras
from monitor.cli.main import run_command
from monitor.features.forecasts.cli.models import tabulate

DAYS, STATIONS = 160, 2


class StandIn:
    """Says the newest value for ever, and keeps what it was given."""

    seen: ClassVar[list[np.ndarray]] = []

    def __init__(self, season_length):
        assert season_length == 1

    def forecast(self, y, h, level):
        assert np.isfinite(y).all(), "it takes no gaps"
        StandIn.seen.append(y.copy())
        if y[-1] < -1e5:
            raise ZeroDivisionError("it cannot fit this")
        ends = {(share, side): y[-1] + sign * share / 40 for share in level for side, sign in (("lo", -1), ("hi", 1))}
        return {"mean": np.full(h, y[-1])} | {f"{side}-{share}": np.full(h, v) for (share, side), v in ends.items()}


@pytest.fixture
def library(monkeypatch):
    """A small module in place of the library."""
    models = ModuleType("statsforecast.models")
    for name in peers.PEERS:
        setattr(models, name, StandIn)
    StandIn.seen = []
    monkeypatch.setitem(sys.modules, "statsforecast", ModuleType("statsforecast"))
    monkeypatch.setitem(sys.modules, "statsforecast.models", models)
    monkeypatch.setattr("monitor.features.forecasts.cli.models.is_installed", lambda _: True)


def draw(seed=1):
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0.3, 0.4, (DAYS, STATIONS)), axis=0)
    values[rng.random(values.shape) < 0.08] = np.nan
    return values


def panel_of(values):
    return Panel(0.0, DAY_S, tuple("AB"), values)


def test_a_peer_sees_nothing_after_the_origin_and_no_gaps(library):
    values, origins = draw(), np.array([80, 120])
    whole = peers.forecast_by_peer("Theta", values, origins, 7)
    later = values.copy()
    later[121:] = 1e6  # the future alone is changed
    assert np.array_equal(peers.forecast_by_peer("Theta", later, origins, 7), whole)
    later[120] += 1.0
    assert not np.array_equal(peers.forecast_by_peer("Theta", later, origins, 7), whole), "the test can fail"
    assert all(one.size <= 121 for one in StandIn.seen[: 2 * STATIONS])


@pytest.mark.soak
def test_all_are_scored_on_the_same_pairs_as_the_newest_value_by_hand(library):
    panel = panel_of(draw())
    told = []
    scores = peers.score_with_peers(panel, [], [DAY_S, 7 * DAY_S], origins=5, on_progress=told.append)
    by = {(one.model, one.horizon_s): one for one in scores}
    assert {m for m, _ in by} == {"persistence", "line", "combined", *peers.PEERS}
    for horizon_s in (DAY_S, 7 * DAY_S):
        assert len({one.n for (_, h), one in by.items() if h == horizon_s}) == 1
        newest, stand_in = by["persistence", horizon_s], by["AutoETS", horizon_s]
        assert stand_in.mae_mm == pytest.approx(newest.mae_mm, abs=1e-9), "it says what persistence says"
        assert stand_in.crps_mm is not None
        assert by["line", horizon_s].skill == 0.0
        assert stand_in.skill == pytest.approx(1 - stand_in.mae_mm / by["line", horizon_s].mae_mm)
    assert "fold 1: AutoETS, 5 origins of 2 stations" in told


@pytest.mark.soak
def test_what_a_peer_cannot_fit_is_left_out_and_the_rest_is_scored(library):
    values = draw()
    values[:, 1] -= 2e5  # the second station: it gives up there
    scores = peers.score_with_peers(panel_of(values), [], [DAY_S], origins=5)
    by = {one.model: one.n for one in scores}
    assert 0 < by["AutoARIMA"] < by["combined"] <= 30
    (row,) = [line for line in tabulate(scores) if line.startswith("AutoARIMA")]
    assert row.endswith(f"(n {by['AutoARIMA']})"), "that it is of fewer pairs is said"


@pytest.mark.parametrize(("longest", "expected"), [(3, [10, 13, 16]), (9, [10]), (50, [10, 14, 18])])
def test_origins_have_their_farthest_target_in_the_test_where_there_are_such(longest, expected):
    assert peers.spread_origins(Block(10, 20), longest, 3).tolist() == expected


def write_long(path):
    lines = ["time,station,quantity,value"]
    for day, row in enumerate(draw()):
        at = np.datetime64("2024-01-01") + day
        lines += [f"{at}T00:00:00Z,{s},displacement_mm,{v:.3f}" for s, v in zip("AB", row, strict=True) if v == v]
    path.write_text("\n".join(lines))
    return str(path)


def compare(capsys, *words):
    status = run_command(["forecast", "compare", *words])
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return status, out.out, out.err


@pytest.mark.soak
def test_the_verb_prints_a_row_for_each_model_and_peer(library, tmp_path, capsys):
    words = ("--peers", write_long(tmp_path / "slope.csv"), "--horizon", "1d,7d", "--origins", "4")
    status, out, err = compare(capsys, *words)
    assert status == 0
    rows = {line[:16].strip() for line in out.splitlines()[2:]}
    assert {"straight line", "persistence", "combined", *peers.PEERS} <= rows
    assert "fold 3: Theta" in err
    status, out, _ = compare(capsys, *words, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {(one["model"], one["horizon"]) for one in lines} >= {("Theta", "7d"), ("combined", "1d"), ("line", "1d")}


@pytest.mark.soak
def test_what_is_not_installed_is_one_line_and_the_rest_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("monitor.features.forecasts.cli.models.is_installed", lambda _: False)
    assert extras.OPTIONAL_MODULES[peers.LIBRARY][1] == "compare"
    words = ("--peers", write_long(tmp_path / "slope.csv"), "--horizon", "1d")
    status, out, err = compare(capsys, *words)
    assert status == 0
    assert "combined" in out
    assert "Theta" not in out
    (line,) = [one for one in err.splitlines() if "statsforecast" in one]
    assert "AutoETS, AutoARIMA, Theta" in line
    assert "pip install 'slopeward[compare]'" in line
    assert "pandas below 3" in line
    (other,) = [one for one in err.splitlines() if "PatchTST" in one]
    assert "neuralforecast is not installed here" in other


def test_a_site_or_files_are_named_and_never_both(tmp_path, capsys):
    for words in ((), ("--site", "a", "--peers", "x.csv")):
        status, _, err = compare(capsys, *words)
        assert (status, "--peers" in err) == (2, True)
    assert compare(capsys, "--peers", str(tmp_path / "none.csv"))[0] == 1
