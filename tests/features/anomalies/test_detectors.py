"""Every detector of a site file is trained and served. None counts for the level before a test on this site."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from detection.anomaly import registry
from detection.anomaly.registry import (
    CARRIED_OVER_THRESHOLDS,
    CHECKS,
    COMPOSITES,
    describe_comparison,
    list_networks,
    list_rules,
    list_served,
)
from monitor.cli.main import run_command
from monitor.decision.proof import describe_unproven
from monitor.features.anomalies import jobs as anomaly
from monitor.features.anomalies import training
from monitor.features.anomalies.proof import is_untested, measure_active, store_test
from monitor.features.anomalies.tables import anomaly as anomaly_table
from monitor.models.queries.proofs import load_proof_facts
from monitor.models.queries.registry import load_models
from monitor.models.tables import model
from monitor.models.training import TrainingOrder
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.proof import verify
from monitor.text.detection import PASTS
from monitor.text.instants import epoch_s
from monitor.text.vocabulary import WORDS
from tests.data.daily_slope import SITE, START, fill

CHEAP = (*COMPOSITES, *list_rules(), *CHECKS)
WITNESS = """
[[criterion]]
id = "strange"
kind = "anomaly"
stations = ["G*"]
role = "witness"
level = "yellow"
[[criterion]]
id = "soon-fast"
kind = "forecast"
stations = ["G*"]
role = "witness"
yellow = {over = 5.0, window = "7d"}
[[criterion]]
id = "image"
kind = "scene"
role = "witness"
level = "yellow"
"""


@pytest.fixture
def service(tmp_path: Path) -> ServiceConfig:
    return ServiceConfig.model_validate({"paths": {"models": str(tmp_path / "models")}})


def declare(database: Database, text: str, *detectors: str, budget: float) -> Site:
    site = parse_site(text, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", START)
    return with_plan(site, *detectors, budget=budget)


def with_plan(site: Site, *detectors: str, budget: float) -> Site:
    return replace(site, anomaly=replace(site.anomaly, detectors=detectors, budget_per_sensor_month=budget))


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the worker knows no database: once is enough
def test_every_detector_without_a_network_is_counted_and_served(database: Database, service: ServiceConfig) -> None:
    assert set(CHEAP) | set(list_networks()) == set(list_served())
    assert all(describe_comparison(name, "") for name in list_served())
    assert set(PASTS.values()) <= WORDS, "a phrase has no translation"
    site = declare(database, SITE, *CHEAP, budget=float(len(set(CHEAP) - set(CHECKS))))
    site = replace(site, forecast=replace(site.forecast, models=()))
    now = fill(database, site, 600)
    untrained = anomaly.run(database, service, site, now)
    for name in set(list_rules()) - set(CARRIED_OVER_THRESHOLDS):
        assert f"{name}: not trained yet" in untrained
    said = training.run(database, service, site, now)
    with database.read() as c:
        cards = {r.kind: r.card for r in c.execute(select(model).where(model.c.state == "active"))}
    assert set(cards) == set(CHEAP) - set(CHECKS), said
    # the checks spend nothing of the budget
    assert {card["budget_per_sensor_month"] for card in cards.values()} == {1.0}
    assert training.run(database, service, site, now + timedelta(hours=1)) == "nothing to train"
    at, later = now + timedelta(days=1), now + timedelta(days=2)
    value = 0.3 * ((at - START).total_seconds() / 86400.0) + 60.0
    with database.write() as c:
        add_observations(c, [Observation(site.id, "G0", "displacement", "mm", at, at, value)], at)
    anomaly.run(database, service, site, later)
    a = anomaly_table.c
    with database.read() as c:
        rows = c.execute(select(a.detector, func.count(), func.max(a.alerted)).group_by(a.detector)).all()
        hashes = dict(c.execute(select(a.detector, func.max(a.model_hash)).group_by(a.detector)).all())
    assert {r[0] for r in rows} == set(cards)
    assert {r[0] for r in rows if r[2]} >= {"rules"}
    assert all(hashes.values())
    # another budget asks for other thresholds
    assert "rules" in training.run(database, service, with_plan(site, "rules", budget=2.0), later)


@pytest.mark.soak
def test_detectors_are_witnesses_only_where_the_record_shows_it(database: Database, service: ServiceConfig) -> None:
    site = declare(database, SITE + WITNESS, "rules", "flatline", "replay", budget=1.0)
    now = fill(database, site, 900)

    soon = timedelta(minutes=1)  # what takes long is known when it is written, not when it began

    def said(at: datetime = now + soon) -> dict[str, str]:
        with database.read() as c:
            lines = describe_unproven(site, load_proof_facts(c, site, at), epoch_s(at))
        return {line.split(":")[0].removeprefix("criterion "): line for line in lines}

    first = said()
    assert set(first) == {"strange", "soon-fast", "image"}
    assert "no test of rules is stored" in first["strange"]
    assert "`slopeward anomalies bench --site jobs`" in first["strange"]
    assert "no test of forecasts is stored" in first["soon-fast"]
    assert "no test of outlines is stored" in first["image"]
    training.train_detector(database, service, site, TrainingOrder("rules"), now)
    assert set(said(now)) == set(first)
    assert set(said()) == {"soon-fast", "image"}, "a training keeps what it found on held-out time"
    assert set(said(now - timedelta(days=1))) == set(first), "what came later proves nothing of before"
    dearer = replace(site, anomaly=replace(site.anomaly, budget_per_sensor_month=2.0))
    with database.read() as c:
        assert is_untested(c, dearer, "rules", now + soon)
        (serving,) = [m for m in load_models(c, task="anomaly", site=site.id) if m.state == "active"]
    later = now + timedelta(days=200)
    assert "was valid until" in said(later)["strange"]
    proof = measure_active(database, site, serving, now - timedelta(days=900), later, Actor("ada"), "by hand")
    assert proof is not None
    assert proof.passed
    later += soon
    assert "strange" not in said(later)
    with database.write() as c:  # other weights serve, and a proof that was not passed counts as the newest
        c.execute(update(model).values(model_hash="f" * 64))
    assert "was made with other weights" in said(later)["strange"]
    with database.write() as c:
        card = {**serving.card, "may_vote": False, "may_not_vote_because": ["too many alarms"]}
        store_test(c, site, card, "f" * 64, "by hand", Actor("ada"), later)
    assert "was not passed: too many alarms" in said(later)["strange"]
    with database.read() as c:
        assert verify(c) == []
        (fact, *_) = load_proof_facts(c, with_plan(site, "flatline", budget=1.0), later)
    assert (fact.criterion, fact.tested_s, fact.passed) == ("strange", None, False), "checks alone are no test"


def test_check_refuses_a_witness_without_a_proof_and_a_driver_that_cannot_be_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["sites", "init", "a"]) == 0
    path = tmp_path / "configs/sites/a.toml"
    text = path.read_text()
    learning = [line.removeprefix("# ") if line[2:].startswith("led") else line for line in text.splitlines()]
    offered = parse_site("\n".join(learning), "a.toml")
    assert {"ae", "rules"} <= set(offered.anomaly.detectors), "what a new file offers can be taken"
    assert "advice" in offered.recipients[0].ledgers
    path.write_text(text + WITNESS)
    assert run_command(["check"]) == 1
    assert "no stored proof that these models may vote (a: strange, a: soon-fast, a: image)" in capsys.readouterr().err
    assert (run_command(["db", "upgrade"]), run_command(["check"])) == (0, 1)
    err = capsys.readouterr().err
    assert 'criterion strange: role = "witness" is not proven on this site: no test of rules is stored' in err
    assert "run `slopeward backtest --site a --prove soon-fast`" in err
    assert "run `slopeward scenes score --site a --layout folder --folder FOLDER`" in err
    models = 'models = ["gru", "lstm", "graph-gru"]'
    path.write_text(text.replace(models, f'{models}\ncovariates = ["R1.rain", "R1.rain"]'))
    assert run_command(["check"]) == 1
    assert "forecast.covariates: R1.rain is listed twice" in capsys.readouterr().err
    named = text.replace(models, f'{models}\ncovariates = ["R1.rain"]')
    path.write_text(named.replace('detectors = ["rules"', 'detectors = ["oracle"'))
    assert run_command(["check"]) == 1
    err = capsys.readouterr().err
    assert "anomaly.detectors: unknown model 'oracle'" in err
    assert "covariates" not in err


def test_check_names_the_replacement_of_a_detector_that_is_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLOPEWARD_PLUGINS", "none")
    registry._load_installed.cache_clear()
    monkeypatch.chdir(tmp_path)
    try:
        assert run_command(["sites", "init", "a"]) == 0
        path = tmp_path / "configs/sites/a.toml"
        path.write_text(path.read_text().replace('detectors = ["rules"', 'detectors = ["rules", "persistence-z"'))
        capsys.readouterr()
        assert run_command(["check"]) == 1
        err = capsys.readouterr().err
        assert "'persistence-z' is in the package slopeward-lab; the built-in detector for it is 'rules'" in err
    finally:
        registry._load_installed.cache_clear()
