"""Acceptance scene: rolling-origin forecasts on measured curves, their worth by month, the fallback that is shown."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest

from forecasting.data.series import DAY_S, Panel, read_long_csv
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import score_months
from forecasting.metrics import mae
from forecasting.registry import find_network
from forecasting.serving import jobs
from forecasting.serving.records import Forecasts
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.observation import Observation
from monitor.jobs.forecasts import run
from monitor.store.alerting.sites import save_site
from monitor.store.models.registry import add_model, find_model, load_gates
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.forecast_rows import row
from tests.data.site_text import head, series, station

pytestmark = pytest.mark.data
STATIONS = ("ATU1", "MJ1", "MJ9")
SITE = head(
    "outang",
    latitude=31.0,
    longitude=110.0,
    timezone="UTC",
    levels={"names": ["green", "yellow", "orange", "red"]},
    forecast={"models": ["auto", "gru"], "horizons": ["1d"]},
) + "".join(
    station(name, series("displacement", "mm", "1d", max_silence="3d"), latitude=31.0, longitude=110.0)
    for name in STATIONS
)
NETWORK = "c" * 64
BLEND = "auto+gru"


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


def answer_cheaply(panel, model, horizons_s, *, checkpoint, conformal, wrong_from_s, **more):
    """Three forecasters by hand: the network sees the trend the simple one does not, until it loses its way."""
    del more
    values, end_s, rows = panel.values, panel.end_s, []
    for i, name in enumerate(panel.stations):
        known = values[:, i][np.isfinite(values[:, i])]
        steps = np.diff(known[-120:])
        for horizon_s in horizons_s:
            simple = float(known[-1])
            # one day ahead on white noise: the mean of some days is nearer to the truth than the last of them
            made = float(known[-5:].mean() + 2 * np.median(steps)) if find_network(model) else simple
            if find_network(model) and end_s >= wrong_from_s:
                made += 8.0
            past = np.array([known[k] - known[k - 5 : k].mean() for k in range(len(known) - 100, len(known))])
            half_80, half_95 = np.quantile(np.abs(past if find_network(model) else steps), [0.8, 0.97])
            rows.append(
                replace(
                    row(model, name, horizon_s, baseline="persistence", reason="by hand"),
                    model_hash=checkpoint,
                    issued_s=end_s,
                    target_s=end_s + horizon_s,
                    data_until_s=end_s,
                    data_value=simple,
                    q025=made - half_95,
                    q10=made - half_80,
                    q50=made,
                    q90=made + half_80,
                    q975=made + half_95,
                    margins={"0.8": half_80, "0.95": half_95},
                    baseline_q50=simple,
                )
            )
    return Forecasts(tuple(rows), (), {})


def test_the_service_shows_the_network_while_it_is_worth_it_and_the_simple_forecast_after(
    database, curves, monkeypatch
):
    """Sixty days of measured curves, a cycle a day: shadow, shown, fallen in the cycle that knew of it."""
    site = parse_site(SITE, "outang.toml")
    first = datetime.fromtimestamp(curves.start_s, UTC)
    wrong_from = first + timedelta(days=190)
    monkeypatch.setattr(jobs, "forecast", partial(answer_cheaply, wrong_from_s=wrong_from.timestamp()))
    monkeypatch.setattr(compute, "run", cross)
    readings = [
        [
            Observation(
                site.id, n, "displacement", "mm", first + timedelta(days=k), first + timedelta(days=k), float(v)
            )
            for n, v in zip(STATIONS, row, strict=True)
            if np.isfinite(v)
        ]
        for k, row in enumerate(curves.values[:215])
    ]
    with database.write() as c:
        save_site(c, site, "test", "test", first)
        add_observations(c, [r for day in readings[:150] for r in day], first + timedelta(days=149))
        card = {"gates": {"86400": {"shown": True, "reason": "shown", "weight": 1.0}}}
        add_model(
            c, NETWORK, kind="gru", task="forecast", site=site.id, path=NETWORK, now=first, reason="new", card=card
        )
    shown, told = [], []
    for k in range(150, 215):
        now = first + timedelta(days=k, minutes=5)
        with database.write() as c:
            add_observations(c, readings[k], now)
        told.append(run.run(database, ServiceConfig(), site, now))
        with database.read() as c:
            rows = load_view(c, "latest_forecast", site=site.id)
        newest = max(r["issued_at"] for r in rows)
        (model,) = {r["model"] for r in rows if r["shown"] and r["issued_at"] == newest}
        shown.append(model)
    with database.read() as c:
        gate = load_gates(c, [NETWORK])[NETWORK][DAY_S]
    spells = [m for k, m in enumerate(shown) if k == 0 or shown[k - 1] != m]
    assert spells == ["auto", "auto+gru", "auto"], (told, gate)
    begin, end = shown.index(BLEND), len(shown) - shown[::-1].index(BLEND)
    assert 13 <= begin <= 32, "two weeks with ten scores, or thirty scores"
    assert 40 <= end <= 60, "wrong from the 40th cycle on"
    with database.read() as c:
        assert find_model(c, NETWORK).state == "shadow"
        scored = list(load_view(c, "forecast_vs_observed", site=site.id))
        skill = load_view(c, "forecast_skill", site=site.id)
        cover = load_view(c, "forecast_coverage", site=site.id)
        alarms = [r["key"] for r in load_view(c, "active_alerts", site=site.id)]
    assert "its score" in gate.reason or "80 % interval" in gate.reason
    assert "health:forecast.gru.86400:model_degraded" in alarms
    assert {r["model"] for r in scored} == {"persistence", "drift", "lld", "auto", "gru", BLEND}
    assert {(r["model"], r["shown"]) for r in scored} >= {
        (BLEND, True),
        (BLEND, False),
        ("gru", False),
        ("auto", True),
        ("auto", False),
    }
    assert ("gru", True) not in {(r["model"], r["shown"]) for r in scored}, "the network alone is never served"
    months = sorted({r["month"] for r in skill})
    assert len(months) >= 3
    by_month = {m: [r["skill"] for r in skill if r["model"] == BLEND and r["month"] == m] for m in months}
    assert np.mean(by_month[months[1]]) > 0 > np.mean(by_month[months[-1]])
    assert {r["nominal"] for r in cover if r["model"] == BLEND} == {0.8, 0.95}
    # what was shown never did worse for long than the simple forecast beside it
    seen = [r for r in scored if r["shown"]]
    assert np.mean([abs(r["error"]) for r in seen]) < 1.25 * np.mean([abs(r["baseline_error"]) for r in seen])
