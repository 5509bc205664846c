"""Candidate, shadow, active, retired: by the record of stored forecasts, with reasons, on both databases."""

import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from forecasting.reasons import Reason, reason_to_json
from forecasting.registry import find_network
from forecasting.serving import jobs
from forecasting.serving.conformal import margin
from monitor.alerts.tables import alert
from monitor.cli.main import run_verb
from monitor.errors import NotFoundError, RefusedError
from monitor.features.forecasts import promotion, run, tasks, train
from monitor.features.forecasts import score as scoring
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.forecasts.model_acts import PromotionOrder, promote, retire_model
from monitor.features.forecasts.queries.facts import load_forecast_facts
from monitor.features.forecasts.queries.forecasts import ForecastScore, add_forecasts, add_scores, load_conformal
from monitor.features.forecasts.tables import forecast as forecast_table
from monitor.features.forecasts.tables import forecast_score
from monitor.models.queries.registry import add_model, find_model, load_gates, load_models, load_transitions
from monitor.readings.tables import series
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import from_epoch_s
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.daily_slope import SITE, fill
from tests.data.feature_rows import forecast_row
from tests.data.forecast_rows import row
from tests.data.forked import run_forked
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_BOTH

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
A, B = "a" * 64, "b" * 64
ADA, BO = Actor("Ada"), Actor("Bo")
FAN = (-2.0, -1.0, 0.0, 1.0, 2.0)
LLD = {"baseline": "lld", "baseline_q50": 0.1, "data_value": 0.0, "reason": "test", "latency_ms": 5.0}
LLD |= {"margin_80": 0.1, "margin_95": 0.2}
OPEN = {"shown": True, "reason": None, "skill": 0.1, "weight": 1.0}
FEW_BLOCKS = Reason("gate.few_blocks", {"baseline": "lld", "horizon": 86400.0, "n": 1, "blocks": 3})
CLOSED = {"shown": False, "reason": reason_to_json(FEW_BLOCKS), "skill": -0.1, "weight": 0.5}


class Slope:
    """A site with three series, and forecasts whose worth is chosen by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.site = parse_site(SITE, "jobs.toml")
        self.config = ServiceConfig()
        with database.write() as c:
            save_site(c, self.site, "test", "test", START)
            common = {"site": "jobs", "quantity": "displacement", "unit": "mm", "created_at": START}
            c.execute(insert(series), [common | {"station": f"G{i}"} for i in range(3)])
            self.series = list(c.execute(select(series.c.id).order_by(series.c.station)).scalars())

    def register(self, model_hash: str, at: datetime = START, *, verdict=OPEN, kind="gru") -> None:
        card = {"gates": {"86400": verdict, "604800": verdict}}
        with self.database.write() as c:
            facts = {"kind": kind, "task": "forecast", "site": "jobs", "path": model_hash, "card": card}
            add_model(c, model_hash, now=at, reason="first training", **facts)

    def shadow(self, model_hash: str, at: datetime = START) -> None:
        with self.database.write() as c:
            promotion.enter_shadow(c, find_model(c, model_hash), "in shadow: first forecasts", at)

    def forecast(
        self, model_hash, day, *, error, baseline=1.0, inside=True, horizon_s=86400.0, shown=False, kind="auto+gru"
    ) -> None:
        """One issue on a day since START, scored when its target came."""
        issued = START + day * DAY
        target = issued + timedelta(seconds=horizon_s)
        facts = LLD | {"model": kind, "model_hash": model_hash, "shown": shown, "stage": "creep" if day % 2 else None}
        rows = [forecast_row(series_id, issued, FAN, horizon_s, **facts) for series_id in self.series]
        with self.database.write() as c:
            assert add_forecasts(c, rows) == 3
            f = forecast_table.c
            mine = (f.model == kind, f.model_hash == model_hash, f.issued_at == issued, f.horizon_s == horizon_s)
            numbers = c.execute(select(f.id).where(*mine)).scalars().all()
            scores = [ForecastScore(n, target, 0.0, error, baseline, 1.0, inside, True, 0.1, 2.0) for n in numbers]
            assert len(add_scores(c, scores, target)) == 3

    def judge(self, day) -> list[str]:
        return promotion.assess_models(self.database, self.config, self.site, START + day * DAY)[0]

    def state(self, model_hash, horizon_s=86400.0):
        with self.database.read() as c:
            gate = load_gates(c, [model_hash])[model_hash][horizon_s]
            return find_model(c, model_hash).state, gate.state, gate.reason

    def history(self, model_hash):
        return [(x.horizon_s, x.from_state, x.to_state) for x in ask(self.database, load_transitions, model_hash)]

    def alerts(self):
        with self.database.read() as c:
            a = alert.c
            return {r.key: r.closed_at for r in c.execute(select(a.key, a.closed_at).where(a.ledger == "health"))}


@pytest.fixture
def slope(database: Database) -> Slope:
    return Slope(database)


def good(day: int) -> dict:
    """Better than the simple forecast; four of five inside."""
    return {"error": 0.5, "inside": day % 5 != 4}


def make_active(slope: Slope, model_hash: str = A, days: int = 20) -> None:
    slope.register(model_hash)
    slope.shadow(model_hash)
    for day in range(days):
        slope.forecast(model_hash, day, **good(day))
    slope.judge(days + 1)
    assert slope.state(model_hash)[:2] == ("active", "active")


@ON_BOTH
def test_a_good_record_leads_out_of_the_shadow_after_its_time_and_every_step_is_told(slope: Slope) -> None:
    slope.register(A)
    assert slope.judge(0) == []
    slope.shadow(A)
    for day in range(20):
        slope.forecast(A, day, **good(day))
    assert slope.judge(13.5) == []
    told = "in shadow: {} scored issue times at {} d in {} d; 30 are needed, or 14 d with 10; shown on {}"
    assert slope.state(A)[1:] == ("shadow", told.format(13, 1, 13, "2025-06-15 at the earliest"))
    slope.judge(21)
    model, gate, reason = slope.state(A)
    assert (model, gate, "better than the best simple forecast" in reason) == ("active", "active", True)
    # seven days ahead nothing is scored, and nothing is shown
    assert slope.state(A, 604800.0)[1:] == ("shadow", told.format(0, 7, 21, "2025-06-24 at the earliest"))
    assert slope.history(A) == [
        (None, None, "candidate"),
        (None, "candidate", "shadow"),
        (86400.0, None, "shadow"),
        (604800.0, None, "shadow"),
        (86400.0, "shadow", "active"),
        (None, "shadow", "active"),
    ]
    with slope.database.read() as c:
        told = load_view(c, "model_transitions", site="jobs")
        audited = [r for r in load_view(c, "audit_log") if r["subject"] == f"model:{A[:12]}"]
        assert verify_chain(c) == []
    assert all(len(r["reason"]) > 10 and r["by"] == "slopeward" for r in told)
    assert [r["action"] for r in audited] == [f"model.{r['to_state']}" for r in told]
    assert [json.loads(r["detail"])["reason"] for r in audited] == [r["reason"] for r in told]


def test_a_network_whose_gate_is_closed_stays_in_the_shadow_however_good_its_record(slope: Slope) -> None:
    """What else keeps it there is in tests/property/test_forecasting_rules.py."""
    slope.register(A, verdict=CLOSED)
    slope.shadow(A)
    for day in range(31):
        slope.forecast(A, day, **good(day))
    assert (slope.judge(40), slope.state(A)[:2]) == ([], ("shadow", "shadow"))
    assert "1 of 3 calibration blocks" in slope.state(A)[2]


def test_a_bad_record_ends_it_at_once_with_an_alarm_and_only_the_shadow_leads_back(slope: Slope) -> None:
    make_active(slope)
    day = 20
    while slope.state(A)[1] == "active":
        slope.forecast(A, day, **good(day) | {"error": 1.5})
        slope.judge(day + 1)
        day += 1
    assert day < 45
    assert "is not below" in slope.state(A)[2]
    key = "health:forecast.gru.86400:model_degraded"
    assert slope.alerts()[key] is None
    fallen = day
    # a good record again: not before its time in the shadow is over, and the bad past does not count
    for later in range(fallen, fallen + 20):
        slope.forecast(A, later, **good(later))
        slope.judge(later + 1)
        assert slope.state(A)[1] == "shadow" or later - fallen >= 13
    assert slope.state(A)[:2] == ("active", "active")
    steps = [x[1:] for x in slope.history(A) if x[0] == 86400.0]
    assert steps == [(None, "shadow"), ("shadow", "active"), ("active", "shadow"), ("shadow", "active")]
    with slope.database.read() as c:
        a = alert.c
        assert c.execute(select(a.state).where(a.key == key)).scalar() == "returned_unacknowledged"


def test_a_challenger_takes_the_place_only_when_it_is_better_on_the_same_targets(slope: Slope) -> None:
    make_active(slope, days=30)
    slope.register(B, START + 10 * DAY)
    slope.shadow(B, START + 10 * DAY)
    for day in range(10, 30):
        slope.forecast(B, day, **good(day) | {"error": 0.6})
    slope.judge(31)
    assert slope.state(B)[:2] == ("shadow", "shadow")
    assert "is not below 0.5 mm of gru aaaaaaaaaaaa on the same 60 targets" in slope.state(B)[2]
    for day in range(30, 60):
        slope.forecast(A, day, **good(day))
        slope.forecast(B, day, **good(day) | {"error": 0.2})
    slope.judge(61)
    assert (slope.state(B)[:2], slope.state(A)[0]) == (("active", "active"), "retired")
    rows = ask(slope.database, load_view, "forecast_vs_observed", site="jobs")
    assert {r["model_hash"] for r in rows} == {A, B}, "champion and challenger are both kept with their scores"


def test_a_new_candidate_replaces_nothing_and_makes_room_when_others_had_their_time(slope: Slope) -> None:
    make_active(slope)
    for number, day in enumerate((30, 30.5, 31, 31.5)):
        slope.register(f"{number}" * 64, START + day * DAY)
        tell(slope.database, promotion.retire_older, slope.site, f"{number}" * 64, START + day * DAY)
    states = {m.model_hash[0]: m.state for m in ask(slope.database, load_models, site="jobs")}
    assert states == {"a": "active", "0": "retired", "1": "candidate", "2": "candidate", "3": "candidate"}


def test_training_waits_for_a_challenger_that_has_not_had_its_time(slope: Slope, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        train, "train_one", lambda *a, **_: asked.append(a[3].reason) or train.TrainingOutcome("hash", trained=True)
    )
    site = replace(slope.site, anomaly=replace(slope.site.anomaly, detectors=()))

    def why(day):
        asked.clear()
        train.run(slope.database, slope.config, site, START + day * DAY)
        return list(asked)

    assert why(0) == ["first training"]
    make_active(slope)
    assert (why(7), why(22)) == ([], ["the newest before it is 22 days old"])
    slope.register(B, START + 22 * DAY)
    slope.shadow(B, START + 22 * DAY)
    assert why(31) == []
    for day in range(22, 60):
        slope.forecast(B, day, **good(day) | {"error": 2.0})
        slope.forecast(B, day, **good(day) | {"error": 2.0}, horizon_s=604800.0)
    slope.judge(70)
    assert why(70) == ["the newest before it is 48 days old"]
    slope.register("c" * 64, START + 70 * DAY)
    assert why(71) == []
    assert why(78) == ["the newest before it is 8 days old"], "a candidate that never issued holds nothing up"


def test_people_promote_where_the_gate_is_open_two_where_it_is_not_and_nobody_against_the_record(slope: Slope) -> None:
    slope.register(A, verdict=CLOSED)
    now = START + 30 * DAY

    def act(horizon_s=86400.0, **more):
        with slope.database.write() as c:
            order = PromotionOrder(ADA, "it is time", now, **more)
            return promote(c, slope.config, slope.site, "aaaa", horizon_s, order)

    with pytest.raises(RefusedError, match="is a candidate"):
        act()
    slope.shadow(A)
    with pytest.raises(RefusedError, match=r"gate is closed.*1 of 3 calibration blocks"):
        act()
    for second in (None, Actor("ada")):
        with pytest.raises(RefusedError, match=r"two people|second person"):
            act(force=True, second=second)
    with pytest.raises(RefusedError, match="it knows 1 d, 7 d"):
        act(5.0, force=True, second=BO)
    with slope.database.write() as c, pytest.raises(NotFoundError):
        promote(c, slope.config, slope.site, "ffff", None, PromotionOrder(ADA, "why", now))
    assert act(force=True, second=BO) == ["gru aaaaaaaaaaaa is shown at 1 d"]
    assert slope.state(A) == ("active", "active", "shown against its gate by Ada with Bo: it is time")
    slope.judge(31)
    assert slope.state(A)[2] == "shown against its gate by Ada with Bo: it is time"
    for day in range(31, 42):
        slope.forecast(A, day, **good(day) | {"error": 1.2})
    slope.judge(43)
    assert slope.state(A)[:2] == ("shadow", "shadow"), "two people do not outweigh the record"
    for day in range(43, 54):
        slope.forecast(A, day, **good(day) | {"error": 1.2})
    with slope.database.write() as c, pytest.raises(RefusedError, match="its own record is against it"):
        promote(c, slope.config, slope.site, A, 86400.0, PromotionOrder(ADA, "again", START + 60 * DAY, BO, force=True))
    forced = [x for x in ask(slope.database, load_transitions, A) if x.second_by]
    assert [(x.by, x.by_kind, x.second_by, x.to_state) for x in forced] == [("Ada", "person", "Bo", "active")] * 2
    with slope.database.write() as c:
        done = retire_model(c, slope.site, "aaaa", BO, "trained before the re-zero", now)
        assert done == ("gru aaaaaaaaaaaa is retired", False)
    with slope.database.write() as c, pytest.raises(RefusedError, match="already"):
        retire_model(c, slope.site, "aaaa", BO, "again", now)


def test_intervals_that_do_not_hold_are_alarmed_whichever_model_is_shown(slope: Slope) -> None:
    key = "health:forecast.86400:coverage"
    for day in range(30):
        slope.forecast("", day, error=1.0, inside=day % 2 == 0, shown=True, kind="auto")
    slope.judge(31)
    assert slope.alerts()[key] is None
    reason = ask(slope.database, lambda c: c.execute(select(alert.c.reason).where(alert.c.key == key)).scalar())
    assert reason == "80 % intervals shown at 1 d held 50% over 30 scored issue times, 50% at G0.displacement"
    for day in range(30, 60):
        slope.forecast("", day, error=1.0, inside=day % 5 != 0, shown=True, kind="auto")
    slope.judge(61)
    with slope.database.read() as c:
        assert c.execute(select(alert.c.state).where(alert.c.key == key)).scalar() == "returned_unacknowledged"


@pytest.fixture
def in_process(monkeypatch):
    """Workers run here, and a `gru` and its blend answer with what lld says: the life cycle does not look inside."""
    real = jobs.forecast

    def forecast_as(panel, model, horizons_s, *, checkpoint, **more):
        if find_network(model) is None:
            return real(panel, model, horizons_s, checkpoint=checkpoint, **more)
        answer = real(panel, "lld", horizons_s, **more)
        rows = tuple(replace(r, model=model, model_hash=checkpoint, shown=True, skill=0.5) for r in answer.rows)
        return replace(answer, rows=rows)

    monkeypatch.setattr(jobs, "forecast", forecast_as)
    monkeypatch.setattr(compute, "run", cross)
    return monkeypatch


def issue(slope: Slope):
    """What is shown one day ahead after the newest issue."""
    rows = ask(slope.database, load_view, "latest_forecast", site="jobs")
    newest = max(r["issued_at"] for r in rows if r["shown"])
    return newest, {r["model"] for r in rows if r["shown"] and r["horizon_s"] == 86400.0 and r["issued_at"] == newest}


def test_the_simple_forecast_is_back_in_the_cycle_in_which_the_network_fell(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 200)
    slope.register(A, now)
    assert "rows by" in run.run(slope.database, slope.config, slope.site, now)
    assert issue(slope)[1] == {"auto"}
    with slope.database.read() as c:
        assert find_model(c, A).state == "shadow"
        f = forecast_table.c
        kept = c.execute(select(func.count()).where(f.model_hash == A, ~f.shown)).scalar()
        facts = load_forecast_facts(c, "jobs", now, {"G0", "G1", "G2"}, {86400.0})
    assert kept == 12, "stored at every horizon and station, alone and in its blend, shown nowhere"
    assert {x.model for x in facts} == {"auto"}, "criteria see what is shown"
    assert all(x.q025 <= x.q10 <= x.q50 <= x.q90 <= x.q975 for x in facts)
    with slope.database.write() as c:
        promote(c, slope.config, slope.site, A, 86400.0, PromotionOrder(ADA, "test", now, BO, force=True))
    run.run(slope.database, slope.config, slope.site, now + HOUR)
    assert issue(slope)[1] == {"auto+gru"}
    day = (now - START) / DAY
    for k in range(12):  # a bad record, of forecasts issued since
        slope.forecast(A, day + 0.05 + k * 0.001, error=3.0, horizon_s=86400.0)
    later = now + timedelta(days=1.5)
    fill(slope.database, slope.site, 1, first_day=200)
    assert "gru aaaaaaaaaaaa at 1 d shadow" in run.rescore(slope.database, slope.config, slope.site, later)
    newest, shown = issue(slope)
    assert (from_epoch_s(later.timestamp()), {"auto"}) == (later, shown)
    assert newest.startswith(later.strftime("%Y-%m-%dT%H:%M"))
    assert slope.alerts()["health:forecast.gru.86400:model_degraded"] is None


def test_each_checkpoint_has_intervals_of_its_own(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 200)
    for model_hash in (A, B):
        slope.register(model_hash, now)
    run.run(slope.database, slope.config, slope.site, now)
    names = {key[1] for key in ask(slope.database, load_conformal, slope.series)}
    blends = {f"{m}@{h[:12]}" for m in ("gru", "auto+gru") for h in (A, B)}
    assert names == {"persistence", "drift", "lld", "auto", *blends}


@ON_BOTH
def test_a_kill_between_score_and_interval_loses_nothing_and_feeds_nothing_twice(slope: Slope, in_process) -> None:
    run.run(slope.database, slope.config, slope.site, fill(slope.database, slope.site, 200))
    later = fill(slope.database, slope.site, 2, first_day=200)
    before = ask(slope.database, load_conformal, slope.series)
    url = slope.database.url.render_as_string(hide_password=False)

    def die_before_the_intervals():
        scoring.forecasts.save_conformal = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        scoring.score_targets(Database(url), slope.site, later)

    assert run_forked(die_before_the_intervals) == signal.SIGKILL
    with slope.database.read() as c:
        assert c.execute(select(func.count()).select_from(forecast_score)).scalar() == 0
        assert load_conformal(c, slope.series) == before
    assert run.rescore(slope.database, slope.config, slope.site, later).startswith("12 scored")
    after = ask(slope.database, load_conformal, slope.series)
    assert {k for k in after if after[k].n == before[k].n + 1} == {k for k in after if k[2] == 86400.0}
    assert run.rescore(slope.database, slope.config, slope.site, later).startswith("0 scored")
    # a new process goes on from the rows: the margin it issues with is that of the state that was kept
    run.run(Database(url), slope.config, slope.site, later)
    with slope.database.read() as c:
        f = forecast_table.c
        for r in c.execute(select(forecast_table).where(f.issued_at == later, f.horizon_s == 86400.0)):
            assert r.margin_80 == margin(after[r.series_id, r.model, 86400.0, 0.8])


@ON_BOTH
def test_a_comparison_holds_every_forecast_of_its_days(slope: Slope, tmp_path: Path, capsys) -> None:
    """Issued every six hours, ninety days hold more than the 250 that a verdict looks back on."""
    config = write_service(tmp_path, slope.database, SITE)
    rows = [forecast_row(slope.series[0], START + k * DAY / 4, FAN, **LLD) for k in range(260)]
    with slope.database.write() as c:
        add_forecasts(c, rows)
        numbers = c.execute(select(forecast_table.c.id)).scalars().all()
        scores = [ForecastScore(n, START, 0.0, 1.0, 1.0, 1.0, True, True, 0.1, 2.0) for n in numbers]
        add_scores(c, scores, START + 70 * DAY)
    days = str((datetime.now(UTC) - START).days + 2)
    words = ["compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--json", "--config", str(config)]
    assert run_verb(["forecast", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n"] == 260
    assert (facts["lowest_30"], facts["newest_30"], facts["crps"], facts["mae_95"]) == (1.0, 1.0, None, [1.0, 1.0])


def test_the_verbs_list_compare_promote_and_retire(slope: Slope, tmp_path: Path, monkeypatch, capsys) -> None:
    config = write_service(tmp_path, slope.database, SITE)

    def call(*words):
        code = run_verb(["forecast", *words, "--config", str(config)])
        told = capsys.readouterr()
        return code, told.out, told.err

    assert call("models")[0] == 4
    assert call("hindcast", "--site", "jobs")[:2] == (0, "no past to score: no series has readings enough up to now\n")
    assert (call("compare", "--site", "jobs", "--hindcast")[0], call("compare", "--site", "jobs")[0]) == (4, 4)
    make_active(slope)
    slope.register(B, START)
    slope.shadow(B)
    for day in range(20):
        slope.forecast(B, day, error=0.7 + 0.01 * (day % 3), inside=day % 10 > 2)
        slope.forecast("", day, error=1.0 - 0.02 * (day % 4), kind="auto", shown=True)
    slope.judge(22)
    code, out, _ = call("models", "--site", "jobs", "--history")
    assert (code, "80 % held  80% (worst G0.displacement 80%)" in out) == (0, True)
    assert "candidate -> shadow, slopeward" in out
    code, out, _ = call("models", "--json", "--history")
    facts = {json.loads(line)["model_hash"]: json.loads(line) for line in out.splitlines()}
    assert (facts[A]["state"], facts[A]["horizons"][0]["skill"]) == ("active", pytest.approx(0.5))
    assert facts[A]["history"][0]["to_state"] == "candidate"
    days = str((datetime.now(UTC) - START).days + 2)
    code, out, _ = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--json")
    rows = {json.loads(line)["model_hash"]: json.loads(line) for line in out.splitlines()}
    assert [rows[h]["n"] for h in (A, B, "")] == [60, 60, 60]
    assert rows[""]["shown"]
    assert all("latency_ms" in row for row in rows.values())
    assert rows[A]["champion"] == "auto"
    assert rows[A]["p"] < 0.001
    assert rows[A]["statistic"] < 0
    assert rows[A]["worst_80"] == pytest.approx(0.8)
    code, out, _ = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--by-stage", "--json")
    parts = {(r["model_hash"], r["stage"]): r["n"] for r in map(json.loads, out.splitlines())}
    assert (parts[A, None], parts[A, "creep"] + parts[A, "not stated"]) == (60, 60)
    assert parts[A, "creep"] > 0
    code, out, _ = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--by-situation", "--json")
    assert {(r["model_hash"], r["situation"]): r["n"] for r in map(json.loads, out.splitlines())}[A, "not stated"] == 60
    code, out, _ = call("compare", "--site", "jobs", "--days", days)
    assert "mae 0.5 mm (auto 0.97 mm)" in out
    assert call("compare", "--site", "jobs", "--horizon", "3d")[0] == 1
    code, _, err = call("promote", B[:6], "--site", "jobs", "--horizon", "1d", "--reason", "a try", "--by", "Ada")
    assert (code, "gate is closed, in shadow: 80 % interval held only 70% of values at 1 d" in err) == (1, True)
    people = ("--by", "Ada", "--force", "--second", "Bo")
    code, out, _ = call("promote", B[:6], "--site", "jobs", "--horizon", "1d", "--reason", "a try", *people)
    assert (code, "gru bbbbbbbbbbbb is shown at 1 d" in out, slope.state(B)[0]) == (0, True, "active")
    code, out, _ = call("retire", B[:6], "--site", "jobs", "--reason", "enough", "--by", "Bo")
    assert (code, "is retired; no recent displacement readings" in out) == (0, True)


def test_a_candidate_that_failed_in_one_piece_of_a_large_site_leaves_no_rows(slope: Slope, monkeypatch) -> None:
    now = fill(slope.database, slope.site, 60)
    slope.register(A)
    why = {"it": "no memory"}

    def answer(_compute, _task, pieces, **_more):
        name = next(one.name for one in pieces[0].models if one.checkpoint)
        at, station = now.timestamp(), next(iter(pieces[0].record.samples))
        made = replace(row("gru", station, shown=False), model_hash=A)
        made = replace(made, issued_s=at, target_s=at + 86400.0, data_until_s=at)
        failed = {name: why["it"]} if why else {}
        return [tasks.SiteForecast((made,), (), {}, {}), tasks.SiteForecast((), (), {}, failed)]

    monkeypatch.setattr("monitor.features.forecasts.issue.run_all_in_workers", answer)

    def count():
        with slope.database.read() as c:
            return c.execute(select(func.count()).where(forecast_table.c.model_hash == A)).scalar_one()

    assert "no memory" in issue_forecasts(slope.database, slope.config, slope.site, now)
    assert (count(), ask(slope.database, find_model, A).state) == (0, "candidate")
    why.clear()
    issue_forecasts(slope.database, slope.config, slope.site, now)
    assert (count(), ask(slope.database, find_model, A).state) == (1, "shadow")
