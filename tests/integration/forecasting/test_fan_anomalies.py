"""Four of six readings outside the stored 95 % fan: found, explained with its forecast, and put to the test."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select

from monitor.alerting.decision.evaluate import load_facts
from monitor.config.service import ServiceConfig, parse_site
from monitor.criteria.kinds.anomaly import assess_anomalies
from monitor.domain.alert import Actor
from monitor.domain.decision import AnomalyFact, Memory, View
from monitor.domain.instants import epoch_s, spell
from monitor.jobs import anomaly
from monitor.jobs.anomaly_proof import prove_fans
from monitor.jobs.forecasts import train
from monitor.language.rendering import translate
from monitor.series.assessment import Windows
from monitor.store.alerting import decisions
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.models.proofs import load_proof_facts
from monitor.store.models.scores import load_shown_record
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from tests.integration.forecasting.test_jobs_forecast import SITE, START, fill

DAY = timedelta(days=1)
WEEK_S = 7 * 86400.0
TEXT = (
    SITE
    + """
[[criterion]]
id = "strange"
kind = "anomaly"
stations = ["G0"]
role = "witness"
level = "yellow"
"""
)


def issue(database: Database, series_id: int, first: datetime, out: str, more: int = 0) -> None:
    """A day's reading and the fan of -1 to 1 mm that was issued a week before, a character each: `^`, `v` or `.`."""
    with database.write() as c:
        for k, side in enumerate(out):
            at, key = first + k * DAY, 1000 * series_id + more + k
            value = {"^": 3.0, "v": -3.0, ".": 0.2}[side]
            c.execute(
                insert(t.forecast).values(
                    id=key, series_id=series_id, issued_at=at - 7 * DAY, data_until=at - 7 * DAY,
                    as_of_received_at=at - 7 * DAY, target_at=at, horizon_s=WEEK_S, q025=-1.0, q10=-0.6, q50=0.0,
                    q90=0.6, q975=1.0, baseline_q50=0.0, data_value=0.0, model="lld", model_hash="", baseline="lld",
                    shown=True, reason="",
                )
            )  # fmt: skip
            c.execute(
                insert(t.forecast_score).values(
                    forecast_id=key, observed_at=at, observed=value, error=value, baseline_error=value,
                    persistence_error=value, inside_80=side == ".", inside_95=side == ".", pinball=0.1, winkler_80=1.0,
                    scored_at=at,
                )
            )  # fmt: skip


def test_readings_outside_the_stored_fan_are_an_anomaly_that_explains_itself(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = parse_site(TEXT, "jobs.toml")
    site = replace(site, anomaly=replace(site.anomaly, detectors=("residual-fan",)))
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    now = fill(database, site, 60)
    config = ServiceConfig.model_validate({"paths": {"models": str(tmp_path_factory.mktemp("models"))}})
    with database.read() as c:
        ids = dict(c.execute(select(t.series.c.station, t.series.c.id).where(t.series.c.site == site.id)).all())
    assert prove_fans(database, site, "residual-fan", now, Actor("ada"), "by hand") is None, "nothing was scored yet"
    first = now - 12 * DAY
    issue(database, ids["G0"], first, "...^..^^^.")
    issue(database, ids["G1"], first, ".^v.v....^")
    said = anomaly.run(database, config, site, now)
    assert "residual-fan: 10 scores, 1 over the threshold" in said, "six readings first; then one each"
    assert "residual-fan: 0 scores" in anomaly.run(database, config, site, now), "a reading is scored once"
    with database.read() as c:
        (row,) = load_view(c, "anomalies", alerted=True)
    issued = spell(first + DAY)
    assert (row["station"], row["kind"], row["score"], row["threshold"]) == ("G0", "movement", 3.0, 1.0)
    fans = f"the 95 % fans of its forecasts, the newest issued {issued}"
    assert row["compared_with"] == f"{fans}: 4 of its last 6 readings lay outside"
    fact = AnomalyFact(
        "G0", "displacement", epoch_s(now), "residual-fan", row["score"], row["threshold"], row["kind"],
        row["compared_with"],
    )  # fmt: skip
    (strange,) = [x for x in site.criteria if x.id == "strange"]
    (word,) = assess_anomalies(strange, Windows(site, View(anomalies=(fact,)), Memory(), epoch_s(now)))
    assert "(residual-fan): movement, compared with the 95 % fans of its forecasts, the newest issued" in word.reason
    for language in ("it", "zh", "es"):
        told = translate(word.reason, language)
        assert "compared" not in told
        assert "outside" not in told

    # its proof: its alarms over all that was scored, against the budget
    short = prove_fans(database, site, "residual-fan", now, Actor("ada"), "by hand")
    assert short is not None
    assert short.result["alarms"] == 1
    assert "sensor-months were held out" in short.reasons[0]
    issue(database, ids["G1"], now + 400 * DAY, ".", more=50)
    gap = prove_fans(database, site, "residual-fan", now + 401 * DAY, Actor("ada"), "by hand")
    assert gap is not None
    assert 0.0 < gap.result["sensor_months"] - short.result["sensor_months"] < 0.04, "a day: a gap is not looked at"
    issue(database, ids["G2"], now, "." * 1000, more=100)
    calm = prove_fans(database, site, "residual-fan", now + 1001 * DAY, Actor("ada"), "by hand")
    assert calm is not None
    assert calm.passed
    with database.read() as c:
        (proof,) = load_proof_facts(c, site, now + 1002 * DAY)
    assert (proof.name, proof.passed, proof.weights) == ("residual-fan", True, proof.weights_now)
    with database.write() as c:
        c.execute(
            insert(t.model_transition).values(
                model_hash="a" * 64, kind="gru", task="forecast", site=site.id, horizon_s=WEEK_S, at=now,
                from_state="candidate", to_state="active", reason="better", by="ada", by_kind="person",
            )
        )  # fmt: skip
        (proof,) = load_proof_facts(c, site, now + 1002 * DAY)
    assert proof.weights != proof.weights_now, "fans of another forecaster were not tested"

    # the nightly training tests it again, on the fans of what is shown now
    site = replace(site, forecast=replace(site.forecast, models=("lld",)))
    night = now + 1003 * DAY
    assert "residual-fan: may be a witness" in train.run(database, config, site, night)
    assert train.run(database, config, site, night + DAY) == "nothing to train", "a test of what serves is young"
    with database.read() as c:
        (proof,) = load_proof_facts(c, site, night + DAY)
        rows = c.execute(select(t.model_proof.c.rows_tested).order_by(t.model_proof.c.id)).scalars().all()
        asks = replace(strange, quantity="displacement")
        mine = load_shown_record(c, site.id, asks, WEEK_S, night)
        all_of_it = load_shown_record(c, site.id, replace(asks, stations=("G0", "G1", "G2")), WEEK_S, night)
    assert proof.passed
    assert proof.weights == proof.weights_now
    assert rows[-1] < rows[-2], "fans of the earlier forecaster are not what serves"
    assert (mine.issues, all_of_it.mae_mm < mine.mae_mm) == (10, True), "a criterion is tested on its own stations"


def test_scores_of_one_detector_crowd_out_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    site = parse_site(TEXT, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    now = fill(database, site, 3)
    monkeypatch.setattr(decisions, "ADVICE_LIMIT", 2)
    with database.write() as c:
        s = t.series.c
        ids = c.execute(select(s.id).where(s.site == site.id, s.quantity != "rain")).scalars().all()
        row = {"score": 2.0, "threshold": 1.0, "budget": 0.1, "kind": "movement", "alerted": True, "scored_at": now}
        loud = [
            row | {"series_id": i, "at": now - k * DAY / 24, "detector": "rules", "model_hash": "a"}
            for i in ids for k in range(4)
        ]  # fmt: skip
        tested = row | {"series_id": ids[0], "at": now - DAY, "detector": "ae", "model_hash": "b"}
        c.execute(insert(t.anomaly), [*loud, tested, tested | {"at": now - 2 * DAY}])
        found = decisions.load_anomaly_facts(c, site.id, now - 3 * DAY, now, now)
    assert [f.detector for f in found] == ["rules", "rules", "ae"]
    assert len({(f.station, f.quantity) for f in found}) == 2
    assert found[-1].at_s == epoch_s(now - DAY), "the newest of each series"


def test_a_score_that_came_late_is_seen_as_of_later_whatever_was_scored_since(database: Database) -> None:
    site = parse_site(TEXT, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    now = fill(database, site, 3)
    hour = DAY / 24
    with database.write() as c:
        first = select(t.series.c.id).where(t.series.c.site == site.id, t.series.c.quantity != "rain")
        row = {
            "series_id": c.execute(first).scalars().first(), "score": 2.0, "threshold": 1.0, "budget": 0.1,
            "kind": "movement", "alerted": True, "detector": "rules", "model_hash": "a",
        }  # fmt: skip
        late, since = {"at": now - 2 * hour, "scored_at": now + hour}, {"at": now + hour, "scored_at": now + hour}
        c.execute(insert(t.anomaly), [row | late, row | since])
        assert load_facts(c, site, now)["anomalies"] == ()
        (seen,) = load_facts(c, site, now + 3 * hour, scored_until=now)["anomalies"]
    assert seen.at_s == epoch_s(now - 2 * hour)
