"""Test that a backtest reports how much earlier stored forecasts warn, and stores the result as a proof."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import insert, select

from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.history import VisibilityRule
from monitor.alerts.replay.scorecard import ForecastGain
from monitor.cli.main import run_command
from monitor.decision.proof import find_unproven
from monitor.errors import RefusedError
from monitor.features.forecasts.queries.forecasts import add_forecasts
from monitor.features.forecasts.tables import forecast, forecast_score
from monitor.features.replay.cli.backtest import find_forecast_criterion, store_proof
from monitor.features.replay.cli.scorecard import describe_gain
from monitor.models.queries.proofs import ModelTest, add_proof, load_proof_facts
from monitor.models.queries.registry import add_model
from monitor.models.tables import model_proof
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import epoch_s
from tests.alerts.test_forecast_gain import DAY, EVENT, SITE, START
from tests.data.feature_rows import forecast_row
from tests.data.watched_slope import write_service

SCORE = {"observed": 0.0, "error": 1.0, "baseline_error": 3.0, "persistence_error": 3.0, "inside_80": True}
SCORE |= {"inside_95": True, "pinball": 0.1, "winkler_80": 1.0, "scored_at": START}


def test_backtest_reports_and_proves_the_gain_of_stored_forecasts(sqlite_url, tmp_path, monkeypatch, capsys):
    database = Database(sqlite_url)
    luck, value, rows = Random(1), 0.0, []
    path = []
    for day in range(54):
        value += 0.2 if day < 44 else 0.5 * (day - 43) ** 1.5
        path.append(value)
        at = START + timedelta(days=day)
        rows.append(Observation("slope", "G1", "displacement", "mm", at, at, value + luck.gauss(0.0, 0.1)))
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        for row in rows:
            add_observations(c, [row], row.observed_at)
        series_id = find_series_id(c, "slope", "G1", "displacement")
        for day in range(20, 52):
            at = START + timedelta(days=day)
            middle = path[day + 1]
            fan = [middle + spread for spread in (-1.0, -0.6, 0.0, 0.6, 1.0)]
            add_forecasts(c, [forecast_row(series_id, at, fan, DAY, baseline_q50=path[day], data_value=path[day])])
        (votes,) = [replace(x, role="witness") for x in SITE.criteria if x.id == "f"]
        voting = replace(SITE, criteria=(SITE.criteria[0], votes))
    terms = BacktestOptions(VisibilityRule("received"))
    card = run_backtest(database, SITE, START, START + timedelta(days=53), labels=[EVENT], terms=terms)
    (gain,) = card.runs[0].gains
    assert gain.data_share > 0.5
    assert gain.false_days == (0, 0)
    assert gain.gained_s[0] > 0.0, "the forecast of the next day warns earlier"
    assert card.to_json()["runs"][0]["forecast_gain"][0]["criterion"] == "f"
    now = datetime.now(UTC) + timedelta(minutes=1)

    def prove():
        store_proof(database, voting, card, Actor("ada"), votes)
        with database.read() as c:
            (fact,) = load_proof_facts(c, voting, now)
        return fact

    fact = prove()
    assert fact.why == "forecasts for 1 d were scored at 0 issue times, 30 are needed", "lead alone is not enough"
    with database.write() as c:
        for row in c.execute(select(forecast.c.id, forecast.c.target_at)).all():
            c.execute(insert(forecast_score).values(forecast_id=row.id, observed_at=row.target_at, **SCORE))
    fact = prove()
    assert (fact.passed, fact.why, fact.weights) == (True, "", fact.weights_now)
    assert find_unproven([fact], epoch_s(now)) == {}
    bound = replace(votes, thresholds=(replace(votes.thresholds[0], over=9.0),))
    with database.read() as c:
        (other,) = load_proof_facts(c, replace(voting, criteria=(bound,)), now)
    assert "other settings" in find_unproven([other], epoch_s(now))["f"], "a proof is valid for its bound only"
    with pytest.raises(RefusedError, match="no criterion of kind forecast; the site has: f"):
        find_forecast_criterion(voting, "v")
    # a newly trained network does not invalidate the proof: its weight follows its errors
    with database.write() as c:
        who = {"kind": "gru", "task": "forecast", "site": "slope", "path": "x", "card": {}, "reason": ""}
        add_model(c, "a" * 64, **who, now=START, actor=Actor("ada"))
        (fact,) = load_proof_facts(c, voting, now)
    assert find_unproven([fact], epoch_s(now)) == {}
    # the command itself, after a newer test that failed
    with database.write() as c:
        failed = ModelTest("forecast", "f", "", "", ("too wide",), {}, 1)
        add_proof(c, voting, votes, failed, Actor("ada"), datetime.now(UTC))
    text = SITE.source.replace('id = "f"', 'id = "f"\nrole = "witness"')
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, text)))
    labels = tmp_path / "events.csv"
    labels.write_text(f"from,to,class\n{EVENT.from_at:%Y-%m-%dT%H:%M:%SZ},{EVENT.to_at:%Y-%m-%dT%H:%M:%SZ},1\n")
    ask = ["backtest", "--site", "slope", "--labels", str(labels), "--by", "Ada", "--prove"]
    assert run_command([*ask, "f"]) == 0
    said = capsys.readouterr()
    assert "f: may be a witness (stored)" in said.err
    assert "f counts in this replay; in the service it is advice: the test of forecasts on" in said.out
    with database.read() as c:
        kept = load_view(c, "model_proofs", site="slope")
        (terms,) = [r["terms"] for r in c.scalars(select(model_proof.c.result).where(model_proof.c.by == "Ada"))]
    assert (kept[-1]["by"], terms["known"], terms["lead_s"], terms["labels"]) == ("Ada", "received", 30 * DAY, 1)
    assert len(terms["labels_sha256"]) == 64
    # options that change the test are rejected, and the stored proof stays
    for other in (["--known", "observed"], ["--lead", "90d"], ["--latency", "1d"], ["--until", "2025-07-20"]):
        assert run_command([*ask, "f", *other]) != 0
        assert f"leave out {other[0]}" in capsys.readouterr().err
    assert run_command([*ask, "v"]) == 1
    with database.read() as c:
        assert load_view(c, "model_proofs", site="slope") == kept
    database.close()
    assert "Lead gained on velocity with its bounds times" in describe_gain(gain)


def test_gain_is_not_measured_without_stored_forecasts():
    absent = ForecastGain("f", 0.0, (0, 0), None, (), ())
    assert describe_gain(absent) == "f: not measured, no forecast was stored for that time"
