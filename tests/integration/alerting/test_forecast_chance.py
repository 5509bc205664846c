"""A forecast that is likely to cross its bound, from the stored rows to advice, view and recomputation."""

import json
from datetime import timedelta

from monitor.alerting.audit.explain import explain
from monitor.alerting.audit.recompute import recompute
from monitor.alerting.evaluate import evaluate_site
from monitor.domain.observation import Observation
from monitor.store.alerting.alerts import load_alerts
from monitor.store.alerting.decisions import load_decision, load_forecast_facts
from monitor.store.alerting.sites import load_site_source, save_site
from monitor.store.models.forecasts import add_forecasts
from monitor.store.readings.observations import add_observations, find_series_id
from monitor.store.schema.views import load_view
from tests.conftest import ON_BOTH
from tests.data.store_rows import ask, forecast_row
from tests.unit.monitor.replay.test_forecast_gain import DAY, SITE, START

HOUR = timedelta(hours=1)


def issue(database, series_id, at, middle, half):
    rates = [middle + half * z for z in (-1.959964, -1.281552, 0.0, 1.281552, 1.959964)]
    with database.write() as c:
        known = {"data_until": START, "as_of_received_at": START, "target_at": START + timedelta(days=1)}
        add_forecasts(c, [forecast_row(series_id, at, [5.0 + rate for rate in rates], DAY, **known)])


@ON_BOTH
def test_a_likely_crossing_is_advised_seen_in_sql_and_recomputed(database):
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        rows = [
            Observation("slope", "G1", "displacement", "mm", at, at, 5.0) for at in (START - timedelta(days=1), START)
        ]
        add_observations(c, rows, START)
        series_id = find_series_id(c, "slope", "G1", "displacement")

    def look(hours):
        evaluate_site(database, SITE, START + hours * HOUR, "tick")
        return list(ask(database, load_view, "forecast_chances", site="slope"))

    assert look(1) == []
    issue(database, series_id, START + HOUR, 1.5, 0.5)  # 16 % of more than 2 mm/day
    (row,) = look(2)
    assert (row["criterion"], row["station"], row["level_name"], row["crossed"]) == ("f", "G1", "yellow", False)
    assert round(row["chance_from"], 4) == round(row["chance_to"], 4) == 0.1587
    assert (row["over_mm_per_day"], row["horizon_s"], row["probability"]) == (2.0, DAY, 0.3)
    assert look(3) == [row], "what did not change is not written again"
    issue(database, series_id, START + 3 * HOUR, 2.0, 0.5)
    (row,) = look(4)
    assert (round(row["chance_from"], 4), row["crossed"]) == (0.5, True)
    with database.read() as c:
        (alert,) = load_alerts(c, "slope", ledger="advice")
        decision = load_decision(c, alert.decision_id)
        source = load_site_source(c, decision.config_sha256)
    assert alert.reason.startswith("G1: 50 % chance of more than 2 mm/day within 1d, more than 30 % counts")
    assert recompute(decision, source).differences == ()
    told = [line.strip() for line in explain(json.loads(decision.evidence))]
    assert (
        "level 1: 50 % chance of more than 2 mm/day within 1d, more than 30 % counts; mean velocity "
        "1.02 mm/day (2.5 %), 1.36 mm/day (10 %), 2.00 mm/day (50 %), 2.64 mm/day (90 %), 2.98 mm/day (97.5 %) "
        "by auto; lines between the quantiles in normal scores, nothing beyond the outer ones"
    ) in told
    # its target has passed: nobody knows any more, and the row goes
    assert look(25) == []


@ON_BOTH
def test_forecasts_that_nobody_asks_for_crowd_no_criterion_out(database):
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        add_observations(c, [Observation("slope", "G1", "displacement", "mm", START, START, 5.0)], START)
        series_id = find_series_id(c, "slope", "G1", "displacement")
        horizons_s = [*(60.0 * k for k in range(1, 601)), DAY]
        add_forecasts(c, [forecast_row(series_id, START, [5.0] * 5, horizon_s) for horizon_s in horizons_s])
    assert [x.horizon_s for x in ask(database, load_forecast_facts, "slope", START, {"G1"}, {DAY})] == [DAY]
