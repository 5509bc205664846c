"""Checkpoints of networks in the service: active, retired, never shown; what stored forecasts were worth."""

import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, insert, select

from forecasting.data.series import Panel
from forecasting.serving.networks import NetworkForecasts
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Checkpoint
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.features.forecasts import run, tasks, train
from monitor.features.forecasts import score as scoring
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.forecasts.model_alarms import check_coverage
from monitor.features.forecasts.queries.facts import load_forecast_facts
from monitor.features.forecasts.queries.forecasts import ForecastScore, add_forecasts, add_scores
from monitor.features.forecasts.tables import forecast as forecast_table
from monitor.features.forecasts.tables import forecast_score
from monitor.models.queries.registry import add_model, find_model, load_transitions
from monitor.readings.tables import series
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.audit import verify_chain
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.daily_slope import SITE, fill
from tests.data.feature_rows import forecast_row
from tests.data.forecast_rows import row
from tests.data.forked import run_forked
from tests.data.store_rows import ask
from tests.data.watched_slope import write_service
from tests.fixtures.databases import ON_BOTH

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
A, B = "a" * 64, "b" * 64
FAN = (-2.0, -1.0, 0.0, 1.0, 2.0)
FACTS = {"baseline": "line", "baseline_q50": 0.1, "data_value": 0.0, "reason": "test", "latency_ms": 5.0}


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

    def register(self, model_hash: str, at: datetime = START, *, kind="gru", stations=(), settings=None) -> None:
        card = {"config": {"stations": list(stations)}, "training": {"settings": settings or {}}}
        with self.database.write() as c:
            facts = {"kind": kind, "task": "forecast", "site": "jobs", "path": model_hash, "card": card}
            add_model(c, model_hash, now=at, reason="first training", **facts)

    def forecast(
        self, model_hash, day, *, error, baseline=1.0, inside=True, horizon_s=86400.0, shown=False, kind="gru"
    ) -> None:
        """One issue on a day since START, scored when its target came."""
        issued = START + day * DAY
        target = issued + timedelta(seconds=horizon_s)
        facts = FACTS | {"model": kind, "model_hash": model_hash, "shown": shown, "stage": "creep" if day % 2 else None}
        rows = [forecast_row(series_id, issued, FAN, horizon_s, **facts) for series_id in self.series]
        with self.database.write() as c:
            assert add_forecasts(c, rows) == 3
            f = forecast_table.c
            mine = (f.model == kind, f.model_hash == model_hash, f.issued_at == issued, f.horizon_s == horizon_s)
            numbers = c.execute(select(f.id).where(*mine)).scalars().all()
            scores = [ForecastScore(n, target, 0.0, error, baseline, 1.0, inside, True, 0.1, 2.0) for n in numbers]
            assert len(add_scores(c, scores, target)) == 3

    def check(self, day) -> None:
        check_coverage(self.database, self.site, START + day * DAY)

    def state(self, model_hash) -> str:
        return ask(self.database, find_model, model_hash).state

    def history(self, model_hash):
        return [(x.from_state, x.to_state) for x in ask(self.database, load_transitions, model_hash)]


@pytest.fixture
def slope(database: Database) -> Slope:
    return Slope(database)


@pytest.mark.soak
@ON_BOTH
def test_a_checkpoint_is_active_at_once_and_retired_when_a_newer_one_has_issued(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 200)
    slope.register(A, now)
    slope.register("c" * 64, now, kind="lstm")
    run.run(slope.database, slope.config, slope.site, now)
    slope.register(B, now + HOUR)
    assert (slope.state(A), slope.state(B)) == ("active", "active"), "the old one serves until the new one has issued"
    run.run(slope.database, slope.config, slope.site, now + HOUR)
    assert (slope.state(A), slope.state(B)) == ("retired", "active")
    assert slope.state("c" * 64) == "active", "another network, which the site does not ask for any more"
    assert slope.history(A) == [(None, "active"), ("active", "retired")]
    with slope.database.read() as c:
        told = [r for r in load_view(c, "model_transitions", site="jobs") if r["model_hash"] == A]
        audited = [r for r in load_view(c, "audit_log") if r["subject"] == f"model:{A[:12]}"]
        assert verify_chain(c) == []
    assert told[-1]["reason"] == f"replaced by {B[:12]}"
    assert [r["action"] for r in audited] == [f"model.{r['to_state']}" for r in told]
    rows = ask(slope.database, load_view, "forecast_history", site="jobs")
    assert {r["model_hash"] for r in rows} == {"", A, B}, "what the old one forecast stays"


@pytest.mark.soak
def test_checkpoints_of_other_series_do_not_replace_each_other(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 200)
    slope.register(A, now, stations=["G0.displacement"])
    slope.register(B, now + HOUR, stations=["G1.displacement", "G2.displacement"])
    run.run(slope.database, slope.config, slope.site, now + HOUR)
    assert (slope.state(A), slope.state(B)) == ("active", "active")


def test_a_network_is_trained_again_when_the_newest_is_a_week_old(slope: Slope, monkeypatch) -> None:
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
    slope.register(A)
    assert (why(7), why(22)) == ([], ["the newest before it is 22 days old"])
    slope.register(B, START + 22 * DAY)
    assert why(28) == []


def test_service_trains_again_with_the_settings_of_the_newest_checkpoint(slope: Slope, monkeypatch) -> None:
    orders = []
    monkeypatch.setattr(
        train, "train_one", lambda *a, **_: orders.append(a[3]) or train.TrainingOutcome("hash", trained=True)
    )
    slope.register(A, settings={"hidden": 64})
    train.run(slope.database, slope.config, slope.site, START + 8 * DAY)
    slope.register(B, START + 10 * DAY)
    train.run(slope.database, slope.config, slope.site, START + 20 * DAY)
    assert [dict(order.settings) for order in orders] == [{"hidden": 64}, {}]


@pytest.mark.soak
def test_intervals_that_do_not_hold_are_alarmed_whichever_model_is_shown(slope: Slope) -> None:
    key = "health:forecast.86400:coverage"
    for day in range(30):
        slope.forecast("", day, error=1.0, inside=day % 2 == 0, shown=True, kind="combined")
    slope.check(31)
    with slope.database.read() as c:
        closed_at, reason = c.execute(select(alert.c.closed_at, alert.c.reason).where(alert.c.key == key)).one()
    assert closed_at is None
    assert reason == "80 % intervals shown at 1 d held 50% over 30 scored issue times, 50% at G0.displacement"
    for day in range(30, 60):
        slope.forecast("", day, error=1.0, inside=day % 5 != 0, shown=True, kind="combined")
    slope.check(61)
    with slope.database.read() as c:
        assert c.execute(select(alert.c.state).where(alert.c.key == key)).scalar() == "returned_unacknowledged"


def run_drawn(
    panel: Panel, horizons_s: tuple[float, ...], checkpoint: Checkpoint, _first_row: int = 0
) -> NetworkForecasts:
    """Stand in for a network: it forecasts the reading of each row, 1 mm wide."""
    newest = np.repeat(panel.values[:, :, None, None], len(horizons_s), axis=2)
    return NetworkForecasts(checkpoint, newest + NORMAL / NORMAL[-1], drivers=())


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Workers run in this process, and no checkpoint is read."""
    monkeypatch.setattr("forecasting.serving.issue.run_network", run_drawn)
    monkeypatch.setattr(compute, "run", cross)
    return monkeypatch


@pytest.mark.soak
def test_combined_is_shown_and_a_network_is_stored_and_never_shown(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 200)
    slope.register(A, now)
    # three stations, two horizons: combined, persistence, line and the network
    assert run.run(slope.database, slope.config, slope.site, now) == "24 forecasts; 0 withheld"
    rows = ask(slope.database, load_view, "latest_forecast", site="jobs")
    assert {r["model"] for r in rows if r["shown"]} == {"combined"}
    network = [r for r in rows if r["model_hash"] == A]
    assert len(network) == 6, "stored at every horizon and station"
    assert all(0.0 <= r["weight"] <= 0.5 for r in network)
    assert {r["weight"] for r in rows if r["model_hash"] != A} == {None}
    facts = ask(slope.database, load_forecast_facts, "jobs", now, {"G0", "G1", "G2"}, {86400.0})
    assert {x.model for x in facts} == {"combined"}, "criteria see what is shown"
    assert all(x.q025 <= x.q10 <= x.q50 <= x.q90 <= x.q975 for x in facts)


@pytest.mark.soak
@ON_BOTH
def test_a_kill_within_a_scoring_loses_nothing_and_scores_nothing_twice(slope: Slope, in_process) -> None:
    run.run(slope.database, slope.config, slope.site, fill(slope.database, slope.site, 200))
    later = fill(slope.database, slope.site, 2, first_day=200)
    url = slope.database.url.render_as_string(hide_password=False)
    add_real = scoring.forecasts.add_scores

    def die_before_the_commit() -> None:
        def add_and_die(*arguments) -> None:
            assert len(add_real(*arguments)) == 9
            os.kill(os.getpid(), signal.SIGKILL)

        scoring.forecasts.add_scores = add_and_die
        scoring.score_targets(Database(url), slope.site, later)

    assert run_forked(die_before_the_commit) == signal.SIGKILL
    assert ask(slope.database, lambda c: c.execute(select(func.count()).select_from(forecast_score)).scalar()) == 0
    # 3 stations, and the forecasts of one day by combined, persistence and line
    assert run.score_observed(slope.database, slope.config, slope.site, later).startswith("9 scored")
    assert run.score_observed(slope.database, slope.config, slope.site, later).startswith("0 scored")


@pytest.mark.soak
def test_a_killed_issue_stores_nothing_and_the_next_process_issues_the_same(slope: Slope, in_process) -> None:
    now = fill(slope.database, slope.site, 120)
    url = slope.database.url.render_as_string(hide_password=False)

    def die_before_the_commit() -> None:
        from monitor.features.forecasts import issue

        issue.forecasts.add_withheld = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        issue_forecasts(Database(url), slope.config, slope.site, now)

    def read_rows() -> set[tuple]:
        f = forecast_table.c
        query = select(f.series_id, f.model, f.horizon_s, f.q025, f.q10, f.q50, f.q90, f.q975, f.reason)
        return {tuple(r) for r in ask(slope.database, lambda c: c.execute(query).all())}

    assert run_forked(die_before_the_commit) == signal.SIGKILL
    assert read_rows() == set()
    issue_forecasts(slope.database, slope.config, slope.site, now)
    issued = read_rows()
    assert len(issued) == 18
    with slope.database.write() as c:
        c.execute(forecast_table.delete())
    issue_forecasts(Database(url), slope.config, slope.site, now)
    assert read_rows() == issued, "a forecast follows from the readings alone"


@ON_BOTH
def test_a_comparison_holds_every_forecast_of_its_days(slope: Slope, tmp_path: Path, capsys) -> None:
    config = write_service(tmp_path, slope.database, SITE)
    rows = [forecast_row(slope.series[0], START + k * DAY / 4, FAN, **FACTS) for k in range(260)]
    with slope.database.write() as c:
        add_forecasts(c, rows)
        numbers = c.execute(select(forecast_table.c.id)).scalars().all()
        scores = [ForecastScore(n, START, 0.0, 1.0, 1.0, 1.0, True, True, 0.1, 2.0) for n in numbers]
        add_scores(c, scores, START + 70 * DAY)
    days = str((datetime.now(UTC) - START).days + 2)
    words = ["compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--json", "--config", str(config)]
    assert run_command(["forecast", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n"] == 260
    assert (facts["coverage_80"], facts["crps"], facts["mae"]) == (1.0, None, 1.0)


@pytest.mark.soak
def test_models_are_listed_and_compared_on_the_same_targets(slope: Slope, tmp_path: Path, capsys) -> None:
    config = write_service(tmp_path, slope.database, SITE)

    def call(*words):
        code = run_command(["forecast", *words, "--config", str(config)])
        return code, capsys.readouterr().out

    assert call("models")[0] == 4
    assert call("hindcast", "jobs") == (0, "no past to score: no series has enough recent readings\n")
    assert (call("compare", "--site", "jobs", "--hindcast")[0], call("compare", "--site", "jobs")[0]) == (4, 4)
    slope.register(A)
    for day in range(20):
        slope.forecast(A, day, error=0.5, inside=day % 5 != 4)
        slope.forecast("", day, error=1.0 - 0.02 * (day % 4), kind="combined", shown=True)
    slope.forecast(A, 20, error=9.0)  # without a shown forecast of the same issue it compares nothing
    code, out = call("models", "--site", "jobs", "--history")
    assert (code, "new -> active, slopeward: first training" in out) == (0, True)
    code, out = call("models", "--json", "--history")
    facts = json.loads(out)
    assert (facts["state"], facts["history"][0]["to_state"]) == ("active", "active")
    days = str((datetime.now(UTC) - START).days + 2)
    code, out = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--json")
    rows = {json.loads(line)["model_hash"]: json.loads(line) for line in out.splitlines()}
    assert [rows[h]["n"] for h in (A, "")] == [60, 60]
    assert (rows[""]["shown"], rows[A]["shown"], rows[A]["reference"]) == (True, False, "combined")
    assert (rows[A]["mae"], rows[A]["reference_mae"]) == (0.5, pytest.approx(0.97))
    assert rows[A]["worst_80"] == pytest.approx(0.8)
    code, out = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--by-stage", "--json")
    parts = {(r["model_hash"], r["stage"]): r["n"] for r in map(json.loads, out.splitlines())}
    assert (parts[A, None], parts[A, "creep"] + parts[A, "not stated"]) == (60, 60)
    assert parts[A, "creep"] > 0
    code, out = call("compare", "--site", "jobs", "--horizon", "1d", "--days", days, "--by-situation", "--json")
    assert {(r["model_hash"], r["situation"]): r["n"] for r in map(json.loads, out.splitlines())}[A, "not stated"] == 60
    code, out = call("compare", "--site", "jobs", "--days", days)
    assert "mae 0.5 mm (combined 0.97 mm)" in out
    assert call("compare", "--site", "jobs", "--horizon", "3d")[0] == 1


@pytest.mark.parametrize("command", ["promote", "retire"])
def test_a_removed_command_names_what_replaces_it(command, capsys) -> None:
    assert run_command(["forecast", command, "3fa1b2", "--site", "jobs", "--reason", "a try", "--by", "Ada"]) == 2
    assert "remove it from forecast.models of the site file" in capsys.readouterr().err
    assert run_command(["forecast", "--help"]) == 0
    assert command not in capsys.readouterr().out


@pytest.mark.parametrize("model", ["auto", "auto+gru", "gated", "ets", "ridge"])
def test_check_names_what_replaces_a_removed_model(model, slope: Slope, tmp_path: Path, capsys) -> None:
    config = write_service(tmp_path, slope.database, SITE.replace('"gru"', f'"{model}"'))
    assert run_command(["check", "--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert f"forecast.models: '{model}' was removed: the forecast 'combined', which every site has, replaces" in error


def test_check_refuses_a_model_that_is_no_network(slope: Slope, tmp_path: Path, capsys) -> None:
    config = write_service(tmp_path, slope.database, SITE.replace('"gru"', '"line", "grue"'))
    assert run_command(["check", "--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert "forecast.models: 'line' is always forecast; remove it from the list" in error
    assert "forecast.models: no network is called 'grue'" in error


def test_a_checkpoint_that_failed_in_one_piece_of_a_large_site_leaves_no_rows(slope: Slope, monkeypatch) -> None:
    now = fill(slope.database, slope.site, 60)
    slope.register(A)
    slope.register(B, START + DAY)
    failures = {B: "no memory"}

    def answer(_compute, _task, pieces, **_more):
        at, station = now.timestamp(), next(iter(pieces[0].record.samples))
        made = replace(row("gru", station, shown=False), model_hash=B)
        made = replace(made, issued_s=at, target_s=at + 86400.0, data_until_s=at)
        return [tasks.PanelForecast((made,)), tasks.PanelForecast((), failed=dict(failures))]

    monkeypatch.setattr("monitor.features.forecasts.issue.run_all_in_workers", answer)
    monkeypatch.setattr("monitor.features.forecasts.issue.split_points", lambda request: [request, request])

    def count():
        with slope.database.read() as c:
            return c.execute(select(func.count()).where(forecast_table.c.model_hash == B)).scalar_one()

    assert f"gru {B[:12]} failed: no memory" in issue_forecasts(slope.database, slope.config, slope.site, now)
    assert (count(), slope.state(A)) == (0, "active")
    failures.clear()
    issue_forecasts(slope.database, slope.config, slope.site, now)
    assert (count(), slope.state(A)) == (1, "retired")
