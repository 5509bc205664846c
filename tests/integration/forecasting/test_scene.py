"""Acceptance scene: rolling-origin forecasts on measured curves, and their worth by month."""

from collections import defaultdict

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel, read_long_csv
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import score_months
from forecasting.metrics import mae

pytestmark = pytest.mark.data
STATIONS = ("ATU1", "MJ1", "MJ9")


@pytest.fixture(scope="module")
def curves(measured) -> Panel:
    """The first 360 days of three points."""
    panel = read_long_csv(measured("benchmarks/SK.csv"))
    columns = [panel.stations.index(name) for name in STATIONS]
    return Panel(float(panel.times_s[0]), DAY_S, STATIONS, panel.values[:360][:, columns])


def test_rolling_origin_says_skill_coverage_by_month_and_interval_score(curves):
    """A network given one epoch: the served forecast loses nothing by it, and every figure is there by month."""
    trials = list(run_trials(curves, ["auto", "gru"], [DAY_S], folds=1, training={"epochs": 1, "stride": 6}))
    months = defaultdict(set)
    for trial in trials:
        scores = [s.to_json() for s in score_months(trial)]
        for s in scores:
            if s["coverage_80"] is not None and s["month"] is not None:
                assert 0.0 <= s["coverage_80"] <= s["coverage_95"] <= 1.0
                assert s["winkler_80"] >= s["width_80"] > 0
                months[s["model"]].add(s["month"])
        answers = {(a.model, a.variant): a for a in trial.answers}
        gated, network = answers["gated", "gated"], answers["gru", "gated"]
        served = mae(trial.observed - gated.point)
        assert served <= 1.02 * mae(trial.observed - trial.best)
        if not network.verdict.shown:
            np.testing.assert_array_equal(gated.point, trial.best)
            assert not network.verdict.reason.startswith("shown")
    assert len(months["gated"]) >= 2
    assert months["gated"] == months["gru-gated"] == months["auto"]
