"""Forecast, train and anomaly jobs: a first answer and a first training of a real worker process, the others here."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save
from sqlalchemy import delete, func, select

from detection.anomaly.records import ReadingScore, Scores
from forecasting.neural.checkpoint import model_hash, write
from forecasting.neural.pretrained import PLACE
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Checkpoint
from monitor.errors import JobError
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies import training
from monitor.features.anomalies.tables import anomaly as anomaly_table
from monitor.features.forecasts import hindcast, run, train
from monitor.features.forecasts.cli.app import list_why_not
from monitor.features.forecasts.hindcast import ISSUES, run_hindcast
from monitor.features.forecasts.read_site import read_site
from monitor.features.forecasts.tables import forecast, forecast_score, forecast_withheld
from monitor.features.forecasts.tasks import PanelForecast
from monitor.features.forecasts.worker import make_panel
from monitor.features.movement.queries import FailureRow, MovementRow, add_update
from monitor.models.queries.registry import add_model, find_model, load_models, load_transitions
from monitor.models.tables import model
from monitor.readings.queries.observations import find_series_id
from monitor.readings.tables import observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.worker import compute
from monitor.worker.records import WorkerTask
from tests.data.crossing import cross, hurry
from tests.data.daily_slope import SITE, START, fill
from tests.data.forecast_rows import row
from tests.data.store_rows import ask, tell

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")

IN_A_PROCESS = compute.run


def move(database: Database, station: str, at: datetime, stage: str) -> None:
    figures = dict.fromkeys(list(MovementRow.__slots__)[5:-2])
    with database.write() as c:
        series_id = find_series_id(c, "jobs", station, "displacement")
        assert series_id is not None
        add_update(c, MovementRow(series_id, at, at, stage, "none", **figures, reasons="drawn", state={}), [])


@pytest.fixture
def site(database: Database) -> Site:
    parsed = parse_site(SITE, "jobs.toml")
    tell(database, save_site, parsed, "test", "test", START)
    return parsed


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceConfig:
    monkeypatch.setattr(compute, "run", cross)
    return ServiceConfig.model_validate({"paths": {"inbox": f"{tmp_path}/inbox", "models": f"{tmp_path}/models"}})


@pytest.mark.parametrize("job", [run, anomaly])
def test_result_for_a_series_that_was_not_requested_is_refused(database, config, site, monkeypatch, job):
    now = fill(database, site, 120)
    if job is anomaly:  # one that a worker scores
        site = replace(site, anomaly=replace(site.anomaly, detectors=("ewma",)))
        card = {"step_s": 86400.0, "budget_per_sensor_month": 0.1, "thresholds": {"ewma": {"value": 4.0}}}
        with database.write() as c:
            facts = {"kind": "ewma", "task": "anomaly", "site": site.id, "path": "absent", "card": card}
            add_model(c, "a" * 64, now=now, reason="test", **facts)

    def answer(task: WorkerTask, _asked: object, *_args: object, **_more: object) -> object:
        if task is anomaly.SCORE:
            return Scores((ReadingScore("G9.displacement", 0.0, 9.0, 1.0, "spike", alerted=True),), None)
        return PanelForecast((row("combined", station="G9.displacement"),))

    monkeypatch.setattr(compute, "run", answer)
    with pytest.raises(JobError, match=r"names 'G9\.displacement', which was not requested"):
        job.run(database, config, site, now)
    with database.read() as c:
        assert c.execute(select(func.count()).select_from(forecast)).scalar() == 0
        assert c.execute(select(func.count()).select_from(anomaly_table)).scalar() == 0


def test_forecasts_behind_the_failure_window_of_the_movement_page_are_withheld(database, config, site):
    now = fill(database, site, 120)
    figures = dict.fromkeys(list(MovementRow.__slots__)[5:-2])
    with database.write() as c:
        series_id = find_series_id(c, "jobs", "G1", "displacement")
        edges = [now + timedelta(days=days) for days in (1, 2, 3)]
        fit = {"n_filters": 4, "n_agree": 4, "r2": 0.9, "velocity_mm_per_day": 5.0, "onset_at": None}
        window = FailureRow(
            series_id, now, now, *edges, **fit, trusted=True, reasons="drawn", method="inverse_velocity"
        )
        update = MovementRow(series_id, now, now, "progressive", "none", **figures, reasons="drawn", state={})
        add_update(c, update, [window])
        # a window that follows from a forecast withholds no forecast
        calm_id = find_series_id(c, "jobs", "G0", "displacement")
        by_forecast = replace(window, series_id=calm_id, method="forecast")
        add_update(c, replace(update, series_id=calm_id), [by_forecast])
    run.run(database, config, site, now)
    with database.read() as c:
        shown = {(r["station"], r["horizon_s"]): r["reason"] for r in load_view(c, "latest_forecast", shown=True)}
        withheld = [r for r in load_view(c, "why_not_shown", station="G1") if r["model"] == "combined"]
    week_s = 7 * 86400.0
    assert ("G0", week_s) in shown
    assert ("G1", week_s) not in shown
    assert "accelerates towards failure" in shown["G1", 86400.0]
    assert "accelerates towards failure" not in shown["G0", 86400.0]
    assert [r["reason"] for r in withheld] == [
        "the failure window ends before 7 d ahead, so that the motion cannot be forecast"
    ]


@pytest.mark.soak
def test_forecasts_are_issued_scored_and_shown_once(database, config, site, monkeypatch):
    now = fill(database, site, 200)
    move(database, "G1", now - timedelta(hours=2), "creep")
    move(database, "G1", now, "progressive")
    move(database, "G2", now + timedelta(minutes=1), "progressive")
    with monkeypatch.context() as real:
        real.setattr(compute, "run", IN_A_PROCESS)
        said = run.run(database, config, site, now)
    assert said == "18 forecasts; 3 withheld"
    f = forecast.c
    with database.read() as c:
        rows = c.execute(select(forecast)).all()
        counted = select(f.series_id, f.horizon_s, func.count()).where(f.shown)
        shown = c.execute(counted.group_by(f.series_id, f.horizon_s)).all()
        withheld = c.execute(select(forecast_withheld.c.reason).distinct()).scalars().all()
    assert ({r.model for r in rows}, len(rows)) == ({"persistence", "line", "combined"}, 3 * 3 * 2)
    assert {r.model for r in rows if r.shown} == {"combined"}
    stages = {(r["station"], r["stage"]) for r in ask(database, load_view, "forecast_history")}
    assert stages == {("G0", None), ("G1", "progressive"), ("G2", None)}, "the stage that was known at the issue"
    assert (sorted(n for *_, n in shown), withheld) == ([1] * 6, ["not trained yet"])
    for r in rows:
        assert r.q025 <= r.q10 <= r.q50 <= r.q90 <= r.q975
        assert r.data_until <= r.as_of_received_at <= now
    # the same instant again adds nothing
    assert run.run(database, config, site, now).startswith("0 forecasts")
    later = fill(database, site, 2, first_day=200)
    assert run.score_observed(database, config, site, later).startswith("9 scored")
    with database.read() as c:
        joined = select(forecast_score, f.q50, f.data_value).join(forecast, f.id == forecast_score.c.forecast_id)
        scores = c.execute(joined).all()
    assert len(scores) == 9
    with database.read() as c:
        told = {(r["station"], r["stage"]): r["n"] for r in load_view(c, "forecast_skill_by_stage", horizon_s=86400.0)}
        fans = {(r["station"], r["situation"]): r for r in load_view(c, "forecast_scores", horizon_s=86400.0)}
    assert told == {("G0", None): 1, ("G1", "progressive"): 1, ("G2", None): 1}
    assert set(fans) == {("G0", None), ("G1", "accelerating"), ("G2", None)}
    assert all(r["crps"] > 0 and r["pit_below_10"] in {0.0, 1.0} for r in fans.values())
    for s in scores:
        assert s.error == pytest.approx(s.observed - s.q50)
        assert s.persistence_error == pytest.approx(s.observed - s.data_value)
        assert s.winkler_80 > 0
    # a second scoring run finds nothing to do
    assert run.score_observed(database, config, site, later).startswith("0 scored")


def test_weights_of_an_earlier_version_are_retired_and_the_others_forecast(database, config, site, tmp_path):
    shipped = PLACE / "pretrained-lstm.safetensors"
    with safe_open(shipped, framework="pt") as file:
        told, tensors = file.metadata(), load_file(shipped)
    tensors["encoder.old"] = tensors.pop(min(tensors))
    content = save(tensors, metadata=told)
    card = json.loads(shipped.with_suffix(".json").read_text()) | {"model_hash": model_hash(content)}
    path = write(tmp_path / "models" / site.id, content, card)
    site = replace(site, forecast=replace(site.forecast, models=("pretrained-lstm",)))
    now = fill(database, site, 120)
    with database.write() as c:
        facts = {"kind": "pretrained-lstm", "task": "forecast", "site": site.id, "path": str(path), "card": card}
        add_model(c, path.stem, now=now, reason="test", **facts)
    said = run.run(database, config, site, now)
    why = "the weights are of an earlier version of pretrained-lstm: it must be trained again"
    assert f"failed: {why}" in said
    assert "\n" not in said
    with database.read() as c:
        models = set(c.execute(select(forecast.c.model)).scalars())
        assert models == {"persistence", "line", "combined"}
        assert (find_model(c, path.stem).state, load_transitions(c, path.stem)[-1].reason) == ("retired", why)
        panels = train._list_panels(c, site)
        assert train._why_train(c, site, "pretrained-lstm", panels[0], panels, now) == "first training"


def test_a_silent_site_gets_no_forecast_and_the_reason_is_kept(database, config, site):
    now = fill(database, site, 100)
    assert (
        run.run(database, config, site, now + timedelta(days=30)) == "no recent readings of a series that is forecast"
    )
    run.run(database, config, site, now + timedelta(days=4, hours=1))
    assert ask(database, lambda c: c.execute(select(func.count()).select_from(forecast)).scalar()) == 0
    # a datum that the lane takes for fresh is found, however its upload is late: three steps are allowed
    run.run(database, config, site, now + timedelta(days=2, hours=12))
    assert ask(database, lambda c: c.execute(select(func.count()).select_from(forecast)).scalar()) > 0


def test_a_record_with_gaps_is_forecast_and_a_silent_one_says_what_it_lacks(database, config, site):
    now = fill(database, site, 200)
    # of one station every other day of the last sixty, of another the last ten
    lost = {"G1": range(141, 199, 2), "G2": range(190, 200)}
    with database.write() as c:
        for station, days in lost.items():
            o, series_id = observation.c, find_series_id(c, "jobs", station, "displacement")
            at = [START + timedelta(days=d) for d in days]
            c.execute(delete(observation).where(o.series_id == series_id, o.observed_at.in_(at)))
    run.run(database, config, site, now)
    with database.read() as c:
        why = {r["model"]: r for r in load_view(c, "why_not_shown", site="jobs", station="G2")}
        gappy = {r["model"] for r in load_view(c, "why_not_shown", site="jobs", station="G1")}
        shown = {r["station"] for r in load_view(c, "latest_forecast", site="jobs") if r["shown"]}
        others = {r["model"] for r in load_view(c, "why_not_shown", site="jobs", station="G0")}
    assert shown == {"G0", "G1"}
    assert set(why) == {"combined", "gru"}
    assert others == gappy == {"gru"}
    assert why["combined"]["reason"] == "the newest reading is older than 3 intervals"
    assert why["combined"]["lacking"] == "a new reading"
    assert why["combined"]["earliest_at"][:10] == f"{now + timedelta(days=1):%Y-%m-%d}"
    assert why["gru"]["lacking"] == "its first training"
    lines = [line for _, line in list_why_not(database, "jobs")]
    assert any(line.startswith("no forecast: G2: a new reading (combined") for line in lines)


def check_past(database: Database, now: datetime, said: str) -> None:
    """On the day it starts a site knows what each model is worth, from rows that know nothing of what came after."""
    f = forecast.c
    with database.read() as c:
        rows = c.execute(select(forecast)).all()
        skill = {(r["model"], r["horizon_s"]): r for r in load_view(c, "forecast_skill") if r["hindcast"]}
        latest = load_view(c, "latest_forecast")
        ends = {m.model_hash: m.card["data"]["end_s"] for m in load_models(c, task="forecast")}
        unscored = c.execute(select(func.count()).where(f.id.not_in(select(forecast_score.c.forecast_id)))).scalar()
    assert rows, said
    assert all(r.hindcast and not r.shown for r in rows)
    assert {r.model for r in rows} == {"persistence", "line", "combined", "gru"}
    assert all(r.data_until <= r.issued_at < r.target_at <= now for r in rows)
    assert all(r.issued_at.timestamp() > ends[r.model_hash] for r in rows if r.model_hash), "it was trained before"
    assert unscored == 0, "history is scored at once"
    assert {("gru", 86400.0), ("combined", 86400.0), ("line", 604800.0)} <= set(skill)
    assert all(r["mae"] > 0 for r in skill.values())
    assert latest == [], "no forecast of the past is served"


@pytest.mark.soak
def test_the_past_is_scored_again_when_the_record_has_doubled(database, config, site):
    site, f = replace(site, forecast=replace(site.forecast, models=())), forecast.c
    seen, before = list[datetime](), 0
    for days, is_scored in ((120, True), (121, False), (230, False), (240, True), (241, False)):
        if days == 121:  # a run was killed between its forecasts and their scores
            tell(database, lambda c: c.execute(forecast_score.delete()))
        said = run_hindcast(database, config, site, fill(database, site, days - before, before))
        assert ("forecasts of the past" in said) == is_scored, (days, said)
        with database.read() as c:
            assert not c.execute(select(func.count()).where(f.id.not_in(select(forecast_score.c.forecast_id)))).scalar()
        before = days
        with database.read() as c:
            issued = [at for at in c.execute(select(f.issued_at).distinct()).scalars() if at not in seen]
            assert not c.execute(select(func.count()).where(~f.hindcast)).scalar()
        assert len(issued) <= ISSUES
        assert bool(issued) == is_scored
        assert min(issued, default=START) > max(seen, default=START) or not issued, "after all that was scored"
        seen += issued


def check_shares(database: Database, site: Site, now: datetime) -> None:
    """The combined forecast and the share of a network can be computed again from the readings and the checkpoint."""
    f = forecast.c
    with database.read() as c:
        (read,) = read_site(c, site, now)
        (network,) = [m for m in load_models(c, task="forecast") if m.state == "active"]
        rows = c.execute(select(forecast).where(f.issued_at == now, f.hindcast.is_(False))).all()
    labels = {samples.series_id: samples.label for samples in read.samples}
    stored = {(labels[r.series_id], r.horizon_s, r.model): (r.q10, r.q50, r.q90, r.weight) for r in rows}
    checkpoint = Checkpoint(network.kind, network.model_hash, network.path)
    issue = issue_forecasts(make_panel(read.record), read.panel.cadence.horizons_s, checkpoints=[checkpoint])
    assert {(r.station, r.horizon_s, r.model): (r.q10, r.q50, r.q90, r.weight) for r in issue.rows} == stored
    weights = [weight for (_, _, model), (*_, weight) in stored.items() if model == "gru"]
    assert len(weights) == 6
    assert all(0.0 <= weight <= 0.5 for weight in weights)


@pytest.mark.slow
def test_networks_are_trained_registered_and_used(database, config, site, monkeypatch):
    ways = iter([IN_A_PROCESS])  # the first training; another process would only load PyTorch once more
    monkeypatch.setattr(compute, "run", lambda task, asked, *a, **k: next(ways, cross)(task, hurry(asked), *a, **k))
    monkeypatch.setattr(hindcast, "ISSUES", 12)
    site = replace(site, anomaly=replace(site.anomaly, budget_per_sensor_month=2.0))  # a short record counts
    now = fill(database, site, 336)
    said = train.run(database, config, site, now) + training.run(database, config, site, now)
    with database.read() as c:
        kinds = {r.kind: r for r in c.execute(select(model).where(model.c.state != "retired")).all()}
    assert set(kinds) == {"gru", "ae", "rules"}, said
    check_past(database, now, said)
    assert all(Path(r.path).is_file() for r in kinds.values())
    assert {k: r.state for k, r in kinds.items()} == {"gru": "active", "ae": "active", "rules": "active"}
    for job in (train, training):
        assert job.run(database, config, site, now + timedelta(hours=1)) == "nothing to train"
    run.run(database, config, site, now)
    with database.read() as c:
        f = forecast.c
        live = (f.model == "gru", ~f.hindcast)
        hashes = c.execute(select(f.model_hash).where(*live).distinct()).scalars().all()
        reasons = c.execute(select(f.reason, f.shown).where(*live)).all()
        mine = (model.c.kind == "gru", model.c.state != "retired")
        states = c.execute(select(model.c.state).where(*mine)).scalars().all()
    assert (hashes, states, {shown for _, shown in reasons}) == ([kinds["gru"].model_hash], ["active"], {False})
    assert all(why.startswith("output of the network gru, which has ") for why, _ in reasons)
    assert ask(database, load_view, "why_not_shown", site=site.id) == []
    check_shares(database, site, now)
    anomaly.run(database, config, site, now)
    with database.read() as c:
        a = anomaly_table.c
        detectors = dict(c.execute(select(a.detector, func.count()).group_by(a.detector)).all())
    assert set(detectors) == {"rules", "ae"}
    assert min(detectors.values()) > 10
    assert "0 scores" in anomaly.run(database, config, site, now)
